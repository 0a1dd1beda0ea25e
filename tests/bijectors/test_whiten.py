"""Whiten: the mean and the whole covariance of data, exact, and fixed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import flowjax_lite as fl
from flowjax_lite import bijectors as b

MEAN = np.array([1.0, -20.0, 300.0])
FACTOR = np.array([[2.0, 0.0, 0.0], [-30.0, 5.0, 0.0], [0.1, 0.2, 0.01]])
DATA = MEAN + np.random.default_rng(0).normal(size=(500, 3)) @ FACTOR.T


def test_whitened_data_have_unit_covariance(x64: None):
    """Catches correlations that stay, and a factor that is transposed."""
    whiten = b.Whiten.from_data(DATA)
    z = jax.vmap(whiten.inverse)(jnp.asarray(DATA))
    np.testing.assert_allclose(jnp.mean(z, axis=0), 0.0, atol=1e-9)
    np.testing.assert_allclose(z.T @ z / len(z), np.eye(3), atol=1e-9)
    np.testing.assert_allclose(whiten.tril[...], np.linalg.cholesky(np.cov(DATA.T, bias=True)))


def test_the_density_is_the_gaussian_of_that_covariance(x64: None):
    """Catches a density in whitened units."""
    from scipy import stats

    flow = fl.Flow(fl.distributions.StandardNormal(3), b.Whiten(MEAN, FACTOR))
    expected = stats.multivariate_normal(MEAN, FACTOR @ FACTOR.T).logpdf(DATA[:5])
    np.testing.assert_allclose(flow.log_prob(jnp.asarray(DATA[:5])), expected, rtol=1e-9)


def test_it_is_not_trained_and_loads_from_its_file(tmp_path):
    """Catches statistics that the optimiser moves, or that a file loses."""
    whiten = b.Whiten.from_data(DATA)
    assert jax.tree.leaves(nnx.state(whiten, nnx.Param)) == []
    flow = fl.flows.maf(dim=3, num_layers=1, hidden=(4,), data_map=whiten, rngs=nnx.Rngs(0))
    fl.save(tmp_path / "flow.safetensors", flow)
    x = jnp.asarray(DATA[:3], jnp.float32)
    loaded = fl.load(tmp_path / "flow.safetensors")
    np.testing.assert_array_equal(loaded.log_prob(x), flow.log_prob(x))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: b.Whiten.from_data(DATA[:3]), "depend on each other.*more rows"),
        (lambda: b.Whiten.from_data(DATA[:, [0, 1, 0]]), "depend on each other"),
        (lambda: b.Whiten.from_data(DATA * [1, 0, 1]), "one is constant"),
        (lambda: b.Whiten.from_data(DATA[0]), r"x has shape \(3,\)"),
        (lambda: b.Whiten.from_data([[1.0, np.nan]]), r"x\[0, 1\] is nan"),
        (lambda: b.Whiten(MEAN, FACTOR.T), r"tril\[0, 1\] is -30; expected zeros above"),
        (lambda: b.Whiten(MEAN, FACTOR * [1, 0, 1]), r"tril\[1, 1\] is 0.*singular"),
        (lambda: b.Whiten(MEAN[:2], FACTOR), r"loc has shape \(2,\) and tril \(3, 3\)"),
    ],
)
def test_mistakes_are_named(make, message: str):
    """Catches a covariance without an inverse, whose density would be infinite somewhere."""
    with pytest.raises(ValueError, match=message):
        make()
