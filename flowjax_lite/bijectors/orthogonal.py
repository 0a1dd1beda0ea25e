"""Rotations, learned or fixed, and a dense map made of one and a triangular factor."""

from abc import abstractmethod
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, lax
from jax.scipy.linalg import solve_triangular

from flowjax_lite.bijectors.base import AbstractBijector
from flowjax_lite.bijectors.given import (
    before_soft_clip,
    given_matrix_and_shift,
    given_square,
    orthonormal,
    reflections_of,
)
from flowjax_lite.bijectors.linear import (
    before_lower_triangle,
    lower_triangle,
    num_below,
    strictly_lower,
)
from flowjax_lite.core.arrays import zeros
from flowjax_lite.core.buffer import Buffer
from flowjax_lite.core.checks import check_positive_int, default_dtype
from flowjax_lite.numerics.reflections import reflect
from flowjax_lite.numerics.scalar import soft_clip

_MAX_TANGENT = 2.0


class AbstractOrthogonal(AbstractBijector):
    """A map y = Q x whose inverse is the transpose and whose volume is one."""

    @abstractmethod
    def _matrix(self) -> Array:
        """Q, (dim, dim)."""

    def forward_and_log_det(
        self, x: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        y = jnp.matmul(self._matrix(), x, precision=lax.Precision.HIGHEST)
        return y, jnp.zeros((), x.dtype)

    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        x = jnp.matmul(self._matrix().T, y, precision=lax.Precision.HIGHEST)
        return x, jnp.zeros((), y.dtype)


class Rotation(AbstractOrthogonal):
    """A learned rotation, y = Q x with det Q = 1; it starts as the identity and reaches them all.

    Q is the square of the Cayley transform (I + S)⁻¹ (I - S) of a skew-symmetric matrix S.
    """

    def __init__(self, dim: int) -> None:
        self.event_shape = (check_positive_int(dim, "dim"),)
        self.condition_shape = None
        self.tangents = nnx.Param(zeros(num_below(dim)))

    @classmethod
    def from_arrays(cls, matrix: Any) -> Self:
        """y = matrix · x at the start.

        Args:
            matrix: (dim, dim), orthogonal and of determinant 1.

        Raises:
            ValueError: the matrix is not square or not orthogonal, or its determinant is -1.
        """
        from scipy.linalg import schur

        matrix = orthonormal(given_square(matrix, "matrix"), "matrix")
        if np.linalg.det(matrix) < 0:
            raise ValueError(
                "matrix has the determinant -1; expected a rotation, of determinant 1: change the "
                "sign of a column, or use RandomRotation or Householder, which reflect too"
            )
        dim = len(matrix)
        # In this basis the rotation turns planes: one for each block of two entries, and one, by
        # half a turn, for each two of the entries of -1 alone, of which there is an even number.
        blocks, basis = schur(matrix)
        first = np.flatnonzero(np.diag(blocks, -1))
        single = np.setdiff1d(np.arange(dim), [first, first + 1])
        half_turned = single[np.diag(blocks)[single] < 0]
        i = np.concatenate([first, half_turned[::2]])
        j = np.concatenate([first + 1, half_turned[1::2]])
        skew = np.zeros((dim, dim))
        skew[i, j] = np.tan(np.arctan2(blocks[j, i], blocks[i, i]) / 4)
        skew = basis @ (skew - skew.T) @ basis.T
        layer = cls(dim)
        raw = before_soft_clip(skew[np.tril_indices(dim, -1)], _MAX_TANGENT, "tangents")
        layer.tangents[...] = jnp.asarray(raw, default_dtype())
        return layer

    def _matrix(self) -> Array:
        # Against a matrix exponential, one solve in place of a series whose length depends on
        # the parameters. Cayley's angles are 2 arctan s, below half a turn for every finite s;
        # squared they are 4 arctan s, so |s| ≤ 1 gives every rotation and I + S stays well
        # conditioned, which is what keeps Q orthogonal to rounding.
        (dim,) = self.event_shape
        lower = strictly_lower(soft_clip(self.tangents[...], _MAX_TANGENT), dim)
        skew, identity = lower - lower.T, jnp.eye(dim, dtype=lower.dtype)
        half = jnp.linalg.solve(identity + skew, identity - skew)
        return jnp.matmul(half, half, precision=lax.Precision.HIGHEST)


class RandomRotation(AbstractOrthogonal):
    """A fixed orthogonal map drawn uniformly, with or without a reflection. It is not trained.

    `from_arrays` makes one of a given matrix.
    """

    def __init__(self, dim: int, *, rngs: nnx.Rngs) -> None:
        """Draw the matrix.

        Args:
            dim: number of entries.
            rngs: source of the matrix.
        """
        self.event_shape = (check_positive_int(dim, "dim"),)
        self.condition_shape = None
        self.matrix = Buffer(jax.random.orthogonal(rngs.params(), dim))

    @classmethod
    def from_arrays(cls, matrix: Any) -> Self:
        """y = matrix · x, instead of a matrix that is drawn.

        Args:
            matrix: (dim, dim), orthogonal.

        Raises:
            ValueError: the matrix is not square or not orthogonal.
        """
        matrix = orthonormal(given_square(matrix, "matrix"), "matrix")
        layer = cls(len(matrix), rngs=nnx.Rngs(0))
        layer.matrix[...] = jnp.asarray(matrix, default_dtype())
        return layer

    def _matrix(self) -> Array:
        return self.matrix[...]


class QR(AbstractBijector):
    """A dense map by an orthogonal and a triangular factor: the inverse is x = Q (R y) + shift.

    Written on the inverse side, so a density costs one matrix product. Q is a product of
    Householder reflections and R upper-triangular with a bounded positive diagonal; the map
    starts as the identity. From dim - 1 reflections on, Q can be every rotation.

    Emerging convolutions: Hoogeboom, van den Berg and Welling, 2019, arXiv:1901.11137, section 4.
    """

    def __init__(self, dim: int, *, num_reflections: int) -> None:
        """Build the factors.

        Args:
            dim: number of entries.
            num_reflections: number of Householder reflections; even, as equal pairs cancel at
                the start.

        Raises:
            ValueError: num_reflections is odd or below 2.
        """
        self.event_shape = (check_positive_int(dim, "dim"),)
        self.condition_shape = None
        if check_positive_int(num_reflections, "num_reflections", minimum=2) % 2:
            raise ValueError(
                f"num_reflections is {num_reflections}; expected an even number, with which the "
                f"map can start as the identity: pass {num_reflections + 1}"
            )
        # Fixed numbers, no two pairs alike. The gradients of the two of a pair are opposite.
        pairs = jax.random.normal(jax.random.key(0), (num_reflections // 2, dim))
        self.vectors = nnx.Param(jnp.repeat(pairs, 2, axis=0))
        self.raw_diagonal = nnx.Param(zeros(dim))
        self.above = nnx.Param(zeros(num_below(dim)))
        self.shift = nnx.Param(zeros(dim))

    @classmethod
    def from_arrays(cls, matrix: Any, shift: Any = None) -> Self:
        """The map whose inverse is x = matrix · y + shift at the start.

        Args:
            matrix: (dim, dim), of positive determinant.
            shift: (dim,); None is zero.

        Raises:
            ValueError: the matrix is not square, or its determinant is negative, or the diagonal
                of R is beyond the bound e^±5.
        """
        matrix, shift = given_matrix_and_shift(matrix, shift)
        q, upper = np.linalg.qr(matrix)
        signs = np.where(np.diag(upper) < 0, -1.0, 1.0)
        q, upper = q * signs, upper * signs[:, None]
        raw_diagonal, above = before_lower_triangle(upper.T, "R")
        if np.linalg.det(q) < 0:
            raise ValueError(
                "the determinant of matrix is negative; expected a positive one, as that of an "
                "even number of reflections: change the sign of a column, or use Linear"
            )
        dim = len(matrix)
        layer = cls(dim, num_reflections=max(2, dim - dim % 2))
        # An even number of them; the pairs that are left over undo each other.
        vectors = [v for v in reflections_of(q) if v.any()]
        if vectors:
            given = jnp.asarray(np.stack(vectors), default_dtype())
            layer.vectors[...] = layer.vectors[...].at[: len(vectors)].set(given)
        layer.raw_diagonal[...], layer.above[...] = raw_diagonal, above
        layer.shift[...] = jnp.asarray(shift, default_dtype())
        return layer

    def forward_and_log_det(
        self, x: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        upper, log_diagonal = self._upper()
        turned_back = reflect(self.vectors[...], x - self.shift[...], transpose=True)
        return solve_triangular(upper, turned_back, lower=False), -jnp.sum(log_diagonal)

    def inverse_and_log_det(
        self, y: Array, condition: Array | None = None, key: Array | None = None
    ) -> tuple[Array, Array]:
        upper, log_diagonal = self._upper()
        # The columns are reflected, not the event: once for a whole batch.
        matrix = jax.vmap(reflect, in_axes=(None, 1), out_axes=1)(self.vectors[...], upper)
        x = jnp.matmul(matrix, y, precision=lax.Precision.HIGHEST) + self.shift[...]
        return x, jnp.sum(log_diagonal)

    def _upper(self) -> tuple[Array, Array]:
        lower, log_diagonal = lower_triangle(self.raw_diagonal[...], self.above[...])
        return lower.T, log_diagonal
