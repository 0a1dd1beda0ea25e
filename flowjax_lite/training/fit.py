"""Training by maximum likelihood with one call."""

import functools
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array
from tqdm.auto import tqdm

from flowjax_lite.bijectors.normalization import AbstractNormalization
from flowjax_lite.data.checks import check_data
from flowjax_lite.distributions import Flow
from flowjax_lite.numerics.shapes import (
    check_condition_presence,
    check_positive_int,
    condition_shape_message,
    default_dtype,
)
from flowjax_lite.training.epoch import FitState, Rows, batch_index, run_epoch
from flowjax_lite.training.losses import negative_log_likelihood
from flowjax_lite.training.optimizer import default_optimizer
from flowjax_lite.training.step import Loss, TrainState


@dataclass(frozen=True)
class FitResult:
    """What training returns.

    Attributes:
        flow: the model with the lowest validation loss.
        history: per epoch, as tuples of equal length: "train" and "validation" losses (nats
            per event for the default loss) and "seconds" since the start of training.
        best_epoch: index into the history of the returned model.
    """

    flow: Flow
    history: Mapping[str, tuple[float, ...]]
    best_epoch: int


def fit(
    flow: Flow,
    data: Any,
    *,
    key: Array,
    condition: Any = None,
    weights: Any = None,
    loss: Loss = negative_log_likelihood,
    optimizer: optax.GradientTransformation | None = None,
    learning_rate: float = 1e-3,
    batch_size: int = 256,
    max_epochs: int = 100,
    patience: int | None = 20,
    validation: Any = 0.1,
    checks: str = "error",
    progress: bool = True,
) -> FitResult:
    """Train a flow on rows of data, and return the parameters that validate best.

    Whole epochs run on the device. Calling `fit` again with the same shapes and settings
    compiles nothing, also for a flow built anew; with an optimizer of your own, pass the same
    object again.

    Args:
        flow: the model; it is left as it is.
        data: (rows, dim), floating-point.
        key: randomness of the validation split, the order of rows and the training loss.
        condition: (rows, condition_dim) where the flow takes a condition.
        weights: (rows,), not negative; relative influence of each row.
        loss: function of (flow, x, condition, weights, key), a scalar to minimise. On rows held
            out the key is None: they are compared from epoch to epoch without noise.
        optimizer: any optax transformation; None is Adam with warm-up, cosine decay over
            max_epochs, and clipping.
        learning_rate: of the default optimizer; not used with another one.
        batch_size: most rows per step.
        max_epochs: passes over the training rows.
        patience: stop after this many epochs without a better validation loss; None never
            stops early.
        validation: fraction of rows to hold out; or an array x, or a pair (x, condition), to
            validate on; or None to select by the training loss.
        checks: what happens to data that a density does not fit: "error" raises, and warns of
            what deserves a look, "warn" warns of both, "off" looks at types and shapes alone;
            see `data.check_data`.
        progress: show a progress bar.

    Returns:
        The best flow and the history.

    Raises:
        TypeError: data, condition or weights are not floating-point.
        ValueError: wrong shapes, too few rows, NaN or infinite cells, constant columns or such
            that others determine, settings out of range.
        FloatingPointError: the loss is NaN or infinite from the first epoch on.
    """
    check_positive_int(batch_size, "batch_size")
    check_positive_int(max_epochs, "max_epochs")
    if patience is not None:
        check_positive_int(patience, "patience")
    rows = _check_rows(flow, data, condition, weights, checks=checks)
    train, held_out = jax.device_put(_split(flow, rows, validation, key, checks=checks))
    if train.num_rows < batch_size:
        raise ValueError(
            f"data has {train.num_rows} training rows, fewer than batch_size {batch_size}: pass "
            f"batch_size={train.num_rows} or less"
        )
    if optimizer is None:
        if not learning_rate > 0:
            raise ValueError(f"learning_rate is {learning_rate}; expected a positive number")
        num_steps = max_epochs * len(batch_index(train.num_rows, batch_size)[0])
        optimizer = default_optimizer(float(learning_rate), num_steps)

    state = _first_state(flow, optimizer=optimizer)
    history: dict[str, list[float]] = {"train": [], "validation": [], "seconds": []}
    best_epoch = -1
    start = time.perf_counter()
    with tqdm(total=max_epochs, disable=not progress, unit="epoch") as bar:
        for epoch in range(max_epochs):
            state, train_loss, validation_loss = run_epoch(
                state,
                key,
                epoch,
                train,
                held_out,
                loss=loss,
                optimizer=optimizer,
                batch_size=batch_size,
            )
            record = {"train": float(train_loss), "validation": float(validation_loss)}
            for name, value in record.items():
                history[name].append(value)
            history["seconds"].append(time.perf_counter() - start)
            bar.set_postfix({name: f"{value:.4f}" for name, value in record.items()})
            bar.update()
            if record["validation"] < min(history["validation"][:-1], default=np.inf):
                best_epoch = epoch
            if not np.isfinite(record["train"]):
                _report_divergence(epoch, best_epoch)
                break
            if patience is not None and epoch - best_epoch >= patience:
                break
    return FitResult(
        flow=state.best,
        history={name: tuple(values) for name, values in history.items()},
        best_epoch=best_epoch,
    )


def _check_rows(
    flow: Flow, x: Any, condition: Any, weights: Any, *, checks: str, held_out: bool = False
) -> Rows:
    """Check aligned rows, in the model's precision."""
    name, dtype = "validation" if held_out else "data", default_dtype()
    x = check_data(
        x,
        name=name,
        dtype=dtype,
        allow_degenerate=held_out,
        unit_scale=_expects_unit_scale(flow),
        checks=checks,
    )
    if x.shape[1:] != flow.event_shape:
        raise ValueError(
            f"{name} has shape {x.shape}; this flow expects (rows, {flow.event_shape[0]}), as "
            f"given to dim when it was built"
        )
    check_condition_presence(condition, flow.condition_shape)
    if condition is not None and flow.condition_shape is not None:
        condition = check_data(
            condition, name="condition", dtype=dtype, allow_degenerate=True, checks=checks
        )
        if condition.shape[1:] != flow.condition_shape:
            raise ValueError(condition_shape_message(condition.shape[1:], flow.condition_shape))
        _check_count("condition", len(condition), name, len(x))
    return Rows(x, condition, _check_weights(weights, name, len(x), dtype))


def _expects_unit_scale(flow: Flow) -> bool:
    """Whether layers meet the data as they are, as far as is known: that of named flows."""
    arguments = dict(flow.recipe.arguments) if flow.recipe else {}
    bare = all(key in arguments and arguments[key] is None for key in ("data_map", "base"))
    return bare and not any(isinstance(m, AbstractNormalization) for _, m in nnx.iter_modules(flow))


def _check_weights(weights: Any, name: str, count: int, dtype: Any) -> Any:
    if weights is None:
        return np.ones(count, dtype)
    weights = np.asarray(weights, np.float64)
    if weights.ndim != 1:
        raise ValueError(f"weights has shape {weights.shape}; expected ({count},), one a row")
    _check_count("weights", len(weights), name, count)
    bad = np.flatnonzero(~np.isfinite(weights) | (weights < 0))
    if bad.size:
        raise ValueError(
            f"weights[{bad[0]}] is {weights[bad[0]]}; expected finite numbers of at least 0"
        )
    if not weights.any():
        raise ValueError("weights are all zero; at least one row needs a positive weight")
    return weights.astype(dtype)


def _check_count(name: str, count: int, other: str, expected: int) -> None:
    if count != expected:
        raise ValueError(
            f"{name} has {count} rows and {other} {expected}; expected the same number, row for row"
        )


def _split(
    flow: Flow, rows: Rows, validation: Any, key: Array, *, checks: str
) -> tuple[Rows, Rows | None]:
    """Training rows and validation rows; the latter as given, or drawn from the former."""
    if validation is None:
        return rows, None
    if not isinstance(validation, float):
        x, condition = validation if isinstance(validation, tuple) else (validation, None)
        return rows, _check_rows(flow, x, condition, None, checks=checks, held_out=True)
    if not 0 < validation < 1:
        raise ValueError(
            f"validation is {validation}; expected a fraction between 0 and 1, arrays, or None"
        )
    held_out = round(rows.num_rows * validation)
    if not 0 < held_out < rows.num_rows:
        raise ValueError(
            f"validation={validation} of {rows.num_rows} rows leaves {held_out} to validate on; "
            f"pass a larger fraction, arrays, or None"
        )
    seed = key if jnp.issubdtype(key.dtype, jnp.integer) else jax.random.key_data(key)
    order = np.random.default_rng(np.asarray(seed)).permutation(rows.num_rows)
    parts = order[held_out:], order[:held_out]
    train, test = (jax.tree.map(lambda array, part=part: array[part], rows) for part in parts)
    return train, test


@functools.partial(jax.jit, static_argnames=("optimizer",))
def _first_state(flow: Flow, *, optimizer: optax.GradientTransformation) -> FitState:
    """The state before the first epoch, in buffers of its own, which are donated.

    Compiled as a whole: called one by one, its operations would compile one by one.
    """
    flow, best = (jax.tree.map(jnp.copy, flow) for _ in range(2))
    return FitState(TrainState.create(flow, optimizer), best, jnp.asarray(jnp.inf, default_dtype()))


def _report_divergence(epoch: int, best_epoch: int) -> None:
    advice = "lower learning_rate, or check the data for outliers with Standardize.from_data"
    if best_epoch < 0:
        raise FloatingPointError(
            f"the training loss was not finite in epoch {epoch} and no epoch before it was "
            f"good: {advice}"
        )
    warnings.warn(
        f"the training loss was not finite in epoch {epoch}; training stopped, and the "
        f"parameters of epoch {best_epoch} are returned: {advice}",
        RuntimeWarning,
        stacklevel=3,
    )
