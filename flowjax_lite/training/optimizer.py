"""The optimizer of `fit`, its schedule, and what it treats in a way of its own."""

import functools
import math
from dataclasses import dataclass
from typing import Any

import jax
import optax

from flowjax_lite.core.checks import check_choice, check_positive_int
from flowjax_lite.core.pytree import map_named, named_leaves

SCHEDULES = ("cosine", "linear", "exponential", "constant")
_LOWEST = 1e-3  # of an exponential decay, as a part of the highest rate


@dataclass(frozen=True)
class AdamW:
    """Adam with clipped gradients, a schedule, and decay of weights; give it to `fit`.

    The default of `fit` is `AdamW(learning_rate)`. Called with the number of steps, it returns
    an optax transformation; equal settings return the same object, so that a second `fit`
    compiles nothing.

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
        return _build(self, num_steps)


@functools.lru_cache(maxsize=128)
def _build(settings: AdamW, num_steps: int) -> optax.GradientTransformation:
    rate = _schedule(settings, num_steps // settings.accumulate)
    decays = []
    if settings.weight_decay:
        decays.append(optax.add_decayed_weights(settings.weight_decay, _kernels))
    # Its state holds the rate of the last update, for the history.
    scale = optax.inject_hyperparams(optax.scale_by_learning_rate)(rate)
    factors = [
        optax.masked(optax.scale(factor), functools.partial(_begins, start=start))
        for start, factor in settings.rates
    ]
    optimizer = optax.chain(
        optax.clip_by_global_norm(settings.clip), optax.scale_by_adam(), *decays, scale, *factors
    )
    if settings.accumulate == 1:
        return optimizer
    return optax.MultiSteps(optimizer, settings.accumulate).gradient_transformation()


def _schedule(settings: AdamW, num_updates: int) -> optax.Schedule:
    highest, warmup = settings.learning_rate, max(1, int(num_updates * settings.warmup))
    rest = max(1, max(2, num_updates) - warmup)
    falls = {
        "cosine": optax.cosine_decay_schedule(highest, rest),
        "linear": optax.linear_schedule(highest, 0.0, rest),
        "exponential": optax.exponential_decay(highest, rest, _LOWEST),
        "constant": optax.constant_schedule(highest),
    }
    rises = optax.linear_schedule(0.0, highest, warmup)
    return optax.join_schedules([rises, falls[settings.schedule]], [warmup])


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
