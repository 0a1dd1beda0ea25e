"""An unbiased estimate of log |det(I + J)| from a few products with the Jacobian J."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax


def estimate_log_det(
    function: Callable[[Array], Array],
    x: Array,
    key: Array,
    *,
    continuation: float,
    num_exact_terms: int,
) -> Array:
    """Estimate log det(I + J) for the Jacobian J of a function with a Lipschitz constant below 1.

    The series Σ_k (-1)^(k+1) tr(J^k) / k ends after a random number of terms, and each term is
    divided by the probability that it is reached, so that the mean is the whole series. Traces
    are estimated with a vector v of random signs: tr(A) is the mean of vᵀA v. The variance is
    finite for certain where the probability of one more term exceeds the square of the
    Lipschitz constant.

    The gradient is an unbiased estimate too, of tr((I + J)⁻¹ dJ), from the same products: it is
    that of uᵀJ v with u held fixed, u the same random part of Σ_k (-1)^k (Jᵀ)^k v. No product
    is stored, so the memory of a gradient does not grow with the number of terms.

    Residual flows: Chen, Behrmann, Duvenaud and Jacobsen, 2019, arXiv:1906.02735, theorems 1
    and 2.

    Args:
        function: from a vector to a vector of the same length. It may close over traced values;
            gradients reach them.
        x: (dim,).
        key: randomness of the vector and of the number of terms.
        continuation: probability that one more term follows, beyond those always kept.
        num_exact_terms: number of terms that are always kept, at least 1.

    Returns:
        A scalar. First derivatives are unbiased estimates; higher ones are not.
    """
    key_of_signs, key_of_number = jax.random.split(key)
    signs = jax.random.rademacher(key_of_signs, x.shape, x.dtype)
    num_terms = num_exact_terms - 1 + jax.random.geometric(key_of_number, 1 - continuation)

    # The weights that the function closes over are among the leaves of its pullback.
    _, pull = jax.vjp(function, x)
    pull = jax.tree.map(lax.stop_gradient, pull)

    def add(carry: tuple[Array, ...]) -> tuple[Array, ...]:
        k, weight, vector, solution, value = carry  # vector is (Jᵀ)^(k-1) v
        solution += weight * vector
        (vector,) = pull(vector)
        value += weight / k * jnp.sum(vector * signs)
        weight *= jnp.where(k < num_exact_terms, -1.0, -1.0 / continuation)
        return k + 1, weight, vector, solution, value

    zero = jnp.zeros((), x.dtype)
    start: tuple[Array, ...] = (jnp.asarray(1), zero + 1, signs, jnp.zeros_like(x), zero)
    *_, solution, value = lax.while_loop(lambda carry: carry[0] <= num_terms, add, start)
    surrogate = jnp.sum(solution * jax.jvp(function, (x,), (signs,))[1])
    return value + surrogate - lax.stop_gradient(surrogate)
