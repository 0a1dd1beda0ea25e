"""Optimizers of optax over a whole module, of which only parameters are trained."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx


def params_only(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """An optimizer over a whole module that trains its `nnx.Param` variables alone.

    `fit` and `make_train_step` do so by themselves; this is for a loop of one's own, with
    gradients of a whole flow. All else stays as it is, to the last bit: indices, the constants of
    `Standardize`, running statistics, also where the optimizer decays weights.

    Args:
        optimizer: any optax gradient transformation.

    Returns:
        A transformation whose parameters, gradients and updates are modules.

    Example:
        >>> import jax, optax, flowjax_lite as fl
        >>> from flax import nnx
        >>> flow = fl.flows.realnvp(dim=2, num_layers=2, hidden=(8,), rngs=nnx.Rngs(0))
        >>> x = jax.random.normal(jax.random.key(0), (16, 2))
        >>> optimizer = fl.training.params_only(optax.adamw(1e-3))
        >>> state = optimizer.init(flow)
        >>> gradients = jax.grad(fl.negative_log_likelihood, allow_int=True)(flow, x)
        >>> updates, state = optimizer.update(gradients, state, flow)
        >>> flow = optax.apply_updates(flow, updates)
    """

    def init(module: nnx.Module) -> optax.OptState:
        return optimizer.init(nnx.state(module, nnx.Param))

    def update(
        gradients: Any, state: optax.OptState, module: Any = None
    ) -> tuple[nnx.Module, optax.OptState]:
        if module is None:
            raise TypeError("module is missing; give it as the third argument of update")
        of_params, params = nnx.state(gradients, nnx.Param), nnx.state(module, nnx.Param)
        new, state = optimizer.update(of_params, state, params)
        updates = jax.tree.map(jnp.zeros_like, module)
        nnx.update(updates, new)
        return updates, state

    return optax.GradientTransformation(init, update)
