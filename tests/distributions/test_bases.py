"""Base distributions: densities, samples, supports, gradients and errors."""

import math
from collections.abc import Callable
from typing import Any

import distrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx
from scipy import integrate, special, stats

from flowjax_lite.distributions.bases.base import AbstractBase
from flowjax_lite.distributions.bases.bounded import Beta, Uniform
from flowjax_lite.distributions.bases.mixture import GaussianMixture
from flowjax_lite.distributions.bases.normal import (
    ConditionalNormal,
    DiagonalNormal,
    StandardNormal,
)
from flowjax_lite.distributions.bases.product import Product
from flowjax_lite.distributions.bases.student_t import StudentT
from flowjax_lite.interop import FromDistrax

CONDITION_DIM = 2
BASES: dict[str, Callable[[int], AbstractBase]] = {
    "StandardNormal": StandardNormal,
    "DiagonalNormal": DiagonalNormal,
    "Uniform": lambda dim: Uniform(dim, low=-0.5, high=0.7),
    "Beta": lambda dim: Beta(dim, alpha=2.0, beta=3.5),
    "StudentT": lambda dim: StudentT(dim, df=4.0),
    "GaussianMixture": lambda dim: GaussianMixture(dim, num_components=3, rngs=nnx.Rngs(0)),
    "ConditionalNormal": lambda dim: ConditionalNormal(
        dim, condition_dim=CONDITION_DIM, hidden=(5,), rngs=nnx.Rngs(0)
    ),
    "Product": lambda dim: Product([(StudentT, DiagonalNormal)[i % 2](1) for i in range(dim)]),
    "FromDistrax": lambda dim: FromDistrax(
        distrax.Independent(distrax.Normal(jnp.zeros(dim), jnp.full(dim, 0.5)), 1)
    ),
}
log_prob_jit = jax.jit(lambda base, z, condition: base.log_prob(z, condition))
every_base = pytest.mark.parametrize("name", BASES)


def condition_for(base: AbstractBase) -> jax.Array | None:
    """A condition where the base takes one."""
    return None if base.condition_shape is None else jnp.array([0.3, -1.2])


def known_log_prob(base: AbstractBase, z: np.ndarray) -> float:
    """The log-density by scipy, in float64, from the base's parameters."""
    match base:
        case StandardNormal():
            return stats.norm.logpdf(z).sum()
        case DiagonalNormal():
            scale = np.exp(10 * np.tanh(np.float64(base.raw_scale[...]) / 10))
            return stats.norm.logpdf(z, np.float64(base.loc[...]), scale).sum()
        case Uniform():
            return stats.uniform.logpdf(z, base.low, base.high - base.low).sum()
        case Beta():
            return stats.beta.logpdf(z, base.alpha, base.beta).sum()
        case StudentT():
            return stats.t.logpdf(z, 0.5 + np.log1p(np.exp(np.float64(base.raw_df[...])))).sum()
        case GaussianMixture():
            scales = np.exp(10 * np.tanh(np.float64(base.raw_scales[...]) / 10))
            each = stats.norm.logpdf(z, np.float64(base.locs[...]), scales).sum(-1)
            return special.logsumexp(each + special.log_softmax(np.float64(base.logits[...])))
        case ConditionalNormal():
            loc, raw = np.float64(base.network(condition_for(base)))
            return stats.norm.logpdf(z, loc, np.exp(10 * np.tanh(raw / 10))).sum()
        case Product():
            parts = zip(base.bases, z, strict=True)
            return sum(known_log_prob(part, entry) for part, entry in parts)
        case FromDistrax():
            return stats.norm.logpdf(z, 0.0, 0.5).sum()
    raise AssertionError(f"no known answer for {base}")


@every_base
def test_log_prob_is_the_known_one(name: str, dtype: np.dtype):
    """Catches a wrong constant, a wrong axis, and Python control flow on values."""
    base = randomised(BASES[name](3), scale=0.5)
    condition = condition_for(base)
    z = jnp.array([[0.1, 0.4, 0.6], [0.69, 0.02, 0.3]], dtype)
    batched = jax.vmap(log_prob_jit, (None, 0, None))(base, z, condition)
    assert batched.shape == (2,) and batched.dtype == dtype
    tolerance = 1e-12 if dtype == jnp.float64 else 1e-5
    expected = [known_log_prob(base, row) for row in np.asarray(z, np.float64)]
    np.testing.assert_allclose(batched, expected, rtol=tolerance, atol=tolerance)


def ks_p_values(base: AbstractBase, shift: float) -> tuple[float, float]:
    """How well samples of a 1-d base agree with its density, and with that density moved."""
    condition = condition_for(base)
    keys = jax.random.split(jax.random.key(0), 3000)
    samples = jax.jit(jax.vmap(lambda key: base.sample(key, condition)))(keys)
    assert samples.shape == (3000, 1)
    grid = np.linspace(-60, 60, 50_001, dtype=np.float32)
    log_prob = jax.vmap(log_prob_jit, (None, 0, None))(base, grid[:, None], condition)
    mass = integrate.cumulative_trapezoid(np.exp(np.float64(log_prob)), grid, initial=0)
    assert abs(mass[-1] - 1) < 2e-3, "the density does not integrate to one"
    agree, moved = (
        stats.kstest(np.asarray(samples)[:, 0] + move, lambda x: np.interp(x, grid, mass)).pvalue
        for move in (0.0, shift)
    )
    return agree, moved


@every_base
def test_samples_follow_the_density(name: str):
    """Catches samples of another distribution than the density's; the twin must be caught."""
    base = randomised(BASES[name](1), scale=0.5)
    agree, moved = ks_p_values(base, shift=0.25)
    assert agree > 1e-3
    assert moved < 1e-3


@pytest.mark.parametrize("name", ["StandardNormal", "Uniform", "StudentT"])
def test_coordinates_of_a_sample_differ(name: str):
    """Catches one random number used for every coordinate."""
    base = BASES[name](2)
    z = base.sample(jax.random.key(0), condition_for(base))
    assert z[0] != z[1]


@every_base
def test_a_rebuilt_base_shares_compiled_code(name: str):
    """Catches structures that compare unequal, and parameters that change their weak type."""
    traces = []

    @jax.jit
    def log_prob(base: AbstractBase, z: jax.Array) -> jax.Array:
        traces.append(None)
        return base.log_prob(z, condition_for(base))

    first, second = BASES[name](2), BASES[name](2)
    assert jax.tree.structure(first) == jax.tree.structure(second)
    assert nnx.graphdef(first) == nnx.graphdef(second)
    stepped = jax.tree.map(lambda leaf: leaf + jnp.ones((), leaf.dtype), second)
    for base in (first, second, stepped):
        log_prob(base, jnp.array([0.1, 0.2]))
    assert len(traces) == 1


@every_base
def test_every_parameter_gets_a_finite_gradient(name: str):
    """Catches a parameter that is cut off from the density, and integer leaves."""
    base = randomised(BASES[name](2), scale=0.5)
    z = jnp.array([0.1, 0.4])

    def loss(base: AbstractBase) -> jax.Array:
        return -base.log_prob(z, condition_for(base))

    gradients = jax.jit(nnx.grad(loss))(base)
    for place, gradient in nnx.to_flat_state(gradients):
        assert jnp.all(jnp.isfinite(gradient[...])), place
        assert jnp.any(gradient[...] != 0), place


@every_base
def test_samples_have_the_default_dtype(name: str, dtype: np.dtype):
    """Catches samples in float32 when float64 is enabled."""
    base = BASES[name](2)
    sample = jax.eval_shape(base.sample, jax.random.key(0), condition_for(base))
    assert sample.shape == (2,) and sample.dtype == dtype


@pytest.mark.parametrize("name", ["StandardNormal", "Uniform", "Beta"])
def test_without_parameters_the_density_follows_the_input(name: str, x64: None):
    """Catches constants that promote a float32 flow to float64."""
    z = jnp.array([0.1, 0.2], jnp.float32)
    assert BASES[name](2).log_prob(z).dtype == jnp.float32


@every_base
def test_nan_stays_nan(name: str):
    """Catches a missing value that is given a likelihood."""
    base = BASES[name](2)
    z = jnp.array([0.5, jnp.nan])
    assert jnp.isnan(log_prob_jit(base, z, condition_for(base)))


def test_scales_stay_finite():
    """Catches an exponential that overflows when a step of training went too far."""
    base = DiagonalNormal(2)
    for raw in (1e6, -1e6):
        base.raw_scale[...] = jnp.full(2, raw)
        assert jnp.all(jnp.isfinite(base.sample(jax.random.key(0))))
        gradient = jax.grad(base.log_prob)(jnp.ones(2))
        assert jnp.all(jnp.isfinite(gradient))


def test_parts_of_a_product_keep_their_places():
    """Catches sizes that are taken for counts, a lost condition, and one key for all parts."""
    network = BASES["ConditionalNormal"](2)
    base = Product([Uniform(2), network, Uniform(1, low=5.0, high=6.0), Uniform(2)])
    assert base.event_shape == (7,) and base.condition_shape == (CONDITION_DIM,)
    condition = condition_for(base)
    z = base.sample(jax.random.key(0), condition)
    expected = network.log_prob(z[2:4], condition)  # the uniform parts have the density one
    np.testing.assert_allclose(base.log_prob(z, condition), expected, rtol=1e-6)
    assert jnp.all(z[:2] != z[5:])


def test_the_support_of_a_product():
    """Catches the support of one part passed off as that of all."""
    assert Product([Uniform(1), Beta(2, alpha=2.0, beta=2.0)]).support == (0.0, 1.0)
    assert Product([Uniform(1), StandardNormal(2)]).support is None


def test_normals_start_standard():
    """Catches an initialisation that is not the identity's."""
    z = jnp.array([0.3, -2.0])
    expected = StandardNormal(2).log_prob(z)
    for name in ("DiagonalNormal", "ConditionalNormal"):
        base = BASES[name](2)
        np.testing.assert_allclose(base.log_prob(z, condition_for(base)), expected, rtol=1e-6)


def test_the_condition_matters():
    """Catches a condition that is accepted and ignored."""
    base, z = randomised(BASES["ConditionalNormal"](2), scale=0.5), jnp.zeros(2)
    first, second = (base.log_prob(z, jnp.array([a, 1.0])) for a in (0.0, 2.0))
    assert abs(first - second) > 1e-3


ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "batch": (
        lambda: FromDistrax(distrax.Normal(jnp.zeros(2), 1.0)),
        ValueError,
        r"dist has batch shape \(2,\).*Independent",
    ),
    "discrete": (lambda: FromDistrax(distrax.Bernoulli(0.0)), TypeError, "dist has dtype.*discre"),
    "other": (lambda: FromDistrax(stats.norm), TypeError, "dist is a .*distrax.Distribution"),
    "low": (lambda: Uniform(2, low=1.0, high=1.0), ValueError, "low is 1.0 and high is 1.0.*swap"),
    "infinite": (lambda: Uniform(2, high=math.inf), ValueError, "high is inf.*finite"),
    "alpha": (lambda: Beta(2, alpha=0.0, beta=1.0), ValueError, "alpha is 0.0.*above 0"),
    "beta": (lambda: Beta(2, alpha=1.0, beta=math.nan), ValueError, "beta is nan.*above 0"),
    "text": (lambda: Beta(2, alpha="1", beta=1.0), TypeError, "alpha is '1'.*number"),
    "df": (lambda: StudentT(2, df=-1.0), ValueError, "df is -1.0.*above 0.5"),
    "components": (
        lambda: GaussianMixture(2, num_components=0, rngs=nnx.Rngs(0)),
        ValueError,
        "num_components is 0.*at least 1",
    ),
    "no parts": (lambda: Product([]), ValueError, "bases is empty.*at least one"),
    "condition_dim": (
        lambda: ConditionalNormal(2, condition_dim=0, rngs=nnx.Rngs(0)),
        ValueError,
        "condition_dim is 0",
    ),
    "event": (lambda: StandardNormal(2).log_prob(jnp.zeros(3)), ValueError, r"z has shape \(3,\)"),
    "integers": (lambda: StandardNormal(2).log_prob(jnp.arange(2)), TypeError, "z has dtype int32"),
    "unwanted condition": (
        lambda: StandardNormal(2).log_prob(jnp.zeros(2), jnp.zeros(1)),
        ValueError,
        "condition was given",
    ),
    "missing condition": (
        lambda: BASES["ConditionalNormal"](2).sample(jax.random.key(0)),
        TypeError,
        "condition is missing",
    ),
    "wrong condition": (
        lambda: BASES["ConditionalNormal"](2).log_prob(jnp.zeros(2), jnp.zeros(3)),
        ValueError,
        r"condition has shape \(3,\).*expects \(2,\)",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_mistakes_are_named(case: str):
    """Catches an error that does not name the argument, what came and what to do."""
    call, error, message = ERRORS[case]
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("name", [name for name in BASES if name not in ("FromDistrax", "Product")])
@pytest.mark.parametrize("dim", [0, -1])
def test_dim_must_be_positive(name: str, dim: int):
    """Catches an empty event, whose density would be one whatever it is."""
    with pytest.raises(ValueError, match=f"dim is {dim}; expected"):
        BASES[name](dim)
