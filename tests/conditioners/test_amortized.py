"""Parameters that are learned as they are, or made from a condition."""

from typing import Any

import jax.numpy as jnp
import pytest
from flax import nnx

from flowjax_lite.bijectors import Planar
from flowjax_lite.conditioners.amortized import AmortizedParams


@pytest.mark.parametrize(
    "settings", [{"hidden": (8,)}, {"activation": "tanh"}, {"compute_dtype": "bfloat16"}]
)
def test_settings_of_a_network_need_a_condition(settings: dict[str, Any]):
    """Catches settings of a network that there is none of, and the twin: one that refuses all."""
    (name,) = settings
    with pytest.raises(ValueError, match=f"{name} is .*no effect without condition_dim"):
        AmortizedParams(jnp.zeros(3), **settings)
    with pytest.raises(ValueError, match=f"{name} is .*no effect without condition_dim"):
        Planar(2, **settings, rngs=nnx.Rngs(0))
    Planar(2, condition_dim=1, **settings, rngs=nnx.Rngs(0))
    Planar(2, hidden=(64, 64), rngs=nnx.Rngs(0))
