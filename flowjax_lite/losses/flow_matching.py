"""Flow matching: the velocity of a continuous flow is learned without solving its equation."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from flowjax_lite.bijectors import AbstractBijector, unrolled
from flowjax_lite.bijectors.base import condition_of
from flowjax_lite.continuous import ContinuousFlow
from flowjax_lite.core.checks import check_choice
from flowjax_lite.core.pytree import holds
from flowjax_lite.distributions import Flow
from flowjax_lite.distributions.statistics import replace_weightless
from flowjax_lite.losses.likelihood import Loss, weighted_mean

COUPLINGS = ("independent", "optimal_transport")
PATHS = ("straight", "variance_preserving")


def flow_matching(*, coupling: str = "independent", path: str = "straight") -> Loss:
    """The error of the velocity at random points between latents and data: no equation is solved.

    A row x of data and a latent z are joined by a path, x(0) = z, x(1) = x, and the velocity at a
    random time is compared with that of the path; the mean of the squared error over the entries
    has its minimum where the flow carries the base to the data. Only the velocity is trained.

    - `path="straight"`: x(t) = (1 - t) z + t x. Liu, Gong and Liu, 2023, arXiv:2209.03003;
      Lipman, Chen, Ben-Hamu, Nickel and Le, 2023, arXiv:2210.02747.
    - `path="variance_preserving"`: x(t) = cos(πt/2) z + sin(πt/2) x, of variance one throughout
      for data of variance one. Albergo and Vanden-Eijnden, 2023, arXiv:2209.15571.
    - `coupling="independent"` draws a latent for each row; `"optimal_transport"` deals the
      latents of a batch out to its rows such that the sum of squared distances is least: paths
      become straighter, so that samples need fewer steps. The assignment is solved on the host,
      by scipy, in a time that grows with the cube of the batch. Tong et al., 2024,
      arXiv:2302.00482; Pooladian et al., 2023, arXiv:2304.14772.

    Times are spread evenly over a batch, so the loss is less noisy than with independent ones.
    Without a key, as on the rows that `fit` holds out, latents and times are the same each time.

    Args:
        coupling: "independent" or "optimal_transport".
        path: "straight" or "variance_preserving".

    Returns:
        A loss for `fit` and `make_train_step`, of a flow with exactly one `ContinuousFlow`, such
        as `flows.cnf`. It is no likelihood; `flow.log_prob` is. Equal arguments give equal
        losses, so nothing compiles twice.

    Raises:
        ValueError: an unknown coupling or path.

    Example:
        >>> import jax, flowjax_lite as fl
        >>> from flax import nnx
        >>> flow = fl.flows.cnf(dim=2, hidden=(8,), rngs=nnx.Rngs(0))
        >>> x = jax.random.normal(jax.random.key(0), (16, 2))
        >>> loss = fl.flow_matching(coupling="optimal_transport")
        >>> value = loss(flow, x, key=jax.random.key(1))
    """
    check_choice(coupling, COUPLINGS, "coupling")
    return _FlowMatching(coupling, check_choice(path, PATHS, "path"))


@dataclass(frozen=True)
class _FlowMatching:
    coupling: str
    path: str

    def __call__(
        self,
        flow: Flow,
        x: Array,
        condition: Array | None = None,
        weights: Array | None = None,
        key: Array | None = None,
    ) -> Array:
        before, ode, after = _one_equation(flow)
        if self.coupling == "optimal_transport" and flow.condition_shape is not None:
            raise ValueError(
                'coupling "optimal_transport" deals latents out over rows of other conditions, so '
                'that they would depend on the condition: use coupling="independent"'
            )
        if weights is not None:
            x, condition = replace_weightless(weights, x, condition)
        key = jax.random.key(0) if key is None else key
        of_time, of_latents = jax.random.split(key)
        rows = len(x)
        times = (jax.random.uniform(of_time, dtype=x.dtype) + jnp.arange(rows) / rows) % 1
        condition = None if condition is None else jax.vmap(flow.map_condition)(condition)

        def ends(x: Array, condition: Array | None, key: Array) -> tuple[Array, Array]:
            z = flow.base.sample(key, condition_of(flow.base, condition))
            for part in before:
                z = part.forward(z, condition_of(part, condition))
            for part in reversed(after):
                x = part.inverse(x, condition_of(part, condition))
            return z, x

        def loss(z: Array, x: Array, condition: Array | None, time: Array) -> Array:
            point, velocity = _on_path(self.path, z, x, time)
            learned = ode.dynamics(time, point, condition_of(ode, condition))
            return jnp.mean((learned - velocity) ** 2)

        keys = jax.random.split(of_latents, rows)
        z, x = lax.stop_gradient(jax.vmap(ends)(x, condition, keys))
        if self.coupling == "optimal_transport":
            z = z[_assignment(z, x)]
        return weighted_mean(jax.vmap(loss)(z, x, condition, times), weights)


def _on_path(path: str, z: Array, x: Array, time: Array) -> tuple[Array, Array]:
    """The point at a time of the path from z to x, and the velocity there."""
    if path == "straight":
        return (1 - time) * z + time * x, x - z
    angle = jnp.pi / 2 * time
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    return cosine * z + sine * x, jnp.pi / 2 * (cosine * x - sine * z)


def _assignment(z: Array, x: Array) -> Array:
    """For each row of x, the row of z that it is paired with at the least total cost."""

    def assign(z: np.ndarray, x: np.ndarray) -> np.ndarray:
        from scipy.optimize import linear_sum_assignment

        z, x = (np.asarray(rows, np.float64).reshape(len(rows), -1) for rows in (z, x))
        # Squared distances, less what is the same for all assignments.
        return linear_sum_assignment(-x @ z.T)[1].astype(np.int32)

    shape = jax.ShapeDtypeStruct((len(x),), jnp.int32)
    order: Array = jax.pure_callback(assign, shape, z, x, vmap_method="sequential")
    return order


def _one_equation(
    flow: Flow,
) -> tuple[list[AbstractBijector], ContinuousFlow, list[AbstractBijector]]:
    """The only continuous flow, between what comes before it on the latent side, and after it."""
    parts = unrolled(flow.bijector)
    places = [i for i, part in enumerate(parts) if holds(part, ContinuousFlow)]
    ode = parts[places[0]] if len(places) == 1 else None
    if not isinstance(ode, ContinuousFlow):
        raise ValueError(
            f"flow matching trains the velocity of exactly one ContinuousFlow that leads from the "
            f"base to the data; this flow holds {len(places)}"
            + (", turned around or inside another bijector" if len(places) == 1 else "")
            + ": build it with num_layers=1, or train it by negative_log_likelihood"
        )
    return parts[: places[0]], ode, parts[places[0] + 1 :]
