"""Layers from given numbers: each against its textbook formula, computed in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import stats

from flowjax_lite import bijectors as b

X = np.array([0.3, -1.0, 2.0])
W, U, B = np.array([0.5, -1.2, 0.7]), np.array([0.4, 0.9, -0.1]), 0.3
CENTER = np.array([0.1, 0.5, -2.0])
LOWER = np.array([[2.0, 0.0, 0.0], [0.3, 0.5, 0.0], [-1.0, 0.2, 1.5]])
MATRIX = np.array([[2.0, 0.4, -1.0], [0.3, 1.5, 0.0], [-1.0, 0.2, 3.0]])
VECTORS = np.array([[1.0, 2.0, 3.0], [0.5, -1.0, 0.0], [0.0, 0.0, 2.0]])
Q = np.linalg.qr(np.array([[1.0, 0.2], [0.5, -1.0], [2.0, 0.3]]))[0]
TURN = np.array([[0.6, -0.8, 0.0], [0.8, 0.6, 0.0], [0.0, 0.0, 1.0]]) @ np.diag([1.0, -1, -1])
MIRROR = TURN * [1.0, 1.0, -1.0]
STATISTICS = np.array([4.0, 0.01, 0.0])
R, R_TILDE = np.array([[0.6, -1.5], [0.0, 2.0]]), np.array([[1.2, 0.7], [0.0, -0.4]])


def reflected(x: np.ndarray) -> np.ndarray:
    """One mirror after the other."""
    for v in VECTORS:
        x = x - 2 * v * (v @ x) / (v @ v)
    return x


def leaky(a: float) -> float:
    """The second nonlinearity of planar layers."""
    return a if a > 0 else 0.1 * a


def mixture(x: np.ndarray) -> np.ndarray:
    """The distribution function of a mixture of normals."""
    return 0.3 * stats.norm.cdf(x, -1.0, 0.5) + 0.7 * stats.norm.cdf(x, 2.0, 1.5)


PAIR = np.ones((2, 3))
# Each layer, and the formula of the direction that its class is written in.
FORWARD = {
    "Shift": (lambda: b.Shift.from_arrays(U), lambda x: x + U),
    "Scale": (lambda: b.Scale.from_arrays([0.2, 1.0, 30.0]), lambda x: x * [0.2, 1.0, 30.0]),
    "Affine": (lambda: b.Affine.from_arrays(U, [0.2, 1.0, 30.0]), lambda x: U + x * [0.2, 1, 30]),
    "Affine, one scale": (lambda: b.Affine.from_arrays(U, 3.0), lambda x: U + 3 * x),
    "Planar": (lambda: b.Planar.from_arrays(W, U, B), lambda x: x + U * np.tanh(W @ x + B)),
    "Planar, w·u = 0": (
        lambda: b.Planar.from_arrays([1.0, 0, 0], [0, 2.0, 0]),
        lambda x: x + np.array([0, 2.0, 0]) * np.tanh(x[0]),
    ),
    "Planar, leaky_relu": (
        lambda: b.Planar.from_arrays(W, U, B, nonlinearity="leaky_relu"),
        lambda x: x + U * leaky(W @ x + B),
    ),
    "Radial": (
        lambda: b.Radial.from_arrays(CENTER, 1.5, -0.8),
        lambda x: x - 0.8 * (x - CENTER) / (1.5 + np.linalg.norm(x - CENTER)),
    ),
    "Householder": (lambda: b.Householder.from_arrays(VECTORS), reflected),
    "Sylvester": (
        lambda: b.Sylvester.from_arrays(R, R_TILDE, [0.3, -0.2], Q),
        lambda x: x + Q @ R @ np.tanh(R_TILDE @ Q.T @ x + [0.3, -0.2]),
    ),
    "Sylvester, Q of unit vectors": (
        lambda: b.Sylvester.from_arrays(R, R_TILDE, [0.3, -0.2], np.eye(3)[:, [0, 2]]),
        lambda x: x + np.eye(3)[:, [0, 2]] @ R @ np.tanh(R_TILDE @ x[[0, 2]] + [0.3, -0.2]),
    ),
    "Sylvester, triangular": (
        lambda: b.Sylvester.from_arrays(LOWER.T, MATRIX * np.triu(np.ones((3, 3))), U),
        lambda x: x + LOWER.T @ np.tanh(np.triu(MATRIX) @ x + U),
    ),
    "Linear": (lambda: b.Linear.from_arrays(MATRIX, U), lambda x: MATRIX @ x + U),
    "Rotation": (lambda: b.Rotation.from_arrays(TURN), lambda x: TURN @ x),
    "RandomRotation": (lambda: b.RandomRotation.from_arrays(MIRROR), lambda x: MIRROR @ x),
    "ActNorm": (
        lambda: b.ActNorm.from_arrays(U, [1e-6, 1.0, 3e7]),
        lambda x: U + x * [1e-6, 1.0, 3e7],
    ),
    "BatchNorm": (
        lambda: b.BatchNorm.from_arrays(U, STATISTICS, epsilon=1e-3),
        lambda x: U + x * np.sqrt(STATISTICS + 1e-3),
    ),
    "GaussianMixtureCDF": (
        lambda: b.GaussianMixtureCDF.from_arrays(
            PAIR * [[0.3], [0.7]], PAIR * [[-1.0], [2.0]], PAIR * [[0.5], [1.5]]
        ),
        mixture,
    ),
}
INVERSE = {
    "LU": (lambda: b.LU.from_arrays(MATRIX, U), lambda y: MATRIX @ y + U),
    "PLU": (
        lambda: b.PLU.from_arrays(MATRIX[[1, 2, 0]], U, indices=[1, 2, 0]),
        lambda y: MATRIX[[1, 2, 0]] @ y + U,
    ),
    "QR": (lambda: b.QR.from_arrays(MATRIX[[1, 2, 0]], U), lambda y: MATRIX[[1, 2, 0]] @ y + U),
    "Triangular": (lambda: b.Triangular.from_arrays(LOWER, U), lambda y: LOWER @ y + U),
}


# The layers whose constructors take their numbers, or that have none.
GIVEN_AT_ONCE = {"BetaCDF", "Domains", "Exp", "Identity", "Logit", "NormalCDF", "Permutation"}
GIVEN_AT_ONCE |= {"Reverse", "Sigmoid", "Softplus", "Standardize", "Tanh", "Whiten"}
# Those of layers, networks or transformers.
COMPOSED = {"BlockAutoregressive", "Chain", "Channelwise", "Coupling", "Independent", "Invert"}
COMPOSED |= {"FirstChannels", "InvertibleResidual", "MaskedAutoregressive", "Patched", "Repeat"}
COMPOSED |= {"Squeezed"}


def test_every_layer_can_be_given_numbers():
    """Catches a new layer without `from_arrays`, and one that the tables above do not try."""
    public = {name for name in b.__all__ if isinstance(getattr(b, name), type)}
    layers = {name for name in public if issubclass(getattr(b, name), b.AbstractBijector)}
    layers = {name for name in layers if not name.startswith("Abstract")}
    given = {name for name in layers if hasattr(getattr(b, name), "from_arrays")}
    assert given == layers - GIVEN_AT_ONCE - COMPOSED
    assert given == {name.partition(",")[0] for name in FORWARD | INVERSE}


@pytest.mark.parametrize("name", FORWARD | INVERSE)
def test_it_is_the_textbook_formula(name: str, x64: None):
    """Catches raw parameters that are given numbers' own, a transposed matrix, a wrong order."""
    make, formula = (FORWARD | INVERSE)[name]
    layer = make()
    function = layer.forward_and_log_det if name in FORWARD else layer.inverse_and_log_det
    back = layer.inverse if name in FORWARD else layer.forward
    y, log_det = jax.jit(function)(jnp.asarray(X))
    np.testing.assert_allclose(y, formula(X), rtol=1e-9, atol=1e-12)
    steps = 1e-5 * np.eye(3)
    jacobian = [(formula(X + step) - formula(X - step)) / 2e-5 for step in steps]
    np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobian)[1], atol=1e-8)
    np.testing.assert_allclose(jax.jit(back)(y), X, rtol=1e-7)


@pytest.mark.parametrize("dim", [1, 2, 3, 6])
def test_all_rotations_are_reached(dim: int, x64: None):
    """Catches half turns, whose planes are not unique, and columns that are right already."""
    generator = np.random.default_rng(dim)
    basis = np.linalg.qr(generator.normal(size=(dim, dim)))[0]
    even = np.diag([-1.0] * (dim - dim % 2) + [1.0] * (dim % 2))
    almost = np.linalg.qr(np.eye(dim) + 1e-9 * generator.normal(size=(dim, dim)))[0]
    almost *= np.sign(np.diag(almost))
    for matrix in (
        np.eye(dim),
        even,
        basis @ even @ basis.T,
        basis * np.where(np.arange(dim) == 0, np.linalg.det(basis), 1.0),
        almost,
        even @ almost,
        np.eye(dim) * (1 + 1e-7),
    ):
        learned, product = b.Rotation.from_arrays(matrix), b.QR.from_arrays(matrix)
        x = generator.normal(size=dim)
        expected = matrix @ x / np.linalg.norm(matrix[0])
        np.testing.assert_allclose(learned.forward(x), expected, atol=1e-12)
        np.testing.assert_allclose(product.inverse(x), matrix @ x, atol=1e-12)
        assert np.all(np.any(np.asarray(product.vectors[...]), axis=1)), "zero would never learn"


def test_rounding_of_a_unit_vector_is_no_reflection(x64: None):
    """Catches a difference of near numbers, whose direction is rounding's, in place of none."""
    q = np.eye(3)[:, [0, 2]] * (1 + 1e-7)
    layer = b.Sylvester.from_arrays(R, R_TILDE, [0.3, -0.2], q)
    expected = X + q @ R @ np.tanh(R_TILDE @ q.T @ X + [0.3, -0.2])
    np.testing.assert_allclose(layer.forward(X), expected, rtol=1e-6)


def test_given_statistics_stay_until_a_batch_comes():
    """Catches statistics among the learned numbers, in the units of the data."""
    for layer in (b.ActNorm.from_arrays(U, 5.0), b.BatchNorm.from_arrays(U, 5.0, momentum=0.0)):
        assert not any(np.any(leaf) for leaf in jax.tree.leaves(nnx.state(layer, nnx.Param)))
        batch = jnp.asarray(np.random.default_rng(0).normal(size=(50, 3)), jnp.float32)
        new = layer.initialized(batch, jnp.ones(50), forward=False)
        np.testing.assert_allclose(jnp.mean(jax.vmap(new.inverse)(batch), axis=0), 0, atol=1e-5)


def test_images_are_given_like_vectors(x64: None):
    """Catches an elementwise layer that takes vectors alone."""
    loc = np.arange(24.0).reshape(2, 4, 3)
    layer = b.Affine.from_arrays(loc, 2.0)
    assert layer.event_shape == (2, 4, 3)
    np.testing.assert_allclose(layer.forward(jnp.ones((2, 4, 3))), loc + 2)


def test_structure_is_that_of_the_constructor():
    """Catches a layer that compiles again, or is another one for files."""
    for given, plain in (
        (b.Affine.from_arrays(X, 2.0), b.Affine(3)),
        (b.LU.from_arrays(MATRIX), b.LU(3)),
        (b.Linear.from_arrays(MATRIX), b.Linear(3)),
        (b.PLU.from_arrays(MATRIX, indices=[0, 1, 2]), b.PLU(3, rngs=nnx.Rngs(0))),
        (b.QR.from_arrays(MATRIX), b.QR(3, num_reflections=2)),
        (b.Rotation.from_arrays(TURN), b.Rotation(3)),
        (b.RandomRotation.from_arrays(TURN), b.RandomRotation(3, rngs=nnx.Rngs(0))),
        (b.ActNorm.from_arrays(U), b.ActNorm(3)),
        (b.BatchNorm.from_arrays(U, momentum=0.5), b.BatchNorm(3, momentum=0.5)),
    ):
        assert jax.tree.structure(given) == jax.tree.structure(plain)
        assert nnx.graphdef(given) == nnx.graphdef(plain)
        shapes = [leaf.shape for leaf in jax.tree.leaves(plain)]
        assert [leaf.shape for leaf in jax.tree.leaves(given)] == shapes
        dtypes = [leaf.dtype for leaf in jax.tree.leaves(plain)]
        assert [leaf.dtype for leaf in jax.tree.leaves(given)] == dtypes


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: b.Affine.from_arrays(X, [1.0, 2.0]), r"scale has shape \(2,\).*loc, \(3,\)"),
        (lambda: b.Affine.from_arrays(X, [1.0, -2.0, 1.0]), r"scale\[1\] is -2; expected positive"),
        (lambda: b.Affine.from_arrays([1.0, np.nan]), r"loc\[1\] is nan; expected finite"),
        (lambda: b.Affine.from_arrays(X, np.nan), r"scale is nan; expected finite"),
        (lambda: b.Planar.from_arrays(W, U, np.inf), r"b is inf; expected finite"),
        (
            lambda: b.Scale.from_arrays([1e9]),
            r"scale\[0\] is 1e\+09.*between 4.54e-05 and 2.2e\+04",
        ),
        (lambda: b.Planar.from_arrays(W, X[:2]), r"u has shape \(2,\); expected \(3,\)"),
        (lambda: b.Planar.from_arrays(W, -2 * W), r"w·u is -4.36.*û = u"),
        (
            lambda: b.Planar.from_arrays(20 * W, 0 * U),
            r"w\[0\] is 10; expected numbers between -10",
        ),
        (lambda: b.Radial.from_arrays(CENTER, -1.0, 0.0), r"alpha.*expected positive"),
        (lambda: b.Radial.from_arrays(CENTER, 1.0, -1.0), r"beta is -1; expected.*no inverse"),
        (lambda: b.Householder.from_arrays(X), r"vectors has shape \(3,\); expected \(number"),
        (lambda: b.Sylvester.from_arrays(R.T, R, X[:2]), "r has entries below its diagonal"),
        (lambda: b.Sylvester.from_arrays(R, -R, X[:2]), r"r\[1, 1\] · r_tilde\[1, 1\] is -4"),
        (lambda: b.Sylvester.from_arrays(R, R, X[:2], 2 * Q), "differs from the identity by 3"),
        (lambda: b.Sylvester.from_arrays(R, R, X[:2], TURN), r"q has shape \(3, 3\).*\(dim, 2\)"),
        (lambda: b.LU.from_arrays(-MATRIX), r"pivot 0 of matrix is -2; expected a positive"),
        (
            lambda: b.PLU.from_arrays(MATRIX, indices=[1, 0, 2]),
            r"pivot 1 of matrix is -.*the indices of a PLU",
        ),
        (lambda: b.PLU.from_arrays(MATRIX, indices=[0, 1]), r"indices has shape \(2,\).*\(3,\)"),
        (lambda: b.PLU.from_arrays(MATRIX, indices=[0, 1, 1]), "exactly once"),
        (lambda: b.QR.from_arrays(MATRIX[[1, 0, 2]]), "determinant of matrix is negative.*Linear"),
        (lambda: b.QR.from_arrays(np.ones((3, 3))), r"the diagonal of R, entry\[1\] is "),
        (lambda: b.QR.from_arrays(Q), r"matrix has shape \(3, 2\); expected a square one"),
        (
            lambda: b.Rotation.from_arrays(MIRROR),
            "determinant -1; expected a rotation.*Householder",
        ),
        (
            lambda: b.Rotation.from_arrays(2 * TURN),
            "matrixᵀ · matrix differs from the identity by 3",
        ),
        (lambda: b.RandomRotation.from_arrays(MATRIX), "no orthonormal columns"),
        (lambda: b.RandomRotation.from_arrays(Q), r"matrix has shape \(3, 2\); expected a square"),
        (lambda: b.ActNorm.from_arrays(X, [1.0, 0.0, 1.0]), r"scale\[1\] is 0; expected positive"),
        (lambda: b.ActNorm.from_arrays(X, [1.0, 2.0]), r"scale has shape \(2,\).*loc, \(3,\)"),
        (lambda: b.BatchNorm.from_arrays(X, -1.0), r"variance\[0\] is -1; expected numbers of at"),
        (
            lambda: b.BatchNorm.from_arrays(X, [1.0, 2.0]),
            r"variance has shape \(2,\); expected that of mean, \(3,\)",
        ),
        (lambda: b.Triangular.from_arrays(MATRIX), r"matrix\[0, 1\] is 0.4.*cholesky"),
        (lambda: b.Triangular.from_arrays(-LOWER), r"diagonal of matrix.*\[0\] is -2"),
        (
            lambda: b.GaussianMixtureCDF.from_arrays(PAIR, PAIR, PAIR),
            "weights must be positive and add up to one",
        ),
    ],
)
def test_mistakes_are_named(make, message: str):
    """Catches numbers for which the layer has no inverse, or of another shape."""
    with pytest.raises(ValueError, match=message):
        make()
