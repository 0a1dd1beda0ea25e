"""All continuous flows inside a model: what they report together, and how they are solved."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from flowjax_lite.bijectors import AbstractBijector
from flowjax_lite.bijectors.base import condition_of, split_key
from flowjax_lite.continuous.flow import ContinuousFlow, Energies, Transport
from flowjax_lite.continuous.solver import Solver
from flowjax_lite.core.pytree import holds
from flowjax_lite.core.recipe import Recipe, Recorded, edited

M = TypeVar("M", bound=nnx.Module)


def transport(
    bijector: AbstractBijector,
    value: Array,
    condition: Array | None = None,
    key: Array | None = None,
    *,
    inverse: bool = False,
    energies: bool = False,
) -> Transport:
    """Carry one event through a composition, and add up what its continuous flows report.

    Args:
        bijector: a `ContinuousFlow`, or a composition of these and of others by `Chain`, `Repeat`
            and `Invert`, such as `flow.bijector`.
        value: one event, `event_shape`; on the latent side unless `inverse`.
        condition: one condition, `condition_shape`.
        key: draws the probes of the divergences; None asks for exact traces.
        inverse: from the data side to the latent side.
        energies: integrate the kinetic energy and the norm of the Jacobian too; see
            `ContinuousFlow.transport`.

    Returns:
        The event at the other side, the log-determinant of the whole map, and the sums over all
        continuous flows. `succeeded` says whether all solves did.

    Raises:
        TypeError: a continuous flow lies inside a bijector that is no composition.
    """
    parts = bijector.parts()
    if inverse:
        parts = [part.turned() for part in reversed(parts)]
    zero = jnp.zeros((), value.dtype)
    nothing = Energies(zero, zero) if energies else None
    whole = Transport(value, zero, nothing, jnp.zeros((), int), jnp.ones((), bool))
    for part, k in zip(parts, split_key(key, len(parts)), strict=True):
        if not holds(part.bijector, ContinuousFlow):
            value, log_det = part.apply(whole.value, condition, k)
            whole = whole._replace(value=value, log_det=whole.log_det + log_det)
            continue
        ode = part.bijector
        if not isinstance(ode, ContinuousFlow):
            name = type(ode).__name__
            raise TypeError(
                f"{name} holds a ContinuousFlow, and an event cannot be followed inside it: build "
                f"the flow into a Chain, Repeat or Invert, or write the method parts of {name}"
            )
        given = condition_of(ode, condition), k
        way = ode.transport(whole.value, *given, inverse=not part.forward, energies=energies)
        whole = Transport(
            way.value,
            whole.log_det + way.log_det,
            jax.tree.map(jnp.add, whole.energies, way.energies),
            whole.num_evaluations + way.num_evaluations,
            whole.succeeded & way.succeeded,
        )
    return whole


def with_solver(module: M, **changes: Any) -> M:
    """A copy of a model whose continuous flows are solved in another way.

    Few large steps make cheap samples of a flow that was trained to be straight; small tolerances
    make a reference for the others. The parameters stay the same.

    Args:
        module: a `Flow`, a bijector, or anything else that holds a `ContinuousFlow`.
        **changes: fields of `Solver` and their new values.

    Returns:
        The copy; its recipe changes with it, so it can be saved.

    Raises:
        TypeError: `Solver` has no such field.
        ValueError: the model holds no `ContinuousFlow`, or a value is out of range.

    Example:
        >>> import jax, flowjax_lite as fl
        >>> from flax import nnx
        >>> flow = fl.flows.cnf(dim=2, hidden=(8,), rngs=nnx.Rngs(0))
        >>> fast = fl.continuous.with_solver(flow, method="midpoint", num_steps=4)
        >>> x = fast.sample(jax.random.key(0), (5,))
    """
    if not solvers(module):
        raise ValueError(
            f"{type(module).__name__} holds no ContinuousFlow, so there is nothing to solve"
        )
    copy = change_solvers(module, lambda solver: dataclasses.replace(solver, **changes))
    fields = {field.name for field in dataclasses.fields(Solver)}

    def edit(recipe: Recipe) -> Recipe:
        # A Solver's own recipe, and that of a factory that takes a solver's settings by name.
        arguments = dict(recipe.arguments)
        if not fields <= arguments.keys():
            return recipe
        return Recipe(recipe.name, tuple((arguments | changes).items()))

    for _, node in nnx.iter_graph(copy):
        if isinstance(node, Recorded) and node.recipe is not None:
            node.recipe = edited(node.recipe, edit)
    return copy


def solvers(module: nnx.Module) -> list[Solver]:
    """The solvers of all continuous flows inside a model."""
    return [flow.solver for flow in _flows(module)]


def change_solvers(module: M, change: Callable[[Solver], Solver]) -> M:
    """A copy of a model with other solvers; its recipe, if it has one, stays."""
    copy: M = jax.tree.map(lambda leaf: leaf, module)
    for flow in _flows(copy):
        flow.solver = change(flow.solver)
    return copy


def _flows(module: nnx.Module) -> list[ContinuousFlow]:
    nodes = jax.tree.leaves(module, is_leaf=lambda node: isinstance(node, ContinuousFlow))
    return [node for node in nodes if isinstance(node, ContinuousFlow)]
