"""Model files of the version before: each named flow, its maps, and a flow joined by hand."""

import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from flowjax_lite import bijectors as b
from flowjax_lite.conditioners import MLP
from flowjax_lite.distributions import DiagonalNormal, Flow
from flowjax_lite.flows import NAMED
from flowjax_lite.io import load
from flowjax_lite.transformers import RationalQuadraticSpline

FOLDER = Path(__file__).parent / "saved_before"
# Its polynomials had other units, and their interval another name.
REFUSED = FOLDER / "sos.safetensors"
FILES = sorted(set(FOLDER.glob("*.safetensors")) - {REFUSED})
EXPECTED = np.load(FOLDER / "expected.npz")


def by_hand() -> Flow:
    """The flow that was joined by hand, with other numbers."""
    spline = RationalQuadraticSpline(3, 3.0)

    def make_layer(rngs: nnx.Rngs) -> b.AbstractBijector:
        network = MLP(1, out_shape=(spline.num_params, 2), hidden=(4,), rngs=rngs)
        return b.Chain([b.Coupling(spline, network), b.Permutation.random(3, rngs=rngs)])

    layers = b.Repeat(make_layer, 2, rngs=nnx.Rngs(1))
    return Flow(DiagonalNormal(3), b.Chain([layers, b.Affine(3)]))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_of_the_version_before_gives_the_same_densities(path: Path):
    """Catches a name, an argument or an array's place that changed, which orphans users' files."""
    expected = {
        name.rpartition("/")[2]: jnp.asarray(EXPECTED[name])
        for name in EXPECTED.files
        if name.startswith(f"{path.stem}/")
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flow = load(path, template=by_hand() if path.stem == "by_hand" else None)
    log_prob = jax.jit(Flow.log_prob)(flow, expected["x"], expected.get("condition"))
    np.testing.assert_allclose(log_prob, expected["log_prob"], rtol=1e-4, atol=1e-4)


def test_a_file_with_another_meaning_is_refused():
    """Catches a file that loads, and is another density."""
    with pytest.raises(ValueError, match=r"'bound'.* use the version of the library that wrote it"):
        load(REFUSED)


def test_every_named_flow_was_saved():
    """Catches a file that is lost, and a flow that lost its name."""
    others = {
        "by_hand",
        "glow_1d-initialised",
        "maf-data_map_and_condition_map",
        "realnvp-data_map",
    }
    named = {path.stem for path in (*FILES, REFUSED)} - others
    assert len(named) == 22 and named <= set(NAMED)
