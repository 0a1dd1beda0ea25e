"""distrax: its couplings and splines around flax networks, the rest by hand.

distrax has no autoregressive layer and no training loop, so both are written here, as short as
a user would. Its couplings exchange the halves with `swap`.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen

from frameworks import base, in_jax
from frameworks.base import Case

Params = tuple[Any, ...]
OPTIMIZER = optax.adam(base.LEARNING_RATE)
ZEROS = linen.initializers.zeros_init()


class MLP(linen.Module):
    """A network from (..., n) to (..., *out_shape)."""

    hidden: tuple[int, ...]
    out_shape: tuple[int, int]

    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for width in self.hidden:
            x = linen.relu(linen.Dense(width)(x))
        x = linen.Dense(self.out_shape[0] * self.out_shape[1], kernel_init=ZEROS)(x)
        return x.reshape(*x.shape[:-1], *self.out_shape)


class MADE(linen.Module):
    """A network from (..., dim) to (..., dim, num_params) that sees the entries before."""

    hidden: tuple[int, ...]
    out_shape: tuple[int, int]

    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        dim, num_params = self.out_shape
        below = tuple(range(1, dim + 1))
        for width in self.hidden:
            above = tuple(1 + i % (dim - 1) for i in range(width))
            x, below = linen.relu(MaskedDense(below, above)(x)), above
        above = tuple(i for i in range(dim) for _ in range(num_params))
        x = MaskedDense(below, above, kernel_init=ZEROS)(x)
        return x.reshape(*x.shape[:-1], *self.out_shape)


class MaskedDense(linen.Module):
    """A dense layer whose weights are kept where the degree does not decrease."""

    below: tuple[int, ...]
    above: tuple[int, ...]
    kernel_init: linen.initializers.Initializer = linen.initializers.lecun_normal()

    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (len(self.below), len(self.above))
        kernel = self.param("kernel", self.kernel_init, shape)
        bias = self.param("bias", ZEROS, shape[1:])
        mask = np.asarray(self.below)[:, None] <= np.asarray(self.above)
        return x @ jnp.where(mask, kernel, 0) + bias


class MaskedAutoregressive(distrax.Bijector):
    """Transform every entry given those before, then reverse; the inverse takes dim passes."""

    def __init__(
        self,
        dim: int,
        conditioner: Callable[[jax.Array], jax.Array],
        scalar: Callable[[jax.Array], distrax.Bijector],
    ) -> None:
        super().__init__(event_ndims_in=1)
        self.dim = dim
        self.given = lambda x: distrax.Block(scalar(conditioner(x)), 1)

    def forward_and_log_det(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        y, log_det = self.given(x).forward_and_log_det(x)
        return y[..., ::-1], log_det

    def inverse_and_log_det(self, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        y = y[..., ::-1]
        x = jax.lax.fori_loop(
            0, self.dim - 1, lambda _, x: self.given(x).inverse(y), jnp.zeros_like(y)
        )
        return self.given(x).inverse_and_log_det(y)


def affine(params: jax.Array) -> distrax.Bijector:
    """Shift and scale."""
    return distrax.ScalarAffine(shift=params[..., 0], log_scale=params[..., 1])


def spline(params: jax.Array) -> distrax.Bijector:
    """A spline with the identity outside."""
    return distrax.RationalQuadraticSpline(
        params, -base.BOUND, base.BOUND, boundary_slopes="identity"
    )


@dataclass(frozen=True)
class Model:
    """A flow without its parameters."""

    case: Case
    dim: int

    @property
    def network(self) -> linen.Module:
        """The network of each layer."""
        num_params = 3 * base.NUM_BINS + 1 if self.case.spline else 2
        if self.case.autoregressive:
            return MADE(self.case.hidden, (self.dim, num_params))
        return MLP(self.case.hidden, (self.dim - self.dim // 2, num_params))

    def init(self, key: jax.Array) -> Params:
        """Parameters at the start, one tree for each layer."""
        width = self.dim if self.case.autoregressive else self.dim // 2
        keys = jax.random.split(key, self.case.num_layers)
        return tuple(self.network.init(key, jnp.zeros(width)) for key in keys)

    def distribution(self, params: Params) -> distrax.Distribution:
        """The flow with these parameters; its layers map from the data to the latent."""
        layers = [self._layer(i, layer_params) for i, layer_params in enumerate(params)]
        latent = distrax.MultivariateNormalDiag(jnp.zeros(self.dim))
        return distrax.Transformed(latent, distrax.Inverse(distrax.Chain(layers)))

    def _layer(self, index: int, params: Any) -> distrax.Bijector:
        conditioner = functools.partial(self.network.apply, params)
        scalar, kept = spline if self.case.spline else affine, self.dim // 2
        if self.case.autoregressive:
            return MaskedAutoregressive(self.dim, conditioner, scalar)
        swap = index % 2 == 1
        split = self.dim - kept if swap else kept
        return distrax.SplitCoupling(split, 1, conditioner, scalar, swap=swap)


@functools.partial(jax.jit, static_argnums=0)
def log_prob(model: Model, params: Params, x: jax.Array) -> jax.Array:
    """Log-densities of rows."""
    return model.distribution(params).log_prob(x)


@functools.partial(jax.jit, static_argnums=0)
def sample(model: Model, params: Params, key: jax.Array) -> jax.Array:
    """A batch of samples."""
    return model.distribution(params).sample(seed=key, sample_shape=(base.BATCH,))


@functools.partial(jax.jit, static_argnums=0)
def update(model: Model, params: Params, opt_state: Any, x: jax.Array) -> tuple[Params, Any, Any]:
    """One training step: new parameters, optimizer state, and the loss."""
    loss, gradients = jax.value_and_grad(lambda p: -jnp.mean(log_prob(model, p, x)))(params)
    updates, opt_state = OPTIMIZER.update(gradients, opt_state)
    return optax.apply_updates(params, updates), opt_state, loss


class Distrax(in_jax.JaxPeer):
    """A model and its parameters."""

    name = "distrax"
    packages = ("distrax",)
    difference = (
        "distrax's splines have more parameters: they take the slopes at both ends, and ignore "
        "them for a tail that is the identity."
    )

    def __init__(self, case: Case, dim: int) -> None:
        self.model = Model(case, dim)
        self.params = self.model.init(jax.random.key(0))
        self.num_parameters = in_jax.count(self.params)

    def calls(self, x: np.ndarray) -> dict[str, Callable[[], Any]]:
        batch, key = jnp.asarray(x), jax.random.key(0)
        opt_state = OPTIMIZER.init(self.params)
        return {
            "log_prob": lambda: log_prob(self.model, self.params, batch),
            "step": lambda: update(self.model, self.params, opt_state, batch)[2],
            "sample": lambda: sample(self.model, self.params, key),
        }

    def rounding_error(self, x: np.ndarray) -> float:
        params = in_jax.drawn(self.params)
        single = log_prob(self.model, params, x)
        with jax.enable_x64(True):
            double = log_prob(self.model, in_jax.in_float64(params), x.astype(np.float64))
        return in_jax.largest_difference(single, double)

    def fit(self, x: np.ndarray) -> None:
        held_out = round(len(x) * base.FIT_VALIDATION)
        validation, train = jnp.asarray(x[:held_out]), jnp.asarray(x[held_out:])
        params, opt_state = self.params, OPTIMIZER.init(self.params)
        for epoch in range(base.FIT_EPOCHS):
            order = jax.random.permutation(jax.random.key(epoch), len(train))
            for start in range(0, len(train) - base.FIT_BATCH + 1, base.FIT_BATCH):
                batch = train[order[start : start + base.FIT_BATCH]]
                params, opt_state, _ = update(self.model, params, opt_state, batch)
            float(jnp.mean(log_prob(self.model, params, validation)))
