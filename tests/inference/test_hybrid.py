"""Hybrid models: the joint density, training with few labels, and answers that are refused."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx

import flowjax_lite as fl
from flowjax_lite.inference import Hybrid, hybrid_loss, risk_coverage


@pytest.fixture(scope="module")
def hybrid() -> Hybrid:
    """Three classes of two numbers, at random."""
    flow = fl.flows.realnvp(dim=2, num_layers=2, hidden=(8,), rngs=nnx.Rngs(0))
    head = fl.conditioners.MLP(2, out_shape=(3,), hidden=(8,), rngs=nnx.Rngs(1))
    return randomised(Hybrid(flow, head))


def test_joint_density_is_the_product(hybrid: Hybrid):
    """Catches classes that are predicted from x in the place of z, and a label off by one."""
    x = jax.random.normal(jax.random.key(0), (6, 2))
    labels = jnp.array([[0.0], [1.0], [2.0], [-1.0], [0.0], [3.0]])
    log_p_y, log_p_x = hybrid.predict(x, batch_size=4)
    np.testing.assert_allclose(log_p_x, hybrid.flow.log_prob(x), rtol=1e-5)
    z, _ = hybrid.flow.to_latent(x)
    expected = jax.nn.log_softmax(jax.vmap(hybrid.head)(z))
    np.testing.assert_allclose(log_p_y, expected, rtol=1e-4, atol=1e-5)
    of_x = jax.nn.log_softmax(jax.vmap(hybrid.head)(x))
    assert np.abs(of_x - expected).max() > 0.01  # the twin: z is not x
    joint = hybrid.log_prob(x, labels)
    of_labels = [expected[0, 0], expected[1, 1], expected[2, 2], 0.0, expected[4, 0], np.nan]
    np.testing.assert_allclose(joint, log_p_x + np.array(of_labels), rtol=1e-4, atol=1e-4)


def test_loss_weighs_the_density_of_all_rows_and_the_classes_of_labelled_ones(hybrid: Hybrid):
    """Catches unlabelled rows that count as a class, and a weight on the wrong term."""
    x = jax.random.normal(jax.random.key(0), (4, 2))
    labels = jnp.array([[0.0], [-1.0], [2.0], [-1.0]])
    log_p_y, log_p_x = hybrid.predict(x)
    of_classes = -(log_p_y[0, 0] + log_p_y[2, 2]) / 4
    for weight in (0.0, 0.3):
        loss = hybrid_loss(weight=weight)(hybrid, x, labels)
        np.testing.assert_allclose(loss, of_classes - weight * log_p_x.mean(), rtol=1e-5)
    weights = jnp.array([1.0, 1.0, 0.0, 1.0])
    loss = hybrid_loss(weight=0.0)(hybrid, x.at[2].set(jnp.nan), labels, weights)
    np.testing.assert_allclose(loss, -log_p_y[0, 0] / 3, rtol=1e-5)


def test_predictions_are_to_stay_the_same_nearby(hybrid: Hybrid):
    """Catches a direction that is not the worst, another length, and a term for labels alone.

    Of two classes the worst of all short moves is along the gradient of the difference of logits,
    there or back, wherever the power iteration begins.
    """
    head = fl.conditioners.MLP(2, out_shape=(2,), hidden=(8,), activation="tanh", rngs=nnx.Rngs(1))
    two = randomised(Hybrid(hybrid.flow, head), scale=0.5)
    x, labels = jax.random.normal(jax.random.key(0), (5, 2)), jnp.full((5, 1), -1.0)
    key, radius = jax.random.key(3), 0.1
    loss = hybrid_loss(weight=0.0, radius=radius)
    z, _ = two.flow.to_latent(x)
    log_p = jax.nn.log_softmax(jax.vmap(two.head)(z))
    slopes = jax.vmap(jax.grad(lambda z: jnp.diff(two.head(z))[0]))(z)
    worst = radius * slopes / jnp.linalg.norm(slopes, axis=1, keepdims=True)

    def divergence(moves: jax.Array) -> jax.Array:
        moved = jax.nn.log_softmax(jax.vmap(two.head)(z + moves))
        return jnp.sum(jnp.exp(log_p) * (log_p - moved), axis=1)

    there, back = divergence(worst), divergence(-worst)
    of_rows = jnp.stack([loss(two, x, labels, jnp.eye(5)[row], key) for row in range(5)])
    assert jnp.all(of_rows < 1.02 * jnp.maximum(there, back))
    assert jnp.all(of_rows > 0.98 * jnp.minimum(there, back))
    np.testing.assert_allclose(loss(two, x, labels, None, key), of_rows.mean(), rtol=1e-5)
    # The twins: moves across change little, and shorter ones less.
    across = jnp.stack([worst[:, 1], -worst[:, 0]], axis=1)
    assert jnp.all(divergence(across) < 0.1 * of_rows)
    assert hybrid_loss(weight=0.0, radius=radius / 2)(two, x, labels, None, key) < (
        0.3 * of_rows.mean()
    )
    # Held-out rows are evaluated without a key: there the radius counts for nothing.
    assert loss(two, x, labels) == hybrid_loss(weight=0.0)(two, x, labels, None, key) == 0


def test_training_with_few_labels(tmp_path: Path):
    """Catches a model that fit refuses, classes that are not learned, and a file of half of it."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, size=(400, 1))
    x = (3.0 * (2 * truth - 1) + rng.normal(size=(400, 2))).astype(np.float32)
    labels = np.where(np.arange(400)[:, None] % 10 == 0, truth, -1)
    flow = fl.flows.realnvp(dim=2, num_layers=2, hidden=(8,), rngs=nnx.Rngs(0))
    head = fl.conditioners.MLP(2, out_shape=(2,), hidden=(8,), rngs=nnx.Rngs(1))
    options = {"learning_rate": 1e-2, "batch_size": 100, "progress": False, "checks": "off"}
    model = Hybrid(flow, head)
    loss = hybrid_loss(weight=0.1)
    model = fl.fit(model, x, condition=labels, loss=loss, key=0, max_epochs=30, **options).flow
    log_p_y, log_p_x = model.predict(x)
    assert np.mean(np.argmax(log_p_y, axis=1) == truth[:, 0]) > 0.97
    assert np.mean(log_p_x) > np.mean(flow.log_prob(x)) + 3
    assert float(model.predict(jnp.full((1, 2), 30.0))[1][0]) < np.min(log_p_x)  # to be refused
    fl.save(tmp_path / "hybrid.safetensors", model)
    again = fl.load(tmp_path / "hybrid.safetensors").predict(x[:5])
    for one, other in zip(again, model.predict(x[:5]), strict=True):
        np.testing.assert_array_equal(one, other)


def test_risk_coverage_by_hand():
    """Catches a curve from the least confident rows on, and an order of equal rows."""
    curve = risk_coverage([0.9, 0.8, 0.3, 0.6], [True, False, False, True])
    np.testing.assert_allclose(curve.coverage, [0.25, 0.5, 0.75, 1.0])
    np.testing.assert_allclose(curve.risk, [0, 1 / 2, 1 / 3, 1 / 2])
    assert curve.at(0.5) == 0.5 and curve.at(0.6) == pytest.approx(1 / 3)
    np.testing.assert_allclose(curve.area, 1 / 3)
    equal = risk_coverage([1.0, 0.5, 0.5], [True, True, False])
    np.testing.assert_allclose(equal.risk, [0, 1 / 4, 1 / 3])
    mirrored = risk_coverage([-0.9, -0.8, -0.3, -0.6], [True, False, False, True])
    assert mirrored.area > curve.area  # the twin: confidence with the wrong sign
    with pytest.raises(ValueError, match=r"confidence\[1\] is NaN"):
        risk_coverage([0.1, np.nan], [True, True])
    with pytest.raises(ValueError, match=r"\(2,\) and correct \(3,\)"):
        risk_coverage([0.1, 0.2], [True, True, False])


def test_parts_that_do_not_fit_are_named(hybrid: Hybrid):
    """Catches a mistake that would show inside of a compiled step."""
    head = fl.conditioners.MLP(3, out_shape=(2,), hidden=(8,), rngs=nnx.Rngs(1))
    with pytest.raises(ValueError, match=r"the head takes shape \(3,\); expected \(2,\)"):
        Hybrid(hybrid.flow, head)
    with pytest.raises(ValueError, match="without condition_dim"):
        Hybrid(fl.flows.planar(dim=3, condition_dim=1, rngs=nnx.Rngs(0)), head)
    with pytest.raises(ValueError, match=r"weight is -1"):
        hybrid_loss(weight=-1)
    for radius in (0, -1.0, np.inf):
        with pytest.raises(ValueError, match=f"radius is {radius}"):
            hybrid_loss(radius=radius)
    with pytest.raises(TypeError, match="the model is a Flow"):
        hybrid_loss()(hybrid.flow, jnp.zeros((2, 2)), jnp.zeros((2, 1)))
