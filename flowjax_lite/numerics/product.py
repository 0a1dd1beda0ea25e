"""Matrix products of networks, in a precision of choice."""

from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jax import Array, lax

from flowjax_lite.core.checks import check_choice
from flowjax_lite.numerics.bilinear import bilinear_primitive

ComputeDtype = Literal["float32", "tensorfloat32", "bfloat16"]
COMPUTE_DTYPES: tuple[str, ...] = get_args(ComputeDtype)


def check_compute_dtype(compute_dtype: str) -> str:
    """Return the name of a precision of products.

    - `"float32"`: in the parameters' precision (float64 where jax is set to it), on every
      device. JAX by itself would round to fewer digits on GPU and TPU.
    - `"tensorfloat32"`: factors rounded to 10 bits where a GPU can, to about float32 on TPU; as
      float32 on CPU.
    - `"bfloat16"`: factors rounded to 7 bits, everywhere.

    Sums, biases, activations and parameters always have the parameters' precision, and so have
    transformers and log-determinants: a network of fewer digits is another network, not a
    wrong density. Its two evaluations in an autoregressive layer, at once and step by step,
    differ by rounding in that precision, however.

    Raises:
        ValueError: the name is none of the three.
    """
    return check_choice(compute_dtype, COMPUTE_DTYPES, "compute_dtype")


def product(a: Array, b: Array, compute_dtype: str) -> Array:
    """The matrix product of a and b."""
    if compute_dtype == "bfloat16":
        return jnp.matmul(
            a.astype(jnp.bfloat16),
            b.astype(jnp.bfloat16),
            preferred_element_type=jnp.promote_types(a.dtype, b.dtype),
        )
    fast = compute_dtype == "tensorfloat32"
    return jnp.matmul(a, b, precision=lax.Precision.HIGH if fast else lax.Precision.HIGHEST)


def product_of_rows(rows: Array, matrix: Array, compute_dtype: str) -> Array:
    """The matrix product of rows (n, k), such as the tokens of an event, and a matrix (k, m).

    On CPU the gradient by the matrix is one product over the rows of all events. That of `product`
    sums over two axes under `vmap`, events and rows, and XLA copies a factor in another order
    first: a training step of an attention flow takes a sixth longer.
    """
    if jax.default_backend() != "cpu":
        return product(rows, matrix, compute_dtype)
    dtype = jnp.promote_types(rows.dtype, matrix.dtype)
    arrays = rows.astype(dtype), matrix.astype(dtype)
    result: Array = _rows_p.bind(*arrays, compute_dtype=compute_dtype)
    return result


def _by_rows(y_bar: Array, rows: Any, matrix: Array, *, compute_dtype: str) -> Array:
    return product(y_bar, matrix.T, compute_dtype)


def _by_matrix(y_bar: Array, rows: Array, matrix: Any, *, compute_dtype: str) -> Array:
    return product(rows.T, y_bar, compute_dtype)


def _batch(
    arrays: tuple[Array, Array], axes: tuple[int | None, int | None], *, compute_dtype: str
) -> tuple[Array, int]:
    """One product of more rows, unless there is a matrix for each."""
    (rows, matrix), (of_rows, of_matrix) = arrays, axes
    if of_rows is not None and of_matrix is None:
        rows = jnp.moveaxis(rows, of_rows, 0)
        joined = rows.reshape(-1, rows.shape[-1])
        outputs = _rows_p.bind(joined, matrix, compute_dtype=compute_dtype)
        return outputs.reshape(*rows.shape[:2], matrix.shape[1]), 0
    each = jax.vmap(lambda rows, matrix: product(rows, matrix, compute_dtype), axes)
    return each(rows, matrix), 0


_rows_p = bilinear_primitive(
    "product_of_rows", product, by_first=_by_rows, by_second=_by_matrix, batch=_batch
)
