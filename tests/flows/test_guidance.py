"""Guided flows: of layers in stacks, invertible, compiled once, and what samples become."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from battery.measure import randomised
from flax import nnx

import flowjax_lite as fl
from flowjax_lite.bijectors import Standardize
from flowjax_lite.conditioners import MLP
from flowjax_lite.flows import guided

CONDITION = jnp.array([1.0, 0.0])


def tarflow(condition_dim: int | None = 2, num_layers: int = 2) -> fl.Flow:
    """A small one with random weights."""
    sizes = {"patch_size": 2, "width": 4, "num_attentions": 1, "num_heads": 2, "logit": None}
    options = {"image_shape": (4, 4, 1), "condition_dim": condition_dim, "num_layers": num_layers}
    return randomised(fl.flows.tarflow(**sizes, **options, rngs=nnx.Rngs(0)))


def test_each_layer_of_a_stack_is_guided_by_its_own_network():
    """Catches layers that share a network or a weight: the twin guides the last one alone."""
    flow = tarflow(num_layers=3)
    patched = flow.bijector.bijectors[0]
    stack = patched.bijector
    tokens = jax.random.normal(jax.random.key(0), stack.event_shape)

    @functools.partial(jax.jit, static_argnums=1)
    def by_hand(x: jax.Array, guide: tuple[int, ...]) -> jax.Array:
        for i in range(3):
            layer, reverse = stack[i].bijectors
            if i in guide:
                layer.conditioner = fl.conditioners.Guided(layer.conditioner, 1.5)
            x = reverse.forward(layer.forward(x, CONDITION))
        return x

    got = jax.jit(guided(flow, 1.5).bijector.bijectors[0].bijector.forward)(tokens, CONDITION)
    np.testing.assert_allclose(got, by_hand(tokens, (0, 1, 2)), rtol=1e-4, atol=1e-4)
    assert np.max(np.abs(got - by_hand(tokens, (2,)))) > 0.01


@pytest.mark.parametrize("kind", ["maf", "iaf", "tarflow"])
def test_a_guided_flow_is_a_flow(kind: str):
    """Catches a density that is not that of the samples, and parameters that are changed."""
    flow = tarflow()
    if kind != "tarflow":
        options = {"dim": 4, "condition_dim": 2, "num_layers": 2, "hidden": (8,)}
        flow = randomised(fl.flows.NAMED[kind](**options, rngs=nnx.Rngs(0)))
    other = guided(flow, 1.5)
    x, log_p = other.sample_and_log_prob(0, 3, CONDITION)
    np.testing.assert_allclose(other.log_prob(x, CONDITION), log_p, rtol=1e-4, atol=1e-3)
    assert np.all(np.abs(flow.log_prob(x, CONDITION) - log_p) > 1e-2)
    same = guided(flow, 0.0).log_prob(x, CONDITION)
    np.testing.assert_allclose(same, flow.log_prob(x, CONDITION), rtol=1e-5)
    without = jnp.zeros(2)
    np.testing.assert_allclose(
        other.log_prob(x, without), flow.log_prob(x, without), rtol=1e-5, atol=1e-4
    )


def test_another_weight_compiles_nothing(compiled: list[str]):
    """Catches a weight that is static, such as in the structure or the recipe of the flow."""
    flow = tarflow()
    guided(flow, 0.5).sample(0, 2, CONDITION)
    compiled.clear()
    images = [guided(flow, weight).sample(0, 2, CONDITION) for weight in (1.0, 2.0)]
    assert not compiled and np.any(images[0] != images[1])


def test_whole_levels_and_files(tmp_path):
    """Catches a `Dequantized` whose flow stays as it is, and a file without the weight."""
    model = guided(fl.distributions.Dequantized(tarflow()), 1.5)
    assert model.sample(0, 2, CONDITION).dtype == np.uint8
    path = tmp_path / "guided.safetensors"
    fl.save(path, model)
    x = jnp.full((4, 4, 1), 100.5)
    loaded = fl.load(path)
    assert loaded.flow.log_prob(x, CONDITION) == model.flow.log_prob(x, CONDITION)
    assert jax.tree.structure(loaded) == jax.tree.structure(model)


def test_samples_go_further_than_their_label_asks():
    """Catches guidance that leads to the middle of all labels, and entries in another order.

    Labels lie at ±1; the layer makes the last entry first, by the condition alone.
    """
    labels = np.eye(2, dtype=np.float32)[np.arange(400) % 2]
    rng = np.random.default_rng(0)
    x = (2 * labels[:, :1] - 1 + 0.5 * rng.normal(size=(400, 3))).astype(np.float32)
    flow = fl.flows.maf(dim=3, condition_dim=2, num_layers=1, hidden=(16,), rngs=nnx.Rngs(0))
    loss = fl.losses.condition_dropout(fl.negative_log_likelihood, rate=0.2)
    settings = {"max_epochs": 60, "learning_rate": 0.01, "batch_size": 100, "patience": None}
    flow = fl.fit(flow, x, condition=labels, loss=loss, key=0, progress=False, **settings).flow
    for sign, label in ((-1, labels[1]), (1, labels[0])):
        samples = flow.sample(0, 300, label)
        further = guided(flow, 2.0).sample(0, 300, label)
        assert abs(float(samples[:, 0].mean()) - sign) < 0.3
        assert sign * (further - samples)[:, 0].mean() > 0.1
        np.testing.assert_allclose(further[:, 2], samples[:, 2], rtol=1e-4, atol=1e-4)


def test_mistakes_are_named():
    """Catches a flow that comes back as it was."""
    with pytest.raises(ValueError, match=r"takes no condition.*build it with condition_dim"):
        guided(tarflow(None), 1.0)
    with pytest.raises(ValueError, match="guided already"):
        guided(guided(tarflow(), 1.0), 2.0)
    options = {"dim": 2, "condition_dim": 2, "num_layers": 1, "hidden": (4,), "rngs": nnx.Rngs(0)}
    with pytest.raises(ValueError, match=r"no network of an autoregressive.*expected one such as"):
        guided(fl.flows.realnvp(**options), 1.0)
    mapped = fl.flows.maf(**options, condition_map=Standardize(2, loc=1.0))
    with pytest.raises(ValueError, match=r"condition_map.*build it without"):
        guided(mapped, 1.0)
    summary = MLP(3, out_shape=(2,), hidden=(4,), rngs=nnx.Rngs(0))
    embedded = fl.distributions.Embedded(fl.flows.maf(**options), summary, condition_shape=3)
    with pytest.raises(TypeError, match="model is a Embedded"):
        guided(embedded, 1.0)
