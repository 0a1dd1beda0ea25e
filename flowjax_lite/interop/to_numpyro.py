"""Flows in numpyro: as distributions of a model, as transforms, and as a guide over a model."""

from collections.abc import Callable
from typing import Any, final

import jax.numpy as jnp
import numpyro
from flax import nnx
from jax import Array
from jax.typing import ArrayLike
from numpyro import distributions as dist
from numpyro import handlers
from numpyro.distributions import constraints
from numpyro.infer import init_to_median
from numpyro.infer.autoguide import AutoContinuous

from flowjax_lite.bijectors import AbstractBijector, Affine, Chain
from flowjax_lite.core.checks import Shape, check_condition_batch
from flowjax_lite.distributions import Flow, FlowMixture, StandardNormal
from flowjax_lite.distributions.bases.base import check_number
from flowjax_lite.distributions.flow import flow_of_base


@final
class ToNumpyro(dist.Distribution):
    """A flow as a numpyro distribution: a prior, a likelihood, or a part of a guide.

    Conditions with leading axes make a batch of independent distributions, such as those of a
    plate. A sample of a guide keeps its log-density, so that an ELBO never inverts the flow. The
    flow's parameters are constants, unless they come from `flow_param`.

    Example:
        >>> import numpyro, flowjax_lite as fl
        >>> from flax import nnx
        >>> prior = fl.flows.maf(dim=2, num_layers=2, hidden=(8,), rngs=nnx.Rngs(0))
        >>> def model(y):
        ...     theta = numpyro.sample("theta", fl.interop.ToNumpyro(prior))
        ...     numpyro.sample("y", numpyro.distributions.Normal(theta.sum(), 1.0), obs=y)
    """

    pytree_data_fields = ("flow", "condition", "_support")

    def __init__(
        self,
        flow: Flow | FlowMixture,
        condition: ArrayLike | None = None,
        *,
        support: constraints.Constraint | None = None,
        validate_args: bool | None = None,
    ) -> None:
        """Wrap a flow.

        Args:
            flow: a flow or a mixture of flows.
            condition: (..., *condition_shape); its leading axes are the batch shape.
            support: where the flow's data map leads, such as `constraints.positive` for every
                entry or `constraints.simplex` for an event, which samplers of a model have to
                know; None for all numbers.
            validate_args: as for all distributions of numpyro.

        Raises:
            TypeError: flow is none, or the condition is missing or not floating-point.
            ValueError: the condition has the wrong shape, or none is taken; or the support is one
                of larger events.
        """
        if not isinstance(flow, Flow | FlowMixture):
            raise TypeError(f"flow is a {type(flow).__name__}; expected a Flow or a FlowMixture")
        self.flow = flow
        self.condition = check_condition_batch(condition, flow.condition_shape)
        rank = len(flow.event_shape)
        entry = constraints.real if support is None else support
        if entry.event_dim > rank:
            raise ValueError(
                f"support is one of events with {entry.event_dim} axes; this flow has events of "
                f"shape {flow.event_shape}"
            )
        self._support = constraints.independent(entry, rank - entry.event_dim)
        batch: Shape = ()
        if self.condition is not None and flow.condition_shape is not None:
            batch = self.condition.shape[: self.condition.ndim - len(flow.condition_shape)]
        super().__init__(batch, flow.event_shape, validate_args=validate_args)

    def sample(self, key: Array, sample_shape: Shape = ()) -> Array:
        """Samples, (*sample_shape, *batch_shape, *event_shape)."""
        return self.flow.sample(key, sample_shape, self.condition)

    def sample_with_intermediates(
        self, key: Array, sample_shape: Shape = ()
    ) -> tuple[Array, list[Array]]:
        """Samples and, for `log_prob`, their log-densities."""
        x, log_prob = self.flow.sample_and_log_prob(key, sample_shape, self.condition)
        return x, [log_prob]

    def log_prob(self, value: ArrayLike, intermediates: list[Array] | None = None) -> Array:
        """Log-density, in nats: see `Flow.log_prob`."""
        if intermediates:
            return intermediates[0]
        return self.flow.log_prob(value, self.condition)


@final
class ToNumpyroTransform(dist.transforms.Transform):
    """A bijector as a numpyro transform, which takes batches and does not invert what it mapped."""

    def __init__(self, bijector: AbstractBijector, condition: ArrayLike | None = None) -> None:
        """Wrap a bijector.

        Args:
            bijector: it acts on events of `event_shape`.
            condition: (..., *condition_shape); its leading axes broadcast against those of events.

        Raises:
            TypeError: bijector is none, or the condition is missing or not floating-point.
            ValueError: the condition has the wrong shape, or none is taken.
        """
        if not isinstance(bijector, AbstractBijector):
            raise TypeError(
                f"bijector is a {type(bijector).__name__}; expected a bijector of flowjax_lite, "
                f"such as flow.bijector"
            )
        # A flow maps batches; its base is not used.
        self.flow = Flow(StandardNormal(bijector.event_shape), bijector)
        self.condition = check_condition_batch(condition, bijector.condition_shape)

    @property
    def domain(self) -> constraints.Constraint:
        """All numbers."""
        return constraints.independent(constraints.real, len(self.flow.event_shape))

    @property
    def codomain(self) -> constraints.Constraint:
        """All numbers."""
        return self.domain

    def __call__(self, x: ArrayLike) -> Array:
        return self.flow.to_data(x, self.condition)[0]

    def call_with_intermediates(self, x: ArrayLike) -> tuple[Array, Array]:
        """The image, and the log-determinant for `log_abs_det_jacobian`."""
        return self.flow.to_data(x, self.condition)

    def log_abs_det_jacobian(
        self, x: ArrayLike, y: ArrayLike, intermediates: Array | None = None
    ) -> Array:
        """The log-determinant, log |det ∂y/∂x|."""
        if intermediates is not None:
            return intermediates
        return self.flow.to_data(x, self.condition)[1]

    def _inverse(self, y: ArrayLike) -> Array:
        return self.flow.to_latent(y, self.condition)[0]

    def tree_flatten(self) -> tuple[Any, Any]:
        return (self.flow, self.condition), (("flow", "condition"), {})


def flow_param(name: str, flow: Flow) -> Flow:
    """A flow whose parameters are learned with those of a numpyro model or guide.

    Args:
        name: of the parameter site, whose value is the state of all `nnx.Param` of the flow.
        flow: the flow to begin with: build it once, outside the model.

    Returns:
        The flow with the current parameters. Outside of the model,
        `numpyro.handlers.substitute(flow_param, params)(name, flow)` is the trained one.
    """
    graph, *states = nnx.split(flow, nnx.Param, ...)
    current: Flow = nnx.merge(graph, numpyro.param(name, states[0]), *states[1:])
    return current


@final
class AutoFlow(AutoContinuous):
    """A guide over all continuous latent variables of a model: one flow of any kind.

    It begins as a normal distribution around what `init_loc_fn` gives, in the space without
    constraints, and samples and evaluates in one pass: nothing is inverted in training. With
    `numpyro.infer.reparam.NeuTraReparam`, NUTS walks in the space of the trained flow.

    The ELBO is a reverse KL, which may leave modes out: look at `diagnostics.pareto_k` of the log
    weights, log p - log q, of samples.

    NeuTra: Hoffman et al., 2019, arXiv:1903.03704.

    Example:
        >>> import jax, numpyro, flowjax_lite as fl
        >>> from functools import partial
        >>> from flax import nnx
        >>> def model(y):
        ...     scale = numpyro.sample("scale", numpyro.distributions.HalfNormal(1.0))
        ...     numpyro.sample("y", numpyro.distributions.Normal(0.0, scale), obs=y)
        >>> flow = partial(fl.flows.realnvp, num_layers=4, hidden=(16,), rngs=nnx.Rngs(0))
        >>> guide = fl.interop.AutoFlow(model, flow)
        >>> svi = numpyro.infer.SVI(
        ...     model, guide, numpyro.optim.Adam(1e-3), numpyro.infer.Trace_ELBO()
        ... )
    """

    def __init__(
        self,
        model: Callable[..., Any],
        make: Callable[..., Flow],
        *,
        init_loc_fn: Callable[..., Any] = init_to_median,
        init_scale: float = 0.1,
        prefix: str = "auto",
        **options: Any,
    ) -> None:
        """Prepare the guide; the flow is built when the model first runs.

        Args:
            model: a numpyro model.
            make: builds the flow, called once as `make(dim=...)` with the number of latent
                variables, such as `partial(fl.flows.iaf, rngs=nnx.Rngs(0))`. It takes no condition,
                and no map to a domain: the model's constraints are taken care of.
            init_loc_fn: where to begin, as for every guide of numpyro.
            init_scale: the standard deviation to begin with.
            prefix: of the names of sites.
            **options: of `numpyro.infer.autoguide.AutoGuide`.

        Raises:
            TypeError: init_scale is no number; and, where the model first runs, make returns no
                flow.
            ValueError: init_scale is not positive; and, where the model first runs, the flow has
                the wrong shape or takes a condition.
        """
        self._make = make
        self._init_scale = check_number(init_scale, "init_scale", above=0.0)
        super().__init__(model, prefix=prefix, init_loc_fn=init_loc_fn, **options)

    def _setup_prototype(self, *args: Any, **kwargs: Any) -> None:
        super()._setup_prototype(*args, **kwargs)
        dim = self.latent_dim
        flow = self._make(dim=dim)
        if not isinstance(flow, Flow):
            raise TypeError(f"make returned a {type(flow).__name__}; expected a Flow")
        if flow.event_shape != (dim,) or flow.condition_shape is not None:
            raise ValueError(
                f"make returned a flow of events {flow.event_shape} with conditions "
                f"{flow.condition_shape}; expected events ({dim},) and no condition: pass dim on, "
                f"and leave condition_dim out"
            )
        start = Affine.from_arrays(self._init_latent, jnp.full(dim, self._init_scale))
        self._flow = Flow(flow.base, Chain([flow.bijector, start]))

    def get_flow(self, params: dict[str, Any]) -> Flow:
        """The flow of `svi_result.params`, a density over the space without constraints."""
        flow: Flow = handlers.substitute(self._get_flow, params)()
        return flow

    def get_base_dist(self) -> dist.Distribution:
        """The base of the flow, as it was built."""
        return _base_of(self._flow)

    def get_posterior(self, params: dict[str, Any]) -> dist.Distribution:
        """The distribution over the space without constraints."""
        return handlers.substitute(self._get_posterior, params)()

    def _get_flow(self) -> Flow:
        return flow_param(f"{self.prefix}_flow", self._flow)

    def _get_posterior(self) -> dist.Distribution:
        flow = self._get_flow()
        return dist.TransformedDistribution(_base_of(flow), ToNumpyroTransform(flow.bijector))


def _base_of(flow: Flow) -> dist.Distribution:
    """The base of a flow over vectors; numpyro's normal, where it is one, is the least program."""
    if isinstance(flow.base, StandardNormal):
        return dist.Normal(jnp.zeros(flow.event_shape), 1.0).to_event(1)
    return ToNumpyro(flow_of_base(flow.base))
