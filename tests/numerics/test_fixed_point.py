"""Fixed points of triangular maps and contractions: exactness, rounds, derivatives, failures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from flowjax_lite.numerics.fixed_point import contraction_fixed_point, triangular_fixed_point

DIM = 6


def test_linear_system(x64: None):
    """Catches a solution, or a derivative in either mode, that is not that of x = Lx + b."""
    rng = np.random.default_rng(0)
    lower, b = (
        jnp.asarray(np.tril(rng.normal(size=(DIM, DIM)), -1)),
        jnp.asarray(rng.normal(size=DIM)),
    )

    def solve(b: Array) -> Array:
        return triangular_fixed_point(lambda x: lower @ x + b, jnp.ones(DIM))

    inverse = np.linalg.inv(np.eye(DIM) - lower)
    np.testing.assert_allclose(solve(b), inverse @ b, rtol=1e-12)
    np.testing.assert_allclose(jax.jacfwd(solve)(b), inverse, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(jax.jacrev(solve)(b), inverse, rtol=1e-12, atol=1e-14)


def count_rounds(couple: Array) -> int:
    """How often the function is called for x_i = tanh(couple_i x_{i-1}) + 1."""
    rounds = []

    def function(x: Array) -> Array:
        jax.debug.callback(lambda: rounds.append(1))
        return jnp.tanh(couple * jnp.concatenate([jnp.zeros(1), x[:-1]])) + 1

    x = triangular_fixed_point(function, jnp.zeros(DIM))
    np.testing.assert_array_equal(x, function(x))
    jax.effects_barrier()
    return len(rounds) - 1


def test_rounds_end_when_nothing_changes():
    """Catches rounds that go on after the fixed point, or stop before it."""
    assert count_rounds(jnp.zeros(DIM)) == 2
    assert count_rounds(jnp.ones(DIM)) == DIM
    assert count_rounds(jnp.where(jnp.arange(DIM) < 3, 1.0, 0.0)) == 4


def test_nan_ends():
    """Catches a loop without an end, as NaN always differs from itself."""
    x = triangular_fixed_point(lambda x: x.at[0].set(jnp.nan), jnp.zeros(DIM))
    assert jnp.isnan(x[0])


def contraction(constant: float, kind: str) -> np.ndarray:
    """A matrix with that spectral norm."""
    rng = np.random.default_rng(0)
    angle = np.deg2rad(2)
    matrix = {
        "random": rng.normal(size=(DIM, DIM)),
        # Its steps have a largest entry that grows for a while, as they turn.
        "rotation": np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]),
        "extremes": np.diag(np.linspace(-1, 1, DIM)),
        "nilpotent": np.eye(DIM, k=1),
    }[kind]
    return constant * matrix / np.linalg.norm(matrix, 2)


@pytest.mark.parametrize("constant", [0.9, 0.99])
@pytest.mark.parametrize("kind", ["random", "rotation", "extremes", "nilpotent"])
def test_contraction(dtype: np.dtype, constant: float, kind: str):
    """Catches rounds that end early, or never converge, and derivatives that are not those."""
    matrix = jnp.asarray(contraction(constant, kind))
    dim = len(matrix)

    @jax.jit
    def solve(matrix: Array, b: Array) -> tuple[Array, ...]:
        def solution(matrix: Array, b: Array) -> Array:
            return contraction_fixed_point(lambda x: jnp.matmul(matrix, x) + b, b)

        x, pull = jax.vjp(solution, matrix, b)
        by_matrix, by_b = jax.vmap(pull)(jnp.eye(dim))
        return x, by_matrix, by_b, jax.jacfwd(solution, 1)(matrix, b)

    for size in (1e-30, 1.0, 1e30):
        b = jnp.asarray(size * np.random.default_rng(1).normal(size=dim))
        x, by_matrix, by_b, forward = map(np.asarray, solve(matrix, b))
        inverse = np.linalg.inv(np.eye(dim) - np.asarray(matrix, np.float64))
        expected = inverse @ np.asarray(b, np.float64)
        # A rounding error of each round adds up to its multiple by 1 / (1 - constant).
        unit = 10 * jnp.finfo(dtype).eps / (1 - constant)
        np.testing.assert_allclose(x, expected, rtol=0, atol=unit * np.max(np.abs(expected)))
        for jacobian in (by_b, forward):
            assert np.max(np.abs(jacobian - inverse)) < unit * np.max(np.abs(inverse))
        slopes = inverse[:, :, None] * expected[None, None, :]
        assert np.max(np.abs(by_matrix - slopes)) < 3 * unit * np.max(np.abs(slopes))


def test_the_largest_numbers_do_not_overflow():
    """Catches a length whose overflow makes every step look small beside it."""
    b = jnp.full(DIM, 3e38)
    x = contraction_fixed_point(lambda x: b - 0.5 * x, b)
    np.testing.assert_allclose(x, b / 1.5, rtol=1e-6)


def test_contraction_of_a_curve(x64: None):
    """Catches second derivatives that leave out how the fixed point moves."""

    def solve(a: Array) -> Array:
        return contraction_fixed_point(lambda x: 0.9 * jnp.sin(x) + a, a)

    @jax.jit
    def run(a: Array) -> tuple[Array, Array, Array]:
        return solve(a), jax.jacrev(solve)(a), jax.jacfwd(jax.jacrev(solve))(a)

    a = jnp.asarray([0.3, -2.0])
    x, jacobian, curvature = run(a)
    np.testing.assert_allclose(x - 0.9 * jnp.sin(x), a, atol=1e-15)
    slope = 1 / (1 - 0.9 * np.cos(x))
    np.testing.assert_allclose(jacobian, np.diag(slope), rtol=1e-12)
    diagonal = curvature[(np.arange(2),) * 3]
    np.testing.assert_allclose(diagonal, -0.9 * np.sin(x) * slope**3, rtol=1e-10)


@jax.jit
def solve_each(slope: Array, start: Array) -> Array:
    """Fixed points of slope · x + 1, one for each slope, from (1,)."""

    def solve(slope: Array, start: Array) -> Array:
        return contraction_fixed_point(lambda x: slope * x + 1, start)

    return jax.vmap(solve)(slope, start)


def test_without_a_contraction_an_event_is_nan(dtype: np.dtype):
    """Catches a wrong result of a function that is no contraction, and its good neighbours lost.

    The steps grow, stay, or are NaN from the start.
    """
    slope = jnp.asarray([0.5, 2.0, -1.0, 1.0, np.nan, np.inf, -0.5])
    x = solve_each(slope, jnp.zeros((7, 1)))
    bad = np.array([0, 1, 1, 1, 1, 1, 0], bool)
    np.testing.assert_array_equal(np.isnan(x[:, 0]), bad)
    np.testing.assert_allclose(x[~bad, 0], [2.0, 2 / 3], rtol=1e-6)
