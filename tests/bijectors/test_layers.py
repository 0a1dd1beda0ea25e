"""Coupling layers, LU maps and permutations: what each of them moves, and how."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from battery.registry import coupling
from flax import nnx

from flowjax_lite import bijectors as b
from flowjax_lite.conditioners import MLP
from flowjax_lite.transformers import Additive, Affine

X = jnp.array([0.3, -1.0, 2.0])


def test_coupling_keeps_the_first_part():
    """Catches a layer that changes what its network has looked at."""
    layer = randomised(coupling(nnx.Rngs(0), Affine(), MLP))
    for function in (layer.forward, layer.inverse):
        jacobian = jax.jacfwd(function)(X)
        assert function(X)[0] == X[0]
        assert jnp.all(function(X)[1:] != X[1:])
        assert jnp.all(jacobian[1:, 0] != 0), "the second part does not look at the first"
        np.testing.assert_array_equal(jacobian[1:, 1:], jnp.diag(jnp.diag(jacobian[1:, 1:])))


def test_coupling_checks_the_network():
    """Catches a network with too many or too few outputs."""
    network = MLP(1, out_shape=(2, 2), hidden=(4,), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"out_shape is \(2, 2\); Additive expects \(1, number"):
        b.Coupling(Additive(), network)
    flat = MLP(1, out_shape=(2,), hidden=(4,), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"out_shape is \(2,\); Affine expects \(2, number"):
        b.Coupling(Affine(), flat)


def test_lu_is_its_matrix(x64: None):
    """Catches a transposed factor, a swapped order of factors, a shift on the wrong side."""
    lu = randomised(b.LU(3), scale=0.5)
    factors = np.asarray(lu.factors[...])
    lower = np.tril(factors, -1) + np.eye(3)
    upper = np.triu(factors, 1) + np.diag(np.exp(5 * np.tanh(np.diag(factors) / 5)))
    matrix, shift = lower @ upper, np.asarray(lu.shift[...])
    x = np.asarray(X, np.float64)
    np.testing.assert_allclose(lu.inverse(jnp.asarray(x)), matrix @ x + shift, rtol=1e-12)
    expected = np.linalg.solve(matrix, x - shift)
    np.testing.assert_allclose(lu.forward(jnp.asarray(x)), expected, rtol=1e-12)


def test_lu_starts_as_the_identity():
    """Catches a flow that does not start as the identity."""
    for x, log_det in (b.LU(3).forward_and_log_det(X), b.LU(3).inverse_and_log_det(X)):
        np.testing.assert_array_equal(x, X)
        assert log_det == 0


def test_lu_stays_invertible():
    """Catches a diagonal that under- or overflows when a step of training went too far."""
    lu = b.LU(3)
    lu.factors[...] = jnp.diag(jnp.array([1e6, -1e6, 0.0]))
    for function in (lu.forward_and_log_det, lu.inverse_and_log_det):
        for result in (*function(X), *jax.jacrev(function)(X)):
            assert jnp.all(jnp.isfinite(result))


def test_permutation_order():
    """Catches the inverse permutation in place of the one that was given."""
    permutation = b.Permutation([2, 0, 1])
    np.testing.assert_array_equal(permutation.forward(X), X[jnp.array([2, 0, 1])])
    np.testing.assert_array_equal(permutation.inverse(X), X[jnp.array([1, 2, 0])])
    np.testing.assert_array_equal(b.Reverse(3).forward(X), X[::-1])


def test_random_permutations_differ():
    """Catches a permutation that is always the same, or leaves out an entry."""
    orders = [b.Permutation.random(20, rngs=nnx.Rngs(seed)).indices[...] for seed in (0, 0, 1)]
    for order in orders:
        np.testing.assert_array_equal(jnp.sort(order), np.arange(20))
    np.testing.assert_array_equal(orders[0], orders[1])
    assert jnp.any(orders[0] != orders[2])
    assert jnp.any(orders[0] != np.arange(20))


def test_parts_of_a_permutation_do_not_mix():
    """Catches an angle that changes places with a real number, and a part that stays in order."""
    order = b.Permutation.random(40, parts=(20, 0, 20), rngs=nnx.Rngs(0)).indices[...]
    for start in (0, 20):
        part = order[start : start + 20] - start
        np.testing.assert_array_equal(jnp.sort(part), np.arange(20))
        assert jnp.any(part != np.arange(20))
    with pytest.raises(ValueError, match=r"parts is \(2, 2\), of sum 4; expected dim = 5"):
        b.Permutation.random(5, parts=(2, 2), rngs=nnx.Rngs(0))


def test_permutation_is_not_trained():
    """Catches indices that the optimiser moves, or that are not saved."""
    permutation = b.Permutation([1, 0])
    assert jax.tree.leaves(nnx.state(permutation, nnx.Param)) == []
    assert len(jax.tree.leaves(nnx.state(permutation, b.Buffer))) == 2


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([0, 0, 1], r"indices is \[0, 0, 1\]; expected each of 0 … 2 exactly once"),
        ([1, 2, 3], r"indices is \[1, 2, 3\]"),
        ([-1, 0, 1], r"indices is \[-1, 0, 1\]"),
        ([[0, 1]], r"indices is \[\[0, 1\]\]"),
        ([0.0, 1.0], r"indices is \[0\.0, 1\.0\]"),
        ([], r"indices is \[\]"),
    ],
)
def test_wrong_indices_are_named(indices: list, message: str):
    """Catches a map that loses an entry, and so is not invertible."""
    with pytest.raises((TypeError, ValueError), match=message):
        b.Permutation(indices)


@pytest.mark.parametrize("kind", [b.LU, b.Reverse])
def test_dim_must_be_positive(kind: type):
    """Catches an empty event, whose density would be one whatever it is."""
    with pytest.raises(ValueError, match="dim is 0"):
        kind(0)
