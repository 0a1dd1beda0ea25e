"""Nodes and weights of numerical integration, computed once and in float64."""

import functools

import numpy as np


@functools.cache
def clenshaw_curtis(num_nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """The nodes and weights of Clenshaw-Curtis quadrature on [0, 1].

    The sum of weights · f(nodes) integrates polynomials of degree below num_nodes exactly, and
    converges geometrically where f is analytic. The interval's ends are nodes.

    Clenshaw and Curtis, 1960, A method for numerical integration on an automatic computer.

    Args:
        num_nodes: number of nodes, at least 2.

    Returns:
        Nodes (num_nodes,), increasing from 0 to 1, and weights (num_nodes,), all positive.

    Raises:
        ValueError: num_nodes is below 2.
    """
    if num_nodes < 2:
        raise ValueError(f"num_nodes is {num_nodes}; expected at least 2")
    last = num_nodes - 1
    k, j = np.arange(num_nodes), np.arange(1, last // 2 + 1)
    # The weights are integrals of cosine series: of cos(2jθ), the integral is -2 / (4j² - 1).
    halved = np.where(2 * j == last, 1.0, 2.0) / (4 * j**2 - 1)
    series = 1 - np.cos(2 * np.pi / last * np.outer(k, j)) @ halved
    ends = np.where((k == 0) | (k == last), 0.5, 1.0)
    nodes, weights = np.sin(0.5 * np.pi / last * k) ** 2, ends * series / last
    for array in (nodes, weights):
        array.flags.writeable = False
    return nodes, weights
