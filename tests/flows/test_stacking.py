"""How the layers of named flows stand in their scan."""

import pytest
from flax import nnx

from flowjax_lite import bijectors as b
from flowjax_lite.flows import NAMED

AFFINE = ["realnvp", "nice", "glow_1d", "maf", "iaf"]


def layers_in_a_round(name: str, num_layers: int, **options: str) -> int:
    """How many layers of a small named flow one round of its scan runs."""
    flow = NAMED[name](dim=4, num_layers=num_layers, hidden=(8,), rngs=nnx.Rngs(0), **options)
    layers = flow.bijector[0] if isinstance(flow.bijector, b.Chain) else flow.bijector
    return layers.unroll


@pytest.mark.parametrize("name", AFFINE)
def test_few_affine_layers_stand_in_one_round(name: str):
    """Catches a step that takes a third longer, and a program that grows with any depth."""
    assert [layers_in_a_round(name, number) for number in (1, 5, 8, 9)] == [1, 5, 8, 1]


@pytest.mark.parametrize("gradient", ["recompute", "invert"])
def test_a_gradient_that_saves_memory_goes_round_by_round(gradient: str):
    """Catches memory that grows although an option promises that it does not."""
    assert layers_in_a_round("realnvp", 8, gradient=gradient) == 1


@pytest.mark.parametrize("name", ["nsf_coupling", "nsf_autoregressive", "bernstein"])
def test_other_layers_go_round_by_round(name: str):
    """Catches programs that take twice as long to compile for steps that are no faster."""
    assert layers_in_a_round(name, 8) == 1
