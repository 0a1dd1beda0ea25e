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

from flowjax_lite.core.checks import as_key, check_choice, check_positive_int
from flowjax_lite.core.mesh import Placement
from flowjax_lite.distributions import Flow, FlowMixture
from flowjax_lite.distributions.mixture import check_alike, member, one_for_each, stack
from flowjax_lite.losses import Loss
from flowjax_lite.losses.likelihood import negative_log_likelihood
from flowjax_lite.training.bar import Bar
from flowjax_lite.training.epoch import (
    FitState,
    Outcome,
    Plan,
    Span,
    advance,
    first_state,
    go_back,
    summary,
)
from flowjax_lite.training.loop import MOST_RETURNS
from flowjax_lite.training.optimizer import AdamW
from flowjax_lite.training.record import DivergedError, FitResult, Record
from flowjax_lite.training.rows import Rows, divided_rows, folded_rows
from flowjax_lite.training.settings import Settings, as_flow, as_optimizer
from flowjax_lite.training.sources import InMemory, Window
from flowjax_lite.training.step import chosen


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
    batch_size: int | None = None,
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
    would end: it goes back, loses patience or fails without the others. An interrupt ends all of
    them, and returns the best model of each.

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
        validation: as there, the same for all; or "folds", and each member holds out a part of its
            own, as large as those of the others, so that every row is trained on: of few rows a
            better density. The rows are kept once for each member. Krogh and Vedelsby, 1995,
            "Neural network ensembles, cross validation, and active learning".
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
    flows = [as_flow(flow) for flow in flows]
    settings = Settings(
        key=as_key(key),
        loss=loss,
        optimizer=as_optimizer(optimizer, learning_rate),
        batch_size=batch_size,
        max_epochs=check_positive_int(max_epochs, "max_epochs"),
        patience=patience,
        ema=ema,
        progress=progress,
    )
    check_alike(flows)
    num = len(flows)
    factors = one_for_each(rates, "rates", num)
    given: Any = (flows[0], data, condition, weights)
    options: Any = {"key": settings.key, "checks": checks}
    if folds := isinstance(validation, str):
        check_choice(validation, ("folds",), "validation")
        rows = folded_rows(*given, num=num, **options)
    else:
        rows = [divided_rows(*given, validation=validation, **options)]
    placed: Any = {"batch_size": settings.batch_size, "placement": Placement()}
    sources = [InMemory(each, **placed) for each in rows]
    keys = jax.vmap(functools.partial(jax.random.fold_in, settings.key))(np.arange(num))
    groups = [
        _Group(
            [flows[i] for i in which],
            keys[which],
            factors[which],
            [sources[i] for i in which] if folds else sources,
            settings,
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
    members = [
        (FitResult(member(group.best, i), record.history, record.best_epoch, interrupted), record)
        for group in groups
        for i, record in enumerate(group.records)
    ]
    return _checked_result(members, sources[0].advice, interrupted)


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
        best: the best models, stacked.
    """

    def __init__(
        self,
        flows: Sequence[Flow],
        keys: Array,
        rates: np.ndarray,
        sources: Sequence[InMemory],
        settings: Settings,
    ) -> None:
        """Compile the program, if no other group has: in this thread, which knows JAX's settings.

        Args:
            flows: the members.
            keys: randomness of each.
            rates: factors on the learning rate, one for each.
            sources: of batches, one for all or one for each; these have rows of one shape.
            settings: of each run.
        """
        self.records, self.best = [Record() for _ in flows], stack(flows)
        self._num_steps = sources[0].num_steps
        self._limits = settings.max_epochs, settings.patience
        plans = [Plan.of(source, settings) for source in sources]
        own = [
            (source.window(0, 0), plan.validation)
            for source, plan in zip(sources, plans, strict=True)
        ]
        rows = own[0] if len(own) == 1 else stack(own)
        # As arrays, since another thread may have another precision for plain numbers.
        plan, rows = jax.tree.map(jnp.asarray, (plans[0], rows))
        first = functools.partial(
            first_state, num_steps=self._num_steps, averaged=settings.ema is not None
        )
        states = jax.vmap(first, (0, None))(self.best, plan.optimizer)
        self._states = states._replace(rate=jnp.asarray(rates, states.rate.dtype))
        self._inputs = keys, plan, rows
        inputs = self._states, *self._next(), *self._inputs
        self._program = _advance.lower(*inputs, alike=len(own) == 1).compile()
        self._outcome: Outcome  # of the last epoch

    @property
    def going(self) -> np.ndarray:
        """Which members are not over."""
        return np.array([not record.is_over(*self._limits) for record in self.records])

    def advance(self) -> None:
        """Take the steps of an epoch, or what is left of it, and wait for them; in any thread."""
        self._states, self._outcome = jax.block_until_ready(
            self._program(self._states, *self._next(), *self._inputs)
        )

    def keep(self, seconds: float) -> None:
        """Record the epoch, keep what is best, and go back where step after step was skipped."""
        _, span = self._next()
        states, outcomes = jax.tree.map(np.asarray, (self._states, self._outcome))
        records = [dataclasses.replace(record, epochs=[*record.epochs]) for record in self.records]
        better = np.zeros(len(records), bool)
        for i in map(int, np.flatnonzero(self.going & (states.step == span.end))):
            state, outcome = jax.tree.map(lambda array, i=i: array[i], (states, outcomes))
            values = summary(state, outcome, self._num_steps) | {"seconds": seconds}
            better[i] = records[i].add(values, monitor="validation")
            if better[i]:
                records[i].best_epoch = records[i].epoch - 1
        best = _chosen(better, self._states.candidate, self.best)
        for i in map(int, np.flatnonzero(outcomes.stuck)):
            records[i].returns += 1
            records[i].stopped = records[i].returns > MOST_RETURNS
        # Both at once, for the sake of an interrupt.
        self.best, self.records = best, records
        if outcomes.stuck.any():
            self._states = _go_back(self._states, best, outcomes.stuck)

    def _next(self) -> tuple[np.ndarray, Span]:
        """The epoch that each member is in, and its steps; none of a member that is over."""
        epochs = np.array([record.epoch for record in self.records], np.int32)
        begin, end = epochs * self._num_steps, (epochs + 1) * self._num_steps
        return epochs, Span(begin, begin, np.where(self.going, end, 0), end)


@functools.partial(jax.jit, donate_argnames=("states",), static_argnames=("alike",))
def _advance(
    states: FitState,
    epochs: Array,
    spans: Span,
    keys: Array,
    plan: Plan,
    rows: tuple[Window, Rows | None],
    *,
    alike: bool,
) -> tuple[FitState, Outcome]:
    """`advance` for each member, which all look at the same rows, or each at its own."""

    def one(
        state: FitState, epoch: Array, span: Span, key: Array, rows: tuple[Window, Rows | None]
    ) -> tuple[FitState, Outcome]:
        window, validation = rows
        own = dataclasses.replace(plan, key=key, validation=validation)
        return advance(state, own, epoch, span, window)

    in_axes = 0, 0, 0, 0, None if alike else 0
    advanced: tuple[FitState, Outcome] = jax.vmap(one, in_axes)(states, epochs, spans, keys, rows)
    return advanced


_chosen = jax.jit(jax.vmap(chosen))
_go_back = jax.jit(jax.vmap(go_back), donate_argnums=0)


def _checked_result(
    members: Sequence[tuple[FitResult, Record]], advice: str, interrupted: bool
) -> EnsembleResult:
    """The result of all members, if any of them could be trained; what went wrong is told."""
    results = tuple(result for result, _ in members)
    failed, good = [], []
    for i, (result, record) in enumerate(members):
        if record.returns > MOST_RETURNS or record.best_epoch < 0:
            failed.append(f"member {i} after {record.epoch} epochs")
        else:
            good.append(result.flow)
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
            f"training was interrupted after {max(record.epoch for _, record in members)} epochs; "
            f"what is returned is the best model of each member so far",
            RuntimeWarning,
            stacklevel=3,
        )
    return EnsembleResult(results, FlowMixture(good))
