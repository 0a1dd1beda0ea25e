"""Flow: batches, conditions, keys, known densities, and what happens to bad rows."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from battery.registry import flow
from flax import nnx
from jax import Array
from scipy import stats

from flowjax_lite import bijectors as b
from flowjax_lite.conditioners import MADE
from flowjax_lite.distributions import ConditionalNormal, DiagonalNormal, Flow, StandardNormal
from flowjax_lite.transformers import Affine


@pytest.fixture(scope="module")
def conditional() -> Flow:
    """A flow of three entries with a condition of two."""
    return randomised(flow(nnx.Rngs(0), "realnvp", 3, 2))


@pytest.fixture(scope="module")
def unconditional() -> Flow:
    """A flow of three entries."""
    return randomised(flow(nnx.Rngs(0), "realnvp", 3))


X = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32)
CONDITION = np.random.default_rng(1).normal(size=(4, 5, 2)).astype(np.float32)


def one_by_one(model: Flow, x: np.ndarray, condition: np.ndarray) -> np.ndarray:
    """The log-densities from the parts, one event at a time."""

    @jax.jit
    def log_prob(x: Array, condition: Array) -> Array:
        z, log_det = model.bijector.inverse_and_log_det(x, condition)
        return model.base.log_prob(z) + log_det

    result = np.zeros(x.shape[:-1])
    for i in np.ndindex(*result.shape):
        result[i] = log_prob(x[i], condition[i])
    return result


@pytest.mark.parametrize(
    ("x_at", "condition_at"),
    [
        (np.s_[0, 0], np.s_[0, 0]),
        (np.s_[0], np.s_[0]),
        (np.s_[:], np.s_[:]),
        (np.s_[:], np.s_[0, 0]),
        (np.s_[0, 0], np.s_[:]),
        (np.s_[:], np.s_[0]),
        (np.s_[:, :1], np.s_[0]),
        (np.s_[:0], np.s_[0, 0]),
    ],
)
def test_batches_broadcast(conditional: Flow, x_at: Any, condition_at: Any):
    """Catches a condition paired with the wrong event, in batches of any rank, also empty."""
    x, condition = X[x_at], CONDITION[condition_at]
    batch = np.broadcast_shapes(x.shape[:-1], condition.shape[:-1])
    expected = one_by_one(
        conditional, np.broadcast_to(x, (*batch, 3)), np.broadcast_to(condition, (*batch, 2))
    )
    log_prob = conditional.log_prob(x, condition)
    assert log_prob.shape == batch
    np.testing.assert_allclose(log_prob, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(), (6,), (2, 3), (0,)])
@pytest.mark.parametrize("condition_at", [np.s_[0, 0], np.s_[0], np.s_[:]])
def test_samples_have_the_shape_asked_for(
    conditional: Flow, shape: tuple[int, ...], condition_at: Any
):
    """Catches samples paired with the wrong condition, and one sample for all conditions."""
    condition = CONDITION[condition_at]
    batch = shape + condition.shape[:-1]
    x, log_prob = conditional.sample_and_log_prob(jax.random.key(0), shape, condition)
    assert x.shape == (*batch, 3) and log_prob.shape == batch
    np.testing.assert_allclose(conditional.log_prob(x, condition), log_prob, rtol=1e-4, atol=1e-5)
    # Another program, without the log-determinants, so XLA may round in another way.
    alone = conditional.sample(jax.random.key(0), shape, condition)
    np.testing.assert_allclose(alone, x, rtol=1e-5, atol=1e-5)
    assert len(np.unique(x)) == x.size


def test_samples_without_a_condition(unconditional: Flow):
    """Catches a flow that needs a condition's shape to know its batch."""
    for shape in ((), (4,), (2, 3)):
        x, log_prob = unconditional.sample_and_log_prob(jax.random.key(0), shape)
        assert x.shape == (*shape, 3) and log_prob.shape == shape
        np.testing.assert_allclose(unconditional.log_prob(x), log_prob, rtol=1e-4, atol=1e-5)
    other = unconditional.sample(jax.random.key(1), (2, 3))
    assert jnp.all(other != x)


def test_old_keys_are_taken_or_refused(unconditional: Flow):
    """Catches an untyped key read as two keys, which would give samples of another shape."""
    try:
        x = unconditional.sample(jax.random.PRNGKey(0), (4,))
    except TypeError as error:
        assert "jax.random.key" in str(error)
    else:
        np.testing.assert_array_equal(x, unconditional.sample(jax.random.key(0), (4,)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30, -1e30])
def test_a_bad_row_stays_alone(unconditional: Flow, bad: float):
    """Catches one missing value that spoils the likelihoods, or gradients, of other rows."""
    good = jnp.asarray(X[0])
    x = good.at[2, 1].set(bad)
    others = np.array([0, 1, 3, 4])

    def total(x: Array) -> tuple[Array, Array]:
        log_prob = unconditional.log_prob(x)
        return jnp.sum(log_prob), log_prob

    for function in (total, jax.jit(total)):
        (_, expected), expected_gradient = jax.value_and_grad(function, has_aux=True)(good)
        (_, log_prob), gradient = jax.value_and_grad(function, has_aux=True)(x)
        np.testing.assert_array_equal(log_prob[others], expected[others])
        np.testing.assert_array_equal(gradient[others], expected_gradient[others])
        assert not jnp.isfinite(log_prob[2]) or np.isfinite(bad)
        if np.isnan(bad):
            assert jnp.isnan(log_prob[2])
        else:
            assert not log_prob[2] > -1e3, "an impossible row has a density"


@pytest.mark.parametrize("name", ["realnvp", "iaf"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_data_of_fewer_bits(name: str, dtype: str):
    """Catches a raw error about a loop's types where data and parameters differ in precision."""
    with jax.enable_x64(dtype == "float32"):
        model = randomised(flow(nnx.Rngs(0), name, 3))
        x = jnp.asarray(X[0], dtype)
        expected = model.log_prob(x.astype(float))
        np.testing.assert_allclose(model.log_prob(x), expected, rtol=1e-6)


def test_affine_flow_is_a_multivariate_normal(x64: None):
    """Catches a wrong sign or factor anywhere between the base and the density."""
    bijector = randomised(b.LU(3), scale=0.5)
    model = Flow(StandardNormal(3), bijector)
    shift = np.asarray(bijector.forward(jnp.zeros(3)))
    matrix = np.asarray(jax.jacfwd(bijector.forward)(jnp.zeros(3)))
    exact = stats.multivariate_normal(shift, matrix @ matrix.T)
    x = np.random.default_rng(0).normal(size=(7, 3))
    np.testing.assert_allclose(model.log_prob(x), exact.logpdf(x), rtol=1e-11)
    samples = np.asarray(model.sample(jax.random.key(0), (20_000,)))
    np.testing.assert_allclose(samples.mean(0), shift, atol=0.05)
    np.testing.assert_allclose(np.cov(samples.T), exact.cov, atol=0.1)


def itself(x: Array) -> Array:
    """An activation that leaves a network linear."""
    return x


def test_autoregressive_flow_is_an_autoregressive_process(x64: None):
    """Catches a shifted output, a wrong mask or scale: x[i] = φ x[i-1] + σ z[i] is known."""
    dim, phi, sigma = 4, 0.8, 0.6
    made = MADE(dim, num_params=2, hidden=(dim - 1,), activation=itself, rngs=nnx.Rngs(0))
    # Unit i holds x[i]; shift i + 1 is φ times it. What the masks hide is nonsense.
    into = np.where(np.tri(dim, dim - 1, -1), 1e3, np.eye(dim, dim - 1))
    hidden = np.where(np.tri(dim - 1, dim), 1e3, 0.0)
    made.layers[0].kernel[...] = jnp.asarray(into)
    made.last.kernel[...] = jnp.concatenate(
        [hidden + phi * np.eye(dim - 1, dim, 1), hidden], axis=1
    )
    raw = 5 * np.arctanh(np.log(sigma) / 5)
    made.last.bias[...] = jnp.concatenate([jnp.zeros(dim), jnp.full(dim, raw)])
    model = Flow(StandardNormal(dim), b.MaskedAutoregressive(Affine(), made))

    matrix = sigma * np.linalg.inv(np.eye(dim) - phi * np.eye(dim, k=-1))
    exact = stats.multivariate_normal(np.zeros(dim), matrix @ matrix.T)
    x = np.random.default_rng(0).normal(size=(7, dim))
    np.testing.assert_allclose(model.log_prob(x), exact.logpdf(x), rtol=1e-11)
    for z in x:
        np.testing.assert_allclose(model.bijector.forward(z), matrix @ z, rtol=1e-11)


def test_the_condition_map_comes_first():
    """Catches a map of the condition that is left out, doubled, or applied forwards."""
    plain = randomised(flow(nnx.Rngs(0), "realnvp", 3, 2))
    mapped = Flow(plain.base, plain.bijector, condition_map=b.Standardize(2, loc=5.0, scale=2.0))
    x, condition = X[0], CONDITION[0]
    expected = plain.log_prob(x, condition)
    np.testing.assert_allclose(mapped.log_prob(x, 2 * condition + 5), expected, rtol=1e-4)
    key = jax.random.key(0)
    samples = mapped.sample(key, (2,), 2 * condition + 5)
    np.testing.assert_allclose(samples, plain.sample(key, (2,), condition), rtol=1e-4, atol=1e-5)


def test_base_and_bijector_share_the_condition():
    """Catches a condition that reaches only one of the two."""
    base = randomised(ConditionalNormal(3, condition_dim=2, hidden=(4,), rngs=nnx.Rngs(0)))
    layers = randomised(flow(nnx.Rngs(0), "realnvp", 3, 2)).bijector
    for bijector in (b.Shift(3), layers):
        model = Flow(base, bijector)
        assert model.condition_shape == (2,)
        log_prob, other = (model.log_prob(X[0, 0], c) for c in CONDITION[0, :2])
        assert abs(log_prob - other) > 1e-3
        sample, other = (model.sample(jax.random.key(0), (), c) for c in CONDITION[0, :2])
        assert jnp.all(sample != other)


class Noisy(b.Exp):
    """A map with a random log-determinant where there is a key."""

    def inverse_and_log_det(self, y, condition=None, key=None):
        return y, jnp.zeros(()) if key is None else jax.random.normal(key)


def test_every_event_has_its_own_key():
    """Catches one estimate of the log-determinant used for a whole batch."""
    model = Flow(StandardNormal(3), Noisy(3))
    same = np.ones((4, 3), np.float32)
    assert len(np.unique(model.log_prob(same))) == 1
    assert len(np.unique(model.log_prob(same, key=jax.random.key(0)))) == 4


@pytest.mark.parametrize("name", ["nsf_coupling", "maf"])
def test_every_order_of_derivatives(name: str, x64: None):
    """Catches a derivative rule that reverse mode cannot pass through twice."""
    model = randomised(flow(nnx.Rngs(0), name, 2))

    @jax.jit
    def both(x: Array) -> tuple[Array, Array]:
        return jax.hessian(model.log_prob)(x), jax.jacrev(jax.jacrev(model.log_prob))(x)

    hessian, twice_reverse = both(jnp.array([0.3, -0.7]))
    np.testing.assert_allclose(twice_reverse, hessian, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-10, atol=1e-12)


def make(**change: Any) -> Flow:
    """A conditional flow, or one with a part that does not fit."""
    parts = {
        "base": DiagonalNormal(3),
        "bijector": flow(nnx.Rngs(0), "realnvp", 3, 2).bijector,
        "condition_map": None,
    }
    return Flow(**parts | change)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: make(base=StandardNormal(2)), ValueError, r"shape \(2,\).*\(3,\).*same dim"),
        (
            lambda: make(base=ConditionalNormal(3, condition_dim=5, hidden=(4,), rngs=nnx.Rngs(0))),
            ValueError,
            r"\(2,\), \(5,\).*condition_dim",
        ),
        (
            lambda: make(condition_map=b.Exp(3)),
            ValueError,
            r"condition_map has event shape \(3,\).*\(2,\)",
        ),
        (
            lambda: make(bijector=b.Exp(3), condition_map=b.Exp(3)),
            ValueError,
            r"condition_map has event shape \(3,\).*None",
        ),
        (lambda: make().sample(jax.random.key(0)), TypeError, r"condition is missing.*\(2,\)"),
        (
            lambda: make().sample(jax.random.key(0), (), jnp.zeros(3)),
            ValueError,
            r"condition has shape \(3,\).*\(2,\)",
        ),
        (
            lambda: make(bijector=b.Exp(3)).sample(jax.random.key(0), (), jnp.zeros(3)),
            ValueError,
            "condition was given",
        ),
        (
            lambda: make().log_prob(jnp.zeros((4, 3)), jnp.zeros((5, 2))),
            ValueError,
            r"x.*\(4,.*condition.*\(5,",
        ),
    ],
)
def test_mistakes_are_named(call: Callable[[], Any], error: type[Exception], message: str):
    """Catches parts, batches or conditions that do not fit together."""
    with pytest.raises(error, match=message):
        call()
