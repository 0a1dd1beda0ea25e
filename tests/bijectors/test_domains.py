"""The maps to the domains of columns: known values, both ends, and words that are wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx
from scipy import special

import flowjax_lite as fl
from flowjax_lite.bijectors import Domains

ALL = (
    "real",
    "positive",
    "interval(-1, 2)",
    "circular",
    "integer",
    "integer(3, inf)",
    "integer(-2, 7)",
)


def test_known_values(dtype: np.dtype):
    """Catches columns in the wrong order, and another map or scale for a domain."""
    x = jnp.full(len(ALL), 0.7, dtype)
    y, log_det = Domains(ALL).forward_and_log_det(x)
    u = special.expit(0.7)
    rounding = 8 * jnp.finfo(dtype).eps
    x = float(x[0])
    expected = [x, np.exp(x), 3 * u - 1, 2 * np.arctan(x), x, 3 + np.log1p(np.exp(x)), 10 * u - 2]
    np.testing.assert_allclose(y, expected, rtol=rounding if dtype == "float32" else 1e-7)
    slopes = [1, np.exp(x), 3 * u * (1 - u), 2 / (1 + x**2), 1, u, 10 * u * (1 - u)]
    np.testing.assert_allclose(log_det, np.sum(np.log(slopes)), rtol=rounding * 8)


@pytest.mark.parametrize("interval", ["interval(0, 1)", "interval(-1, 0)", "interval(1000, 1001)"])
def test_ends_of_an_interval(interval: str, dtype: np.dtype):
    """Catches a sample on an end of its interval, also next to zero, which has no inverse."""
    domain = Domains([interval])
    low, high = map(float, interval[9:-1].split(","))
    for x in (-1e30, -100.0, 100.0, 1e30):
        y, log_det = domain.forward_and_log_det(jnp.full(1, x, dtype))
        assert low < y[0] < high
        assert jnp.isfinite(log_det)
        back, back_log_det = domain.inverse_and_log_det(y)
        assert jnp.isfinite(back_log_det) and np.sign(back[0]) == np.sign(x)
    end = jnp.asarray([low, high], dtype)
    values, log_dets = jax.vmap(domain.inverse_and_log_det)(end[:, None])
    assert np.all(np.isfinite(values)) and values[0] < 0 < values[1]
    np.testing.assert_array_equal(log_dets, -np.inf)


def test_rows_outside_have_no_density():
    """Catches NaN where the density is 0, and a row outside that reaches the others' gradients."""
    rngs = nnx.Rngs(0)
    domains = Domains(["real", "positive", "interval(-1, 2)"])
    flow = fl.flows.maf(dim=3, num_layers=2, hidden=(8,), data_map=domains, rngs=rngs)
    flow = randomised(flow)
    x = [[0.3, 2.0, 0.5], [9.0, -2.0, 0.5], [0.3, 0.0, 0.5], [0.3, 2.0, 2.0], [0.3, 1.0, 7.0]]
    x = jnp.asarray(x)
    missing = jnp.asarray([[0.3, np.nan, 0.5], [np.nan, -1.0, 0.5]])

    values = flow.log_prob(jnp.concatenate([x, missing]))
    assert jnp.isfinite(values[0])
    np.testing.assert_array_equal(values[1:5], -np.inf)
    assert jnp.all(jnp.isnan(values[5:]))

    def loss(flow: fl.Flow, x: jax.Array) -> jax.Array:
        values = flow.log_prob(x)
        return jnp.sum(jnp.where(jnp.isfinite(values), values, 0.0))

    gradients, alone = (jax.grad(loss)(flow, rows) for rows in (x, x[:1]))
    for gradient, expected in zip(*map(jax.tree.leaves, (gradients, alone)), strict=True):
        np.testing.assert_allclose(gradient, expected, atol=1e-5)
    assert jnp.all(jnp.isfinite(jax.grad(lambda x: jnp.sum(flow.log_prob(x)))(x)))


def test_whole_turns():
    """Catches an angle beyond a half turn that is another one than its equal in the circle."""
    angles = jnp.array([-9.0, -3.2, -np.pi, -1.0, 0.5, 3.2, 6.0, 20.0])[:, None]
    inverse = jax.vmap(Domains(["circular"]).inverse_and_log_det)
    forward = jax.vmap(Domains(["circular"]).forward)
    x, log_det = inverse(angles)
    wrapped = np.arctan2(np.sin(angles), np.cos(angles))
    same, same_log_det = inverse(jnp.asarray(wrapped))
    away_from_seam = np.abs(np.abs(wrapped[:, 0]) - np.pi) > 0.01
    np.testing.assert_allclose(x[away_from_seam], same[away_from_seam], rtol=1e-4)
    np.testing.assert_allclose(log_det[away_from_seam], same_log_det[away_from_seam], rtol=1e-4)
    assert jnp.all(jnp.isfinite(x))
    np.testing.assert_allclose(np.cos(forward(x)), np.cos(angles), atol=1e-5)
    np.testing.assert_allclose(np.sin(forward(x)), np.sin(angles), atol=1e-5)


@pytest.mark.parametrize("centre", [-2.0, 1.25, 3.0])
def test_a_circle_around_another_centre(centre: float):
    """Catches a centre of the wrong sign, or one that is left out of one direction."""
    angles = jnp.array([-3.1, -1.0, 0.5, 3.0])[:, None]
    turned = Domains([f"circular({centre})"])
    x, log_det = jax.vmap(turned.inverse_and_log_det)(angles)
    plain, plain_log_det = jax.vmap(Domains(["circular"]).inverse_and_log_det)(angles - centre)
    np.testing.assert_allclose(x, plain, rtol=2e-5)
    np.testing.assert_allclose(log_det, plain_log_det, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(jax.vmap(turned.forward)(x), angles, atol=1e-5)


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ("real", TypeError, r"columns is 'real'.*\('real',\)"),
        ([], ValueError, "columns is empty; expected for each column 'real', 'positive'"),
        (["real", 3], TypeError, r"columns\[1\] is 3; expected 'real'"),
        (["positiv"], ValueError, r"columns\[0\] is 'positiv'.*Did you mean positive\?"),
        (["real(0, 1)"], ValueError, r"columns\[0\] is 'real\(0, 1\)'; expected 'real' alone"),
        (["interval"], ValueError, r"expected two numbers: 'interval\(0, 1\)'"),
        (["interval(0, one)"], ValueError, "expected two numbers"),
        (["interval(2, 1)"], ValueError, "expected finite ends, the lower one first"),
        (["interval(0, inf)"], ValueError, "expected finite ends"),
        (["interval(0, nan)"], ValueError, "expected finite ends"),
        (["integer(1)"], ValueError, r"expected two numbers: 'integer\(1, inf\)'"),
        (["integer(0.5, 3)"], ValueError, "expected the lowest and the highest whole number"),
        (["integer(3, 3)"], ValueError, "expected the lowest and the highest whole number"),
        (["integer(-inf, 3)"], ValueError, "expected the lowest and the highest whole number"),
        (["circular(4)"], ValueError, r"the centre of the projection.*'circular\(1.5\)'"),
        (["circular(one)"], ValueError, "the centre of the projection"),
    ],
)
def test_mistakes_are_named(columns: object, error: type[Exception], message: str):
    """Catches a word that is guessed at, or an error that does not say which column is meant."""
    with pytest.raises(error, match=message):
        Domains(columns)
