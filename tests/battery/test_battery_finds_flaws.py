"""The twin of the battery: each check must find the flaw that it is there for."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import pytest
from battery.checks import CHECKS
from battery.measure import Measured, measure
from battery.registry import CONDITION_DIM, DIM, Item
from battery.registry.item import LOGARITHMIC, POSITIVE
from flax import nnx
from jax import Array, lax

from flowjax_lite.bijectors import AbstractBijector

# One flaw for each check.
FLAWS = {
    "round_trip": "the inverse adds the shift",
    "far_round_trip": "the inverse is sought between -20 and 20",
    "log_det": "both log-determinants have the wrong sign",
    "log_dets_cancel": "the inverse forgets its log-determinant",
    "eager": "the result is another one under `vmap`",
    "gradient": "the gradient of the scale is stopped",
    "curvature": "the derivative of the scale is taken for a constant",
    "every_parameter_matters": "the shift is not used",
    "condition_matters": "the condition is not used",
    "extremes": "the scale is applied to an exponential",
    "outside": "a number outside of the domain gives NaN",
    "mistakes_are_named": "nothing is checked",
    "equal_configurations_share_code": "an attribute is made anew each time",
    "save_and_load": "a setting is changed after the call",
}


@jax.custom_batching.custom_vmap
def _one_more_in_batches(x: Array) -> Array:
    """The number itself, unless it is mapped over."""
    return x


@_one_more_in_batches.def_vmap
def _one_more_in_batches_rule(size: int, batched: list[bool], x: Array) -> tuple[Array, bool]:
    return x + 1, batched[0]


@jax.custom_jvp
def _constant_slope(x: Array) -> Array:
    """An exponential whose derivative has no derivative."""
    return jnp.exp(x)


@_constant_slope.defjvp
def _constant_slope_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    y = jnp.exp(primals[0])
    return y, lax.stop_gradient(y) * tangents[0]


class Flawed(AbstractBijector):
    """A shift and scale with a condition, correct but for one flaw."""

    def __init__(self, flaw: str) -> None:
        self.event_shape, self.condition_shape = (DIM,), (CONDITION_DIM,)
        self.flaw = flaw
        self.shift = nnx.Param(jnp.zeros(DIM))
        self.log_scale = nnx.Param(jnp.zeros(DIM))
        self.made_anew = object() if flaw == FLAWS["equal_configurations_share_code"] else None

    def forward_and_log_det(self, x, condition=None, key=None):
        shift, scale, log_scale = self._parts(condition)
        if self.flaw == FLAWS["eager"]:
            x = x + lax.stop_gradient(_one_more_in_batches(lax.stop_gradient(x)) - x)
        if self.flaw == FLAWS["extremes"]:
            x = jnp.log(jnp.exp(x))
        return x * scale + shift, self._sign() * jnp.sum(log_scale)

    def inverse_and_log_det(self, y, condition=None, key=None):
        shift, scale, log_scale = self._parts(condition)
        if self.flaw == FLAWS["round_trip"]:
            shift = -shift
        log_det = -self._sign() * jnp.sum(log_scale)
        if self.flaw == FLAWS["log_dets_cancel"]:
            log_det = jnp.zeros_like(log_det)
        x = (y - shift) / scale
        if self.flaw == FLAWS["far_round_trip"]:
            x = jnp.clip(x, -20.0, 20.0)
        return x, log_det

    def _sign(self) -> int:
        return -1 if self.flaw == FLAWS["log_det"] else 1

    def _parts(self, condition: Array) -> tuple[Array, Array, Array]:
        shift, log_scale = self.shift[...], self.log_scale[...]
        if self.flaw == FLAWS["every_parameter_matters"]:
            shift = jnp.zeros_like(shift)
        if self.flaw != FLAWS["condition_matters"]:
            shift = shift + jnp.sum(condition)[None]
        if self.flaw == FLAWS["gradient"]:
            log_scale = lax.stop_gradient(log_scale)
        exp = _constant_slope if self.flaw == FLAWS["curvature"] else jnp.exp
        return shift, exp(log_scale), log_scale


class Unchecked(nnx.Module):
    """A network that takes what it is given."""

    def __init__(self) -> None:
        self.dim, self.condition_shape = DIM, None

    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        return jnp.sum(x)


class Logarithm(AbstractBijector):
    """An exponential, with nothing but NaN to say for numbers below zero."""

    def __init__(self) -> None:
        self.event_shape, self.condition_shape = (DIM,), None

    def forward_and_log_det(self, x, condition=None, key=None):
        return jnp.exp(x), jnp.sum(x)

    def inverse_and_log_det(self, y, condition=None, key=None):
        return jnp.log(y), -jnp.sum(jnp.log(y))


def changed(module: Flawed) -> Flawed:
    """The module, with another setting than it was built with."""
    module.flaw = FLAWS["save_and_load"]
    return module


SOUND = Item(lambda rngs: Flawed("none"))
# What these checks look at, the map above does not have.
SPECIAL = {
    "mistakes_are_named": Item(lambda rngs: Unchecked()),
    "outside": Item(lambda rngs: Logarithm(), latent=LOGARITHMIC, data=POSITIVE),
    "save_and_load": Item(lambda rngs: changed(Flawed("none"))),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_check_finds_its_flaw(check: Callable[[Measured], None], x64: None):
    """Catches a check that has gone blind, or one that complains without a reason."""
    check(measure(SOUND, "float64"))
    name = check.__name__.removeprefix("check_")
    item = SPECIAL.get(name, Item(lambda rngs: Flawed(FLAWS[name])))
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check(measure(item, "float64"))
