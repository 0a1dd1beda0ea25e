"""What training minimises: pure functions of a flow and a batch."""

from flowjax_lite.losses.atomic import atomic_loss
from flowjax_lite.losses.bits import bits_per_dim
from flowjax_lite.losses.dropout import condition_dropout
from flowjax_lite.losses.flips import flipped
from flowjax_lite.losses.flow_matching import flow_matching
from flowjax_lite.losses.likelihood import Loss, negative_log_likelihood, regularized_likelihood
from flowjax_lite.losses.noise import noise_regularized
from flowjax_lite.losses.variational import (
    distillation,
    forward_kl,
    importance_weighted,
    reverse_kl,
)

__all__ = [
    "Loss",
    "atomic_loss",
    "bits_per_dim",
    "condition_dropout",
    "distillation",
    "flipped",
    "flow_matching",
    "forward_kl",
    "importance_weighted",
    "negative_log_likelihood",
    "noise_regularized",
    "regularized_likelihood",
    "reverse_kl",
]
