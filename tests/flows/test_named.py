"""Named flows: densities that integrate to one, samples that follow them, and their settings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from battery.registry import ON_REALS, flow, network
from flax import nnx
from helpers.grid import agreement, density_and_flipped
from scipy import stats

from flowjax_lite import bijectors as b
from flowjax_lite.continuous import solvers, with_solver
from flowjax_lite.distributions import Flow, Uniform
from flowjax_lite.flows import NAMED

every_flow = pytest.mark.parametrize("name", ON_REALS)


def quick(name: str, dim: int, condition_dim: int | None = None) -> Flow:
    """A flow that is as precise as a grid can tell."""
    model = flow(nnx.Rngs(0), name, dim, condition_dim)
    return with_solver(model, num_steps=None, rtol=1e-4, atol=1e-4) if solvers(model) else model


@every_flow
def test_samples_follow_a_density_of_mass_one(name: str):
    """Catches a wrong log-determinant or sampling direction; the flipped twin must be caught."""
    # At 0.35 the flipped mass of flowpp is 1.003 by chance, and sos has tails beyond any grid.
    model = randomised(quick(name, 2), scale={"flowpp": 0.3, "sos": 0.25}.get(name, 0.35))
    end, num = (60.0, 1000) if name == "sos" else (12.0, 200)
    ends = (end, end)
    mass, wrong = density_and_flipped(model, ends, num)
    assert abs(mass.sum() - 1) < 2e-3
    assert abs(wrong.sum() - 1) > 2e-2
    samples = np.asarray(jax.jit(lambda key: model.sample(key, (10_000,)))(jax.random.key(0)))
    assert agreement(samples, mass, ends) > 1e-3
    assert agreement(samples, wrong, ends) < 1e-6


@every_flow
def test_one_dimension(name: str):
    """Catches a flow of one entry that does not start as the identity, or is no density then."""
    model = quick(name, 1, 2)
    log_prob = jax.jit(lambda model, x, condition: model.log_prob(x, condition))
    x, width = np.linspace(-20, 20, 20_001, dtype=np.float32, retstep=True)
    x = x[:, None]
    expected = stats.norm.logpdf(x[:, 0])
    np.testing.assert_allclose(log_prob(model, x, jnp.zeros(2)), expected, rtol=1e-5)
    model = randomised(model, scale=0.2 if name == "sos" else 0.3)
    first, second = (np.exp(log_prob(model, x, jnp.full(2, c))) * width for c in (0.0, 0.2))
    assert abs(first.sum() - 1) < 2e-3
    assert abs(second.sum() - 1) < 2e-3
    assert np.abs(first - second).sum() > 1e-3


@pytest.mark.parametrize("name", NAMED)
def test_every_entry_depends_on_every_other(name: str):
    """Catches layers between which nothing is reordered."""
    settings = network(name, hidden=(8,), activation="tanh")
    model = randomised(NAMED[name](dim=4, num_layers=6, rngs=nnx.Rngs(0), **settings))
    jacobian = jax.jit(jax.jacfwd(model.bijector.inverse))(jnp.linspace(-1.0, 1.0, 4))
    assert jnp.all(jacobian != 0)


@every_flow
def test_starts_as_the_identity_and_then_the_data_map(name: str):
    """Catches a density in the units of the layers, or a layer that moves something at the start.

    With a condition, too: it must not matter yet.
    """
    data = np.random.default_rng(0).normal([5.0, -1.0, 0.0], [3.0, 0.1, 1.0], size=(100, 3))
    standardize = b.Standardize.from_data(data)
    settings = {"condition_dim": 2, "num_layers": 2, "hidden": (8,), "data_map": standardize}
    model = NAMED[name](dim=3, rngs=nnx.Rngs(0), **settings)
    expected = stats.norm.logpdf(data[:5], data.mean(axis=0), data.std(axis=0)).sum(axis=-1)
    log_prob = model.log_prob(jnp.asarray(data[:5], jnp.float32), jnp.ones(2))
    np.testing.assert_allclose(log_prob, expected, rtol=1e-5)


@every_flow
def test_bounded_base(name: str):
    """Catches layers that leave the support of a base on an interval."""
    base = Uniform(2, low=-1.0, high=3.0)
    settings = network(name, hidden=(8,)) | {"num_layers": 2, "base": base}
    model = NAMED[name](dim=2, rngs=nnx.Rngs(0), **settings)
    log_prob = jax.jit(lambda model, x: model.log_prob(x))
    x = jnp.array([[-30.0, 0.3], [2.0, 50.0], [0.0, 0.0]])
    expected = stats.logistic.logpdf(x).sum(axis=-1)
    np.testing.assert_allclose(log_prob(model, x), expected, rtol=1e-5)
    trained = randomised(model)
    assert jnp.all(jnp.isfinite(log_prob(trained, trained.sample(jax.random.key(0), (3,)))))


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("maf", {"dim": 0}, "dim is 0"),
        ("nice", {"num_layers": 0}, "num_layers is 0"),
        ("nsf_coupling", {"hidden": (4, 5)}, r"hidden is \(4, 5\).*equal"),
        ("realnvp", {"condition_dim": 0}, "condition_dim is 0"),
        ("iaf", {"activation": "rely"}, "activation is 'rely'"),
        ("nsf_autoregressive", {"num_bins": 1}, "num_bins is 1"),
        ("naf", {"transformer": "dfs"}, "transformer is 'dfs'.*'dsf', 'ddsf'"),
        ("naf", {"num_units": 0}, "num_units is 0"),
        ("unaf", {"num_nodes": 1}, "num_nodes is 1"),
        ("circular_nsf", {"circular": (1, 3)}, r"circular is \(1, 3\).*\(0, 1, 2\)"),
        ("circular_nsf", {"circular": (1, 1)}, r"circular is \(1, 1\).*at most once"),
        ("circular_nsf", {"gradient": "invert"}, "gradient is 'invert'.*'recompute'"),
        ("ffjord", {"divergence": "hutch"}, "divergence is 'hutch'.*'hutchinson'"),
        ("ffjord", {"num_probes": 0}, "num_probes is 0"),
        ("rnode", {"rtol": 0.0}, "rtol is 0.0"),
        ("cnf", {"method": "rk4"}, "method is 'rk4'.*'tsit5'"),
        ("maf", {"base": Uniform(2)}, r"\(2,\).*\(3,\)"),
        ("maf", {"data_map": b.Exp(2)}, r"\(2,\)"),
        ("maf", {"condition_map": b.Exp(2)}, r"condition_map has event shape \(2,\).*None"),
    ],
)
def test_mistakes_are_named(name: str, settings: dict, message: str):
    """Catches a flow that is built, and fails later, without saying which argument is wrong."""
    with pytest.raises(ValueError, match=message):
        NAMED[name](**{"dim": 3, "rngs": nnx.Rngs(0)} | settings)
