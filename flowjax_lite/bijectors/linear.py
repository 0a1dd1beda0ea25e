"""Linear maps of the whole event, learned or fixed, dense or by their triangular factors."""

from typing import Any, Self

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, lax
from jax.scipy.linalg import solve_triangular
from jax.typing import ArrayLike

from flowjax_lite.bijectors.base import AbstractBijector
from flowjax_lite.bijectors.given import before_scale, given_array, given_matrix_and_shift
from flowjax_lite.bijectors.permutation import Permutation
from flowjax_lite.core.arrays import zeros
from flowjax_lite.core.buffer import Buffer
from flowjax_lite.core.checks import check_positive_int, default_dtype, refuse_masked
from flowjax_lite.core.recipe import known_numbers
from flowjax_lite.numerics.scalar import log_scale

_MAX_LOG_SCALE = 5.0


class LU(AbstractBijector):
    """An invertible dense map by its triangular factors: the inverse is x = L (U y) + shift.

    Written on the inverse side, so a density costs two matrix products and sampling two
    triangular solves. L has a unit diagonal, U a bounded positive one; the map starts as the
    identity. Put a permutation beside it where the order of the entries should change.

    Glow: Kingma and Dhariwal, 2018, arXiv:1807.03039, section 3.2.
    """

    def __init__(self, dim: int) -> None:
        self.event_shape = (check_positive_int(dim, "dim"),)
        self.condition_shape = None
        # Strictly below the diagonal lies L, above it U, on it the raw log-diagonal of U.
        self.factors = nnx.Param(zeros((dim, dim)))
        self.shift = nnx.Param(zeros(dim))

    @classmethod
    def from_arrays(cls, matrix: Any, shift: Any = None) -> Self:
        """The map whose inverse is x = matrix · y + shift at the start.

        Args:
            matrix: (dim, dim), its leading minors positive.
            shift: (dim,); None is zero.

        Raises:
            ValueError: the matrix is not square, or has no factors with a positive diagonal
                within the bound e^±5.
        """
        matrix, shift = given_matrix_and_shift(matrix, shift)
        upper, lower = matrix.copy(), np.eye(len(matrix))
        for i in range(len(matrix)):
            if upper[i, i] <= 0:
                raise ValueError(
                    f"pivot {i} of matrix is {upper[i, i]:.4g}; expected a positive number, which "
                    f"exponentials can be: change the order of rows, by the indices of a PLU, or "
                    f"use Linear, which takes every matrix that has an inverse"
                )
            lower[i + 1 :, i] = upper[i + 1 :, i] / upper[i, i]
            upper[i + 1 :] -= np.outer(lower[i + 1 :, i], upper[i])
        diagonal = before_scale(np.diag(upper), _MAX_LOG_SCALE, "the diagonal of U, entry")
        layer, dtype = cls(len(matrix)), default_dtype()
        factors = np.tril(lower, -1) + np.triu(upper, 1) + np.diag(diagonal)
        layer.factors[...] = jnp.asarray(factors, dtype)
        layer.shift[...] = jnp.asarray(shift, dtype)
        return layer

    def forward_and_log_det(
        self, x: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        lower, upper, log_diagonal = self._factors()
        middle = solve_triangular(lower, x - self.shift[...], lower=True, unit_diagonal=True)
        return solve_triangular(upper, middle, lower=False), -jnp.sum(log_diagonal)

    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        lower, upper, log_diagonal = self._factors()
        matrix = jnp.matmul(lower, upper, precision=lax.Precision.HIGHEST)
        x = jnp.matmul(matrix, y, precision=lax.Precision.HIGHEST) + self.shift[...]
        return x, jnp.sum(log_diagonal)

    def _factors(self) -> tuple[Array, Array, Array]:
        factors = self.factors[...]
        log_diagonal = log_scale(jnp.diag(factors), _MAX_LOG_SCALE)
        lower = jnp.tril(factors, -1) + jnp.eye(len(factors), dtype=factors.dtype)
        upper = jnp.triu(factors, 1) + jnp.diag(jnp.exp(log_diagonal))
        return lower, upper, log_diagonal


class PLU(AbstractBijector):
    """A fixed random permutation times `LU`: the inverse is x = P (L (U y) + shift).

    Without the permutation a dense matrix whose pivots vanish is out of reach. It starts as the
    permutation alone.

    Glow: Kingma and Dhariwal, 2018, arXiv:1807.03039, section 3.2, equation 10.
    """

    def __init__(self, dim: int, *, rngs: nnx.Rngs) -> None:
        """Draw the permutation.

        Args:
            dim: number of entries.
            rngs: source of the permutation.
        """
        self.permutation = Permutation.random(dim, rngs=rngs)
        self.lu = LU(dim)
        self.event_shape, self.condition_shape = self.lu.event_shape, None

    @classmethod
    def from_arrays(cls, matrix: Any, shift: Any = None, *, indices: Any) -> Self:
        """The map whose inverse is x = matrix · y + shift at the start.

        Args:
            matrix: (dim, dim), P L U.
            shift: (dim,); None is zero.
            indices: (dim,), the permutation P: row i of the matrix is row indices[i] of L U, as in
                `indices, l, u = scipy.linalg.lu(matrix, p_indices=True)`.

        Raises:
            ValueError: the matrix is not square, or L U has no factors with a positive diagonal
                within the bound e^±5; or the indices are no permutation of its rows.
        """
        matrix, shift = given_matrix_and_shift(matrix, shift)
        permutation, order = Permutation(indices), np.argsort(indices)
        if order.shape != shift.shape:
            raise ValueError(
                f"indices has shape {order.shape}; expected {shift.shape}, a number for each row"
            )
        layer = cls(len(matrix), rngs=nnx.Rngs(0))
        layer.permutation, layer.lu = permutation, LU.from_arrays(matrix[order], shift[order])
        return layer

    def forward_and_log_det(
        self, x: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        return self.lu.forward_and_log_det(self.permutation.inverse(x))

    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        x, log_det = self.lu.inverse_and_log_det(y)
        return self.permutation.forward(x), log_det


class Triangular(AbstractBijector):
    """A lower-triangular map with a bounded positive diagonal: the inverse is x = L y + shift.

    Each entry takes up those before it: the whole covariance of a Gaussian, for half of the
    price of `LU`. It starts as the identity.
    """

    def __init__(self, dim: int) -> None:
        self.event_shape = (check_positive_int(dim, "dim"),)
        self.condition_shape = None
        self.raw_diagonal = nnx.Param(zeros(dim))
        self.below = nnx.Param(zeros(num_below(dim)))
        self.shift = nnx.Param(zeros(dim))

    @classmethod
    def from_arrays(cls, matrix: Any, shift: Any = None) -> Self:
        """The map whose inverse is x = matrix · y + shift at the start.

        Args:
            matrix: (dim, dim), lower triangular with a positive diagonal.
            shift: (dim,); None is zero.

        Raises:
            ValueError: the matrix is not square or not lower triangular, or its diagonal is not
                positive, or beyond the bound e^±5.
        """
        matrix, shift = given_matrix_and_shift(matrix, shift)
        check_lower_triangular(matrix, "matrix")
        layer = cls(len(matrix))
        layer.raw_diagonal[...], layer.below[...] = before_lower_triangle(matrix, "matrix")
        layer.shift[...] = jnp.asarray(shift, default_dtype())
        return layer

    def forward_and_log_det(
        self, x: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        matrix, log_diagonal = lower_triangle(self.raw_diagonal[...], self.below[...])
        return solve_triangular(matrix, x - self.shift[...], lower=True), -jnp.sum(log_diagonal)

    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        matrix, log_diagonal = lower_triangle(self.raw_diagonal[...], self.below[...])
        x = jnp.matmul(matrix, y, precision=lax.Precision.HIGHEST) + self.shift[...]
        return x, jnp.sum(log_diagonal)


class Linear(AbstractBijector):
    """A dense map y = A x + shift, its matrix free; sampling costs a product, a density a solve.

    Nothing keeps the matrix away from singular ones. Where it is singular to the precision of
    its dtype, both directions give NaN. It starts as the identity.
    """

    def __init__(self, dim: int) -> None:
        self.event_shape = (check_positive_int(dim, "dim"),)
        self.condition_shape = None
        self.matrix = nnx.Param(jnp.eye(dim))
        self.shift = nnx.Param(zeros(dim))

    @classmethod
    def from_arrays(cls, matrix: Any, shift: Any = None) -> Self:
        """y = matrix · x + shift at the start.

        Args:
            matrix: (dim, dim), invertible.
            shift: (dim,); None is zero.

        Raises:
            ValueError: the matrix is not square, not finite or singular, or the shift has
                another length or is not finite.
        """
        matrix, shift = given_matrix_and_shift(matrix, shift)
        dim, dtype = len(matrix), default_dtype()
        condition_number = np.linalg.cond(matrix)
        if not condition_number < _largest_condition_number(dim, dtype):
            raise ValueError(
                f"matrix is singular in {dtype}: its condition number is {condition_number:.3g}; "
                f"expected one below {_largest_condition_number(dim, dtype):.3g}: drop rows and "
                f"columns that depend on others, or rescale them"
            )
        linear = cls(dim)
        linear.matrix[...] = jnp.asarray(matrix, dtype)
        linear.shift[...] = jnp.asarray(shift, dtype)
        return linear

    def forward_and_log_det(
        self, x: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        matrix = self._regular_matrix()
        y = jnp.matmul(matrix, x, precision=lax.Precision.HIGHEST) + self.shift[...]
        return y, jnp.linalg.slogdet(matrix)[1]

    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        matrix = self._regular_matrix()
        return jnp.linalg.solve(matrix, y - self.shift[...]), -jnp.linalg.slogdet(matrix)[1]

    def _regular_matrix(self) -> Array:
        """The matrix; NaN if it is singular, of which rounding would make plausible numbers."""
        matrix = self.matrix[...]
        condition_number = jnp.linalg.cond(lax.stop_gradient(matrix), p=1)
        largest = _largest_condition_number(len(matrix), matrix.dtype)
        return jnp.where(condition_number < largest, matrix, jnp.nan)


class Whiten(AbstractBijector):
    """The fixed map from a standard normal to the data's mean and covariance: y = loc + L x.

    What `Standardize` does for each entry by itself, with correlations: the covariance is L Lᵀ.
    It is not trained.
    """

    def __init__(self, loc: ArrayLike, tril: ArrayLike) -> None:
        """Fix the location and the factor; `from_data` measures them.

        Args:
            loc: (dim,), in the data's units.
            tril: L, (dim, dim), lower triangular with a diagonal without zeros, such as
                `np.linalg.cholesky(covariance)`.

        Raises:
            ValueError: a shape is another, a number is not finite, L is not lower triangular, or
                its diagonal has a zero.
        """
        shape = np.shape(loc)
        if len(shape) != 1 or np.shape(tril) != (*shape, *shape):
            raise ValueError(
                f"loc has shape {shape} and tril {np.shape(tril)}; expected (dim,) and (dim, dim)"
            )
        self.event_shape, self.condition_shape = shape, None
        numbers = known_numbers(loc), known_numbers(tril)
        if numbers[0] is not None and numbers[1] is not None:
            given_array(numbers[0], "loc")
            factor = given_array(numbers[1], "tril")
            check_lower_triangular(factor, "tril")
            zeros = np.flatnonzero(np.diag(factor) == 0)
            if zeros.size:
                raise ValueError(
                    f"tril[{zeros[0]}, {zeros[0]}] is 0; expected another number: the covariance "
                    f"is singular, as a column depends on those before it, so drop that column"
                )
        dtype = default_dtype()
        self.loc, self.tril = Buffer(jnp.asarray(loc, dtype)), Buffer(jnp.asarray(tril, dtype))

    @classmethod
    def from_data(cls, x: Any) -> Self:
        """The map whose inverse gives the rows of x mean zero and the identity as covariance.

        Args:
            x: (rows, dim), more rows than columns.

        Raises:
            ValueError: x has another rank or masked cells, a number is not finite, or a column is
                constant or depends on others.
        """
        refuse_masked(x, "x")
        x = given_array(x, "x")
        if x.ndim != 2 or not x.size:
            raise ValueError(f"x has shape {x.shape}; expected (rows, dim) with rows in it")
        loc = x.mean(axis=0)
        # By the QR decomposition of the rows, which keeps the digits that a covariance loses.
        upper = np.linalg.qr((x - loc) / np.sqrt(len(x)), mode="r")
        limit = len(x) * np.finfo(default_dtype()).eps * x.std(axis=0)
        if len(upper) < x.shape[1] or np.any(np.abs(np.diag(upper)) <= limit):
            raise ValueError(
                f"the columns of x, of shape {x.shape}, depend on each other, or one is constant: "
                f"their covariance has no inverse; drop such columns, give more rows than columns, "
                f"or use Standardize"
            )
        return cls(loc, np.tril((upper * np.sign(np.diag(upper))[:, None]).T))

    def forward_and_log_det(
        self, x: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        tril = self.tril[...]
        y = jnp.matmul(tril, x, precision=lax.Precision.HIGHEST) + self.loc[...]
        return y, jnp.sum(jnp.log(jnp.abs(jnp.diag(tril))))

    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        tril = self.tril[...]
        x = solve_triangular(tril, y - self.loc[...], lower=True)
        return x, -jnp.sum(jnp.log(jnp.abs(jnp.diag(tril))))


def _largest_condition_number(dim: int, dtype: Any) -> float:
    """From here on, rounding the matrix may make it singular."""
    return 1 / (dim * float(jnp.finfo(dtype).eps))


def check_lower_triangular(matrix: np.ndarray, name: str) -> None:
    """Raise unless all entries above the diagonal are zero.

    Raises:
        ValueError: one is not.
    """
    above = np.argwhere(np.triu(matrix, 1))
    if above.size:
        i, j = above[0]
        raise ValueError(
            f"{name}[{i}, {j}] is {matrix[i, j]:g}; expected zeros above the diagonal: a "
            f"covariance has such a factor, np.linalg.cholesky(covariance)"
        )


def num_below(dim: int) -> int:
    """The number of entries below the diagonal of a square matrix."""
    return dim * (dim - 1) // 2


def strictly_lower(below: Array, dim: int) -> Array:
    """The matrix (dim, dim) with those entries below its diagonal, and zeros elsewhere."""
    return jnp.zeros((dim, dim), below.dtype).at[np.tril_indices(dim, -1)].set(below)


def lower_triangle(raw_diagonal: Array, below: Array) -> tuple[Array, Array]:
    """A lower-triangular matrix with a bounded positive diagonal.

    Args:
        raw_diagonal: (dim,), unconstrained; zeros give a diagonal of ones.
        below: (dim · (dim - 1) / 2,), the entries below it.

    Returns:
        The matrix (dim, dim), and the logarithm of its diagonal (dim,).
    """
    log_diagonal = log_scale(raw_diagonal, _MAX_LOG_SCALE)
    matrix = strictly_lower(below, len(raw_diagonal)) + jnp.diag(jnp.exp(log_diagonal))
    return matrix, log_diagonal


def before_lower_triangle(matrix: np.ndarray, name: str) -> tuple[Array, Array]:
    """The raw diagonal and the entries below it, of which `lower_triangle` makes this matrix.

    Raises:
        ValueError: the diagonal is not positive, or beyond the bound e^±5.
    """
    raw = before_scale(np.diag(matrix), _MAX_LOG_SCALE, f"the diagonal of {name}, entry")
    below = matrix[np.tril_indices(len(matrix), -1)]
    return jnp.asarray(raw, default_dtype()), jnp.asarray(below, default_dtype())
