"""Losses on a flow's own samples: known divergences, and unbiased gradients."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from battery.measure import randomised
from battery.registry import flow as small_flow
from flax import nnx
from jax import Array
from jax.flatten_util import ravel_pytree

import flowjax_lite as fl

KEY = jax.random.key(0)
LOG_CONSTANT = 1.7
# A right implementation exceeds this many standard errors once in a million.
LIMIT = 5.0


def log_target(x: Array) -> Array:
    """exp(1.7) times a standard normal density: one event."""
    return LOG_CONSTANT - 0.5 * jnp.sum(x**2) - 0.5 * x.size * math.log(2 * math.pi)


def conditional_target(x: Array, condition: Array) -> Array:
    """A normal density around the first entry of the condition."""
    return -0.5 * jnp.sum((x - condition[0]) ** 2) / (1 + condition[1] ** 2)


def normal_flow(loc: float = 0.3, log_scale: float = -0.4) -> fl.Flow:
    """A flow that is a normal distribution of two entries."""
    affine = fl.bijectors.Affine(2)
    affine.shift[...] = jnp.full(2, loc)
    affine.raw_scale[...] = 10 * jnp.arctanh(jnp.full(2, log_scale) / 10)
    return fl.Flow(fl.distributions.StandardNormal(2), affine)


def exact_divergence(flow: fl.Flow) -> Array:
    """KL of a `normal_flow` from the target, less the target's constant."""
    affine = flow.bijector
    log_scale = 10 * jnp.tanh(affine.raw_scale[...] / 10)
    squares = jnp.exp(2 * log_scale) + affine.shift[...] ** 2
    return jnp.sum(0.5 * (squares - 1) - log_scale) - LOG_CONSTANT


def without_entropy(flow: fl.Flow, key: Array) -> Array:
    """A wrong loss: samples seek the target's mode and nothing keeps them apart."""
    return -jnp.mean(jax.vmap(log_target)(flow.sample(key, (50,))))


def gradients(loss: Callable[..., Array], flow: fl.Flow, keys: Array) -> np.ndarray:
    """The gradient by all parameters, one row for each key."""
    graph, params, rest = nnx.split(flow, nnx.Param, ...)

    @jax.jit
    @jax.vmap
    def gradient(key: Array) -> Array:
        value = jax.grad(lambda params: loss(nnx.merge(graph, params, rest), key))(params)
        return ravel_pytree(value)[0]

    return np.asarray(gradient(keys))


def standard_errors(values: np.ndarray, expected: np.ndarray | float) -> float:
    """How far the mean of independent rows lies from a number, at most, in standard errors."""
    error = values.std(axis=0, ddof=1) / math.sqrt(len(values))
    return float(np.max(np.abs(values.mean(axis=0) - expected) / error))


def estimates(loss: Callable[..., Array], flow: fl.Flow, count: int) -> np.ndarray:
    """Independent values of a loss."""
    return np.asarray(jax.jit(jax.vmap(lambda key: loss(flow, key)))(jax.random.split(KEY, count)))


def test_reverse_kl_is_the_divergence():
    """Catches a sign, a lost term or constant; without the entropy, its twin, it is another."""
    flow = normal_flow()
    exact = float(exact_divergence(flow))
    values, path = (
        estimates(fl.reverse_kl(log_target, num_samples=50, path_gradient=choice), flow, 2000)
        for choice in (False, True)
    )
    assert standard_errors(values, exact) < LIMIT
    np.testing.assert_allclose(path, values, rtol=1e-5)
    assert standard_errors(estimates(without_entropy, flow, 2000), exact) > LIMIT


def test_the_path_gradient_vanishes_at_the_optimum(x64: None):
    """Catches a score term that is still there: at q = p each sample's gradient is zero."""
    flow = randomised(small_flow(nnx.Rngs(0), "realnvp", 2))
    constant = jax.tree.map(jnp.copy, flow)
    keys = jax.random.split(KEY, 20)
    path, plain = (
        gradients(fl.reverse_kl(constant.log_prob, num_samples=1, path_gradient=choice), flow, keys)
        for choice in (True, False)
    )
    assert np.max(np.abs(path)) < 1e-12
    assert np.all(np.max(np.abs(plain), axis=1) > 1e-2)


def test_gradients_are_unbiased(x64: None):
    """Catches a term left out that has a mean; without that of the entropy, its twin, it shows."""
    flow = normal_flow()
    graph, params, rest = nnx.split(flow, nnx.Param, ...)
    exact = jax.grad(lambda params: exact_divergence(nnx.merge(graph, params, rest)))(params)
    exact = np.asarray(ravel_pytree(exact)[0])
    keys = jax.random.split(KEY, 4000)
    for path_gradient in (False, True):
        loss = fl.reverse_kl(log_target, num_samples=4, path_gradient=path_gradient)
        assert standard_errors(gradients(loss, flow, keys), exact) < LIMIT
    assert standard_errors(gradients(without_entropy, flow, keys), exact) > LIMIT


def test_both_gradients_of_a_deep_flow_have_one_mean(x64: None):
    """Catches a bias that a normal distribution does not show; the samples are the same."""
    flow = randomised(small_flow(nnx.Rngs(0), "realnvp", 2))
    keys = jax.random.split(KEY, 4000)
    path, plain = (
        gradients(fl.reverse_kl(log_target, num_samples=4, path_gradient=choice), flow, keys)
        for choice in (True, False)
    )
    score = plain - path
    assert np.all(score.std(axis=0) > 1e-3)
    assert standard_errors(score, 0.0) < LIMIT
    assert standard_errors(np.abs(score), 0.0) > LIMIT


def test_the_importance_weighted_bound_tightens():
    """Catches weights averaged as logarithms, or summed; the bound falls to -log ∫ p.

    Its twins do not fall with the number of samples, or fall below.
    """
    flow = normal_flow(loc=0.5, log_scale=0.2)  # wider than the target, so weights are bounded
    by_number = {
        number: estimates(fl.importance_weighted(log_target, num_samples=number), flow, 4000)
        for number in (1, 4, 16, 1024)
    }
    means = [values.mean() for values in by_number.values()]
    errors = [values.std() / math.sqrt(4000) for values in by_number.values()]
    for i in range(len(means) - 1):
        assert means[i] - means[i + 1] > LIMIT * math.hypot(errors[i], errors[i + 1])
    assert means[-1] == pytest.approx(-LOG_CONSTANT, abs=2e-3)
    assert means[-1] > -LOG_CONSTANT - LIMIT * errors[-1]
    divergence = fl.reverse_kl(log_target, num_samples=1)
    np.testing.assert_array_equal(by_number[1], estimates(divergence, flow, 4000))

    mean_of_logarithms = estimates(fl.reverse_kl(log_target, num_samples=16), flow, 4000)
    assert means[0] - mean_of_logarithms.mean() < LIMIT * errors[0]
    summed = by_number[16] - math.log(16)
    assert summed.mean() < -LOG_CONSTANT - LIMIT * errors[2]


def test_forward_kl_is_the_divergence_of_the_target():
    """Catches the divergence the other way round, and weights averaged as logarithms."""
    flow = normal_flow(loc=0.5, log_scale=0.2)  # wider than the target, so weights are bounded
    values = estimates(fl.forward_kl(log_target, num_samples=4096), flow, 200)
    scale = math.exp(0.2)
    exact = 2 * (0.2 + 0.5 * (1 + 0.5**2) / scale**2 - 0.5)
    assert values.mean() == pytest.approx(exact, abs=5e-3)
    reverse = float(exact_divergence(flow)) + LOG_CONSTANT
    assert abs(reverse - exact) > 0.05
    assert np.all(estimates(fl.forward_kl(log_target, num_samples=8), flow, 50) >= 0)


def test_forward_kl_has_the_gradient_of_a_weighted_likelihood(x64: None):
    """Catches a gradient that passes through the samples, the twin: its mean is another."""
    flow = normal_flow(loc=0.5, log_scale=0.2)
    graph, params, rest = nnx.split(flow, nnx.Param, ...)
    exact = jax.grad(lambda params: exact_cross_entropy(nnx.merge(graph, params, rest)))(params)
    exact = np.asarray(ravel_pytree(exact)[0])
    keys = jax.random.split(KEY, 400)
    got = gradients(fl.forward_kl(log_target, num_samples=1000), flow, keys)
    np.testing.assert_allclose(got.mean(axis=0), exact, atol=0.01)
    through = gradients(with_gradient_through_samples, flow, keys)
    assert np.max(np.abs(through.mean(axis=0) - exact)) > 0.05


def test_the_gradient_of_forward_kl_vanishes_at_the_optimum(x64: None):
    """Catches a baseline that is left out, whose twin is the weighted likelihood itself."""
    flow = randomised(small_flow(nnx.Rngs(0), "realnvp", 2))
    constant = jax.tree.map(jnp.copy, flow)
    keys = jax.random.split(KEY, 5)
    got = gradients(fl.forward_kl(constant.log_prob, num_samples=8), flow, keys)
    assert np.max(np.abs(got)) < 1e-12

    def without_baseline(flow: fl.Flow, key: Array) -> Array:
        return -jnp.mean(flow.log_prob(constant.sample(key, (8,))))

    assert np.all(np.max(np.abs(gradients(without_baseline, flow, keys)), axis=1) > 1e-2)


def exact_cross_entropy(flow: fl.Flow) -> Array:
    """-E[log q] of a `normal_flow` under the target, up to a constant."""
    affine = flow.bijector
    log_scale = 10 * jnp.tanh(affine.raw_scale[...] / 10)
    return jnp.sum(0.5 * (1 + affine.shift[...] ** 2) * jnp.exp(-2 * log_scale) + log_scale)


def with_gradient_through_samples(flow: fl.Flow, key: Array) -> Array:
    """A wrong loss: its samples are moved."""
    x, log_q = flow.sample_and_log_prob(key, (1000,))
    weight = jax.lax.stop_gradient(jax.nn.softmax(jax.vmap(log_target)(x) - log_q))
    return -jnp.sum(weight * flow.log_prob(x))


def test_forward_kl_takes_weights_of_zero():
    """Catches 0 · -inf, of a target with an edge."""

    def edge(x: Array) -> Array:
        return jnp.where(x[0] > 0, log_target(x), -jnp.inf)

    flow = normal_flow()
    loss = fl.forward_kl(edge, num_samples=64)
    value, gradient = jax.value_and_grad(loss)(flow, KEY)
    assert np.isfinite(value) and value > 0.3  # half of the mass is missing
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


def by_hand(name: str, log_q: Array, log_p: Array) -> Array:
    """Each loss on samples (samples, conditions), written another way."""
    if name == "forward_kl":
        weight = jnp.exp(log_p - log_q)
        normalised = weight / jnp.sum(weight, axis=0, keepdims=True)
        divergence = jnp.sum(normalised * (log_p - log_q), axis=0)
        return jnp.mean(divergence - jnp.log(jnp.mean(weight, axis=0)))
    if name == "importance_weighted":
        return -jnp.mean(jnp.log(jnp.mean(jnp.exp(log_p - log_q), axis=0)))
    return jnp.mean(log_q - log_p)


@pytest.mark.parametrize(
    ("name", "batch"),
    [
        ("reverse_kl", ()),
        ("importance_weighted", (2, 3)),
        ("forward_kl", (2, 3)),
        ("distillation", (2, 3)),
    ],
)
def test_samples_meet_their_own_condition(name: str, batch: tuple[int, ...]):
    """Catches a sample scored under another condition, and weights averaged over conditions."""
    flow = randomised(small_flow(nnx.Rngs(0), "realnvp", 3, 2))
    teacher = randomised(small_flow(nnx.Rngs(1), "realnvp", 3, 2), scale=0.4)
    condition = jax.random.normal(jax.random.key(1), (*batch, 2))
    x, log_q = flow.sample_and_log_prob(KEY, (4,), condition)
    assert x.shape == (4, *batch, 3)
    if name == "distillation":
        got = fl.distillation(num_samples=4)(flow, KEY, teacher, condition)
        log_p = teacher.log_prob(x, condition)
    else:
        got = getattr(fl, name)(conditional_target, num_samples=4)(flow, KEY, condition)
        log_p = np.zeros(log_q.shape)
        for i in np.ndindex(*log_p.shape):
            log_p[i] = conditional_target(x[i], condition[i[1:]])
    np.testing.assert_allclose(got, by_hand(name, log_q, log_p), rtol=1e-5)


def test_an_amortised_flow_learns_every_posterior():
    """Catches a gradient that does not reach the network: the posterior of each is known."""
    flow = fl.flows.realnvp(dim=2, condition_dim=2, num_layers=2, hidden=(16,), rngs=nnx.Rngs(0))
    optimizer = optax.adam(1e-2)
    loss = fl.reverse_kl(conditional_target, num_samples=8, path_gradient=True)
    step = fl.make_train_step(loss, optimizer)

    @jax.jit
    def train(state: fl.TrainState, key: Array) -> fl.TrainState:
        def body(state: fl.TrainState, key: Array) -> tuple[fl.TrainState, Array]:
            return step(state, key, jax.random.normal(key, (32, 2)))

        return jax.lax.scan(body, state, jax.random.split(key, 400))[0]

    trained = train(fl.TrainState.create(flow, optimizer), KEY).flow
    condition = jnp.array([[-1.0, 0.0], [0.0, 1.0], [1.5, -1.0]])
    samples = np.asarray(trained.sample(KEY, (4000,), condition))
    np.testing.assert_allclose(samples.mean(axis=0), condition[:, [0, 0]], atol=0.2)
    scales = np.sqrt(1 + condition[:, [1, 1]] ** 2)
    np.testing.assert_allclose(samples.std(axis=0), scales, rtol=0.2)


def test_distillation_is_the_divergence_from_the_teacher():
    """Catches the divergence the other way round; the teacher gets no gradient."""
    student, teacher = (
        randomised(small_flow(nnx.Rngs(seed), name, 3), scale=0.3)
        for seed, name in enumerate(("iaf", "maf"))
    )
    loss = fl.distillation(num_samples=64)
    expected = fl.reverse_kl(teacher.log_prob, num_samples=64)(student, KEY)
    np.testing.assert_allclose(loss(student, KEY, teacher), expected, rtol=1e-6)
    assert loss(student, KEY, teacher) > 0.01
    np.testing.assert_allclose(loss(student, KEY, student), 0.0, atol=1e-5)

    by_both = jax.jit(jax.grad(lambda both: loss(both[0], KEY, both[1])))
    of_student, of_teacher = map(jax.tree.leaves, by_both((student, teacher)))
    assert any(np.any(leaf != 0) for leaf in of_student)
    assert not any(np.any(leaf != 0) for leaf in of_teacher)


@pytest.mark.smoke
@pytest.mark.parametrize("make", [fl.reverse_kl, fl.importance_weighted, fl.forward_kl])
def test_training_finds_the_target(make: Callable[..., Any]):
    """Catches a loss that is maximised: the flow becomes the target."""
    optimizer = optax.adam(1e-2)
    step = jax.jit(fl.make_train_step(make(log_target, num_samples=8), optimizer))
    state = fl.TrainState.create(normal_flow(loc=1.0), optimizer)
    for key in jax.random.split(KEY, 400):
        state, _ = step(state, key)
    assert exact_divergence(state.flow) == pytest.approx(-LOG_CONSTANT, abs=0.1)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fl.reverse_kl(log_target, num_samples=0), ValueError, "num_samples is 0"),
        (lambda: fl.forward_kl(log_target, num_samples=1), ValueError, "at least 2"),
        (lambda: fl.distillation(num_samples=2.5), TypeError, "num_samples is 2.5.*whole"),
        (
            lambda: fl.importance_weighted(log_target, num_samples=True),
            TypeError,
            "num_samples is True",
        ),
        (
            lambda: fl.reverse_kl(jnp.abs, num_samples=3)(normal_flow(), KEY),
            ValueError,
            r"log_target returned shape \(2,\).*event of shape \(2,\).*scalar: sum",
        ),
        (
            lambda: fl.importance_weighted(print, num_samples=3)(normal_flow(), KEY),
            TypeError,
            r"log_target\(x\) is missing",
        ),
        (
            lambda: fl.distillation(num_samples=3)(
                normal_flow(), KEY, small_flow(nnx.Rngs(0), "maf", 20)
            ),
            ValueError,
            r"x has shape \(3, 2\); this flow expects \(..., 20\)",
        ),
        (
            lambda: fl.reverse_kl(log_target, num_samples=3)(normal_flow(), KEY, jnp.zeros(2)),
            ValueError,
            "condition was given",
        ),
    ],
)
def test_mistakes_are_named(call: Callable[[], Any], error: type[Exception], message: str):
    """Catches a target of the wrong shape, which would broadcast into a wrong loss."""
    with pytest.raises(error, match=message):
        call()
