"""Where to begin: the mode and the curvature of a density, as a data map."""

import math
import warnings
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from flowjax_lite.bijectors import Whiten
from flowjax_lite.core.checks import check_float, check_positive_int
from flowjax_lite.losses.variational import LogTarget, log_density_of_one

_ENOUGH = 1e-6  # nats that a step may still gain
_CLOSE = 1e-2  # the same, where rounding lets no step gain anything
_HALVINGS = 30  # of a step that does not gain
_FLATTEST = 1e-6  # curvature beside the largest one, in units of each entry's own
_NARROWEST = 1e-3  # width, in the same units, that is tried where there is no curvature


def laplace(log_density: LogTarget, x0: ArrayLike, *, max_steps: int = 200) -> Whiten:
    """The normal distribution at the mode of a density with its curvature, as a map from z to x.

    Given as `data_map`, it lets a flow begin where the density has its mass, in its units and
    without its correlations; what is left for the flow is the shape. Without it, fitting a flow
    to a posterior by its own samples often fails from the first step on.

    The mode is sought by Newton's method with curvatures made positive and steps that only ever
    climb. Work grows with the cube of the dimension: fine up to several hundred entries.

    Tierney and Kadane, 1986, doi:10.1080/01621459.1986.10478240.

    Args:
        log_density: log p of one event, up to a constant: from (dim,) to a scalar, twice
            differentiable. Under constraints, give that of the latent, as in the example.
        x0: (dim,), where the search begins; the density must not be zero there.
        max_steps: of the search.

    Returns:
        `Whiten(mode, L)` with L Lᵀ the inverse of the negative Hessian at the mode.

    Raises:
        TypeError: log_density returns no floating-point number.
        ValueError: x0 is no vector; the density or its derivatives are not finite there; the
            density is no scalar; or no mode was reached.

    Warns:
        RuntimeWarning: the density is not curved downwards at the mode in some direction, such as
            along a ridge; its width there is where the density falls by half a nat.

    Example:
        >>> import jax.numpy as jnp, flowjax_lite as fl
        >>> from flax import nnx
        >>> p = fl.inference.targets.EightSchools()
        >>> log_p = fl.inference.latent_log_density(p.domains, p)
        >>> start = fl.inference.laplace(log_p, jnp.zeros(p.dim))
        >>> to_data = fl.bijectors.Chain([start, p.domains])
        >>> flow = fl.flows.realnvp(dim=p.dim, data_map=to_data, rngs=nnx.Rngs(0))
    """
    x0 = check_float(x0, "x0")
    if x0.ndim != 1:
        raise ValueError(f"x0 has shape {x0.shape}; expected (dim,), one event")
    check_positive_int(max_steps, "max_steps")
    expand = _expansion(log_density_of_one(log_density, x0.shape), x0.dtype)
    here = expand(np.asarray(x0, np.float64))
    if problem := here.problem():
        raise ValueError(
            f"{problem} at x0 = {np.array2string(np.asarray(x0), precision=3, threshold=8)}: begin "
            f"where the density is positive and smooth, and under constraints give the density "
            f"of latents, latent_log_density(domains, log_p)"
        )
    for _ in range(max_steps):
        step, gain = here.newton_step()
        if gain < _ENOUGH:
            break
        after = _climb(expand, here, step, gain)
        if after is None:
            break
        here = after
    _, gain = here.newton_step()
    if not gain < _CLOSE:
        raise ValueError(
            f"no mode was reached within {max_steps} steps: at x = "
            f"{np.array2string(here.x, precision=3, threshold=8)} the log-density is "
            f"{here.value:.4g} and still climbs by about {gain:.2g}. Begin elsewhere; or the "
            f"density has no mode, as where a scale may tend to zero: write it in other "
            f"variables, or begin with Standardize at a rough guess instead"
        )
    scale, curvature, directions, flat = here.curvature()
    axes = scale[:, None] * directions
    widths = 1 / np.sqrt(curvature)
    for i in np.flatnonzero(flat):
        widths[i] = _width(expand, here, axes[:, i])
    if np.any(flat):
        warnings.warn(
            f"the log-density does not curve downwards in {flat.sum()} of {len(flat)} directions "
            f"at its mode; the start is as wide there as where the density falls by half a nat",
            RuntimeWarning,
            stacklevel=2,
        )
    return Whiten(here.x, _lower_triangular(axes * widths))


class _Expansion(NamedTuple):
    """A log-density around a point, in numpy's float64."""

    x: np.ndarray
    value: float
    gradient: np.ndarray
    hessian: np.ndarray

    def problem(self) -> str | None:
        """What is not finite, if anything."""
        for name, part in (
            ("log_density is", self.value),
            ("the gradient of log_density is", self.gradient),
            ("the second derivative of log_density is", self.hessian),
        ):
            if not np.all(np.isfinite(part)):
                bad = np.ravel(part)[~np.isfinite(np.ravel(part))][0]
                return f"{name} {bad}"
        return None

    def newton_step(self) -> tuple[np.ndarray, float]:
        """The step to where the curvature, made positive, puts the mode, and the nats it gains."""
        scale, curvature, directions, _ = self.curvature()
        slope = directions.T @ (scale * self.gradient)
        step = scale * (directions @ (slope / curvature))
        return step, float(0.5 * slope @ (slope / curvature))

    def curvature(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The negative Hessian, made positive, by its axes.

        Returns:
            Units of the entries (dim,); in these units, curvatures (dim,) and axes (dim, dim), in
            columns; and which axes are not curved downwards (dim,).
        """
        diagonal = np.abs(np.diag(self.hessian))
        scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
        values, directions = np.linalg.eigh(-scale[:, None] * self.hessian * scale)
        least = _FLATTEST * max(float(np.max(np.abs(values))), _FLATTEST)
        return scale, np.maximum(np.abs(values), least), directions, values < least


def _expansion(
    log_density: Callable[[Array], Array], dtype: jnp.dtype
) -> Callable[[np.ndarray], _Expansion]:
    @jax.jit
    def derivatives(x: Array) -> tuple[Array, Array, Array]:
        def twice(x: Array) -> tuple[Array, tuple[Array, Array]]:
            value, gradient = jax.value_and_grad(log_density)(x)
            return gradient, (value, gradient)

        hessian, (value, gradient) = jax.jacfwd(twice, has_aux=True)(x)
        return value, gradient, hessian

    def expand(x: np.ndarray) -> _Expansion:
        rounded = jnp.asarray(x, dtype)
        parts = (np.asarray(part, np.float64) for part in derivatives(rounded))
        value, gradient, hessian = parts
        return _Expansion(
            np.asarray(rounded, np.float64), float(value), gradient, 0.5 * (hessian + hessian.T)
        )

    return expand


def _climb(
    expand: Callable[[np.ndarray], _Expansion], here: _Expansion, step: np.ndarray, gain: float
) -> _Expansion | None:
    """The point that a step, or a part of it, leads to; None where none is higher."""
    part = 1.0
    for _ in range(_HALVINGS):
        there = expand(here.x + part * step)
        if there.problem() is None and there.value > here.value + 1e-4 * part * gain:
            return there
        part /= 2
    return None


def _width(expand: Callable[[np.ndarray], _Expansion], mode: _Expansion, axis: np.ndarray) -> float:
    """How far along an axis, in one direction or the other, the density falls by half a nat."""
    width = _NARROWEST
    while width < 1 / _NARROWEST:
        values = [expand(mode.x + sign * width * axis).value for sign in (1, -1)]
        if not min(values) > mode.value - 0.5:  # or is not finite
            return width
        width *= math.sqrt(2)
    return 1.0


def _lower_triangular(root: np.ndarray) -> np.ndarray:
    """L with L Lᵀ = root rootᵀ and a positive diagonal."""
    lower = np.asarray(np.linalg.qr(root.T, mode="r")).T
    return np.asarray(lower * np.sign(np.diag(lower)))
