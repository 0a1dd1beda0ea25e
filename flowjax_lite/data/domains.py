"""Columns with domains, and the noise that gives whole numbers and grey levels a density."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from flowjax_lite.bijectors import AbstractBijector, Chain, Domains, Standardize
from flowjax_lite.bijectors.domains import Domain, read_domains
from flowjax_lite.core.checks import default_dtype
from flowjax_lite.data.arrays import as_array, as_rows
from flowjax_lite.data.quality.checks import check_data

_MIDDLE = (0.05, 0.95)  # quantiles


def domain_map(columns: Sequence[str], x: ArrayLike, *, checks: str = "error") -> AbstractBijector:
    """Make the fixed map from numbers of unit scale to the domains of a table's columns.

    A flow with this map has samples that respect the domains, layers that see standardised real
    numbers, and likelihoods in the units of the table:

        flow = fl.flows.maf(dim=2, data_map=fl.data.domain_map(["positive", "real"], x), ...)

    Args:
        columns: For each column "real", "positive", "interval(a, b)", "circular" (angles in
            radians, projected from the middle of the widest gap between them), "integer" or
            "integer(a, b)"; see `bijectors.Domains`.
        x: Training data, `(n, d)`, an array or a frame, of a float type; whole numbers with noise
            added, as by `dequantize_integers`.
        checks: "error", "warn" or "off", as for `check_data`. Domains always count.

    Returns:
        The bijector, its latent side next to the layers.

    Raises:
        TypeError: Values that are not floats, or columns that are not texts.
        ValueError: An unknown domain, another number of columns, a value outside its domain, or
            anything that `check_data` refuses.
    """
    data = as_rows(x, name="x", dtype=default_dtype())
    domains = _domains(columns, data)
    for j, domain in enumerate(domains):
        if domain.word == "integer" and np.all(data[:, j] == np.floor(data[:, j])):
            raise ValueError(
                f"x has whole numbers alone in column {j}, which have no density; add noise with "
                "fl.data.dequantize_integers(columns, x, seed=0)."
            )
    check_data(data, name="x", checks=checks)
    ends = np.array([(domain.low, domain.high) for domain in domains], data.dtype)
    outside = (data <= ends[:, 0]) | (data >= ends[:, 1])
    _refuse(outside, data, lambda j: f"outside of its domain {columns[j]!r}: mend one of the two")
    to_domains = Domains([_centred(*pair) for pair in zip(columns, data.T, strict=True)])
    unconstrained = np.array(jax.vmap(to_domains.inverse)(jnp.asarray(data)))
    for j, domain in enumerate(domains):
        if domain.word == "circular":
            # Projected, angles all around are so far apart that only their middle has a scale.
            middle = np.quantile(unconstrained[:, j], _MIDDLE)
            unconstrained[:, j] = np.clip(unconstrained[:, j], *middle)
    return Chain([Standardize.from_data(unconstrained), to_domains])


def dequantize(u: ArrayLike, num_levels: int, *, seed: int | Sequence[int]) -> np.ndarray:
    """Spread each level evenly over its share of the unit interval.

    Args:
        u: Whole numbers 0 .. num_levels - 1, any shape, of an integer or float type.
        num_levels: Number of levels: 256 for bytes.
        seed: Seed of the noise.

    Returns:
        `(u + U[0, 1)) / num_levels`, float32, each strictly below the next level's share, so
        at least 0 and strictly less than 1.

    Raises:
        ValueError: A value is not one of the levels.

    Reference: Theis, van den Oord and Bethge (2016), arXiv:1511.01844.
    """
    levels = as_array(u, name="u")
    if levels.size and not (levels.min() >= 0 and levels.max() < num_levels):
        raise ValueError(
            f"u spans {levels.min()} to {levels.max()}; expected levels 0 to {num_levels - 1}. "
            "Set num_levels to the number of levels."
        )
    if levels.dtype.kind == "f" and np.any(levels != np.rint(levels)):
        raise ValueError("u holds fractions; expected whole levels. Was it dequantised already?")
    levels = levels.astype(np.float32)
    noise = np.random.default_rng(seed).random(levels.shape, dtype=np.float32)
    # In float32 a level plus a draw just below 1 may round up to the next level.
    below_next = np.nextafter((levels + 1) / np.float32(num_levels), np.float32(0))
    return np.minimum((levels + noise) / np.float32(num_levels), below_next)


def quantize(x: ArrayLike, num_levels: int) -> np.ndarray:
    """Find the levels of which `dequantize` made numbers of the unit interval.

    Args:
        x: Numbers in [0, 1), any shape, such as samples; what lies beyond has the nearest level.
        num_levels: Number of levels.

    Returns:
        Whole numbers 0 .. num_levels - 1, the same shape; bytes for up to 256 levels.
    """
    # Their edges as `dequantize` rounds them: a product with num_levels may round to another level.
    edges = np.arange(1, num_levels, dtype=np.float32) / np.float32(num_levels)
    levels = np.searchsorted(edges, np.asarray(x, np.float32), side="right")
    return levels.astype(np.uint8 if num_levels <= 256 else np.int32)


def dequantize_integers(
    columns: Sequence[str], x: ArrayLike, *, seed: int | Sequence[int]
) -> np.ndarray:
    """Add noise in [0, 1) to columns of whole numbers, so that they have a density.

    Args:
        columns: The domain of each column, as for `domain_map`.
        x: A table, `(n, d)`, of real numbers.
        seed: Seed of the noise.

    Returns:
        The table, of x's float type, float32 for other types. `quantize_integers` undoes it.

    Raises:
        ValueError: An unknown domain, another number of columns, a fraction in a column of
            whole numbers, or a number too large to have fractions in that type.

    Reference: Theis, van den Oord and Bethge (2016), arXiv:1511.01844.
    """
    table = as_array(x, name="x")
    table = np.array(table, table.dtype if table.dtype.kind == "f" else np.float32)
    whole = np.array([domain.word == "integer" for domain in _domains(columns, table)])
    levels = np.where(whole, table, 0)
    _refuse(levels != np.floor(levels), table, lambda j: "no whole number: was noise added before?")
    too_large = np.abs(levels) >= 2.0 ** np.finfo(table.dtype).nmant
    _refuse(too_large, table, lambda j: f"too large for fractions in {table.dtype}: rescale it")
    noise = np.random.default_rng(seed).random(table.shape)
    # A level plus a draw near 0 or 1 may round to a whole number, which may be the domain's end.
    inside = np.nextafter(levels, levels + 1), np.nextafter(levels + 1, levels)
    return np.where(whole, np.clip((levels + noise).astype(table.dtype), *inside), table)


def quantize_integers(columns: Sequence[str], x: ArrayLike) -> np.ndarray:
    """Round columns of whole numbers down, as samples of a flow need it, within their domains.

    Args:
        columns: The domain of each column, as for `domain_map`.
        x: A table, `(n, d)`, of a float type, such as samples.

    Returns:
        A table of the same type.

    Raises:
        ValueError: An unknown domain or another number of columns.
    """
    table = as_array(x, name="x")
    domains = _domains(columns, table)
    whole = [domain.word == "integer" for domain in domains]
    # Next to its upper end a sample may round to that end.
    below = np.floor(table)
    ends = np.array([(domain.low, domain.high - 1) for domain in domains], below.dtype)
    return np.where(whole, np.clip(below, *ends.T), table)


def _domains(columns: Sequence[str], table: np.ndarray) -> list[Domain]:
    domains = read_domains(columns)
    if table.ndim != 2 or table.shape[1] != len(domains):
        raise ValueError(
            f"x has shape {table.shape}; expected (n, {len(domains)}), a column for each of the "
            f"{len(domains)} domains in columns."
        )
    return domains


def _centred(word: str, angles: np.ndarray) -> str:
    """The word of a circle, cut open where it is farthest from all angles; others as they are.

    The projection sends the cut to infinity, where an angle would cost a million nats.
    """
    if word != "circular":
        return word
    sorted_angles = np.sort(np.arctan2(np.sin(angles), np.cos(angles)).astype(np.float64))
    gaps = np.diff(sorted_angles, append=sorted_angles[0] + 2 * np.pi)
    widest = np.argmax(gaps)
    centre = sorted_angles[widest] + 0.5 * gaps[widest] - np.pi
    return f"circular({np.arctan2(np.sin(centre), np.cos(centre)):.6g})"


def _refuse(bad: np.ndarray, table: np.ndarray, why: Callable[[int], str]) -> None:
    """Raise for the first bad cell, if there is one."""
    if bad.any():
        row, j = np.unravel_index(np.argmax(bad), bad.shape)
        raise ValueError(
            f"x has {table[row, j]} in row {row} (counted from 0), column {j}, {why(int(j))}."
        )
