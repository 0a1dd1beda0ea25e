"""Training with BatchNorm: its statistics, its gradient, and what it leaves as it was."""

import functools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax import Array, lax

import flowjax_lite as fl
from flowjax_lite import bijectors as b
from flowjax_lite.distributions import StandardNormal, observe

DIM, MOMENTUM, EPSILON = 2, 0.9, 1e-5


def make_flow() -> fl.Flow:
    """Two normalisations, with learned layers before, between and after them."""
    batch_norm = b.BatchNorm(DIM, momentum=MOMENTUM, epsilon=EPSILON)
    layers = [b.LU(DIM), batch_norm, b.Triangular(DIM), b.BatchNorm(DIM), b.Scale(DIM)]
    return fl.Flow(StandardNormal(DIM), b.Chain(layers))


def deep_flow(condition_dim: int | None = None) -> fl.Flow:
    """Couplings and normalisations in a scan."""
    affine = fl.transformers.Affine()
    network = functools.partial(
        fl.conditioners.MLP, 1, hidden=(8,), condition_dim=condition_dim, activation="tanh"
    )

    def make_block(rngs: nnx.Rngs) -> b.Chain:
        coupling = b.Coupling(affine, network(out_shape=(affine.num_params, 1), rngs=rngs))
        return b.Chain([coupling, b.BatchNorm(DIM), b.Reverse(DIM)])

    return fl.Flow(StandardNormal(DIM), b.Repeat(make_block, 3, rngs=nnx.Rngs(0)))


def rows(count: int, seed: int = 0) -> np.ndarray:
    """Correlated rows, far from unit scale."""
    z = np.random.default_rng(seed).standard_normal((count, DIM))
    return (z @ np.array([[3.0, 1.0], [0.0, 0.5]]) + [5.0, -1.0]).astype(np.float32)


def statistics(flow: fl.Flow) -> list[np.ndarray]:
    """Running mean and variance of the layer next to the data, then of the other."""
    outer, inner = flow.bijector.bijectors[3], flow.bijector.bijectors[1]
    return [np.asarray(v[...]) for n in (outer, inner) for v in (n.mean, n.variance)]


def test_statistics_follow_the_recursion(x64: None):
    """Catches statistics of other batches, of rows that are padding, or moved by the optimiser."""
    flow = make_flow()
    state = fl.TrainState.create(flow, optax.set_to_zero())
    step = jax.jit(fl.make_train_step(fl.negative_log_likelihood, optax.set_to_zero()))
    mean, variance = np.zeros((2, DIM)), np.ones((2, DIM))
    for k in range(5):
        x, weights = rows(20, seed=k).astype(float), np.ones(20)
        x[-1], weights[-1] = 1e6, 0.0
        state, _ = step(state, jnp.asarray(x), None, jnp.asarray(weights))
        batch = x[:-1]  # the learned layers are identities
        for i in range(2):
            mean[i] = MOMENTUM * mean[i] + (1 - MOMENTUM) * batch.mean(0)
            variance[i] = MOMENTUM * variance[i] + (1 - MOMENTUM) * batch.var(0)
            batch = (batch - mean[i]) / np.sqrt(variance[i] + EPSILON)
    expected = [mean[0], variance[0], mean[1], variance[1]]
    for got, wanted in zip(statistics(state.flow), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-10)
    assert all(np.all(v == old) for v, old in zip(statistics(flow), [0, 1, 0, 1], strict=True))


def moved(x: Array, old: list[np.ndarray], *, stop: bool) -> tuple[Array, Array]:
    """The layer as the paper writes it: the batch normalised, and its log-determinant."""
    source = lax.stop_gradient(x) if stop else x
    mean = MOMENTUM * old[0] + (1 - MOMENTUM) * jnp.mean(source, axis=0)
    variance = MOMENTUM * old[1] + (1 - MOMENTUM) * jnp.var(source, axis=0)
    z = (x - mean[None]) / jnp.sqrt(variance + EPSILON)[None]
    return z, -0.5 * jnp.sum(jnp.log(variance + EPSILON))


def test_the_gradient_is_that_of_the_paper(x64: None):
    """Catches statistics of the batch that are constants to the gradient, as the twin's are."""
    x, optimizer = jnp.asarray(rows(30), float), optax.sgd(0.1)
    step = jax.jit(fl.make_train_step(fl.negative_log_likelihood, optimizer))
    state, _ = step(fl.TrainState.create(make_flow(), optimizer), x)  # off the identity
    graphdef, params, rest = nnx.split(state.flow, nnx.Param, ...)
    old = statistics(state.flow)

    def by_hand(params: nnx.State, *, stop: bool = False) -> Array:
        lu, _, triangular, _, scale = nnx.merge(graphdef, params, rest).bijector.bijectors
        z, first = jax.vmap(scale.inverse_and_log_det)(x)
        z, second = moved(z, old[:2], stop=stop)
        z, third = jax.vmap(triangular.inverse_and_log_det)(z)
        z, fourth = moved(z, old[2:], stop=stop)
        z, fifth = jax.vmap(lu.inverse_and_log_det)(z)
        log_prob = -0.5 * jnp.sum(z**2, axis=1) - 0.5 * DIM * math.log(2 * math.pi)
        return -jnp.mean(log_prob + first + third + fifth) - second - fourth

    expected, gradient = jax.jit(jax.value_and_grad(by_hand))(params)
    wrong = jax.jit(jax.grad(functools.partial(by_hand, stop=True)))(params)
    new, loss = step(state, x)
    np.testing.assert_allclose(loss, expected, rtol=1e-12)
    taken = jax.tree.map(lambda a, b: (a - b) / 0.1, params, nnx.state(new.flow, nnx.Param))
    chex.assert_trees_all_close(taken, gradient, atol=1e-10)
    differences = jax.tree.map(lambda a, b: jnp.max(jnp.abs(a - b)), taken, wrong)
    assert max(jax.tree.leaves(differences)) > 1e-3


def test_fit_learns_and_evaluates_with_running_statistics():
    """Catches statistics that are lost between epochs, and a returned flow that batches change."""
    x, held_out = rows(400), rows(100, seed=1)
    settings = {"batch_size": 64, "max_epochs": 20, "progress": False, "learning_rate": 1e-2}
    flow = deep_flow()
    result = fl.fit(flow, x, key=jax.random.key(0), validation=held_out, **settings)
    gaussian = 0.5 * np.linalg.slogdet(2 * np.pi * np.e * np.cov(x.T))[1]
    best = result.history["validation"][result.best_epoch]
    assert best < gaussian + 0.15
    assert -float(result.flow.log_prob(held_out).mean()) == pytest.approx(best, rel=1e-4)
    np.testing.assert_allclose(
        result.flow.log_prob(held_out[:1]), result.flow.log_prob(held_out)[:1], rtol=1e-5
    )
    norm = result.flow.bijector.layers.bijectors[1]
    assert np.all(norm.mean[...] != 0) and np.all(norm.variance[...] != 1)
    assert np.all(flow.bijector.layers.bijectors[1].mean[...] == 0)
    z = jax.vmap(result.flow.bijector.inverse)(held_out)
    np.testing.assert_allclose(jax.vmap(result.flow.bijector.forward)(z), held_out, atol=1e-4)


def test_conditions_reach_the_batch():
    """Catches a step that observes rows without their conditions."""
    x, condition = rows(50), rows(50, seed=1)
    flow, optimizer = deep_flow(condition_dim=2), optax.adam(1e-2)
    step = jax.jit(fl.make_train_step(fl.negative_log_likelihood, optimizer))
    state = fl.TrainState.create(flow, optimizer)
    for _ in range(3):
        observed = observe(state.flow, x, condition)
        expected = fl.negative_log_likelihood(observed, x, condition)
        state, loss = step(state, x, condition)
        np.testing.assert_allclose(loss, expected, rtol=1e-5)
        kept = nnx.state(state.flow, b.Buffer)
        chex.assert_trees_all_close(kept, nnx.state(observed, b.Buffer), rtol=1e-5)


def test_without_batch_norm_nothing_changes():
    """Catches work that every flow pays for: the program is that of a plain guarded step."""
    flow = fl.initialize(
        fl.flows.glow_1d(dim=DIM, num_layers=2, hidden=(8,), rngs=nnx.Rngs(0)), rows(20)
    )
    optimizer = optax.adam(1e-2)

    def step(state: fl.TrainState, *batch: Array) -> tuple[fl.TrainState, Array]:
        graphdef, params, *constants = nnx.split(state.flow, nnx.Param, ...)

        def objective(params: nnx.State) -> Array:
            return fl.negative_log_likelihood(nnx.merge(graphdef, params, *constants), *batch)

        value, gradients = jax.value_and_grad(objective)(params)
        updates, opt_state = optimizer.update(gradients, state.opt_state, params)
        params = optax.apply_updates(params, updates)
        norm = optax.tree.norm(gradients)
        finite = jnp.isfinite(value) & jnp.isfinite(norm) & jnp.isfinite(optax.tree.norm(params))
        new = fl.TrainState(nnx.merge(graphdef, params, *constants), opt_state)
        return jax.tree.map(lambda new, old: jnp.where(finite, new, old), new, state), value

    state = fl.TrainState.create(flow, optimizer)
    ours = fl.make_train_step(fl.negative_log_likelihood, optimizer)
    programs = [jax.jit(f).lower(state, rows(20)).as_text() for f in (step, ours)]
    assert programs[0] == programs[1]


def test_losses_without_data():
    """Catches a random key that is taken for rows, and statistics that silently stand still."""

    def reverse_kl(flow: fl.Flow, key: Array) -> Array:
        x, log_prob = flow.sample_and_log_prob(key, (10,))
        return jnp.mean(log_prob + 0.5 * jnp.sum(x**2, axis=-1))

    optimizer = optax.adam(1e-2)
    step = fl.make_train_step(reverse_kl, optimizer)
    plain = fl.flows.realnvp(dim=DIM, num_layers=2, hidden=(8,), rngs=nnx.Rngs(0))
    _, loss = step(fl.TrainState.create(plain, optimizer), jax.random.key(0))
    assert jnp.isfinite(loss)
    with pytest.raises(TypeError, match=r"no argument x, but \['flow', 'key'\]: use.*ActNorm"):
        step(fl.TrainState.create(make_flow(), optimizer), jax.random.key(0))
