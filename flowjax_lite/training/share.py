"""Members of an ensemble that one program trains side by side."""

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from flowjax_lite.core.mesh import Placement
from flowjax_lite.distributions import Flow
from flowjax_lite.distributions.mixture import member, stack
from flowjax_lite.losses import Loss
from flowjax_lite.training.epoch import (
    FitState,
    Outcome,
    advance,
    first_state,
    go_back,
    keep_best,
    last_rate,
)
from flowjax_lite.training.failure import MOST_RETURNS
from flowjax_lite.training.record import FitResult, Record, found
from flowjax_lite.training.rows import Rows
from flowjax_lite.training.window import Window


def num_shares(num: int) -> int:
    """Among how many programs to divide so many members.

    An accelerator computes all at once. A program of small arrays keeps only some cores of a CPU
    busy, so that each core has one of its own.
    """
    if jax.default_backend() != "cpu":
        return 1
    usable = getattr(os, "sched_getaffinity", None)  # not on every system
    return min(num, len(usable(0)) if usable else os.cpu_count() or 1)


class Share:
    """Some members, and how far they are.

    Attributes:
        states: of all of them, side by side.
        records: of each.
    """

    def __init__(
        self,
        flows: Sequence[Flow],
        keys: Array,
        rates: np.ndarray,
        window: Window,
        validation: Rows | None,
        *,
        num_steps: int,
        max_epochs: int,
        patience: int | None,
        loss: Loss,
        optimizer: optax.GradientTransformation,
        batch_size: int,
        ema: float | None,
    ) -> None:
        """Compile the program, if no other share has: in this thread, which knows JAX's settings.

        Args:
            flows: the members.
            keys: randomness of each.
            rates: factors on the learning rate, one for each.
            window: training rows, the same for all.
            validation: rows never trained on.
            num_steps: of an epoch.
            max_epochs: after which a member is over.
            patience: epochs without a better one after which it is over.
            loss: as for `advance`, also the following three.
            optimizer: as there.
            batch_size: as there.
            ema: as there.
        """
        self.records = [Record() for _ in flows]
        self._num_steps, self._max_epochs, self._patience = num_steps, max_epochs, patience
        state = {"optimizer": optimizer, "num_steps": num_steps, "ema": ema}
        states = _first_states(stack(flows), **state)
        self.states = states._replace(rate=jnp.asarray(rates, states.rate.dtype))
        none = np.zeros(len(flows), np.int32)
        settings = {"loss": loss, "optimizer": optimizer, "batch_size": batch_size, "ema": ema}
        arguments = self.states, keys, none, none, window, validation
        program = _advance.lower(*arguments, **settings, placement=Placement()).compile()
        self._program = lambda states, *epoch: program(states, keys, *epoch, window, validation)
        self._outcome: Outcome  # of the last epoch

    @property
    def going(self) -> np.ndarray:
        """Which members are not over."""
        limits = self._max_epochs, self._patience
        return np.array([not record.is_over(*limits) for record in self.records])

    def advance(self) -> None:
        """Take the steps of an epoch, or what is left of it, and wait for them; in any thread."""
        epochs = np.array([record.epoch for record in self.records], np.int32)
        stops = np.where(self.going, self._num_steps, 0).astype(np.int32)
        self.states, self._outcome = jax.block_until_ready(
            self._program(self.states, epochs, stops)
        )

    def keep(self, seconds: float) -> None:
        """Record the epoch, keep what is best, and go back where step after step was skipped."""
        done = self.going & (np.asarray(self.states.step) == self._num_steps)
        stuck = np.asarray(self._outcome.stuck)
        self.states = _change(self.states, self._add_epochs(done, seconds), to=keep_best)
        if stuck.any():
            self.states = _change(self.states, stuck, to=go_back)
        for i in map(int, np.flatnonzero(stuck)):
            self.records[i].returns += 1
            self.records[i].stopped = self.records[i].returns > MOST_RETURNS

    def results(self) -> list[FitResult]:
        """What `fit` returns of each member."""
        best = self.states.best
        return [record.result(member(best, i)) for i, record in enumerate(self.records)]

    def _add_epochs(self, done: np.ndarray, seconds: float) -> np.ndarray:
        """Add an epoch to the record of each member that has done one; whose was its best?"""
        _, train, validation = map(np.asarray, self._outcome)
        steps, rates = jax.tree.map(np.asarray, self.states.steps), last_rate(self.states)
        better = np.zeros(len(self.records), bool)
        for i in map(int, np.flatnonzero(done)):
            values = {"train": float(train[i]), "validation": float(validation[i])}
            of_member = jax.tree.map(lambda array, i=i: array[i], steps)
            values |= found(of_member, None if rates is None else rates[i])
            better[i] = self.records[i].add(values | {"seconds": seconds}, monitor="validation")
        return better


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
) -> tuple[FitState, Outcome]:
    """`advance` for each member, which all look at the same rows."""

    def one(state: FitState, key: Array, epoch: Array, stop: Array) -> Any:
        return advance(state, key, epoch, 0, stop, window, validation, **settings)

    advanced: tuple[FitState, Outcome] = jax.vmap(one)(states, keys, epochs, stops)
    return advanced


@functools.partial(jax.jit, static_argnames=("to",), donate_argnames=("states",))
def _change(states: FitState, which: Array, *, to: Callable[[FitState], FitState]) -> FitState:
    """Change the states of some members."""

    def one(state: FitState, changes: Array) -> FitState:
        return jax.tree.map(lambda new, old: jnp.where(changes, new, old), to(state), state)

    changed: FitState = jax.vmap(one)(states, which)
    return changed
