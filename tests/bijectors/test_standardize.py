"""Shifts and scales of each entry, learned or fixed from data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from flowjax_lite import bijectors as b

DATA = np.random.default_rng(0).normal([1e3, -2.0, 0.0], [10.0, 1e-3, 5.0], size=(500, 3))


def test_standardize_makes_unit_scale():
    """Catches a location and scale exchanged, or applied in the wrong direction."""
    standardize = b.Standardize.from_data(DATA)
    z = jax.vmap(standardize.inverse)(jnp.asarray(DATA, jnp.float32))
    np.testing.assert_allclose(jnp.mean(z, axis=0), 0.0, atol=1e-3)
    np.testing.assert_allclose(jnp.std(z, axis=0), 1.0, rtol=1e-3)


def test_standardize_keeps_the_units_of_the_density():
    """Catches a density of the standardised values passed off as that of the data."""
    standardize = b.Standardize.from_data(DATA)
    expected = -np.sum(np.log(DATA.std(axis=0)))
    _, log_det = standardize.inverse_and_log_det(jnp.asarray(DATA[0], jnp.float32))
    np.testing.assert_allclose(log_det, expected, rtol=1e-6)


def test_standardize_keeps_columns():
    """Catches an angle whose full turn is no longer 2π, and a constant one that is refused."""
    data = np.where(np.arange(3) == 2, 1.5, DATA)
    standardize = b.Standardize.from_data(data, keep=(2, 0))
    x = jnp.asarray(data[:5], jnp.float32)
    z = jax.vmap(standardize.inverse)(x)
    np.testing.assert_array_equal(z[:, [0, 2]], x[:, [0, 2]])
    assert jnp.all(z[:, 1] != x[:, 1])
    with pytest.raises(ValueError, match=r"keep is \(3,\)"):
        b.Standardize.from_data(data, keep=(3,))


def test_standardize_is_not_trained():
    """Catches statistics that the optimiser moves, or that are not saved."""
    standardize = b.Standardize.from_data(DATA)
    assert jax.tree.leaves(nnx.state(standardize, nnx.Param)) == []
    assert len(jax.tree.leaves(nnx.state(standardize, b.Buffer))) == 2


def test_standardize_by_hand():
    """Catches a negative scale that gives a NaN density, and values that are not kept."""
    standardize = b.Standardize(2, loc=3.0, scale=-2.0)
    y, log_det = standardize.forward_and_log_det(jnp.array([1.0, 2.0]))
    np.testing.assert_allclose(y, [1.0, -1.0])
    np.testing.assert_allclose(log_det, 2 * np.log(2.0), rtol=1e-6)


def with_cell(value: float) -> np.ndarray:
    """The data with one bad cell in column 1."""
    data = DATA.copy()
    data[7, 1] = value
    return data


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ones((5, 2)), "column 0 has location 1.0 and scale 0.0.*constant"),
        (with_cell(np.nan), "column 1 has location nan.*repair"),
        (with_cell(np.inf), "column 1 has location inf.*repair"),
        (DATA[:, 0], r"x has shape \(500,\); expected \(rows, dim\)"),
        (DATA[:0], r"x has shape \(0, 3\)"),
    ],
)
def test_bad_data_is_named(x: np.ndarray, message: str):
    """Catches a division by zero, or a NaN, that reaches every likelihood."""
    with pytest.raises(ValueError, match=message):
        b.Standardize.from_data(x)


@pytest.mark.parametrize("kind", [b.Affine, b.Shift, b.Scale])
def test_learned_maps_start_as_the_identity(kind: type):
    """Catches a flow that does not start as the identity."""
    x = jnp.array([-1.0, 0.0, 3.0])
    for y, log_det in (kind(3).forward_and_log_det(x), kind(3).inverse_and_log_det(x)):
        np.testing.assert_array_equal(y, x)
        assert log_det == 0


@pytest.mark.parametrize("kind", [b.Affine, b.Scale])
def test_scales_stay_finite(kind: type):
    """Catches an exponential that overflows when a step of training went too far."""
    bijector, x = kind(2), jnp.array([0.5, -2.0])
    bijector.raw_scale[...] = jnp.array([1e6, -1e6])
    for function in (bijector.forward_and_log_det, bijector.inverse_and_log_det):
        jacobian, log_det_slope = jax.jacrev(function)(x)
        for result in (*function(x), jacobian, log_det_slope):
            assert jnp.all(jnp.isfinite(result))
        assert jnp.all(jnp.diag(jacobian) > 0)


@pytest.mark.parametrize("kind", [b.Affine, b.Shift, b.Scale, b.Standardize])
def test_dim_must_be_positive(kind: type):
    """Catches an empty event, whose density would be one whatever it is."""
    with pytest.raises(ValueError, match="dim is 0"):
        kind(0)


def test_masked_cells_are_refused():
    """Catches a mask that is dropped, so that fill values decide on the scale."""
    with pytest.raises(ValueError, match="x is a masked array with 1 masked cells"):
        b.Standardize.from_data(np.ma.masked_array([[1.0], [2.0], [1e20]], [[0], [0], [1]]))
