"""Draws of parameters, and what a simulator makes of each: data for inference by simulation."""

import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from flowjax_lite.core.checks import as_key, check_positive_int, default_dtype
from flowjax_lite.core.progress import tqdm
from flowjax_lite.distributions import AbstractBase, Density
from flowjax_lite.distributions.density import as_density

Simulator = Callable[[Any, Any], Any]
_FIRST = 50  # simulations that may all fail before a run ends, in plain Python


def simulate(
    prior: Density | AbstractBase,
    simulator: Simulator,
    key: Array | int,
    num: int,
    *,
    compiled: bool = True,
    batch_size: int = 1000,
    progress: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw parameters from a prior, and simulate each of them once.

    Simulations whose result is not finite are left out, and so are those that raise an exception
    in plain Python; a warning tells how many. What is learned from the others is the posterior
    given that a simulation succeeds. An interrupt returns what has been simulated so far.

    Neural posterior estimation is then `fit(q, theta, condition=x)`, where a `data_map` of q such
    as `Domains` keeps all of its density within the prior's support, and a `condition_map` such as
    `Standardize.from_data(x)` brings x to unit scale. Neural likelihood estimation is
    `fit(q, x, condition=theta)`.

    Papamakarios and Murray, 2016, arXiv:1605.06376; Cranmer, Brehmer and Louppe, 2020,
    arXiv:1911.01429.

    Args:
        prior: a base such as `distributions.Uniform`, a flow, or any `Density`.
        simulator: from randomness and one theta, (*event_shape), to one x of any fixed shape; a
            number counts as an array of one.
        key: randomness, or a seed.
        num: simulations.
        compiled: whether the simulator is made of functions of jax: it gets a key, and is compiled
            and mapped over batches. If False it gets a `numpy.random.Generator` and an array of
            numpy, and is called once for each theta.
        batch_size: simulations at a time, where it is compiled.
        progress: show a progress bar.

    Returns:
        theta, (rows, *event_shape), and x, (rows, *x.shape), of the simulations that succeeded.

    Raises:
        TypeError: the prior is none, or the simulator cannot be traced by jax, or returns no
            numbers.
        ValueError: the prior draws numbers that are not finite; all of the first simulations fail;
            or a simulation has another shape than the first one.

    Warns:
        RuntimeWarning: some simulations failed, or the run was interrupted.

    Example:
        >>> import jax, flowjax_lite as fl
        >>> prior = fl.distributions.Uniform(2, low=-1.0, high=1.0)
        >>> def simulator(key, theta):
        ...     return theta + 0.1 * jax.random.normal(key, (2,))
        >>> theta, x = fl.inference.simulate(prior, simulator, 0, 100, progress=False)
        >>> x.shape
        (100, 2)
    """
    density = as_density(prior)
    num, batch_size = check_positive_int(num, "num"), check_positive_int(batch_size, "batch_size")
    theta_key, sim_key = jax.random.split(as_key(key))
    theta = np.asarray(density.sample(theta_key, num))
    bad = np.flatnonzero(~_finite(theta))
    if bad.size:
        raise ValueError(
            f"the prior drew {theta[bad[0]]}, which is not finite, and {bad.size} of {num} are "
            f"like it"
        )
    run = (
        _compiled(simulator, theta, sim_key, batch_size)
        if compiled
        else _each(simulator, theta, sim_key)
    )
    parts: list[np.ndarray] = []
    done, succeeded, reason = 0, 0, ""
    with tqdm(total=num, unit="simulation", disable=not progress) as bar:
        try:
            for x, problem in run:
                good = _finite(x)
                parts.append(x)
                done, succeeded = done + len(x), succeeded + int(good.sum())
                if not good.all() and not reason:
                    at = done - len(x) + int(np.argmin(good))
                    result = repr(problem) if problem else "its result is not finite"
                    reason = f"first that of theta = {theta[at]}: {result}"
                if not succeeded and done >= min(num, _FIRST):
                    raise ValueError(
                        f"all of the first {done} simulations failed, {reason}. Try the simulator "
                        f"on one theta by itself"
                    ) from problem
                bar.update(len(x))
        except KeyboardInterrupt:
            if not succeeded:
                raise
            warnings.warn(
                f"interrupted after {done} of {num} simulations, which are returned",
                RuntimeWarning,
                stacklevel=2,
            )
    x = np.concatenate(parts)
    good = _finite(x)
    if not good.all():
        warnings.warn(
            f"{done - succeeded} of {done} simulations failed and were left out, {reason}. What is "
            f"learned from the others is the posterior given that a simulation succeeds",
            RuntimeWarning,
            stacklevel=2,
        )
    return theta[:done][good], x[good]


# What has been simulated next, (some, *x.shape), and why the first of it failed, if it raised.
_Batches = Iterator[tuple[np.ndarray, Exception | None]]


def _compiled(simulator: Simulator, theta: np.ndarray, key: Array, batch_size: int) -> _Batches:
    """The simulations of a function that jax can trace."""
    try:
        one = jax.eval_shape(simulator, key, jax.ShapeDtypeStruct(theta.shape[1:], theta.dtype))
    except Exception as error:  # whatever a function of numpy does with what jax traces
        raise TypeError(
            f"simulator cannot be traced by jax ({type(error).__name__}: {error}); it is called as "
            f"simulator(key, theta) with theta of shape {theta.shape[1:]}. One in plain Python is "
            f"run by simulate(..., compiled=False), and gets a numpy.random.Generator"
        ) from error
    dtype = getattr(one, "dtype", None)
    if dtype is None or not jnp.issubdtype(dtype, jnp.number) or dtype.kind == "c":
        raise TypeError(f"simulator returns {one}; expected one array of real numbers")
    batch_size = min(batch_size, len(theta))
    keys = jax.random.split(key, len(theta))
    for start in range(0, len(theta), batch_size):
        # The last batch is filled up, so that all of them run in one program.
        index = np.minimum(np.arange(start, start + batch_size), len(theta) - 1)
        x = _simulated(simulator, keys[index], theta[index])
        yield _as_rows(np.asarray(x)[: len(theta) - start]), None


@functools.partial(jax.jit, static_argnames="simulator")
def _simulated(simulator: Simulator, keys: Array, theta: Array) -> Array:
    return jax.vmap(simulator)(keys, theta)


def _each(simulator: Simulator, theta: np.ndarray, key: Array) -> _Batches:
    """The simulations of a function in plain Python, one after the other."""
    seed = np.asarray(jax.random.key_data(key)).ravel().tolist()
    shape: tuple[int, ...] | None = None
    waiting: list[Exception] = []  # of simulations before the first one that has a shape
    for i, given in enumerate(theta):
        problem: Exception | None = None
        try:
            result = simulator(np.random.default_rng([*seed, i]), given.copy())
        except Exception as error:  # one failure among many is no reason to lose the others
            problem = error
        else:
            x = _as_rows(np.asarray(result)[None])
            if shape is not None and x.shape[1:] != shape:
                raise ValueError(
                    f"simulator returned shape {x.shape[1:]} for theta = {given}, and {shape} "
                    f"before; expected one shape for all: pad x, or summarise it"
                )
            shape = x.shape[1:]
        if shape is not None:
            if waiting:
                yield np.full((len(waiting), *shape), np.nan, default_dtype()), waiting[0]
                waiting = []
            failed = np.full((1, *shape), np.nan, default_dtype())
            yield (x if problem is None else failed), problem
        elif problem is not None:
            waiting.append(problem)
            if len(waiting) >= min(len(theta), _FIRST):
                yield np.full((len(waiting), 1), np.nan, default_dtype()), waiting[0]


def _as_rows(x: np.ndarray) -> np.ndarray:
    """Rows of real numbers, in the default precision.

    Raises:
        TypeError: they are no real numbers.
    """
    if x.dtype.kind not in "fiub":
        raise TypeError(f"simulator returned {x.dtype}; expected one array of real numbers")
    return x.astype(default_dtype()).reshape(len(x), *(x.shape[1:] or (1,)))


def _finite(rows: np.ndarray) -> np.ndarray:
    """Which rows hold finite numbers alone."""
    return np.isfinite(rows).reshape(len(rows), -1).all(axis=1)
