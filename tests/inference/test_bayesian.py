"""Multiplicative normalizing flows: their bound where it is known, their noise, and training."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx
from jax import Array

import flowjax_lite as fl
from flowjax_lite.inference import (
    BayesianClassifier,
    MaxPool,
    MNFConv,
    MNFLinear,
    bayesian_loss,
)

KEY = jax.random.key(0)


def bounds(layer: MNFLinear | MNFConv, num: int) -> np.ndarray:
    """Many estimates of the bound."""
    return np.asarray(jax.jit(jax.vmap(layer.kl))(jax.random.split(KEY, num)))


def with_wide_noise(layer: MNFLinear) -> MNFLinear:
    """The same layer, whose z has a standard deviation of about 0.6 around 1."""
    layer.flow.base.raw_scale[...] = jnp.full(layer.flow.event_shape, -0.5)
    layer.raw_std[...] = jnp.zeros(layer.raw_std.shape)  # std 0.25
    return layer


@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_bound_of_identity_flows_is_known(kind: str):
    """Catches a term of the bound that is missing, and an axis of z that is another one."""
    if kind == "linear":
        layer = MNFLinear(3, 2, hidden=(4,), rngs=nnx.Rngs(0))
    else:
        layer = MNFConv((4, 4, 2), 3, hidden=(4,), rngs=nnx.Rngs(0))
    layer = with_wide_noise(layer)
    # b = 0: the auxiliary density is a standard normal, whatever W is
    layer.directions[...] = layer.directions[...].at[1:].set(0.0)
    scale, std, mean = np.exp(-0.5), np.asarray(layer.std), np.asarray(layer.mean)
    second = 1 + scale**2  # E z²
    given_z = 0.5 * (std**2 + second * mean**2 - 1) - np.log(std)
    of_z = layer.flow.event_shape[0] * (0.5 * (second - 1) - np.log(scale))
    values = bounds(layer, 4000)
    error = values.std() / np.sqrt(len(values))
    assert abs(values.mean() - given_z.sum() - of_z) < 4 * error + 1e-3
    assert abs(values.mean() - given_z.sum()) > 8 * error  # the twin: without the terms of z


def test_bound_is_above_the_divergence_of_the_marginal():
    """Catches a bound that is none, by a weight whose density is a sum over z."""
    layer = with_wide_noise(MNFLinear(1, 1, hidden=(4,), rngs=nnx.Rngs(0)))
    layer.mean[...] = jnp.full((1, 1), 0.8)
    scale, std = np.exp(-0.5), 0.25
    z = 1 + scale * np.linspace(-6, 6, 801)
    q_z = np.exp(-0.5 * ((z - 1) / scale) ** 2)
    q_z /= q_z.sum()
    w = np.linspace(-4, 5, 1201)
    of_z = np.exp(-0.5 * ((w[:, None] - 0.8 * z) / std) ** 2) / (std * np.sqrt(2 * np.pi))
    q = of_z @ q_z
    log_p = -0.5 * w**2 - 0.5 * np.log(2 * np.pi)
    divergence = np.sum(q * (np.log(q + 1e-300) - log_p)) * (w[1] - w[0])
    values = bounds(layer, 4000)
    assert values.mean() > divergence
    given_z = 0.5 * (std**2 + 0.64 * (1 + scale**2) - 1) - np.log(std)
    assert given_z > divergence  # so that the terms of z are what has to be tested above


def test_noise_has_the_mean_and_variance_of_the_weights():
    """Catches one z for all rows, and outputs whose variance is not that of drawn weights."""
    layer = with_wide_noise(MNFLinear(3, 1, hidden=(4,), rngs=nnx.Rngs(0)))
    x = jnp.array([1.0, -2.0, 0.5])
    many = jax.jit(jax.vmap(layer, in_axes=(None, 0)))(x, jax.random.split(KEY, 20_000))[:, 0]
    np.testing.assert_allclose(many.mean(), layer(x)[0], atol=0.05)
    of_z = np.exp(-0.5) ** 2 * np.sum((np.asarray(layer.mean[:, 0]) * x) ** 2)
    of_w = np.sum(np.asarray(layer.std[:, 0]) ** 2 * x**2)
    np.testing.assert_allclose(many.var(), of_z + of_w, rtol=0.05)


def test_convolution_is_a_dense_layer_of_windows():
    """Catches factors on another axis of the kernel than the output's channels."""
    layer = randomised(MNFConv((2, 2, 2), 3, size=2, padding="VALID", rngs=nnx.Rngs(0)))
    x = jax.random.normal(KEY, (2, 2, 2))
    z = layer.flow.bijector.forward(layer.flow.base.center())
    expected = jnp.einsum("hwc,hwcf->f", x, layer.mean[...]) * z + layer.bias[...]
    np.testing.assert_allclose(layer(x)[0, 0], expected, rtol=1e-4, atol=1e-5)
    same = [layer(x, KEY) for _ in range(2)]
    np.testing.assert_array_equal(*same)
    assert np.abs(same[0] - layer(x, jax.random.key(1))).min() > 0


@pytest.fixture(scope="module")
def small() -> BayesianClassifier:
    """A network of images, both families of flows."""
    rngs = nnx.Rngs(0)
    conv = MNFConv((5, 5, 1), 2, size=2, padding="VALID", family="iaf", hidden=(4,), rngs=rngs)
    pool = MaxPool((4, 4, 2))
    return BayesianClassifier([conv, pool, MNFLinear(8, 2, hidden=(4,), rngs=rngs)])


def test_every_parameter_has_a_gradient(small: BayesianClassifier):
    """Catches a part of the bound that training does not see; rows of weight zero that count."""

    def gradient(net: BayesianClassifier, x: Array, weights: Array) -> BayesianClassifier:
        labels = jnp.array([[0.0], [1.0], [1.0]])
        loss = bayesian_loss(num_rows=3)
        return jax.grad(lambda net: loss(net, x, labels, weights, KEY), allow_int=True)(net)

    x = jax.random.normal(KEY, (3, 5, 5, 1)).at[2].set(jnp.nan)
    gradients = jax.jit(gradient)(randomised(small), x, jnp.array([1.0, 1.0, 0.0]))
    leaves = jax.tree_util.tree_leaves_with_path(nnx.state(gradients, nnx.Param))
    for path, leaf in leaves:
        assert np.isfinite(leaf).all() and (leaf != 0).any(), jax.tree_util.keystr(path)


def test_training_lowers_the_bound_and_saves(tmp_path: Path):
    """Catches a model that fit refuses, and a bound whose two terms work against each other."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2)).astype(np.float32)
    labels = (x.sum(axis=1, keepdims=True) > 0).astype(int)
    rngs = nnx.Rngs(0)
    layers = [MNFLinear(a, b, hidden=(4,), rngs=rngs) for a, b in ((2, 8), (8, 2))]
    net, loss = BayesianClassifier(layers), bayesian_loss(num_rows=270)
    options = {"learning_rate": 1e-2, "batch_size": 90, "progress": False, "max_epochs": 40}
    result = fl.fit(net, x, condition=labels, loss=loss, key=0, monitor="train", **options)
    net = result.flow
    log_p = net.predict(x, 0, num_samples=10, batch_size=200)
    assert np.mean(np.argmax(log_p, axis=1) == labels[:, 0]) > 0.93
    np.testing.assert_allclose(np.exp(log_p).sum(axis=1), 1.0, rtol=1e-4)
    assert result.history["train"][-1] < 0.7 * result.history["train"][0]
    assert all(np.max(layer.std) < 0.5 for layer in net.layers)
    fl.save(tmp_path / "net.safetensors", net)
    again = fl.load(tmp_path / "net.safetensors").predict(x[:5], 0)
    np.testing.assert_array_equal(again, net.predict(x[:5], 0))
    assert "(2,) → (8,) → (2,)" in repr(net)


def test_the_bound_warms_up():
    """Catches a warm-up that starts at one, never ends, or weighs the likelihood too."""
    net = BayesianClassifier([MNFLinear(3, 2, hidden=(4,), rngs=nnx.Rngs(0))])
    batch = jnp.ones((2, 3)), jnp.array([[0.0], [1.0]]), None, jax.random.key(0)
    loss = bayesian_loss(num_rows=10, warm_up_steps=4)
    values = [loss(net, *batch, step=jnp.array(step)) for step in (0, 1, 3, 9)]
    whole = bayesian_loss(num_rows=10)(net, *batch)
    np.testing.assert_allclose(values[2:], whole, rtol=1e-6)
    quarter = (whole - values[0]) / 3
    assert quarter > 0.01
    np.testing.assert_allclose(values[1], values[0] + quarter, rtol=1e-5)


def test_labels_that_there_are_not():
    """Catches a class out of range, or no class at all, that counts as one of them."""
    net = BayesianClassifier([MNFLinear(3, 2, hidden=(4,), rngs=nnx.Rngs(0))])
    loss, x = bayesian_loss(num_rows=1), jnp.ones((2, 3))
    first = -net.predict(x, 0, num_samples=1)  # close to the mean network
    labelled = loss(net, x, jnp.array([[0.0], [-1.0]]))
    np.testing.assert_allclose(2 * labelled, first[0, 0], atol=0.3)
    assert np.isnan(loss(net, x, jnp.array([[0.0], [2.0]])))


def test_slices_of_predictions_share_one_program(compiled: list[str]):
    """Catches a program of its own for the last slice, and rows of it that are lost."""
    net = BayesianClassifier([MNFLinear(3, 2, hidden=(4,), rngs=nnx.Rngs(0))])
    x = np.linspace(-1, 1, 21).reshape(7, 3).astype(np.float32)
    log_p = net.predict(x, 0, num_samples=200, batch_size=3)
    assert len([name for name in compiled if "predict" in name]) == 1, compiled
    np.testing.assert_allclose(np.exp(log_p), np.exp(net.predict(x, 1, num_samples=200)), atol=0.05)


def test_mistakes_are_named():
    """Catches layers that do not fit, found only inside of a compiled step."""
    rngs = nnx.Rngs(0)
    linear = MNFLinear(3, 2, hidden=(4,), rngs=rngs)
    with pytest.raises(ValueError, match=r"layer 1 takes shape \(3,\); the one before gives \(2,"):
        BayesianClassifier([linear, linear])
    with pytest.raises(ValueError, match="multiples of size"):
        MaxPool((5, 4, 1))
    with pytest.raises(ValueError, match="family is 'maf'"):
        MNFLinear(3, 2, family="maf", rngs=rngs)
    with pytest.raises(ValueError, match="max_std"):
        MNFLinear(3, 2, max_std=0.0, rngs=rngs)
    with pytest.raises(TypeError, match="the model is a Flow"):
        bayesian_loss(num_rows=1)(linear.flow, jnp.zeros((1, 3)), jnp.zeros((1, 1)))
