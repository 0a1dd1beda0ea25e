"""What users bring to `fit` besides arrays of floats."""

from pathlib import Path

import jax
import numpy as np
import pandas as pd
import polars as pl
import pytest
from flax import nnx

import flowjax_lite as fl

RNG = np.random.default_rng(0)
X = RNG.standard_normal((80, 2)).astype(np.float32)
LABELS = RNG.integers(3, size=80)
WEIGHTS = RNG.random(80)
SETTINGS = {"batch_size": 32, "max_epochs": 2, "progress": False}


def tiny() -> fl.Flow:
    """A flow of a label."""
    return fl.flows.realnvp(dim=2, condition_dim=1, num_layers=2, hidden=(4,), rngs=nnx.Rngs(0))


def history(x: object, condition: object, weights: object) -> list[float]:
    """The losses of a short run."""
    result = fl.fit(
        tiny(), x, condition=condition, weights=weights, key=jax.random.key(0), **SETTINGS
    )
    return result.history["train"]


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_frames_train_as_arrays_do(frame: type) -> None:
    """Catches rows or columns in another order, and whole numbers refused as conditions."""
    expected = history(X, LABELS[:, None].astype(np.float32), WEIGHTS)
    table = frame({"a": X[:, 0], "b": X[:, 1], "label": LABELS, "weight": WEIGHTS})
    assert history(table[["a", "b"]], table[["label"]], table["weight"]) == expected
    assert history(table[["a", "b"]], table["label"], table["weight"]) == expected
    assert history(X, LABELS[:, None], WEIGHTS) == expected


def test_names_reach_the_messages_of_fit() -> None:
    """Catches a column by its number where it has a name."""
    table = pd.DataFrame({"age": X[:, 0], "income": np.full(80, 3.0)})
    with pytest.raises(ValueError, match=r"data has 1 column \('income'\) with the same value"):
        fl.fit(tiny(), table, condition=LABELS[:, None], key=jax.random.key(0), **SETTINGS)


def test_validation_has_the_columns_of_the_data() -> None:
    """Catches validation rows whose columns stand in another order, a choice of wrong epochs."""
    table = pd.DataFrame(X, columns=["a", "b"])
    validation = table[["b", "a"]], LABELS[:, None]
    with pytest.raises(ValueError, match="validation has the columns b, a; expected a, b, in this"):
        fl.fit(tiny(), table, condition=LABELS[:, None], validation=validation, key=0, **SETTINGS)


def test_masked_cells_are_refused_everywhere() -> None:
    """Catches a mask that is dropped: what it hides would be trained on."""
    label = LABELS[:, None].astype(np.float32)
    inputs = {"data": X, "condition": label, "weights": WEIGHTS}
    for name, values in inputs.items():
        given = inputs | {name: np.ma.masked_array(values, mask=values > 0.5)}
        with pytest.raises(ValueError, match=f"{name} is a masked array"):
            history(given["data"], given["condition"], given["weights"])
    validation = np.ma.masked_array(X, mask=X > 0.5), label
    with pytest.raises(ValueError, match="validation is a masked array"):
        fl.fit(tiny(), X, condition=label, validation=validation, key=jax.random.key(0), **SETTINGS)


def test_images_are_read_from_a_file(tmp_path: Path) -> None:
    """Catches images that are flattened, or that a stream takes for a table."""
    images = 2 * RNG.standard_normal((90, 2, 3, 1)).astype(np.float32) + 1
    np.save(tmp_path / "images.npy", images)
    flow = fl.Flow(fl.distributions.StandardNormal((2, 3, 1)), fl.bijectors.Affine((2, 3, 1)))
    rows = fl.data.stream(tmp_path / "images.npy", buffer=64)
    result = fl.fit(flow, rows, key=0, batch_size=32, max_epochs=2, progress=False)
    assert result.flow.log_prob(images).shape == (90,)
    assert result.history["validation"][1] < result.history["validation"][0]
