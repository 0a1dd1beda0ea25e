"""Matrix products of networks, in a precision of choice."""

from typing import Literal, get_args

import jax.numpy as jnp
from jax import Array, lax

from flowjax_lite.core.checks import check_choice

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
