"""A network before a flow's condition."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import flowjax_lite as fl

LENGTH = 6
DATA = np.random.default_rng(0).normal(size=(300, 3, LENGTH)).astype(np.float32)
OFFSET = 100.0


class Mean(nnx.Module):
    """Of each channel of a series; trainable weights, and shapes of higher rank."""

    def __init__(self) -> None:
        self.weights = nnx.Param(jnp.zeros(LENGTH))

    def __call__(self, x: jax.Array) -> jax.Array:
        """From (3, LENGTH) to (3,)."""
        return x @ (1 / LENGTH + self.weights[...])


def small() -> fl.Flow:
    """A flow with three summaries as its condition."""
    return fl.flows.maf(dim=1, condition_dim=3, num_layers=1, hidden=(8,), rngs=nnx.Rngs(1))


def series() -> fl.distributions.Embedded:
    """The flow with a network."""
    to_data = fl.bijectors.Shift((3, LENGTH))
    to_data.shift[...] = jnp.full((3, LENGTH), OFFSET)
    return fl.distributions.Embedded(
        small(), Mean(), condition_shape=(3, LENGTH), condition_map=to_data
    )


def test_condition_goes_through_map_and_network() -> None:
    """Would catch a network that sees raw conditions in their own units, or batches."""
    embedded, x = series(), DATA[:5, :1, 0]
    summary = DATA[:5].mean(axis=-1)
    np.testing.assert_allclose(
        embedded.log_prob(x, DATA[:5] + OFFSET), small().log_prob(x, summary), atol=1e-4
    )
    assert embedded.sample(0, 4, DATA[:5]).shape == (4, 5, 1)
    assert embedded.trajectory(x, DATA[:5]).shape[1:] == (5, 1)
    assert "network" in repr(embedded)


def test_network_is_trained_with_the_flow() -> None:
    """Would catch a network that training leaves as it was."""
    theta = DATA[:, :1, 0] + 0.0
    options = {"key": 0, "max_epochs": 20, "learning_rate": 1e-2, "progress": False}
    ensemble = fl.fit_ensemble([series()] * 2, theta, condition=DATA + OFFSET, **options)
    result = ensemble.members[0]
    assert jnp.abs(result.flow.network.weights[...]).max() > 0.05
    assert result.history["validation"][-1] < result.history["validation"][0] - 0.1
    assert ensemble.mixture.log_prob(theta, DATA + OFFSET).shape == (300,)


def test_another_network_is_saved_with_a_template(tmp_path: Path) -> None:
    """Would catch a network that is lost; one of the package needs no template."""
    flow = series()
    with pytest.warns(UserWarning, match="template"):
        fl.save(tmp_path / "flow.safetensors", flow)
    loaded = fl.load(tmp_path / "flow.safetensors", template=series())
    x = DATA[:5, :1, 0]
    np.testing.assert_array_equal(
        loaded.log_prob(x, DATA[:5] + OFFSET), flow.log_prob(x, DATA[:5] + OFFSET)
    )


def test_what_does_not_fit_together_is_named() -> None:
    """Would catch shapes that a step of training would stumble over."""
    embedded = fl.distributions.Embedded
    with pytest.raises(ValueError, match=r"network returns shape \(2,\)"):
        embedded(small(), lambda x: x[:2], condition_shape=4)
    with pytest.raises(ValueError, match="takes no condition"):
        embedded(fl.flows.maf(dim=1, rngs=nnx.Rngs(0)), lambda x: x, condition_shape=4)
    with pytest.raises(TypeError, match="Flow without a network"):
        embedded(series(), lambda x: x[:2], condition_shape=4)
    with pytest.raises(ValueError, match="condition_map has event shape"):
        embedded(small(), lambda x: x, condition_shape=3, condition_map=fl.bijectors.Identity(4))
    with pytest.raises(ValueError, match=r"condition has shape \(3,\)"):
        series().log_prob(jnp.zeros(1), jnp.zeros(3))
