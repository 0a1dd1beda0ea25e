"""The optimizer of a run: `AdamW` with its schedule, or any transformation of optax.

And an optimizer for a loop of one's own, over a whole module.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array

from flowjax_lite.core.checks import check_choice, check_positive_int
from flowjax_lite.core.pytree import map_named, named_leaves

SCHEDULES = ("cosine", "linear", "exponential", "constant")
_STATIC = {"static": True}  # a field of a pytree that is part of its structure
_LOWEST = 1e-3  # of an exponential decay, as a part of the highest rate


@dataclass(frozen=True)
class AdamW:
    """Adam with clipped gradients, a schedule, and decay of weights; give it to `fit`.

    The default of `fit` is `AdamW(learning_rate)`. Called with the number of steps, it returns
    an optax transformation; equal settings return the same object. Within `fit` the numbers are
    inputs of the compiled program: others compile nothing.

    Adam: Kingma and Ba, 2015, arXiv:1412.6980. AdamW: Loshchilov and Hutter, 2019,
    arXiv:1711.05101.

    Attributes:
        learning_rate: the highest rate, reached after the warm-up.
        schedule: how it falls afterwards: "cosine" and "linear" to zero, "exponential" to a
            thousandth, "constant" not at all.
        warmup: the part of all steps in which the rate rises from zero.
        clip: the largest norm of the whole gradient; larger ones are scaled to it.
        weight_decay: of the kernels of networks alone; biases and other parameters do not decay.
        accumulate: the gradients of so many batches make one update.
        rates: factors on the rate of parameters by the beginning of their names, such as
            (("base", 0.1),) or (("bijector/layers/0", 0.0),).

    Raises:
        TypeError: accumulate is not a whole number.
        ValueError: a setting is out of range.
    """

    learning_rate: float = 1e-3
    schedule: str = "cosine"
    warmup: float = 0.05
    clip: float = 5.0
    weight_decay: float = 0.0
    accumulate: int = 1
    rates: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        check_choice(self.schedule, SCHEDULES, "schedule")
        check_positive_int(self.accumulate, "accumulate")
        for name in ("learning_rate", "clip"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise ValueError(f"{name} is {value}; expected a positive number")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay is {self.weight_decay}; expected at least 0")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup is {self.warmup}; expected a part from 0 to below 1")

    def __call__(self, num_steps: int) -> optax.GradientTransformation:
        """The transformation for a run of so many steps."""
        return _with_constants(self, num_steps)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ScheduledAdamW:
    """`AdamW` for a run of known length: a pytree, whose numbers a compiled program takes.

    Attributes:
        learning_rate: as in `AdamW`, also those not named below.
        warmup: updates in which the rate rises.
        rest: updates in which it falls.
        factors: on the rates of the groups.
        decays: whether weights decay at all.
        groups: the beginnings of their names.
    """

    learning_rate: float
    warmup: int
    rest: int
    clip: float
    weight_decay: float
    factors: tuple[float, ...]
    schedule: str = field(metadata=_STATIC)
    accumulate: int = field(metadata=_STATIC)
    decays: bool = field(metadata=_STATIC)
    groups: tuple[str, ...] = field(metadata=_STATIC)

    @classmethod
    def over(cls, settings: AdamW, num_steps: int) -> "ScheduledAdamW":
        """The settings for a run of so many steps."""
        num_updates = num_steps // settings.accumulate
        warmup = max(1, int(num_updates * settings.warmup))
        return cls(
            learning_rate=float(settings.learning_rate),
            warmup=warmup,
            rest=max(1, max(2, num_updates) - warmup),
            clip=float(settings.clip),
            weight_decay=float(settings.weight_decay),
            factors=tuple(float(factor) for _, factor in settings.rates),
            schedule=settings.schedule,
            accumulate=settings.accumulate,
            decays=settings.weight_decay > 0,
            groups=tuple(start for start, _ in settings.rates),
        )

    def transformation(self) -> optax.GradientTransformation:
        """The transformation of optax."""
        decay = optax.add_decayed_weights(self.weight_decay, _kernels)
        groups = zip(self.groups, self.factors, strict=True)
        optimizer = optax.chain(
            optax.clip_by_global_norm(self.clip),
            optax.scale_by_adam(),
            *([decay] if self.decays else []),
            _scale_by_rate(self.rate),
            *(
                optax.masked(optax.scale(factor), functools.partial(_begins, start=start))
                for start, factor in groups
            ),
        )
        if self.accumulate == 1:
            return optimizer
        return optax.MultiSteps(optimizer, self.accumulate).gradient_transformation()

    def rate(self, done: Array) -> Array:
        """The rate after so many updates."""
        part = jnp.clip((done - self.warmup) / self.rest, 0.0, 1.0)
        fallen = {
            "cosine": 0.5 * (1 + jnp.cos(jnp.pi * part)),
            "linear": 1 - part,
            "exponential": _LOWEST**part,
            "constant": jnp.ones_like(part),
        }[self.schedule]
        return self.learning_rate * jnp.where(done < self.warmup, done / self.warmup, fallen)


@jax.tree_util.register_static
@dataclass(frozen=True)
class Fixed:
    """A transformation of optax as it is, whose numbers are constants of the compiled program."""

    given: optax.GradientTransformation

    def transformation(self) -> optax.GradientTransformation:
        """The transformation of optax."""
        return self.given


RunOptimizer: TypeAlias = ScheduledAdamW | Fixed


def over_steps(optimizer: AdamW | optax.GradientTransformation, num_steps: int) -> RunOptimizer:
    """The optimizer of a run of so many steps, as compiled programs take it."""
    if isinstance(optimizer, AdamW):
        return ScheduledAdamW.over(optimizer, num_steps)
    return Fixed(optimizer)


@functools.lru_cache(maxsize=128)
def _with_constants(settings: AdamW, num_steps: int) -> optax.GradientTransformation:
    return ScheduledAdamW.over(settings, num_steps).transformation()


class _RateState(NamedTuple):
    """How many updates are done, and the rate of the last one, for the history."""

    done: Array
    learning_rate: Array


def _scale_by_rate(rate: Callable[[Array], Array]) -> optax.GradientTransformation:
    def init(params: Any) -> _RateState:
        done = jnp.zeros((), jnp.int32)
        return _RateState(done, rate(done))

    def update(updates: Any, state: _RateState, params: Any = None) -> tuple[Any, _RateState]:
        now = rate(state.done)
        updates = jax.tree.map(lambda update: -now.astype(update.dtype) * update, updates)
        return updates, _RateState(state.done + 1, now)

    return optax.GradientTransformation(init, update)


def _kernels(params: Any) -> Any:
    """Which parameters are kernels of networks."""
    return map_named(lambda name, _: name.endswith("kernel"), params)


def _begins(params: Any, *, start: str) -> Any:
    """Which parameters have names that begin so."""
    marked = map_named(lambda name, _: f"{name}/".startswith(f"{start}/"), params)
    if not any(jax.tree.leaves(marked)):
        raise ValueError(
            f"rates names {start!r}, and no parameter's name begins so; there are "
            f"{', '.join(list(named_leaves(params))[:10])}, ..."
        )
    return marked


def params_only(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """An optimizer over a whole module that trains its `nnx.Param` variables alone.

    `fit` and `make_train_step` do so by themselves; this is for a loop of one's own, with
    gradients of a whole flow. All else stays as it is, to the last bit: indices, the constants of
    `Standardize`, running statistics, also where the optimizer decays weights.

    Args:
        optimizer: any optax gradient transformation.

    Returns:
        A transformation whose parameters, gradients and updates are modules.

    Example:
        >>> import jax, optax, flowjax_lite as fl
        >>> from flax import nnx
        >>> flow = fl.flows.realnvp(dim=2, num_layers=2, hidden=(8,), rngs=nnx.Rngs(0))
        >>> x = jax.random.normal(jax.random.key(0), (16, 2))
        >>> optimizer = fl.training.params_only(optax.adamw(1e-3))
        >>> state = optimizer.init(flow)
        >>> gradients = jax.grad(fl.negative_log_likelihood, allow_int=True)(flow, x)
        >>> updates, state = optimizer.update(gradients, state, flow)
        >>> flow = optax.apply_updates(flow, updates)
    """

    def init(module: nnx.Module) -> optax.OptState:
        return optimizer.init(nnx.state(module, nnx.Param))

    def update(
        gradients: Any, state: optax.OptState, module: Any = None
    ) -> tuple[nnx.Module, optax.OptState]:
        if module is None:
            raise TypeError("module is missing; give it as the third argument of update")
        of_params, params = nnx.state(gradients, nnx.Param), nnx.state(module, nnx.Param)
        new, state = optimizer.update(of_params, state, params)
        updates = jax.tree.map(jnp.zeros_like, module)
        nnx.update(updates, new)
        return updates, state

    return optax.GradientTransformation(init, update)
