"""Several flows trained at once, and their mixture."""

import dataclasses
import functools
import os
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from flowjax_lite.core.checks import as_key, check_positive_int
from flowjax_lite.core.mesh import Placement
from flowjax_lite.data.arrays import column_names
from flowjax_lite.distributions import Flow, FlowMixture
from flowjax_lite.distributions.mixture import check_alike, member, one_for_each, stack
from flowjax_lite.losses import Loss
from flowjax_lite.losses.likelihood import negative_log_likelihood
from flowjax_lite.training.bar import Bar
from flowjax_lite.training.batches import InMemory, Window
from flowjax_lite.training.epoch import (
    FitState,
    Outcome,
    Span,
    advance,
    first_state,
    go_back,
    summary,
)
from flowjax_lite.training.failure import MOST_RETURNS, DivergedError
from flowjax_lite.training.fit import as_flow, check_settings
from flowjax_lite.training.optimizer import AdamW, RunOptimizer, over_steps
from flowjax_lite.training.record import FitResult, Record
from flowjax_lite.training.rows import Rows, check_rows, split_rows


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
    key: Array | int,
    rates: Sequence[float] | None = None,
    condition: Any = None,
    weights: Any = None,
    loss: Loss = negative_log_likelihood,
    optimizer: AdamW | optax.GradientTransformation | None = None,
    learning_rate: float | None = None,
    batch_size: int = 256,
    max_epochs: int = 100,
    patience: int | None = 20,
    ema: float | None = None,
    validation: Any = 0.1,
    checks: str = "error",
    progress: bool = True,
) -> EnsembleResult:
    """Train flows that are built alike, all at once.

    On a GPU, 8 small flows take the time of one. A CPU trains a group of them on each core: on two,
    small flows take about half the time that they take one by one.

    Each member is trained as `fit` would, with an order of the rows of its own, and ends where it
    would end: it goes back, loses patience or fails without the others. All have the same rows
    held out. An interrupt ends all of them, and returns the best model of each.

    Lakshminarayanan, Pritzel and Blundell, 2017, arXiv:1612.01474.

    Args:
        flows: the models, such as `[fl.flows.maf(..., rngs=nnx.Rngs(i)) for i in range(8)]`; they
            are left as they are.
        data: (rows, *event_shape), floating-point.
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
    flows, key = [as_flow(flow) for flow in flows], as_key(key)
    optimizer = check_settings(
        loss=loss, optimizer=optimizer, learning_rate=learning_rate, patience=patience, ema=ema
    )
    batch_size = check_positive_int(batch_size, "batch_size")
    max_epochs = check_positive_int(max_epochs, "max_epochs")
    check_alike(flows)
    num = len(flows)
    factors = one_for_each(rates, "rates", num)
    rows = check_rows(flows[0], data, condition, weights, checks=checks)
    names = column_names(data), column_names(condition)
    training, held_out = split_rows(flows[0], rows, validation, key, checks=checks, names=names)
    source = InMemory(training, held_out, batch_size=batch_size, placement=Placement())
    scheduled = over_steps(optimizer, max_epochs * source.num_steps)
    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(np.arange(num))
    groups = [
        _Group(
            [flows[i] for i in which],
            keys[which],
            factors[which],
            source,
            max_epochs=max_epochs,
            patience=patience,
            loss=loss,
            optimizer=scheduled,
            batch_size=batch_size,
            ema=ema,
        )
        for which in np.array_split(np.arange(num), num_groups(num))
    ]
    start, interrupted = time.perf_counter(), False
    with Bar(max_epochs, shown=progress) as bar, ThreadPoolExecutor(len(groups)) as threads:
        try:
            while going := [group for group in groups if group.going.any()]:
                list(threads.map(_Group.advance, going))
                for group in going:
                    group.keep(time.perf_counter() - start)
                records = [record for group in groups for record in group.records]
                longest = max(records, key=lambda record: record.epoch)
                if longest.epochs:
                    bar.show(longest.epoch, longest.epochs[-1])
        except KeyboardInterrupt:
            if not any(record.best_epoch >= 0 for group in groups for record in group.records):
                raise
            interrupted = True
    records = [record for group in groups for record in group.records]
    results = [result for group in groups for result in group.results(interrupted)]
    return _checked_result(results, records, advice=source.advice, interrupted=interrupted)


def num_groups(num: int) -> int:
    """Among how many programs to divide so many members.

    An accelerator computes all at once. A program of small arrays keeps only some cores of a CPU
    busy, so that each core has one of its own.
    """
    if jax.default_backend() != "cpu":
        return 1
    usable = getattr(os, "sched_getaffinity", None)  # not on every system
    return min(num, len(usable(0)) if usable else os.cpu_count() or 1)


class _Group:
    """Members that one program trains side by side, and how far they are.

    Attributes:
        records: of each.
    """

    def __init__(
        self,
        flows: Sequence[Flow],
        keys: Array,
        rates: np.ndarray,
        source: InMemory,
        *,
        max_epochs: int,
        patience: int | None,
        loss: Loss,
        optimizer: RunOptimizer,
        batch_size: int,
        ema: float | None,
    ) -> None:
        """Compile the program, if no other group has: in this thread, which knows JAX's settings.

        Args:
            flows: the members.
            keys: randomness of each.
            rates: factors on the learning rate, one for each.
            source: of batches, the same for all.
            max_epochs: after which a member is over.
            patience: epochs without a better one after which it is over.
            loss: as for `advance`, also the following three.
            optimizer: as there.
            batch_size: as there.
            ema: as there.
        """
        self.records = [Record() for _ in flows]
        self._num_steps, self._max_epochs, self._patience = source.num_steps, max_epochs, patience
        self._best = stack(flows)
        states = _first_states(
            self._best, optimizer, num_steps=source.num_steps, averaged=ema is not None
        )
        self._states = states._replace(rate=jnp.asarray(rates, states.rate.dtype))
        window, held_out = source.window(0, 0), source.placement.put(source.validation)
        # As arrays, since another thread may have another precision for plain numbers.
        inputs = jax.tree.map(jnp.asarray, (optimizer, window, held_out, ema))
        none = np.zeros(len(flows), np.int32)
        program = _advance.lower(
            self._states, keys, none, none, *inputs, loss=loss, batch_size=batch_size
        ).compile()
        self._program = lambda states, *epochs: program(states, keys, *epochs, *inputs)
        self._outcome: Outcome  # of the last epoch

    @property
    def going(self) -> np.ndarray:
        """Which members are not over."""
        limits = self._max_epochs, self._patience
        return np.array([not record.is_over(*limits) for record in self.records])

    def advance(self) -> None:
        """Take the steps of an epoch, or what is left of it, and wait for them; in any thread."""
        epochs = np.array([record.epoch for record in self.records], np.int32)
        stops = np.where(self.going, (epochs + 1) * self._num_steps, 0).astype(np.int32)
        self._states, self._outcome = jax.block_until_ready(
            self._program(self._states, epochs, stops)
        )

    def keep(self, seconds: float) -> None:
        """Record the epoch, keep what is best, and go back where step after step was skipped."""
        epochs = np.array([record.epoch for record in self.records])
        done = self.going & (np.asarray(self._states.step) == (epochs + 1) * self._num_steps)
        stuck, train, validation = jax.tree.map(np.asarray, self._outcome)
        states, better = jax.tree.map(np.asarray, self._states), np.zeros(len(epochs), bool)
        records = [dataclasses.replace(record, epochs=[*record.epochs]) for record in self.records]
        for i in map(int, np.flatnonzero(done)):
            values = {"train": float(train[i]), "validation": float(validation[i])}
            values |= summary(jax.tree.map(lambda array, i=i: array[i], states), self._num_steps)
            better[i] = records[i].add(values | {"seconds": seconds}, monitor="validation")
        best = _chosen(better, self._states.candidate, self._best)
        for i in map(int, np.flatnonzero(stuck)):
            records[i].returns += 1
            records[i].stopped = records[i].returns > MOST_RETURNS
        # Both at once, for the sake of an interrupt.
        self._best, self.records = best, records
        if stuck.any():
            self._states = _go_back(self._states, best, stuck)

    def results(self, interrupted: bool) -> list[FitResult]:
        """What `fit` returns of each member."""
        return [
            FitResult(member(self._best, i), record.history, record.best_epoch, interrupted)
            for i, record in enumerate(self.records)
        ]


@functools.partial(jax.jit, static_argnames=("num_steps", "averaged"))
def _first_states(flows: Flow, optimizer: RunOptimizer, **settings: Any) -> FitState:
    """`first_state` of each member."""

    def one(flow: Flow) -> FitState:
        return first_state(flow, optimizer, **settings)

    states: FitState = jax.vmap(one)(flows)
    return states


@functools.partial(jax.jit, static_argnames=("loss", "batch_size"), donate_argnames=("states",))
def _advance(
    states: FitState,
    keys: Array,
    epochs: Array,
    stops: Array,
    optimizer: RunOptimizer,
    window: Window,
    validation: Rows | None,
    ema: float | None,
    *,
    loss: Loss,
    batch_size: int,
) -> tuple[FitState, Outcome]:
    """`advance` for each member, which all look at the same rows."""
    num_steps = states.steps.loss.shape[1]

    def one(state: FitState, key: Array, epoch: Array, stop: Array) -> tuple[FitState, Outcome]:
        begin = epoch * num_steps
        span = Span(begin, begin, stop, begin + num_steps)
        return advance(
            state,
            optimizer,
            key,
            epoch,
            span,
            window,
            validation,
            ema,
            loss=loss,
            batch_size=batch_size,
            placement=Placement(),
        )

    advanced: tuple[FitState, Outcome] = jax.vmap(one)(states, keys, epochs, stops)
    return advanced


def _where(which: Array, new: Any, old: Any) -> Any:
    """Of some members the new arrays, of the others the old."""

    def chosen(new: Array, old: Array) -> Array:
        return jnp.where(jnp.expand_dims(which, tuple(range(1, new.ndim))), new, old)

    return jax.tree.map(chosen, new, old)


_chosen = jax.jit(_where)


@functools.partial(jax.jit, donate_argnames=("states",))
def _go_back(states: FitState, best: Flow, which: Array) -> FitState:
    """The states, of which some go back."""
    changed: FitState = _where(which, jax.vmap(go_back)(states, best), states)
    return changed


def _checked_result(
    results: Sequence[FitResult], records: Sequence[Record], *, advice: str, interrupted: bool
) -> EnsembleResult:
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
        f"{', '.join(failed)}: {advice}"
        if failed
        else f"{skipped} steps of all members were skipped, as their loss or gradient was not "
        "finite"
    )
    if not good:
        raise DivergedError(message, results[0])
    if failed or skipped:
        warnings.warn(message, RuntimeWarning, stacklevel=3)
    if interrupted:
        warnings.warn(
            f"training was interrupted after {max(record.epoch for record in records)} epochs; "
            f"what is returned is the best model of each member so far",
            RuntimeWarning,
            stacklevel=3,
        )
    return EnsembleResult(tuple(results), FlowMixture(good))
