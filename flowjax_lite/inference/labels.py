"""Classes as conditions of rows, as classifiers that `fit` trains take them."""

import jax.numpy as jnp
from jax import Array

UNLABELLED = -1  # of a row whose class is unknown


def log_prob_of_labels(log_p: Array, labels: Array) -> Array:
    """The log-probability of the class of each row.

    Args:
        log_p: (rows, classes), of all classes.
        labels: (rows, 1), whole numbers, of any dtype.

    Returns:
        (rows,), 0 where the label is -1, and NaN for a class that there is not.
    """
    index = labels[:, 0].astype(int)
    # chosen by `where`: zero times a log-probability of -inf would be NaN
    chosen = index[:, None] == jnp.arange(log_p.shape[1])[None]
    known = (index >= UNLABELLED) & (index < log_p.shape[1])
    return jnp.where(known, jnp.sum(jnp.where(chosen, log_p, 0.0), axis=1), jnp.nan)
