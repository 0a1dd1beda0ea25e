"""Guidance of trained flows by their condition, for samples that show it more clearly."""

from typing import Any, TypeVar

import jax
from jax import Array

from flowjax_lite.bijectors import Repeat
from flowjax_lite.bijectors.base import with_parts
from flowjax_lite.conditioners import AbstractCausal, Guided
from flowjax_lite.core.pytree import holds
from flowjax_lite.core.recipe import remembers_recipe
from flowjax_lite.distributions import Dequantized, Embedded, Flow
from flowjax_lite.distributions.model import AbstractModel

Model = TypeVar("Model", bound=AbstractModel)


@remembers_recipe
def guided(model: Model, weight: float | Array) -> Model:
    """A trained flow whose samples show their condition more clearly, and differ less.

    Each network of an autoregressive layer becomes `Guided`: what the condition changes in its
    parameters is multiplied, by more for later rows. It is a flow like any other, whose density is
    that of its samples, no longer that of the data.

    The flow must know what a condition of zeros is, which stands for none: train it with
    `losses.condition_dropout`. Labels are one-hot. Networks of couplings have no rows, and are not
    guided.

    Ho and Salimans, 2022, arXiv:2207.12598; in flows Zhai et al., 2024, arXiv:2412.06329.

    Args:
        model: a flow such as `tarflow` or `maf`, or a `Dequantized` of one, with a condition.
        weight: how far beyond, such as 1.5; 0 changes nothing. Another one compiles nothing.

    Returns:
        A model of the same kind, whose samples and densities cost twice as much.

    Raises:
        TypeError: the model is another one, such as an `Embedded`, whose conditions pass a network.
        ValueError: the flow takes no condition, or has a condition_map; it holds no network of an
            autoregressive layer that takes one; it is guided already; or weight is no finite
            number.

    Example:
        >>> import jax, flowjax_lite as fl
        >>> from flax import nnx
        >>> labels = jax.nn.one_hot(jax.random.randint(jax.random.key(0), (40,), 0, 3), 3)
        >>> x = labels + 0.1 * jax.random.normal(jax.random.key(1), (40, 3))
        >>> flow = fl.flows.maf(dim=3, condition_dim=3, num_layers=2, hidden=(8,), rngs=nnx.Rngs(0))
        >>> loss = fl.losses.condition_dropout(fl.negative_log_likelihood)
        >>> flow = fl.fit(flow, x, condition=labels, loss=loss, key=0, max_epochs=2,
        ...               progress=False).flow
        >>> fl.flows.guided(flow, 1.5).sample(0, 5, labels[0]).shape
        (5, 3)
    """
    if isinstance(model, Dequantized):
        return with_parts(model, flow=guided(model.flow, weight))
    if not isinstance(model, Flow) or isinstance(model, Embedded):
        raise TypeError(
            f"model is a {type(model).__name__}; expected a Flow that takes labels as they are, "
            f"one-hot, or a Dequantized of one: zeros are no label to the networks of others"
        )
    if model.condition_shape is None:
        raise ValueError(
            "this flow takes no condition, and guidance goes beyond what a condition asks: build "
            "it with condition_dim and train it with losses.condition_dropout(loss)"
        )
    if model.condition_map is not None:
        raise ValueError(
            "this flow has a condition_map, behind which a condition of zeros is another one: "
            "build it without, and give labels one-hot"
        )
    if holds(model, Guided):
        raise ValueError("this flow is guided already: guide the one that it was made of")
    with_guidance: Model = _guided(model, weight)
    if not holds(with_guidance, Guided):
        raise ValueError(
            f"no network of an autoregressive layer takes the condition of this flow, "
            f"{model.recipe}; expected one such as fl.flows.tarflow or fl.flows.maf"
        )
    return with_guidance


def _guided(tree: Any, weight: float | Array) -> Any:
    """The same with each conditional causal network guided; layers that are stacked stay so."""

    def change(node: Any) -> Any:
        if isinstance(node, Repeat):
            return with_parts(node, layers=jax.vmap(_guided, (0, None))(node.layers, weight))
        if isinstance(node, AbstractCausal) and node.condition_shape is not None:
            return Guided(node, weight)
        return node

    return jax.tree.map(
        change, tree, is_leaf=lambda node: isinstance(node, Repeat | AbstractCausal)
    )
