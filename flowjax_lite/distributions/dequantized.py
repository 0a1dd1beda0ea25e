"""Images of whole levels, as a flow of real numbers sees them: with noise within each level."""

import functools
import math
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

from flowjax_lite.core.checks import (
    Shape,
    check_condition_batch,
    check_levels,
    check_positive_int,
    default_dtype,
)
from flowjax_lite.distributions.flow import Flow, aligned_rows, batch_shape
from flowjax_lite.distributions.model import AbstractModel
from flowjax_lite.distributions.slices import in_slices
from flowjax_lite.numerics.random import uniform


@final
class Dequantized(AbstractModel):
    """The distribution of whole levels that a flow gives: P(x) = ∫ p(x + u) du, 0 ≤ u < 1.

    The integral has no closed form. Noise u, uniform or of a conditional flow q, gives a bound:

        log P(x) ≥ E_q[log p(x + u) - log q(u|x)]

    `fit` takes images of whole numbers, which stay so on the device, with the loss
    `losses.bits_per_dim`; each step draws new noise.

    Uniform noise: Theis, Van den Oord and Bethge, 2016, arXiv:1511.01844, section 3.1. Variational:
    Ho, Chen, Srinivas, Duan and Abbeel, 2019, arXiv:1902.00275, section 3.1.

    Attributes:
        flow: the density p of numbers in [0, num_levels).
        num_levels: number of levels.
        noise: the flow q(u|x), or None for uniform noise.
        event_shape: shape of one image.
        condition_shape: that of the flow.

    Example:
        >>> import jax, flowjax_lite as fl
        >>> from flax import nnx
        >>> x = jax.random.randint(jax.random.key(0), (40, 4, 4, 1), 0, 8)
        >>> flow = fl.flows.glow(image_shape=(4, 4, 1), num_levels=8, num_scales=1, num_layers=1,
        ...                      channels=4, rngs=nnx.Rngs(0))
        >>> model = fl.initialize(fl.distributions.Dequantized(flow, num_levels=8), x)
        >>> loss = fl.losses.bits_per_dim
        >>> model = fl.fit(model, x, key=0, loss=loss, max_epochs=2, progress=False).flow
        >>> bits = model.bits_per_dim(x, 0, num_samples=10)  # (40,)
        >>> images = model.sample(1, 3)  # (3, 4, 4, 1), of whole numbers
    """

    def __init__(self, flow: Flow, *, num_levels: int = 256, noise: Flow | None = None) -> None:
        """Read a flow as a distribution of whole levels.

        Args:
            flow: a flow of numbers in [0, num_levels), such as `flows.glow(num_levels=256, ...)`.
            num_levels: number of levels; 256 for bytes.
            noise: a flow of noise in (0, 1), of the same event shape, whose condition is the image
                in units of one, 2 (x + ½) / num_levels - 1, of that shape too; None for uniform
                noise. It is trained with the flow.

        Raises:
            ValueError: shapes do not fit together, or the flow was built for other levels.
        """
        self.num_levels: int = check_positive_int(num_levels, "num_levels", minimum=2)
        built_for = dict(flow.recipe.arguments).get("num_levels") if flow.recipe else None
        if built_for not in (None, self.num_levels):
            raise ValueError(
                f"num_levels is {self.num_levels}, and the flow was built with {built_for}: give "
                f"both the same number"
            )
        shapes = None if noise is None else (noise.event_shape, noise.condition_shape)
        if shapes not in (None, (flow.event_shape, flow.event_shape)):
            raise ValueError(
                f"noise has events and conditions of shapes {shapes}; expected those of the "
                f"images, {flow.event_shape}, for both"
            )
        self.flow, self.noise = flow, noise
        self.event_shape, self.condition_shape = flow.event_shape, flow.condition_shape

    def lower_bound(
        self,
        x: ArrayLike,
        key: Array | int,
        condition: ArrayLike | None = None,
        *,
        num_samples: int = 1,
        batch_size: int | None = None,
    ) -> Array:
        """An estimate from below of the log-probability, which itself has no closed form.

            E[log (1/K) Σ_k p(x + u_k) / q(u_k|x)] ≤ log P(x),  K samples u_k of the noise

        It is a bound in its mean, which rises with K: report it as one.

        Args:
            x: (..., *event_shape), whole numbers from 0 to num_levels - 1.
            key: randomness, or a seed.
            condition: (..., *condition_shape); its leading axes broadcast against those of x.
            num_samples: samples K, evaluated one after the other.
            batch_size: number of events to evaluate at a time; None for all at once.

        Returns:
            (...), in nats.

        Raises:
            TypeError: x has no whole numbers, or a number is not whole.
            ValueError: x has the wrong shape or levels that there are not, or a number is below 1.
        """
        levels = check_levels(x, self.event_shape, self.num_levels, "x")
        condition = check_condition_batch(condition, self.condition_shape)
        batch = batch_shape(levels, self.event_shape, condition, self.condition_shape)
        num = check_positive_int(num_samples, "num_samples")
        rows = (
            aligned_rows(levels, batch, self.event_shape),
            aligned_rows(condition, batch, self.condition_shape),
        )
        evaluate = functools.partial(_lower_bound, self, num_samples=num)
        bound: Array = in_slices(evaluate, rows, key, batch_size)
        return bound.reshape(batch)

    def bits_per_dim(
        self,
        x: ArrayLike,
        key: Array | int,
        condition: ArrayLike | None = None,
        *,
        num_samples: int = 1,
        batch_size: int | None = None,
    ) -> Array:
        """The bound in bits for each number of an image: -lower_bound / (n log 2), an upper bound.

        Args:
            x: as for `lower_bound`, also the others.
            key: as there.
            condition: as there.
            num_samples: as there.
            batch_size: as there.

        Returns:
            (...).
        """
        options: dict[str, Any] = {"num_samples": num_samples, "batch_size": batch_size}
        bound = self.lower_bound(x, key, condition, **options)
        return -bound / (math.prod(self.event_shape) * math.log(2))

    def sample(
        self,
        key: Array | int,
        shape: int | Shape = (),
        condition: ArrayLike | None = None,
        *,
        temperature: ArrayLike | None = None,
    ) -> Array:
        """Independent samples, rounded down to whole levels.

        Args:
            key: as for `Flow.sample`, also the others.
            shape: as there.
            condition: as there.
            temperature: as there.

        Returns:
            (*shape, ..., *event_shape), whole numbers of 0 … num_levels - 1: bytes for up to 256
            levels, and integers otherwise.
        """
        return self.quantized(self.flow.sample(key, shape, condition, temperature=temperature))

    def quantized(self, x: Array) -> Array:
        """Numbers of the flow, rounded down to whole levels.

        Args:
            x: any shape; what lies beyond the levels has the nearest one.

        Returns:
            The same shape, of 0 … num_levels - 1: bytes for up to 256 levels, and integers
            otherwise.
        """
        levels = jnp.clip(jnp.floor(x), 0, self.num_levels - 1)
        return levels.astype(jnp.uint8 if self.num_levels <= 256 else jnp.int32)

    def dequantized(self, x: Array, key: Array) -> tuple[Array, Array]:
        """One image with noise.

        Args:
            x: event_shape, whole numbers.
            key: randomness.

        Returns:
            x + u of the same shape, and log q(u|x), a scalar.
        """
        levels = x.astype(default_dtype())
        if self.noise is None:
            u = uniform(key, levels.shape, levels.dtype)
            return levels + u, jnp.zeros((), levels.dtype)
        centred = 2 * (levels + 0.5) / self.num_levels - 1
        u, log_q = self.noise.sample_and_log_prob(key, (), centred)
        return levels + u, log_q

    def _summary(self) -> list[tuple[str, object]]:
        rows: list[tuple[str, object]] = [
            ("flow", str(self.flow.recipe)),
            ("levels", self.num_levels),
            ("noise", "uniform" if self.noise is None else str(self.noise.recipe)),
        ]
        return rows + super()._summary()


def bounds(model: Dequantized, x: Array, condition: Array | None, keys: Array) -> Array:
    """log p(x + u) - log q(u|x) of each row, for one sample of its noise.

    Args:
        model: the distribution.
        x: (rows, *event_shape), whole numbers.
        condition: (rows, *condition_shape), or None.
        keys: (rows,), randomness.
    """

    def of_one(x: Array, condition: Array | None, key: Array) -> Array:
        of_noise, of_flow = jax.random.split(key)
        noisy, log_q = model.dequantized(x, of_noise)
        return model.flow.log_prob(noisy, condition, of_flow) - log_q

    return jax.vmap(of_one)(x, condition, keys)


# Compiled once for each structure and shape.
@functools.partial(jax.jit, static_argnames=("num_samples",))
def _lower_bound(
    model: Dequantized, x: Array, condition: Array | None, key: Array, *, num_samples: int
) -> Array:
    def add(total: Array, key: Array) -> tuple[Array, None]:
        bound = bounds(model, x, condition, jax.random.split(key, len(x)))
        return jnp.logaddexp(total, bound), None

    start = jnp.full(len(x), -jnp.inf, default_dtype())
    total, _ = lax.scan(add, start, jax.random.split(key, num_samples))
    return total - np.log(num_samples)
