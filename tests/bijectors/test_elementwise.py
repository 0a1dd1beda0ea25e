"""Fixed maps between domains: known values, far out and at the edges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from flowjax_lite import bijectors as b

# Where float32 holds both sides of the map.
MODERATE = np.array([-80.0, -15.0, -1.0, -1e-4, 0.0, 0.3, 2.0, 15.0])
FORWARD = {
    "Exp": (b.Exp, np.exp, lambda x: x),
    "Softplus": (b.Softplus, lambda x: np.logaddexp(0, x), special.log_expit),
    "Sigmoid": (
        b.Sigmoid,
        special.expit,
        lambda x: special.log_expit(x) + special.log_expit(-x),
    ),
    "Tanh": (
        b.Tanh,
        np.tanh,
        lambda x: np.log(4) + special.log_expit(2 * x) + special.log_expit(-2 * x),
    ),
}


@pytest.mark.parametrize("name", FORWARD)
def test_known_values(name: str, dtype: np.dtype):
    """Catches another function of the same shape, and a log-slope lost by saturation."""
    kind, function, log_slope = FORWARD[name]
    for value in MODERATE:
        x = np.full(1, value)
        y, log_det = kind(1).forward_and_log_det(jnp.asarray(x, dtype))
        rounding = 16 * jnp.finfo(dtype).eps
        exact = np.asarray(jnp.asarray(x, dtype), np.float64)
        np.testing.assert_allclose(y, function(exact), rtol=rounding, atol=0)
        np.testing.assert_allclose(log_det, log_slope(exact)[0], rtol=rounding, atol=rounding)


def test_logit_inverts_sigmoid():
    """Catches a Logit that is not the Sigmoid turned around."""
    x = jnp.array([-3.0, 0.1, 4.0])
    y, log_det = b.Sigmoid(3).forward_and_log_det(x)
    back, inverse_log_det = b.Logit(3).forward_and_log_det(y)
    np.testing.assert_allclose(back, x, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(inverse_log_det, -log_det, rtol=1e-5)


@pytest.mark.parametrize(
    ("kind", "y", "expected"),
    [
        (b.Sigmoid, 1e-30, np.log(1e-30)),
        (b.Softplus, 1e-30, np.log(1e-30)),
        (b.Softplus, 1e30, 1e30),
        (b.Exp, 1e-30, np.log(1e-30)),
    ],
)
def test_edges_of_the_domain(kind: type, y: float, expected: float):
    """Catches digits lost at the edge of the domain."""
    x, log_det = kind(1).inverse_and_log_det(jnp.array([y]))
    np.testing.assert_allclose(x, expected, rtol=1e-6)
    assert jnp.isfinite(log_det)


@pytest.mark.parametrize(
    ("kind", "ends"),
    [(b.Sigmoid, (0.0, 1.0)), (b.Tanh, (-1.0, 1.0)), (b.Exp, (0.0,)), (b.Softplus, (0.0,))],
)
def test_outside_of_the_image(kind: type, ends: tuple[float, ...], dtype: np.dtype):
    """Catches a value outside that gets a density, in either direction, and one that is lost."""
    middle = np.mean(ends) if len(ends) == 2 else 1.0
    for end in ends:
        for y in (end, 3 * end - 2 * middle, -np.inf if end < middle else np.inf):
            y = jnp.full(1, y, dtype)
            x, log_det = kind(1).inverse_and_log_det(y)
            assert jnp.isfinite(x[0]) and log_det == -jnp.inf
            assert jnp.isnan(kind(1).inverse(y)[0])
            turned = b.Invert(b.Invert(kind(1)))
            assert turned.inverse_and_log_det(y)[1] == -jnp.inf
        y = kind(1).forward(jnp.full(1, -1e4 if end < middle else 1e4, dtype))
        assert y != end and jnp.isfinite(kind(1).inverse_and_log_det(y)[1])
    assert jnp.isnan(kind(1).inverse_and_log_det(jnp.full(1, jnp.nan, dtype))[1])


def test_outside_of_the_domain_of_logit():
    """Catches an inverted map whose data side has another rule than that of others."""
    for layer in (b.Invert(b.Logit(2)), b.Chain([b.Sigmoid(2)])):
        for outside in (-0.5, 0.0, 1.0, 1.5):
            x, log_det = layer.inverse_and_log_det(jnp.array([0.5, outside]))
            assert jnp.all(jnp.isfinite(x)) and log_det == -jnp.inf


@pytest.mark.parametrize("name", FORWARD)
def test_slopes_far_out(name: str):
    """Catches a log-slope whose gradient vanishes, or is NaN, where the map saturates."""
    kind = FORWARD[name][0]
    towards = {"Exp": (1, 1), "Softplus": (1, 0), "Sigmoid": (1, -1), "Tanh": (2, -2)}[name]
    gradient = jax.grad(lambda x: kind(2).forward_and_log_det(x)[1])
    np.testing.assert_allclose(gradient(jnp.array([-70.0, 70.0])), towards, atol=1e-6)


@pytest.mark.parametrize("kind", [b.Exp, b.Softplus, b.Sigmoid, b.Logit, b.Tanh])
def test_dim_must_be_positive(kind: type):
    """Catches an empty event, whose density would be one whatever it is."""
    with pytest.raises(ValueError, match="dim is 0"):
        kind(0)


def test_identity_changes_nothing():
    """Catches a map of a base by itself that moves its density, or refuses an image."""
    x = jnp.arange(24.0).reshape(2, 4, 3)
    identity = b.Identity((2, 4, 3))
    for y, log_det in (identity.forward_and_log_det(x), identity.inverse_and_log_det(x)):
        np.testing.assert_array_equal(y, x)
        assert log_det == 0 and log_det.shape == ()
    with pytest.raises(ValueError, match=r"dim\[1\] is 0"):
        b.Identity((2, 0))
