"""Networks that emit the parameters of transformers."""

from flowjax_lite.conditioners.activations import ACTIVATIONS, get_activation
from flowjax_lite.conditioners.made import MADE, AbstractMADE, ResidualMADE
from flowjax_lite.conditioners.mlp import MLP, ResidualMLP

__all__ = [
    "ACTIVATIONS",
    "MADE",
    "MLP",
    "AbstractMADE",
    "ResidualMADE",
    "ResidualMLP",
    "get_activation",
]
