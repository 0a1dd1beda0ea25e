"""Flows in numpyro: in a model, as a guide, and under NUTS."""

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import optax
import pytest
from battery.measure import randomised
from flax import nnx
from jax import Array
from numpyro import distributions as dist
from numpyro import handlers
from numpyro.infer import SVI, Trace_ELBO
from numpyro.infer.reparam import NeuTraReparam
from numpyro.infer.util import log_density

import flowjax_lite as fl
from flowjax_lite.interop import AutoFlow, ToNumpyro, ToNumpyroTransform, flow_param

KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def promotion() -> Iterator[None]:
    """Numpyro promotes ranks itself."""
    with jax.numpy_rank_promotion("allow"):
        yield


class ForwardOnly(fl.bijectors.AbstractBijector):
    """The forward direction of another bijector; no one may ask for the other one."""

    def __init__(self, bijector: fl.bijectors.AbstractBijector) -> None:
        self.bijector = bijector
        self.event_shape, self.condition_shape = bijector.event_shape, bijector.condition_shape

    def forward_and_log_det(self, x, condition=None, key=None):
        return self.bijector.forward_and_log_det(x, condition, key)

    def inverse_and_log_det(self, y, condition=None, key=None):
        raise AssertionError("inverted what it has sampled")


def make(dim: int = 2, condition_dim: int | None = None, seed: int = 0) -> fl.Flow:
    """A flow that is not the identity."""
    options = {"dim": dim, "condition_dim": condition_dim, "rngs": nnx.Rngs(seed)}
    return randomised(fl.flows.realnvp(num_layers=2, hidden=(4,), **options))


def forward_only(dim: int) -> fl.Flow:
    """Such a flow, without its inverse."""
    flow = fl.flows.realnvp(dim=dim, num_layers=2, hidden=(8,), rngs=nnx.Rngs(0))
    return fl.Flow(flow.base, ForwardOnly(flow.bijector))


def log_joint(model, args, params) -> Array:
    """The log-density of a model at values of its sites."""
    return log_density(model, args, {}, params)[0]


def test_a_model_has_the_same_density_with_a_flow_in_it() -> None:
    """Would catch a density that is not the flow's, in plates, with conditions, under jit."""
    flow, conditional = make(), make(condition_dim=1)
    conditions = jnp.linspace(-1.0, 1.0, 4)[:, None]

    def with_flows() -> None:
        numpyro.sample("a", ToNumpyro(flow))
        with numpyro.plate("rows", 4):
            numpyro.sample("b", ToNumpyro(flow))
            numpyro.sample("c", ToNumpyro(conditional, conditions))
        with numpyro.plate("columns", 3, dim=-2), numpyro.plate("rows", 4, dim=-1):
            numpyro.sample("d", ToNumpyro(conditional, conditions))

    def by_hand(values: dict[str, Array]) -> Array:
        return sum(
            flow.log_prob(values[name]).sum()
            if name in "ab"
            else conditional.log_prob(values[name], conditions).sum()
            for name in "abcd"
        )

    trace = handlers.trace(handlers.seed(with_flows, KEY)).get_trace()
    values = {name: trace[name]["value"] for name in "abcd"}
    assert [values[name].shape for name in "abcd"] == [(2,), (4, 2), (4, 2), (3, 4, 2)]
    expected = by_hand(values)
    joint = jax.jit(partial(log_joint, with_flows, ()))(values)
    np.testing.assert_allclose(joint, expected, rtol=1e-5)
    batch = jax.tree.map(lambda v: jnp.stack([v, v + 1]), values)
    np.testing.assert_allclose(
        jax.vmap(partial(log_joint, with_flows, ()))(batch)[0], expected, rtol=1e-5
    )


@pytest.mark.parametrize("kind", ["distribution", "transform"])
def test_samples_keep_their_density(kind: str) -> None:
    """Would catch an ELBO that inverts, or a density that belongs to other samples."""
    flow = forward_only(2)
    whole = fl.Flow(flow.base, randomised(flow.bijector.bijector))
    flow = fl.Flow(flow.base, ForwardOnly(whole.bijector))
    base = dist.Normal(jnp.zeros(2), 1.0).to_event(1)
    adapted = (
        ToNumpyro(flow)
        if kind == "distribution"
        else dist.TransformedDistribution(base, ToNumpyroTransform(flow.bijector))
    ).expand((3,))
    x, kept = adapted.sample_with_intermediates(KEY, (5,))
    assert x.shape == (5, 3, 2)
    np.testing.assert_allclose(adapted.log_prob(x, kept), whole.log_prob(x), rtol=1e-4, atol=1e-4)
    other = ToNumpyroTransform(whole.bijector)
    np.testing.assert_allclose(other.inv(other(x)), x, rtol=1e-4, atol=1e-4)


def test_supports_are_known_to_samplers() -> None:
    """Would catch a walk outside of a flow's domain."""
    flow = fl.Flow(fl.distributions.StandardNormal(2), fl.bijectors.Exp((2,)))
    support = ToNumpyro(flow, support=dist.constraints.positive).support
    assert support.event_dim == 1 and support(jnp.ones(2)) and not support(jnp.array([1.0, -1.0]))
    assert ToNumpyro(flow).support(-jnp.ones(2))
    with pytest.raises(ValueError, match="2 axes"):
        ToNumpyro(flow, support=dist.constraints.positive_definite)


def test_parameters_of_a_flow_in_a_model_are_learned() -> None:
    """Would catch a flow in a model that stays as it was: two rows of data far from it."""
    flow = fl.Flow(fl.distributions.StandardNormal(2), fl.bijectors.Shift(2))
    y = jnp.array([[3.0, -2.0], [4.0, -3.0]])

    def model(y: Array) -> None:
        with numpyro.plate("rows", len(y)):
            numpyro.sample("y", ToNumpyro(flow_param("flow", flow)), obs=y)

    svi = SVI(model, lambda y: None, numpyro.optim.Adam(0.1), Trace_ELBO())
    params = svi.run(KEY, 200, y, progress_bar=False).params
    trained = handlers.substitute(flow_param, params)("flow", flow)
    np.testing.assert_allclose(trained.bijector.shift[...], [3.5, -2.5], atol=0.05)


# A conjugate model: a normal prior of the mean, and rows of known scale.
ROWS = jnp.array([[1.5, -0.5], [2.5, 0.5], [2.0, -1.0]])
SCALE = jnp.array([0.5, 2.0])
PRECISION = 1.0 + len(ROWS) / SCALE**2
MEAN, SD = ROWS.sum(0) / SCALE**2 / PRECISION, PRECISION**-0.5


def conjugate(rows: Array) -> None:
    """Rows around a mean that is not known."""
    mean = numpyro.sample("mean", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    numpyro.deterministic("double", 2 * mean)
    with numpyro.plate("rows", len(rows)):
        numpyro.sample("y", dist.Normal(mean, SCALE).to_event(1), obs=rows)


@pytest.fixture(scope="module")
def trained() -> tuple[AutoFlow, dict]:
    """A guide whose flow cannot invert, after training on the conjugate model."""
    guide = AutoFlow(conjugate, forward_only)
    optimizer = optax.adam(optax.cosine_decay_schedule(0.03, 500))
    svi = SVI(conjugate, guide, optimizer, Trace_ELBO(num_particles=32))
    with jax.numpy_rank_promotion("allow"):
        return guide, svi.run(KEY, 500, ROWS, progress_bar=False).params


def far_from_posterior(samples: Array) -> bool:
    """Whether 4000 samples differ from the exact posterior by more than their noise allows."""
    error = np.abs(samples.mean(0) - MEAN) / SD, np.abs(samples.std(0) / SD - 1)
    return bool(np.max(error) > 0.1)  # the noise of each is 0.016, the rest is left to training


def test_guide_recovers_a_conjugate_posterior(trained: tuple[AutoFlow, dict]) -> None:
    """Would catch a wrong sign or a Jacobian counted twice; the twin's posterior is another."""
    guide, params = trained
    samples = guide.sample_posterior(KEY, params, sample_shape=(4000,))
    assert not far_from_posterior(samples["mean"])
    np.testing.assert_allclose(samples["double"], 2 * samples["mean"], rtol=1e-6)
    assert far_from_posterior(samples["mean"] + 0.15 * SD) and far_from_posterior(samples["double"])


def test_guide_gives_back_its_flow(trained: tuple[AutoFlow, dict]) -> None:
    """Would catch the untrained flow, or one over another space."""
    guide, params = trained
    flow = guide.get_flow(params)
    x, log_q = flow.sample_and_log_prob(KEY, 4000)
    assert not far_from_posterior(x)
    exact = jnp.sum(jax.scipy.stats.norm.logpdf(x, MEAN, SD), -1)
    assert jnp.std(log_q - exact) < 0.2
    x, kept = guide.get_posterior(params).sample_with_intermediates(KEY, (4000,))
    assert not far_from_posterior(x)
    np.testing.assert_allclose(
        jnp.mean(guide.get_posterior(params).log_prob(x, kept)), jnp.mean(log_q), atol=0.1
    )


def test_neutra_walks_in_the_space_of_the_guide(trained: tuple[AutoFlow, dict]) -> None:
    """Would catch a density in z without the flow's log-determinant, which NUTS would follow."""
    guide, params = trained
    flow = guide.get_flow(params)
    neutra = NeuTraReparam(guide, params)
    model = neutra.reparam(conjugate)
    z = jax.random.normal(KEY, (10, 2))
    site = {"auto_shared_latent": z}

    def log_p(x: Array) -> Array:
        return log_joint(conjugate, (ROWS,), {"mean": x})

    expected = jax.vmap(fl.inference.latent_log_density(flow, log_p))(z)
    got = jax.vmap(lambda site: log_joint(model, (ROWS,), site))(site)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(neutra.transform_sample(z)["mean"], flow.to_data(z)[0], rtol=1e-5)


def test_constraints_are_counted_once() -> None:
    """Would catch the log-determinant of a constraint counted twice or not at all.

    An exponential prior has the density e^(u - e^u) of u = log x: of a flow that is the identity,
    the ELBO is then known up to its noise.
    """

    def model() -> None:
        numpyro.sample("x", dist.Exponential(1.0))

    # A base that numpyro knows nothing of.
    options = {"base": fl.distributions.StudentT(1), "hidden": (4,), "rngs": nnx.Rngs(0)}
    guide = AutoFlow(model, partial(fl.flows.iaf, num_layers=1, **options))
    svi = SVI(model, guide, numpyro.optim.Adam(0.01), Trace_ELBO(num_particles=4000))
    state = svi.init(KEY)
    flow = guide.get_flow(svi.get_params(state))
    u, log_q = flow.sample_and_log_prob(KEY, 4000)
    expected = jnp.mean(log_q - (u[:, 0] - jnp.exp(u[:, 0])))
    np.testing.assert_allclose(svi.evaluate(state), expected, atol=0.02)


def test_mistakes_are_named() -> None:
    """Would catch errors from the inside of numpyro, after minutes of compiling."""
    with pytest.raises(TypeError, match="flow is a StandardNormal"):
        ToNumpyro(make().base)
    with pytest.raises(TypeError, match="bijector is a Flow"):
        ToNumpyroTransform(make())
    with pytest.raises(ValueError, match="init_scale"):
        AutoFlow(conjugate, make, init_scale=0.0)
    for wrong, error in (
        (lambda dim: make(dim + 1), ValueError),
        (lambda dim: make(dim, condition_dim=1), ValueError),
        (lambda dim: make(dim).bijector, TypeError),
    ):
        with pytest.raises(error, match="make returned"), handlers.seed(rng_seed=0):
            AutoFlow(conjugate, wrong)(ROWS)
