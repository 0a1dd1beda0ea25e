import pytest

from flowjax_lite.cli.config import Config, flow_options
from flowjax_lite.cli.config.options import OptionError


def _config(family: str, **options: object) -> Config:
    return Config("a", data={"source": "moons"}, flow={"family": family, **options})


def test_options_follow_the_factories() -> None:
    """Would catch a list of options kept by hand that goes stale."""
    options = flow_options("nsf_coupling")
    assert {"num_bins", "bound", "base"} <= set(options)
    assert options["num_bins"].default == 8 and options["num_bins"].kinds == (int,)
    assert options["hidden"].is_list
    assert "student_t" in (options["base"].choices or ())
    assert "num_bins" not in flow_options("maf")
    assert not {"dim", "rngs", "data_map"} & set(flow_options("maf"))


def test_wrong_names_are_fields_with_suggestions() -> None:
    """Would catch an error that cannot be traced to a line of the config."""
    for family, options, field in (
        ("mav", {}, "family"),
        ("maf", {"num_bins": 8}, "num_bins"),
        ("maf", {"base": "student"}, "base"),
        ("maf", {"activation": "rellu"}, "activation"),
        ("maf", {"gradient": "inverse"}, "gradient"),
        ("maf", {"compute_dtype": "float16"}, "compute_dtype"),
        ("maf", {"num_layers": 0}, "num_layers"),
        ("maf", {"num_layers": 10**7}, "num_layers"),
        ("maf", {"hidden": ()}, "hidden"),
        ("circular_nsf", {"bound": -1.0}, "bound"),
    ):
        with pytest.raises(OptionError) as caught:
            _config(family, **options)
        assert caught.value.key == f"flow.{field}"
    _config("maf", base="student_t", activation="relu", hidden=(3,))
    _config("circular_nsf", circular=(0, 2))
