"""Several flows trained at once, and their mixture."""

import functools
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from tqdm.auto import tqdm

from flowjax_lite.distributions import Flow, FlowMixture
from flowjax_lite.distributions.ensemble import member, one_for_each, stack
from flowjax_lite.training.devices import Placement
from flowjax_lite.training.epoch import (
    MOST_SKIPPED,
    FitState,
    advance,
    first_state,
    go_back,
    keep_best,
    last_rate,
)
from flowjax_lite.training.failure import ADVICE, MOST_RETURNS, DivergedError
from flowjax_lite.training.feed import Resident
from flowjax_lite.training.fit import check_settings, over_steps
from flowjax_lite.training.losses import negative_log_likelihood
from flowjax_lite.training.optimizer import AdamW
from flowjax_lite.training.record import FitResult, Record, found
from flowjax_lite.training.rows import Rows, check_rows, split_rows
from flowjax_lite.training.step import Loss
from flowjax_lite.training.window import Window


@dataclass(frozen=True)
class EnsembleResult:
    """What training an ensemble returns.

    Attributes:
        members: what training each flow returned, in the order of the flows.
        mixture: of the members whose training did not fail, with equal weights.
    """

    members: tuple[FitResult, ...]
    mixture: FlowMixture


def fit_ensemble(
    flows: Sequence[Flow],
    data: Any,
    *,
    key: Array,
    rates: Sequence[float] | None = None,
    condition: Any = None,
    weights: Any = None,
    loss: Loss = negative_log_likelihood,
    optimizer: AdamW | optax.GradientTransformation | None = None,
    learning_rate: float = 1e-3,
    batch_size: int = 256,
    max_epochs: int = 100,
    patience: int | None = 20,
    ema: float | None = None,
    validation: Any = 0.1,
    checks: str = "error",
    progress: bool = True,
) -> EnsembleResult:
    """Train flows that are built alike, all at once.

    On a GPU, 8 small flows take the time of one. On a CPU, small flows in small batches take about
    half the time of one by one; where a single one keeps it busy, as in batches of 256, little is
    saved.

    Each member is trained as `fit` would, with an order of the rows of its own, and ends where it
    would end: it goes back, loses patience or fails without the others. All have the same rows
    held out.

    Lakshminarayanan, Pritzel and Blundell, 2017, arXiv:1612.01474.

    Args:
        flows: the models, such as `[fl.flows.maf(..., rngs=nnx.Rngs(i)) for i in range(8)]`; they
            are left as they are.
        data: (rows, dim), floating-point.
        key: randomness of the validation split, and by `fold_in(key, i)` of the member i.
        rates: factors on the learning rate, one for each flow; None is 1 for all.
        condition: as for `fit`, also the following ten.
        weights: as there.
        loss: as there.
        optimizer: as there.
        learning_rate: as there.
        batch_size: as there.
        max_epochs: as there.
        patience: as there, for each member.
        ema: as there.
        validation: as there.
        checks: as there.
        progress: show a progress bar.

    Returns:
        What `fit` returns of each flow, and the mixture of all.

    Raises:
        TypeError: data, condition or weights are not floating-point.
        ValueError: flows are not built alike, rates are not positive, or as `fit`.
        DivergedError: no member could be trained. Where some could, the others are named in a
            warning.
    """
    check_settings(batch_size=batch_size, max_epochs=max_epochs, patience=patience, ema=ema)
    stacked, num = stack(flows), len(flows)
    factors = one_for_each(rates, "rates", num)
    checked = check_rows(flows[0], data, condition, weights, checks=checks)
    split = split_rows(flows[0], checked, validation, key, checks=checks)
    feed = Resident(split, batch_size, Placement())
    optimizer = over_steps(optimizer or AdamW(learning_rate), max_epochs * feed.num_steps)
    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(np.arange(num))
    rows = feed.window(0, 0), Placement().put(feed.validation)
    settings = {"loss": loss, "optimizer": optimizer, "batch_size": batch_size, "ema": ema}
    states = _first_states(stacked, optimizer=optimizer, num_steps=feed.num_steps, ema=ema)
    states = states._replace(rate=jnp.asarray(factors, states.rate.dtype))
    records = [Record() for _ in flows]
    start = time.perf_counter()
    with tqdm(total=max_epochs, disable=not progress, unit="epoch") as bar:
        while any(going := [not record.is_over(max_epochs, patience) for record in records]):
            epochs = np.array([record.epoch for record in records])
            stops = np.where(going, feed.num_steps, 0)  # a member that is over takes no steps
            states, *losses = _advance(
                states, keys, epochs, stops, *rows, **settings, placement=Placement()
            )
            done = going & (np.asarray(states.step) == feed.num_steps)
            stuck = np.asarray(states.streak) == MOST_SKIPPED
            better = _add_epochs(records, done, states, losses, time.perf_counter() - start)
            states = _change(states, better, to=keep_best)
            if stuck.any():
                states = _change(states, stuck, to=go_back)
            for i in map(int, np.flatnonzero(stuck)):
                records[i].returns += 1
                records[i].stopped = records[i].returns > MOST_RETURNS
            bar.update(max(record.epoch for record in records) - bar.n)
    results = [record.result(member(states.best, i)) for i, record in enumerate(records)]
    return _checked_result(results, records)


def _add_epochs(
    records: Sequence[Record],
    done: np.ndarray,
    states: FitState,
    losses: Sequence[Array],
    seconds: float,
) -> np.ndarray:
    """Add an epoch to the record of each member that has done one, and say whose was its best."""
    train, validation = map(np.asarray, losses)
    steps, rates = jax.tree.map(np.asarray, states.steps), last_rate(states)
    better = np.zeros(len(records), bool)
    for i in map(int, np.flatnonzero(done)):
        values = {"train": float(train[i]), "validation": float(validation[i])}
        of_member = jax.tree.map(lambda array, i=i: array[i], steps)
        values |= found(of_member, None if rates is None else rates[i])
        better[i] = records[i].add(values | {"seconds": seconds}, monitor="validation")
    return better


def _checked_result(results: Sequence[FitResult], records: Sequence[Record]) -> EnsembleResult:
    """The result of all members, if any of them could be trained; what went wrong is told."""
    bad = [record.returns > MOST_RETURNS or record.best_epoch < 0 for record in records]
    good = [result.flow for result, is_bad in zip(results, bad, strict=True) if not is_bad]
    failed = [
        f"member {i} after {record.epoch} epochs"
        for i, (record, is_bad) in enumerate(zip(records, bad, strict=True))
        if is_bad
    ]
    skipped = int(sum(sum(result.history.get("skipped", ())) for result in results))
    message = (
        f"training ended before its time, as step after step was not finite, for "
        f"{', '.join(failed)}: {ADVICE}"
        if failed
        else f"{skipped} steps of all members were skipped, as their loss or gradient was not "
        "finite"
    )
    if not good:
        raise DivergedError(message, results[0])
    if failed or skipped:
        warnings.warn(message, RuntimeWarning, stacklevel=3)
    return EnsembleResult(tuple(results), FlowMixture(good))


@functools.partial(jax.jit, static_argnames=("optimizer", "num_steps", "ema"))
def _first_states(flows: Flow, **settings: Any) -> FitState:
    """`first_state` of each member."""
    states: FitState = jax.vmap(functools.partial(first_state, **settings))(flows)
    return states


@functools.partial(
    jax.jit,
    static_argnames=("loss", "optimizer", "batch_size", "ema", "placement"),
    donate_argnames=("states",),
)
def _advance(
    states: FitState,
    keys: Array,
    epochs: Array,
    stops: Array,
    window: Window,
    validation: Rows | None,
    **settings: Any,
) -> tuple[FitState, Array, Array]:
    """`advance` for each member, which all look at the same rows."""

    def one(state: FitState, key: Array, epoch: Array, stop: Array) -> Any:
        return advance(state, key, epoch, 0, stop, window, validation, **settings)

    advanced: tuple[FitState, Array, Array] = jax.vmap(one)(states, keys, epochs, stops)
    return advanced


@functools.partial(jax.jit, static_argnames=("to",), donate_argnames=("states",))
def _change(states: FitState, which: Array, *, to: Callable[[FitState], FitState]) -> FitState:
    """Change the states of some members."""

    def one(state: FitState, changes: Array) -> FitState:
        return jax.tree.map(lambda new, old: jnp.where(changes, new, old), to(state), state)

    changed: FitState = jax.vmap(one)(states, which)
    return changed
