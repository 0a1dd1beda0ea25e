"""Networks that emit the parameters of transformers."""

from flowjax_lite.conditioners.activations import ACTIVATIONS, get_activation
from flowjax_lite.conditioners.attention import CausalTransformer, VisionTransformer
from flowjax_lite.conditioners.base import AbstractConditioner
from flowjax_lite.conditioners.causal import AbstractCausal
from flowjax_lite.conditioners.convolution import (
    ConvDecoder,
    ConvEncoder,
    ConvNet,
    GivenImage,
    GlowNet,
    WeightNormConvNet,
    ZeroConvNet,
)
from flowjax_lite.conditioners.guided import Guided
from flowjax_lite.conditioners.lipschitz import LipschitzMLP
from flowjax_lite.conditioners.made import MADE, ResidualMADE
from flowjax_lite.conditioners.mlp import MLP, ResidualMLP
from flowjax_lite.conditioners.periodic import Periodic
from flowjax_lite.numerics.product import COMPUTE_DTYPES, check_compute_dtype

__all__ = [
    "ACTIVATIONS",
    "COMPUTE_DTYPES",
    "MADE",
    "MLP",
    "AbstractCausal",
    "AbstractConditioner",
    "CausalTransformer",
    "ConvDecoder",
    "ConvEncoder",
    "ConvNet",
    "GivenImage",
    "GlowNet",
    "Guided",
    "LipschitzMLP",
    "Periodic",
    "ResidualMADE",
    "ResidualMLP",
    "VisionTransformer",
    "WeightNormConvNet",
    "ZeroConvNet",
    "check_compute_dtype",
    "get_activation",
]
