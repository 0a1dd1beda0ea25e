"""SOS flows: sum-of-squares polynomials in autoregressive layers."""

from flax import nnx

from flowjax_lite.bijectors import AbstractBijector
from flowjax_lite.conditioners import MADE
from flowjax_lite.conditioners.activations import Activation
from flowjax_lite.core.recipe import remembers_recipe
from flowjax_lite.distributions import AbstractBase, Flow
from flowjax_lite.flows.layers import autoregressive_layer, stack
from flowjax_lite.transformers import SumOfSquares


@remembers_recipe
def sos(
    *,
    dim: int,
    condition_dim: int | None = None,
    num_layers: int = 5,
    hidden: tuple[int, ...] = (128, 128),
    num_polynomials: int = 3,
    degree: int = 4,
    bound: float = 10.0,
    activation: str | Activation = "relu",
    base: AbstractBase | None = None,
    data_map: AbstractBijector | None = None,
    condition_map: AbstractBijector | None = None,
    gradient: str = "store",
    compute_dtype: str = "float32",
    rngs: nnx.Rngs,
) -> Flow:
    """Polynomial autoregressive layers, increasing as the integral of a sum of squares.

    Sampling finds the root of a polynomial for each entry.

    SOS: Jaini, Selby and Yu, 2019, arXiv:1905.02325.

    Args:
        dim: dimension of an event; 1 is allowed.
        condition_dim: dimension of a condition; None for an unconditional flow.
        num_layers: number of autoregressive layers.
        hidden: widths of each network's hidden layers.
        num_polynomials: number of squares that each slope is the sum of.
        degree: degree of each polynomial that is squared.
        bound: the polynomials act on [-bound, bound], in units of the latent, with straight
            tails outside.
        activation: name or function.
        base: distribution of the latent; None is a standard normal.
        data_map: fixed bijector from unit scale to the data, such as
            `Standardize.from_data(x)`; None for data already of unit scale.
        condition_map: the same for conditions.
        gradient: what a backward pass keeps of each layer: "store" all that it needs,
            "recompute" its input, "invert" nothing; see `Repeat`.
        compute_dtype: of the networks' products: "float32", "tensorfloat32" or "bfloat16"; see
            `conditioners.check_compute_dtype`.
        rngs: source of the initial weights.

    Returns:
        The flow, the identity map at initialisation.
    """
    layer = autoregressive_layer(
        SumOfSquares(num_polynomials, degree, bound),
        MADE,
        dim=dim,
        condition_dim=condition_dim,
        hidden=hidden,
        activation=activation,
        compute_dtype=compute_dtype,
    )
    return stack(
        layer,
        dim=dim,
        num_layers=num_layers,
        base=base,
        data_map=data_map,
        condition_map=condition_map,
        gradient=gradient,
        rngs=rngs,
    )
