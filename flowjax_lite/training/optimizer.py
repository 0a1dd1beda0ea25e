"""The default optimizer."""

import functools

import optax


@functools.lru_cache(maxsize=128)
def default_optimizer(learning_rate: float, num_steps: int) -> optax.GradientTransformation:
    """Adam with a short warm-up, a cosine decay to zero, and clipped gradients.

    Equal arguments return the same object, so that a second `fit` compiles nothing.

    Args:
        learning_rate: the highest rate, reached after the warm-up.
        num_steps: length of the schedule; the first twentieth of it warms up.

    Returns:
        An optax gradient transformation.
    """
    schedule = optax.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=learning_rate,
        warmup_steps=max(1, num_steps // 20),
        decay_steps=max(2, num_steps),
    )
    return optax.chain(optax.clip_by_global_norm(5.0), optax.adam(schedule))
