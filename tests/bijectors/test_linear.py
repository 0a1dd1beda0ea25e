"""Linear maps: each is its matrix, keeps what it promises, and never hides a singular matrix."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx
from jax import Array

from flowjax_lite import bijectors as b

DIM = 4
X = np.array([0.3, -1.0, 2.0, 0.7])


def values(module: nnx.Module, *names: str) -> list[np.ndarray]:
    """Variables of a module, in plain numpy."""
    return [np.asarray(getattr(module, name)[...]) for name in names]


def bounded(raw: np.ndarray) -> np.ndarray:
    """The diagonal that raw numbers stand for."""
    return np.diag(np.exp(5 * np.tanh(raw / 5)))


def below(entries: np.ndarray) -> np.ndarray:
    """The strictly lower-triangular matrix with those entries, row by row."""
    matrix, entries = np.zeros((DIM, DIM)), iter(entries)
    for row in range(DIM):
        for column in range(row):
            matrix[row, column] = next(entries)
    return matrix


def matrix_of_plu(plu: b.PLU) -> np.ndarray:
    """P L U, with P x = x[indices]."""
    (factors,) = values(plu.lu, "factors")
    lower = np.tril(factors, -1) + np.eye(DIM)
    upper = np.triu(factors, 1) + bounded(np.diag(factors))
    return np.eye(DIM)[np.asarray(plu.permutation.indices[...])] @ lower @ upper


def matrix_of_triangular(triangular: b.Triangular) -> np.ndarray:
    """L."""
    raw, entries = values(triangular, "raw_diagonal", "below")
    return below(entries) + bounded(raw)


def matrix_of_qr(qr: b.QR) -> np.ndarray:
    """Q R, the first vector's reflection next to R."""
    vectors, raw, above = values(qr, "vectors", "raw_diagonal", "above")
    matrix = below(above).T + bounded(raw)
    for v in vectors:
        matrix = (np.eye(DIM) - 2 * np.outer(v, v) / (v @ v)) @ matrix
    return matrix


def matrix_of_rotation(rotation: b.Rotation) -> np.ndarray:
    """The square of Cayley's transform; the transpose is the inverse."""
    lower = below(2 * np.tanh(values(rotation, "tangents")[0] / 2))
    half = np.linalg.solve(np.eye(DIM) + lower - lower.T, np.eye(DIM) - lower + lower.T)
    return (half @ half).T


def matrix_of_random_rotation(rotation: b.RandomRotation) -> np.ndarray:
    """The transpose is the inverse."""
    return values(rotation, "matrix")[0].T


def matrix_of_linear(linear: b.Linear) -> np.ndarray:
    """A is the matrix of the forward direction."""
    return np.linalg.inv(values(linear, "matrix")[0])


# Each map with the matrix of its inverse.
MAPS: dict[str, tuple[Callable[[], b.AbstractBijector], Callable[..., np.ndarray]]] = {
    "PLU": (lambda: b.PLU(DIM, rngs=nnx.Rngs(0)), matrix_of_plu),
    "Triangular": (lambda: b.Triangular(DIM), matrix_of_triangular),
    "QR": (lambda: b.QR(DIM, num_reflections=4), matrix_of_qr),
    "Rotation": (lambda: b.Rotation(DIM), matrix_of_rotation),
    "RandomRotation": (lambda: b.RandomRotation(DIM, rngs=nnx.Rngs(0)), matrix_of_random_rotation),
    "Linear": (lambda: b.Linear(DIM), matrix_of_linear),
}


def shift_of(module: b.AbstractBijector) -> np.ndarray:
    """What the inverse adds."""
    match module:
        case b.PLU():
            return values(module.lu, "shift")[0][np.asarray(module.permutation.indices[...])]
        case b.Linear():
            matrix, shift = values(module, "matrix", "shift")
            return -np.linalg.solve(matrix, shift)
        case b.Rotation() | b.RandomRotation():
            return np.zeros(DIM)
    return values(module, "shift")[0]


@pytest.mark.parametrize("name", MAPS)
def test_a_map_is_its_matrix(x64: None, name: str):
    """Catches a transposed factor, factors in the wrong order, a shift on the wrong side."""
    make, matrix_of = MAPS[name]
    module = randomised(make(), scale=0.5)
    matrix, shift = matrix_of(module), shift_of(module)
    x, log_det = jax.jit(module.inverse_and_log_det)(jnp.asarray(X))
    np.testing.assert_allclose(x, matrix @ X + shift, rtol=1e-10)
    np.testing.assert_allclose(log_det, np.linalg.slogdet(matrix)[1], atol=1e-10)
    y, log_det = jax.jit(module.forward_and_log_det)(jnp.asarray(X))
    np.testing.assert_allclose(y, np.linalg.solve(matrix, X - shift), rtol=1e-10)
    np.testing.assert_allclose(log_det, -np.linalg.slogdet(matrix)[1], atol=1e-10)


@pytest.mark.parametrize("name", ["Triangular", "QR", "Rotation", "Linear"])
def test_starts_as_the_identity(name: str):
    """Catches a map that changes the density before it has learned anything."""
    module = MAPS[name][0]()
    for function in (module.forward_and_log_det, module.inverse_and_log_det):
        y, log_det = jax.jit(function)(jnp.asarray(X, jnp.float32))
        np.testing.assert_allclose(y, X, atol=1e-6)
        assert log_det == 0


def test_plu_starts_as_its_permutation():
    """Catches a permutation that is always the same, or trained."""
    orders = [
        b.PLU(20, rngs=nnx.Rngs(seed)).inverse(jnp.arange(20.0)).tolist() for seed in (0, 0, 1)
    ]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == list(range(20))
    assert len(jax.tree.leaves(nnx.state(b.PLU(3, rngs=nnx.Rngs(0)), nnx.Param))) == 2


@pytest.mark.parametrize("name", ["PLU", "Triangular", "QR", "Rotation"])
def test_extreme_parameters(name: str):
    """Catches a diagonal that under- or overflows, and vectors whose squares do."""
    graph, params, rest = nnx.split(randomised(MAPS[name][0]()), nnx.Param, ...)

    def extreme(size: float) -> nnx.State:
        def move(path: tuple, param: Array) -> Array:
            # Entries off the diagonal have no bound; a triangular solve multiplies them up.
            bounded = any(word in str(path) for word in ("diagonal", "vectors", "tangents"))
            return jnp.sign(param) * size if bounded else param

        return jax.tree.map_with_path(move, params)

    @jax.jit
    @functools.partial(jax.value_and_grad, argnums=(0, 1))
    def score(params: nnx.State, x: Array) -> Array:
        module = nnx.merge(graph, params, rest)
        y, log_det = module.forward_and_log_det(x)
        back, back_log_det = module.inverse_and_log_det(x)
        return jnp.sum(y) + log_det + jnp.sum(back) - 2 * back_log_det

    for size in (1e3, 1e20):
        for leaf in jax.tree.leaves(score(extreme(size), jnp.asarray(X, jnp.float32))):
            assert jnp.all(jnp.isfinite(leaf)), size


@pytest.mark.parametrize("dim", [1, 3, 16])
def test_rotations_are_orthogonal_to_rounding(dtype: np.dtype, dim: int):
    """Catches a transform that loses orthogonality far from the identity, or is a reflection."""
    eps = float(jnp.finfo(dtype).eps)
    matrix_of = jax.jit(lambda rotation: jax.vmap(rotation.forward)(jnp.eye(dim)))

    def error(rotation: b.AbstractBijector) -> float:
        matrix = np.asarray(matrix_of(rotation), np.float64)
        if isinstance(rotation, b.Rotation):
            np.testing.assert_allclose(np.linalg.det(matrix), 1, rtol=100 * eps)
        return np.abs(matrix @ matrix.T - np.eye(dim)).max()

    assert error(b.RandomRotation(dim, rngs=nnx.Rngs(0))) < 8 * eps
    assert error(randomised(b.Rotation(dim), scale=1.0)) < 8 * eps
    assert error(randomised(b.Rotation(dim), scale=1e3)) < 4 * (1 + dim) * eps


def test_every_rotation_can_be_learned(x64: None):
    """Catches a family without half turns, which Cayley's transform alone does not reach."""
    rotation = b.Rotation(2)
    # An angle of 4 arctan 1 is half a turn; a soft bound of 2 lies between.
    rotation.tangents[...] = jnp.array([2 * np.arctanh(0.5)])
    np.testing.assert_allclose(rotation.forward(jnp.eye(2)[0]), [-1, 0], atol=1e-12)


def test_random_rotations_are_uniform():
    """Catches the matrix of a QR decomposition as it is, whose diagonal has one sign."""

    def positive_diagonal(make: Callable[[Array], Array]) -> float:
        matrices = jax.jit(jax.vmap(make))(jax.random.split(jax.random.key(0), 400))
        return float(jnp.mean(jnp.diagonal(matrices, axis1=1, axis2=2) > 0))

    def biased(key: Array) -> Array:
        return jnp.linalg.qr(jax.random.normal(key, (3, 3)))[0]

    def drawn(key: Array) -> Array:
        return b.RandomRotation(3, rngs=nnx.Rngs(key)).matrix[...]

    # 1200 signs: five standard deviations are 0.07.
    assert abs(positive_diagonal(drawn) - 0.5) < 0.07
    assert abs(positive_diagonal(biased) - 0.5) > 0.07


def test_equal_reflections_part():
    """Catches pairs that stay equal for ever, a map that never turns."""
    graph, params, rest = nnx.split(b.QR(3, num_reflections=4), nnx.Param, ...)

    @jax.jit
    @jax.grad
    def gradient(params: nnx.State) -> Array:
        return jnp.sum(jnp.array([1.0, 2.0, 4.0]) * nnx.merge(graph, params, rest).inverse(x))

    x = jnp.array([0.3, -1.0, 2.0])
    first = gradient(params)["vectors"][...]
    assert jnp.max(jnp.abs(first[0] - first[1])) > 0.1
    assert jnp.max(jnp.abs(first[2] - first[0])) > 0.1
    moved = jax.tree.map(lambda p, g: p - 0.1 * g, params, gradient(params))
    y = nnx.merge(graph, moved, rest).inverse(x)
    assert jnp.max(jnp.abs(y - x)) > 0.1


SINGULAR = {
    "zero": np.zeros((3, 3)),
    "a zero row": [[1.0, 2, 3], [0, 0, 0], [4, 5, 6]],
    "rank two": [[1.0, 2, 3], [4, 5, 6], [7, 8, 9]],
    "two equal columns": [[0.1, 0.1, 3], [0.7, 0.7, 6], [0.3, 0.3, 10]],
    "sums of thirds": [[1 / 3, 0.1, 1 / 3 + 0.1], [0.7, 0.2, 0.9], [0.3, 1 / 7, 0.3 + 1 / 7]],
}


@pytest.mark.parametrize("name", SINGULAR)
def test_a_singular_matrix_is_never_used(dtype: np.dtype, name: str):
    """Catches rounding that makes plausible numbers of a map that has no inverse."""
    with pytest.raises(ValueError, match=rf"singular in {dtype}.*condition number is [\dinf]"):
        b.Linear.from_arrays(SINGULAR[name])
    linear = b.Linear(3)
    linear.matrix[...] = jnp.asarray(SINGULAR[name], dtype)
    x = jnp.asarray(X[:3], dtype)
    for results in (linear.forward_and_log_det(x), linear.inverse_and_log_det(x)):
        assert not any(jnp.any(jnp.isfinite(result)) for result in results)


def test_random_singular_matrices_are_never_used():
    """Catches a bound on the condition number that some singular matrix slips under."""
    rng = np.random.default_rng(0)
    for dim in (2, 16):
        left, right = rng.normal(size=(2, 100, dim, dim - 1))
        matrices = jnp.asarray(left @ np.swapaxes(right, 1, 2), jnp.float32)

        def use(matrix: Array, dim: int = dim) -> Array:
            linear = b.Linear(dim)
            linear.matrix[...] = matrix
            return linear.inverse(jnp.ones(dim))

        assert not jnp.any(jnp.isfinite(jax.jit(jax.vmap(use))(matrices)))


def test_a_badly_conditioned_matrix_is_used(x64: None):
    """The twin: catches a check that refuses what still has an inverse of some digits."""
    matrix = np.diag([1.0, 1e-6, 1e6]) @ (np.eye(3) + 0.1)
    linear = b.Linear.from_arrays(matrix, shift=[1.0, 2.0, 3.0])
    np.testing.assert_allclose(linear.forward(jnp.ones(3)), matrix @ np.ones(3) + [1, 2, 3])
    np.testing.assert_allclose(linear.inverse(linear.forward(jnp.ones(3))), 1.0, rtol=1e-8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"matrix": np.ones((2, 3))}, r"matrix has shape \(2, 3\); expected a square one"),
        ({"matrix": np.ones(3)}, r"matrix has shape \(3,\)"),
        ({"matrix": np.ones((0, 0))}, r"matrix has shape \(0, 0\)"),
        ({"matrix": [[1.0, np.nan], [0.0, 1.0]]}, r"matrix\[0, 1\] is nan; expected finite"),
        ({"matrix": np.eye(2), "shift": [0.0]}, r"shift has shape \(1,\); expected \(2,\)"),
        ({"matrix": np.eye(2), "shift": [0.0, np.inf]}, r"shift\[1\] is inf"),
    ],
)
def test_matrices_are_checked(arguments: dict, message: str):
    """Catches a matrix that fails later, and elsewhere."""
    with pytest.raises(ValueError, match=message):
        b.Linear.from_arrays(**arguments)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: b.QR(3, num_reflections=3), "num_reflections is 3; expected an even.*pass 4"),
        (lambda: b.QR(3, num_reflections=0), "num_reflections is 0"),
        (lambda: b.Rotation(0), "dim is 0"),
        (lambda: b.Channelwise(b.Channelwise(b.LU(2), [3]), [2]), r"event shape \(3, 2\)"),
        (lambda: b.Channelwise(b.LU(2), [3, 0]), "an axis of leading_shape is 0"),
    ],
)
def test_mistakes_are_named(make: Callable[[], b.AbstractBijector], message: str):
    """Catches settings that mean nothing."""
    with pytest.raises(ValueError, match=message):
        make()


def test_channelwise_is_a_one_by_one_convolution(x64: None):
    """Catches channels and positions exchanged, and a log-determinant of one position alone."""
    plu = randomised(b.PLU(DIM, rngs=nnx.Rngs(0)))
    image = np.random.default_rng(0).normal(size=(2, 3, DIM))
    x, log_det = b.Channelwise(plu, (2, 3)).inverse_and_log_det(jnp.asarray(image))
    matrix, shift = matrix_of_plu(plu), shift_of(plu)
    np.testing.assert_allclose(x, np.einsum("ij,hwj->hwi", matrix, image) + shift, rtol=1e-10)
    np.testing.assert_allclose(log_det, 6 * np.linalg.slogdet(matrix)[1], rtol=1e-10)


def test_channelwise_gives_each_position_a_key():
    """Catches one key for all positions, whose noise would be the same everywhere."""

    class Jitter(b.AbstractBijector):
        """A random shift."""

        def __init__(self) -> None:
            self.event_shape, self.condition_shape = (2,), None

        def forward_and_log_det(self, x, condition=None, key=None):
            return x + jax.random.normal(key, (2,)), jnp.zeros(())

        def inverse_and_log_det(self, y, condition=None, key=None):
            return y - jax.random.normal(key, (2,)), jnp.zeros(())

    channelwise, key = b.Channelwise(Jitter(), [3]), jax.random.key(0)
    y, _ = channelwise.forward_and_log_det(jnp.zeros((3, 2)), None, key)
    assert len(np.unique(y)) == 6
    back, _ = channelwise.inverse_and_log_det(y, None, key)
    np.testing.assert_allclose(back, 0.0, atol=1e-6)
