"""Flows in plain numpy, one event at a time, from the formulas of their papers.

Nothing here knows jax or the library. Loops, masks made of degrees and a search for the bin take
the place of what the library fuses, scans and unrolls. Parameters are arrays by name, as `fl.save`
names them. Only what the library adds to a paper is taken from it: the soft bounds of raw
parameters, and which degrees the hidden units have.

To add a family, write its scalar map in `reference_scalars` or its layer here, which takes an event
(dim,) and returns an event and the log-determinant, and one line in `test_reference.py`.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from helpers.reference_scalars import Scalar

Arrays = Mapping[str, np.ndarray]
Network = Callable[[np.ndarray], np.ndarray]
Layer = Callable[[np.ndarray], tuple[np.ndarray, float]]


def part(arrays: Arrays, name: str) -> dict[str, np.ndarray]:
    """The arrays of one part, by their names in it."""
    prefix = name + "/"
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def layer(arrays: Arrays, index: int) -> dict[str, np.ndarray]:
    """The arrays of one of the layers that are stacked on the first axis."""
    return {name: array[index] for name, array in arrays.items()}


def log_prob(inverses: Sequence[Layer], x: np.ndarray) -> float:
    """log p(x) of a standard normal latent, and the inverse maps in the order of their use."""
    total = 0.0
    for inverse in inverses:
        x, log_det = inverse(x)
        total += log_det
    return total - 0.5 * float(x @ x) - 0.5 * len(x) * math.log(2 * math.pi)


# Networks.


def mlp(arrays: Arrays, x: np.ndarray, *, num_params: int) -> np.ndarray:
    """A multilayer perceptron with tanh, from the kept entries and a condition behind them."""
    h = x
    for i in range(count(arrays, "layers")):
        h = np.tanh(h @ arrays[f"layers/{i}/kernel"] + arrays[f"layers/{i}/bias"])
    return (h @ arrays["last/kernel"] + arrays["last/bias"]).reshape(num_params, -1)


def made(
    arrays: Arrays, x: np.ndarray, *, num_params: int, condition: np.ndarray | None = None
) -> np.ndarray:
    """A masked perceptron with tanh: Germain et al., 2015, arXiv:1502.03509, equations 12 and 13.

    Input d has degree d, from 1 on. A hidden unit sees units of its own degree and below, an
    output those below.
    """
    below, h = degrees(len(x)), x
    for i in range(count(arrays, "layers")):
        weights = part(arrays, f"layers/{i}")
        above = hidden_degrees(weights, len(x))
        h = np.tanh(masked(weights, h, below[:, None] <= above, condition))
        below = above
    return outputs(part(arrays, "last"), h, below, len(x), num_params, condition)


def residual_made(
    arrays: Arrays, x: np.ndarray, *, num_params: int, condition: np.ndarray | None = None
) -> np.ndarray:
    """Masked residual blocks with tanh: Durkan et al., 2019, arXiv:1906.04032, appendix B.1."""
    units = hidden_degrees(part(arrays, "first"), len(x))
    seen = units[:, None] <= units
    h = masked(part(arrays, "first"), x, degrees(len(x))[:, None] <= units, condition)
    for i in range(count(arrays, "inner")):
        middle = masked(part(arrays, f"inner/{i}"), np.tanh(h), seen, condition)
        h = h + masked(part(arrays, f"outer/{i}"), np.tanh(middle), seen, None)
    return outputs(part(arrays, "last"), np.tanh(h), units, len(x), num_params, condition)


def degrees(dim: int) -> np.ndarray:
    """Degrees of the inputs, and of the outputs: 1 … dim."""
    return np.arange(1, dim + 1)


def hidden_degrees(weights: Arrays, dim: int) -> np.ndarray:
    """Degrees 1 … dim - 1 in equal parts; also 0 where a condition gives such units an input."""
    lowest = 0 if "condition_kernel" in weights or dim == 1 else 1
    width = len(weights["bias"])
    return np.array([lowest + math.floor(k / width * (dim - lowest)) for k in range(width)])


def masked(
    weights: Arrays, h: np.ndarray, mask: np.ndarray, condition: np.ndarray | None
) -> np.ndarray:
    """(M ⊙ W) h + b, with what the condition adds; no mask hides that."""
    result = h @ (mask * weights["kernel"]) + weights["bias"]
    return result if condition is None else result + condition @ weights["condition_kernel"]


def outputs(
    weights: Arrays,
    h: np.ndarray,
    below: np.ndarray,
    dim: int,
    num_params: int,
    condition: np.ndarray | None,
) -> np.ndarray:
    """The parameters (num_params, dim) from units of degrees `below`."""
    mask = np.tile(below[:, None] < degrees(dim), num_params)
    return masked(weights, h, mask, condition).reshape(num_params, dim)


def count(arrays: Arrays, name: str) -> int:
    """The number of layers in a list of that name."""
    return len({key.split("/")[1] for key in arrays if key.startswith(name + "/")})


# Layers.


def autoregressive(network: Network, scalar: Scalar, x: np.ndarray) -> tuple[np.ndarray, float]:
    """y_i = τ(x_i; θ_i(y_1 … y_{i-1})), one pass of the network for each entry.

    Papamakarios et al., 2017, arXiv:1705.07057, equations 3 and 4.
    """
    y, log_det = np.zeros_like(x), 0.0
    for i in range(len(x)):
        y[i], log_slope = scalar(network(y)[:, i], x[i])
        log_det += log_slope
    return y, log_det


def autoregressive_inverse(
    network: Network, inverse: Scalar, y: np.ndarray
) -> tuple[np.ndarray, float]:
    """x_i = τ⁻¹(y_i; θ_i(y_1 … y_{i-1})), the same equations the other way."""
    return each(inverse, network(y), y)


def coupling(
    network: Network, scalar: Scalar, x: np.ndarray, *, kept: int
) -> tuple[np.ndarray, float]:
    """Either direction: Dinh et al., 2017, arXiv:1605.08803, equations 4 and 5."""
    moved, log_det = each(scalar, network(x[:kept]), x[kept:])
    return np.concatenate([x[:kept], moved]), log_det


def each(scalar: Scalar, params: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, float]:
    """A scalar map on every entry, with parameters (num_params, entries)."""
    results = [scalar(params[:, i], x[i]) for i in range(len(x))]
    return np.array([value for value, _ in results]), sum(log_slope for _, log_slope in results)


def lu(arrays: Arrays, x: np.ndarray) -> tuple[np.ndarray, float]:
    """The solution y of L U y + shift = x."""
    matrix = lu_matrix(arrays)
    return np.linalg.solve(matrix, x - arrays["shift"]), -np.linalg.slogdet(matrix)[1]


def lu_inverse(arrays: Arrays, y: np.ndarray) -> tuple[np.ndarray, float]:
    """x = L U y + shift: Kingma and Dhariwal, 2018, arXiv:1807.03039, equation 10."""
    matrix = lu_matrix(arrays)
    return matrix @ y + arrays["shift"], np.linalg.slogdet(matrix)[1]


def lu_matrix(arrays: Arrays) -> np.ndarray:
    """L U, both kept in one array; the logarithm of U's diagonal is bounded by 5."""
    size = len(arrays["factors"])
    lower, upper = np.eye(size), np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            if j < i:
                lower[i, j] = arrays["factors"][i, j]
            elif j > i:
                upper[i, j] = arrays["factors"][i, j]
            else:
                upper[i, i] = np.exp(5 * np.tanh(arrays["factors"][i, i] / 5))
    return lower @ upper


def permutation_inverse(arrays: Arrays, y: np.ndarray) -> tuple[np.ndarray, float]:
    """x with y[i] = x[indices[i]]."""
    x = np.zeros_like(y)
    x[arrays["indices"]] = y
    return x, 0.0


def reverse(x: np.ndarray) -> tuple[np.ndarray, float]:
    """The entries in the other order."""
    return x[::-1], 0.0
