import pytest

from flowjax_lite.cli import families
from flowjax_lite.cli.errors import FieldError


def test_options_follow_the_factories() -> None:
    """Would catch a list of options kept by hand that goes stale."""
    assert {"num_bins", "bound", "base"} <= set(families.options("nsf_coupling"))
    assert "num_bins" not in families.options("maf")
    assert not {"dim", "rngs", "data_map"} & set(families.options("maf"))


def test_wrong_names_are_fields_with_suggestions() -> None:
    """Would catch an error that cannot be traced to a line of the config."""
    for family, given, field in (
        ("mav", {}, "family"),
        ("maf", {"num_bins": 8}, "num_bins"),
        ("maf", {"base": "student"}, "base"),
        ("maf", {"activation": "rellu"}, "activation"),
        ("maf", {"gradient": "inverse"}, "gradient"),
        ("maf", {"compute_dtype": "float16"}, "compute_dtype"),
    ):
        with pytest.raises(FieldError) as caught:
            families.check(family, given)
        assert caught.value.field == field
    families.check("maf", {"base": "student_t", "activation": "relu", "hidden": (3,)})
