"""Numerical integration against integrals that are known."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from flowjax_lite.numerics.quadrature import clenshaw_curtis


def worst_error(nodes: np.ndarray, weights: np.ndarray) -> float:
    """The largest error of ∫₀¹ t^d dt over the degrees that must be exact."""
    degrees = np.arange(len(nodes))
    return np.max(np.abs(weights @ nodes[:, None] ** degrees - 1 / (degrees + 1)))


@pytest.mark.parametrize("num_nodes", [2, 3, 4, 9, 16, 48])
def test_polynomials_are_integrated_exactly(num_nodes: int):
    """Catches a wrong weight or node; the twin, one weight moved by 10⁻⁹, must show."""
    nodes, weights = clenshaw_curtis(num_nodes)
    assert nodes[0] == 0 and nodes[-1] == 1 and np.all(np.diff(nodes) > 0)
    assert np.all(weights > 0)
    assert worst_error(nodes, weights) < 1e-14
    for moved in range(num_nodes):
        assert worst_error(nodes, weights + 1e-9 * np.eye(num_nodes)[moved]) > 1e-10


def test_error_falls_geometrically():
    """Catches weights that are exact for polynomials by luck of few nodes."""

    def error(num_nodes: int) -> float:
        nodes, weights = clenshaw_curtis(num_nodes)
        return abs(weights @ (1 / (1 + 25 * (2 * nodes - 1) ** 2)) - np.arctan(5) / 5)

    assert error(40) < 1e-2 * error(20) < 1e-3 * error(10)


@pytest.mark.parametrize("num_nodes", [2, 3, 4, 9, 48])
def test_nodes_are_the_extremes_of_a_chebyshev_polynomial(num_nodes: int):
    """Catches other nodes, whose weights can be as exact; the twin, equal steps, must show."""

    def smallest(nodes: np.ndarray) -> float:
        heights = np.polynomial.Chebyshev.basis(num_nodes - 1)(2 * nodes - 1)
        return np.min(np.abs(heights))

    nodes, _ = clenshaw_curtis(num_nodes)
    assert smallest(nodes) > 1 - 1e-11
    if num_nodes > 3:
        assert smallest(np.linspace(0, 1, num_nodes)) < 0.9


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_exponential_and_narrow_peak(dtype: str):
    """Catches nodes or weights that lose digits in either precision, and too few seen as enough."""

    def error(num_nodes: int, function: Callable, exact: float) -> float:
        nodes, weights = (values.astype(dtype) for values in clenshaw_curtis(num_nodes))
        return abs(np.sum(weights * function(nodes)) / exact - 1)

    def peak(t: np.ndarray) -> np.ndarray:
        return np.exp(-(((t - 0.3) / 0.02) ** 2) / 2)

    area, rounding = 0.02 * math.sqrt(2 * math.pi), 8 * np.finfo(dtype).eps
    for num_nodes in (16, 48, 1000):
        assert error(num_nodes, np.exp, math.e - 1) < rounding
    assert error(4, np.exp, math.e - 1) > 1e-5
    assert error(400, peak, area) < 8 * rounding
    assert error(24, peak, area) > 0.01


def test_cached_arrays_cannot_change():
    """Catches a caller that changes what the next one gets."""
    with pytest.raises(ValueError, match="read-only"):
        clenshaw_curtis(5)[1][0] = 0.0


def test_one_node_is_refused():
    """Catches a division by zero."""
    with pytest.raises(ValueError, match="num_nodes is 1; expected at least 2"):
        clenshaw_curtis(1)
