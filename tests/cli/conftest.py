"""A tiny run for the commands that need one, and configs in temporary directories."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flowjax_lite.cli.main import main
from flowjax_lite.data import TOYS

TINY = """\
name: {name}
output: {output}
data: {{source: {source}{data}}}
flow: {{family: realnvp, num_layers: 2, hidden: [8]}}
training: {{learning_rate: 1e-2, batch_size: 64, max_epochs: 3, patience: 5}}
"""


def write_tiny(
    directory: Path, *, name: str = "tiny", source: str = "moons", data: str = ""
) -> Path:
    """Write a config that trains in seconds into `directory`, with runs beside it."""
    path = directory / f"{name}.yaml"
    data += ", num: 300" * (source in TOYS)
    path.write_text(TINY.format(name=name, output=directory / "runs", source=source, data=data))
    return path


@pytest.fixture
def tiny_config(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a tiny config into the test's own directory."""
    return lambda **options: write_tiny(tmp_path, **options)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run on two moons, trained once for all tests; leave it as it is."""
    directory = tmp_path_factory.mktemp("tiny")
    assert main(["fit", str(write_tiny(directory))]) == 0
    return directory / "runs" / "tiny"


@pytest.fixture(scope="session")
def conditional_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run of p(a, b | c), trained once for all tests; leave it as it is."""
    directory = tmp_path_factory.mktemp("conditional")
    rng = np.random.default_rng(0)
    c = rng.uniform(-1, 1, 300)
    a, b = 10 * c + rng.normal(size=300), rng.normal(size=300)
    table = directory / "table.csv"
    np.savetxt(table, np.stack([a, c, b], 1), delimiter=",", header="a,c,b", comments="")
    config = write_tiny(
        directory, name="conditional", source=str(table), data=", condition_columns: [c]"
    )
    assert main(["fit", str(config), "--training.max-epochs", "60"]) == 0
    return directory / "runs" / "conditional"
