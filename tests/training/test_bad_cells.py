"""One bad cell in a million: training ends with a good model, or with an error that names it."""

import jax
import numpy as np
import pytest
from flax import nnx

import flowjax_lite as fl
from flowjax_lite.data import DataWarning

ROW, COLUMN = 123_456, 2
SETTINGS = {"key": jax.random.key(0), "batch_size": 10_000, "max_epochs": 2, "learning_rate": 1e-2}


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """A million related cells."""
    mixing = np.eye(4) + 0.5
    return (np.random.default_rng(0).standard_normal((250_000, 4)) @ mixing).astype(np.float32)


def train(x: np.ndarray, **settings) -> fl.FitResult:
    """A few steps."""
    flow = fl.flows.realnvp(dim=4, num_layers=2, hidden=(4,), rngs=nnx.Rngs(0))
    return fl.fit(flow, x, progress=False, **SETTINGS | settings)


@pytest.fixture(scope="module")
def clean(rows: np.ndarray) -> float:
    """What the same training comes to without the bad cell."""
    return float(train(rows).flow.log_prob(rows[:20_000]).mean())


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e20, 1e6])
@pytest.mark.parametrize("checks", ["error", "off"])
@pytest.mark.filterwarnings("ignore:.*steps were skipped:RuntimeWarning")
def test_one_bad_cell_of_a_million(value: float, checks: str, rows: np.ndarray, clean: float):
    """Catches a cell that spoils all parameters, or the choice among them, without a word."""
    x = rows.copy()
    x[ROW, COLUMN] = value
    where = rf"row {ROW}\D.*column {COLUMN}"
    if checks == "error" and not np.isfinite(value):
        with pytest.raises(ValueError, match=where):
            train(x)
        return
    if checks == "error":
        with pytest.warns(DataWarning, match=rf"row {ROW}\D"):
            result = train(x)
    else:
        result = train(x, checks="off")
    assert float(result.flow.log_prob(rows[:20_000]).mean()) > clean - 0.05
