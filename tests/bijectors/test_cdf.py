"""Distribution functions, and the inverse-CDF construction of one-dimensional flows."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import Array
from scipy import stats

import flowjax_lite as fl
from flowjax_lite.bijectors import (
    AbstractBijector,
    BetaCDF,
    Chain,
    GaussianMixtureCDF,
    Invert,
    NormalCDF,
)
from flowjax_lite.distributions import Beta, Flow, GaussianMixture, StandardNormal, Uniform

WEIGHTS, LOCS, SCALES = np.array([0.6, 0.4]), np.array([-2.0, 1.5]), np.array([0.5, 0.8])


def mixture_cdf() -> GaussianMixtureCDF:
    """The distribution function of the mixture above."""
    cdf = GaussianMixtureCDF(1, num_components=2, rngs=nnx.Rngs(0))
    cdf.logits[...] = jnp.log(WEIGHTS)[:, None]
    cdf.locs[...] = jnp.asarray(LOCS)[:, None]
    cdf.raw_scales[...] = 10 * jnp.arctanh(jnp.log(SCALES) / 10)[:, None]
    return cdf


def mixture(function: Callable, x: np.ndarray) -> np.ndarray:
    """A density or distribution function of scipy, of the mixture above."""
    return np.sum(WEIGHTS * function(x[:, None], LOCS, SCALES), axis=1)


def draw(num: int) -> np.ndarray:
    """Samples of the mixture above, (num, 1)."""
    rng = np.random.default_rng(0)
    which = rng.choice(2, num, p=WEIGHTS)
    return rng.normal(LOCS[which], SCALES[which])[:, None]


@pytest.mark.parametrize(
    ("make", "cdf", "log_density", "x"),
    [
        (lambda: NormalCDF(1), stats.norm.cdf, stats.norm.logpdf, np.linspace(-35, 6, 42)),
        (
            lambda: BetaCDF(1, alpha=0.5, beta=3.0),
            stats.beta(0.5, 3.0).cdf,
            stats.beta(0.5, 3.0).logpdf,
            np.linspace(1e-6, 0.98, 42),
        ),
        (
            mixture_cdf,
            partial(mixture, stats.norm.cdf),
            lambda x: np.log(mixture(stats.norm.pdf, x)),
            np.linspace(-10.0, 4.0, 42),
        ),
    ],
    ids=["NormalCDF", "BetaCDF", "GaussianMixtureCDF"],
)
@pytest.mark.usefixtures("x64")
def test_known_values(make: Callable, cdf: Callable, log_density: Callable, x: np.ndarray):
    """Catches swapped parameters, a wrong constant, and digits lost in a lower tail."""
    bijector = make()
    forward, inverse = (
        jax.jit(jax.vmap(function))
        for function in (bijector.forward_and_log_det, bijector.inverse_and_log_det)
    )
    u, log_det = forward(x[:, None])
    np.testing.assert_allclose(u[:, 0], cdf(x), rtol=1e-10)
    np.testing.assert_allclose(log_det, log_density(x), rtol=1e-10, atol=1e-10)
    moderate = cdf(x) < 0.99  # numbers just below one have lost the digits of x
    back, back_log_det = inverse(cdf(x)[moderate, None])
    np.testing.assert_allclose(back[:, 0], x[moderate], rtol=1e-10)
    np.testing.assert_allclose(back_log_det, -log_density(x[moderate]), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "bijector", [NormalCDF(2), BetaCDF(2, alpha=0.5, beta=3.0)], ids=["NormalCDF", "BetaCDF"]
)
def test_ends(bijector: AbstractBijector):
    """Catches NaN where a distribution function ends, or a number where it never was."""
    inverse = jax.jit(bijector.inverse_and_log_det)
    for outside in (-0.1, 0.0, 1.0, 1.1):
        x, log_det = inverse(jnp.array([0.5, outside]))
        assert jnp.all(jnp.isfinite(x)) and log_det == -jnp.inf
        marked = jnp.isnan(bijector.inverse(jnp.array([0.5, outside])))
        np.testing.assert_array_equal(marked, [False, True])
    assert jnp.isnan(inverse(jnp.array([0.5, jnp.nan]))[1])


def inverse_cdf_flow() -> Flow:
    """A normal that becomes the mixture: its distribution function, and the other's inverse."""
    return Flow(StandardNormal(1), Chain([NormalCDF(1), Invert(mixture_cdf())]))


@pytest.mark.usefixtures("x64")
def test_a_normal_becomes_the_mixture():
    """Catches a construction that is not exact, in the tails also."""
    x = np.linspace(-12.0, 9.0, 60)
    expected = np.log(mixture(stats.norm.pdf, x))
    log_prob = jax.jit(lambda x: inverse_cdf_flow().log_prob(x))(x[:, None])
    np.testing.assert_allclose(log_prob, expected, rtol=1e-10)


def test_samples_follow_the_mixture():
    """Catches components drawn in other proportions; the twin swaps the weights."""
    x = jax.jit(lambda key: inverse_cdf_flow().sample(key, (5000,)))(jax.random.key(0))
    x = np.asarray(x)[:, 0]
    assert stats.kstest(x, partial(mixture, stats.norm.cdf)).pvalue > 1e-4

    def swapped(x: np.ndarray) -> np.ndarray:
        return np.sum(WEIGHTS[::-1] * stats.norm.cdf(x[:, None], LOCS, SCALES), axis=1)

    assert stats.kstest(x, swapped).pvalue < 1e-6


def share_of_the_gain(model: Flow) -> float:
    """How far training leads from the best Gaussian's likelihood, 0, to the mixture's own, 1."""
    x = draw(1000)
    result = fl.fit(
        model,
        x.astype(np.float32),
        key=jax.random.key(0),
        learning_rate=2e-2,
        max_epochs=80,
        progress=False,
    )
    fitted = np.mean(result.flow.log_prob(x.astype(np.float32)))
    gaussian = stats.norm.logpdf(x, x.mean(), x.std()).mean()
    own = np.log(mixture(stats.norm.pdf, x[:, 0])).mean()
    return float((fitted - gaussian) / (own - gaussian))


@pytest.mark.parametrize(
    "make_base",
    [lambda: None, lambda: Uniform(1), lambda: Beta(1, alpha=2.0, beta=5.0)],
    ids=["normal", "Uniform", "Beta"],
)
def test_one_dimensional_flows_learn_two_modes(make_base: Callable):
    """Catches a flow of one entry that cannot leave the shape of its base."""
    model = fl.flows.nsf_autoregressive(
        dim=1, num_layers=1, hidden=(4,), base=make_base(), rngs=nnx.Rngs(0)
    )
    assert share_of_the_gain(model) > 0.9


def test_affine_layers_keep_the_shape_of_the_base():
    """Catches a mixture as a base that is not trained; the twin has a normal base."""
    build = partial(fl.flows.maf, dim=1, num_layers=1, hidden=(4,), rngs=nnx.Rngs(0))
    base = GaussianMixture(1, num_components=2, rngs=nnx.Rngs(1))
    assert share_of_the_gain(build(base=base)) > 0.9
    assert abs(share_of_the_gain(build())) < 0.05


def test_a_mixture_by_maximum_likelihood():
    """Catches an inverse-CDF construction through whose parameters no gradient passes."""
    cdf = GaussianMixtureCDF(1, num_components=2, rngs=nnx.Rngs(0))
    model = Flow(StandardNormal(1), Chain([NormalCDF(1), Invert(cdf)]))
    assert share_of_the_gain(model) > 0.9


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
def test_mistakes_are_named(alpha: float):
    """Catches shapes for which there is no Beta distribution."""
    with pytest.raises(ValueError, match=f"alpha is {alpha}; expected a positive number"):
        BetaCDF(1, alpha=alpha, beta=1.0)
    with pytest.raises(ValueError, match=f"beta is {alpha}; expected a positive number"):
        BetaCDF(1, alpha=1.0, beta=alpha)


def first_moves(x: Array) -> Array:
    """The gradient of the likelihood in the means of a new mixture."""

    def loss(cdf: GaussianMixtureCDF) -> Array:
        return jnp.sum(cdf.forward_and_log_det(x)[1])

    cdf = GaussianMixtureCDF(1, num_components=3, rngs=nnx.Rngs(0))
    return nnx.grad(loss)(cdf).locs[...][:, 0]


def test_components_part():
    """Catches components that start equal, and so stay one for ever."""
    moves = np.sort(jax.jit(first_moves)(jnp.array([0.3])))
    assert np.all(np.diff(moves) > 1e-3)
