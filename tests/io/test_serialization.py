"""Saving and loading: exact, whole or not at all, and never a wrong flow without a word."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from battery.registry import ON_REALS
from flax import nnx

from flowjax_lite.bijectors import (
    AbstractBijector,
    Buffer,
    Chain,
    Coupling,
    Permutation,
    Repeat,
    Sigmoid,
    Standardize,
)
from flowjax_lite.conditioners import MLP
from flowjax_lite.core.recipe import Recipe, Unrecorded
from flowjax_lite.distributions import Flow, StudentT
from flowjax_lite.flows import NAMED
from flowjax_lite.io import model_file
from flowjax_lite.io.serialization import load, save
from flowjax_lite.transformers import AbstractTransformer


class Stand(Flow):
    """A stand-in for a flow, with arrays of many kinds."""

    def __init__(self, dim: int, *, bound: float = 3.0, width: int = 2, rngs: nnx.Rngs) -> None:
        self.bound = bound
        self.layers = nnx.List([nnx.Linear(dim, width, rngs=rngs) for _ in range(2)])
        self.half = nnx.Param(jnp.array([1.0, jnp.nan, -0.0], jnp.bfloat16))
        self.order = Buffer(jax.random.permutation(rngs.params(), dim))
        self.mask = Buffer(jnp.array([True, False]))
        self.count = Buffer(jnp.array(7, jnp.uint8))
        self.empty = Buffer(jnp.zeros((2, 0)))


def stand(seed: int = 0, **settings: Any) -> Stand:
    """A small one."""
    return Stand(3, rngs=nnx.Rngs(seed), **settings)


def by_hand(seed: int = 0, **settings: Any) -> Stand:
    """The same, with a setting that no file can hold."""
    flow = stand(seed, **settings)
    setting = Unrecorded("the function <lambda>")
    flow.recipe = Recipe("Stand", (("bound", flow.bound), ("width", setting)))
    return flow


def save_for_template(path: Path, flow: nnx.Module, **options: Any) -> None:
    """Save what cannot be loaded without a template, which `save` says."""
    with pytest.warns(UserWarning, match=r"will need a template: .*load\(path, template=model\)"):
        save(path, flow, **options)


def assert_same(first: nnx.Module, second: nnx.Module) -> None:
    """Equal structure, dtypes and bits, NaN included."""
    assert jax.tree.structure(first) == jax.tree.structure(second)
    assert nnx.graphdef(first) == nnx.graphdef(second)
    for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        assert one.dtype == other.dtype and one.shape == other.shape
        assert one.weak_type == other.weak_type
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a model may be saved."""
    return tmp_path / "model.safetensors"


def test_round_trip_without_a_template_is_exact(path: Path):
    """Catches lost bits, dtypes, integer and empty arrays, NaN and the sign of zero."""
    flow = stand()
    save(path, flow)
    assert_same(load(path), flow)
    assert load(str(path)).recipe == flow.recipe


def test_round_trip_into_a_template_is_exact(path: Path):
    """Catches a template that is needed but ignored, or changed."""
    flow, template = by_hand(0), by_hand(1)
    save_for_template(path, flow)
    assert_same(load(path, template=template), flow)
    assert_same(template, by_hand(1))


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_a_cast_flow_keeps_its_dtype(path: Path, dtype: str, x64: None):
    """Catches a load that gives the dtype which the constructor would, or cuts to 32 bits."""
    flow = jax.tree.map(lambda leaf: leaf.astype(dtype) + 1e-3, stand())
    save(path, flow)
    assert_same(load(path), flow)


def test_no_initialiser_runs(path: Path, monkeypatch: pytest.MonkeyPatch):
    """Catches a load that fills every array with random numbers first."""
    save(path, stand())

    def concrete(key: jax.Array, *args: Any, **kwargs: Any) -> Any:
        assert isinstance(key, jax.core.Tracer)
        return jnp.arange(3)

    monkeypatch.setattr(jax.random, "permutation", concrete)
    load(path)


def test_names_in_the_file_are_places_in_the_flow(path: Path):
    """Catches a change of names, which would orphan every saved file."""
    save(path, stand())
    assert sorted(safetensors.safe_open(path, "np").keys()) == [
        "count",
        "empty",
        "half",
        "layers/0/bias",
        "layers/0/kernel",
        "layers/1/bias",
        "layers/1/kernel",
        "mask",
        "order",
    ]


def test_an_existing_file_is_kept_unless_told(path: Path):
    """Catches the model of yesterday overwritten by a slip."""
    save(path, stand(0))
    with pytest.raises(FileExistsError, match=r"exists; .*overwrite=True"):
        save(path, stand(1))
    assert_same(load(path), stand(0))
    save(path, stand(1), overwrite=True)
    assert_same(load(path), stand(1))


def test_a_failed_save_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch):
    """Catches half a file, or a left-over one, when the disk is full."""
    save(path, stand(0))

    def full_disk(descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="no space"):
        save(path, stand(1), overwrite=True)
    assert os.listdir(path.parent) == [path.name]
    assert_same(load(path), stand(0))


def test_a_missing_directory_is_named(tmp_path: Path):
    """Catches a bare error about a temporary file."""
    with pytest.raises(FileNotFoundError, match=r"the directory .*runs does not exist"):
        save(tmp_path / "runs" / "model", stand())


def test_random_keys_cannot_be_saved(path: Path):
    """Catches random state that ends up in a model file, or a crash deep inside."""
    flow = by_hand()
    flow.rngs = nnx.Rngs(0)
    with pytest.raises(TypeError, match=r"rngs/.* has dtype key.*random keys"):
        save(path, flow)
    assert not path.exists()


def test_a_flow_changed_by_hand_is_saved_without_its_recipe(path: Path):
    """Catches a recipe that rebuilds another flow than the one saved."""
    for change in ("bound", "half"):
        flow = stand()
        setattr(flow, change, 5.0 if change == "bound" else nnx.Param(jnp.zeros(4)))
        with pytest.warns(UserWarning, match="changed after it was built"):
            save(path, flow, overwrite=True)
        with pytest.raises(ValueError, match="without a recipe"):
            load(path)
        assert_same(load(path, template=flow), flow)


def test_no_such_file(path: Path):
    """Catches an error that does not name the path."""
    with pytest.raises(FileNotFoundError, match=r"no model file .*model\.safetensors"):
        load(path)
    with pytest.raises(FileNotFoundError, match="is a directory"):
        load(path.parent)


def test_every_flipped_bit_is_noticed(path: Path):
    """Catches a damaged header or array that loads with a wrong value."""
    save(path, stand())
    content = path.read_bytes()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="model"):
            load(path)


def test_a_flow_that_no_recipe_describes_needs_a_template(path: Path):
    """Catches a flow that fails to load without a word on why, and on how."""
    save_for_template(path, by_hand())
    with pytest.raises(ValueError, match=r"width is the function .*load\(path, template=model\)"):
        load(path)


def test_an_unknown_recipe_name_is_explained(path: Path, monkeypatch: pytest.MonkeyPatch):
    """Catches a bare KeyError when the module that defines the flow is not imported."""
    save(path, stand())
    monkeypatch.setattr("flowjax_lite.core.recipe._CONSTRUCTORS", {})
    with pytest.raises(ValueError, match=r"no constructor is called 'Stand'.*import the module"):
        load(path)


def test_a_template_of_another_shape_is_refused(path: Path):
    """Catches arrays put into the wrong network; the first one that differs is named."""
    save_for_template(path, by_hand())
    with pytest.raises(
        ValueError,
        match=r"array 'layers/0/bias' is float32\[2\] in the file; the template expects "
        r"float32\[4\]",
    ):
        load(path, template=by_hand(width=4))


def test_a_template_of_another_dtype_is_refused(path: Path):
    """Catches a silent cast."""
    save_for_template(path, by_hand())
    template = by_hand()
    template.half = nnx.Param(jnp.zeros(3, jnp.float16))
    with pytest.raises(ValueError, match=r"'half' is bfloat16\[3\].*expects float16\[3\]"):
        load(path, template=template)


def test_a_template_of_another_structure_is_refused(path: Path):
    """Catches arrays that are left over, or missing."""
    save_for_template(path, by_hand())
    more, less = by_hand(), by_hand()
    more.zeta = nnx.Param(jnp.zeros(1))
    del less.count
    with pytest.raises(ValueError, match=r"'zeta' is missing in the file; .* float32\[1\]"):
        load(path, template=more)
    with pytest.raises(ValueError, match=r"'count' is uint8\[\] in the file; .*expects missing"):
        load(path, template=less)


def test_a_template_built_with_other_settings_is_refused(path: Path):
    """Catches settings that are in no array, such as a spline's bound."""
    save(path, stand(bound=3.0))
    with pytest.raises(ValueError, match=r"holds Stand\(.*bound=3.0.*the template is .*bound=5.0"):
        load(path, template=stand(bound=5.0))


def test_float64_needs_x64(path: Path):
    """Catches a float64 model that comes back in float32."""
    with jax.enable_x64(True):
        save(path, jax.tree.map(lambda leaf: leaf.astype(jnp.float64), stand()))
    with pytest.raises(ValueError, match=r"float64.*jax.config.update\('jax_enable_x64', True\)"):
        load(path)


def randomised(flow: Flow) -> Flow:
    """The flow with every float moved, as training would move it."""
    rng = np.random.default_rng(0)

    def move(leaf: jax.Array) -> jax.Array:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf
        return leaf + jnp.asarray(0.1 * rng.normal(size=leaf.shape), leaf.dtype)

    return jax.tree.map(move, flow)


def everything() -> dict[str, Any]:
    """Settings that put a recipe or a buffer wherever a named flow takes one."""
    return {
        "condition_dim": 2,
        "base": StudentT(3, df=4.0),
        "data_map": Chain([Standardize.from_data(np.arange(12.0).reshape(4, 3)), Sigmoid(3)]),
        "condition_map": Standardize(2),
    }


@pytest.mark.parametrize(
    ("name", "settings"), [("maf", dict), *((name, everything) for name in ON_REALS)]
)
def test_every_named_flow_loads_without_a_template(
    path: Path, name: str, settings: Callable[[], dict[str, Any]]
):
    """Catches a named flow, base or data map whose file cannot rebuild it exactly."""
    make = NAMED[name]
    flow = randomised(make(dim=3, num_layers=2, hidden=(4, 4), **settings(), rngs=nnx.Rngs(0)))
    save(path, flow)
    assert_same(load(path), flow)


@dataclass(frozen=True)
class Cubic(AbstractTransformer):
    """A user's transformer: y = x + strength · x³, without parameters."""

    strength: float

    @property
    def num_params(self) -> int:
        """None are needed, but for one that is not used."""
        return 1

    def forward_and_log_det(self, params: Any, x: Any) -> Any:
        """The cubic."""
        return x + self.strength * x**3, jnp.log1p(3 * self.strength * x**2)

    def inverse_and_log_det(self, params: Any, y: Any) -> Any:
        """Not used here."""
        raise NotImplementedError


class Turn(AbstractBijector):
    """A user's bijector, of an array and of a function."""

    def __init__(self, angle: jax.Array | float, *, bend: Any = jnp.tanh) -> None:
        self.event_shape, self.condition_shape = (2,), None
        self.angle, self.bend = nnx.Param(jnp.asarray(angle, float)), bend

    def forward_and_log_det(self, x: Any, condition: Any = None, key: Any = None) -> Any:
        """Not used here."""
        raise NotImplementedError

    def inverse_and_log_det(self, y: Any, condition: Any = None, key: Any = None) -> Any:
        """Not used here."""
        raise NotImplementedError


def joined(seed: int = 0, *, activation: Any = jax.nn.selu, bend: Any = jnp.tanh) -> Flow:
    """A flow joined by hand, of public parts and of a user's own."""
    transformer = Cubic(0.5)

    def make_layer(rngs: nnx.Rngs) -> Chain:
        network = MLP(1, out_shape=(1, 1), hidden=(3,), activation=activation, rngs=rngs)
        return Chain([Coupling(transformer, network), Permutation.random(2, rngs=rngs)])

    layers = Repeat(make_layer, 2, rngs=nnx.Rngs(seed))
    x = np.random.default_rng(seed).normal(size=(5, 2))
    return Flow(StudentT(2), Chain([layers, Turn(0.1 + seed, bend=bend), Standardize.from_data(x)]))


def test_a_flow_joined_by_hand_loads_without_a_template(path: Path):
    """Catches a part, public or a user's own, that a file cannot rebuild."""
    flow = joined()
    save(path, flow)
    assert_same(load(path), flow)
    assert nnx.graphdef(joined(1)) == nnx.graphdef(flow)  # nothing compiles anew for other numbers


@pytest.mark.parametrize("place", ["activation", "bend"])
def test_a_lambda_needs_a_template_and_save_says_so(path: Path, place: str):
    """Catches a file that cannot be loaded, saved without a word; or one that ends there."""

    def fresh(x: jax.Array) -> jax.Array:
        return x

    flow = joined(**{place: fresh})
    with pytest.warns(UserWarning, match=rf"{place} is the function .*fresh, which no file can"):
        save(path, flow)
    with pytest.raises(ValueError, match=rf"{place} is the function .*template=model"):
        load(path)
    assert_same(load(path, template=joined(1, **{place: fresh})), flow)


def test_a_template_of_other_settings_is_told(path: Path, monkeypatch: pytest.MonkeyPatch):
    """Catches another density without a word, where a recipe does not tell an activation."""
    with pytest.warns(UserWarning, match="activation is the function"):
        save(path, joined(activation=lambda x: jnp.tanh(x)))
    load(path, template=joined(activation=lambda x: jnp.tanh(x)))  # the same, so not a word
    template = joined(activation=lambda x: jnp.sin(x))
    with pytest.warns(UserWarning, match="of other settings than the template's") as told:
        load(path, template=template)
    assert told[0].filename == __file__
    monkeypatch.setattr(model_file, "library_version", lambda: "0.0.1")
    load(path, template=template)  # a module of another version may have other settings


@pytest.mark.parametrize(
    "model",
    [Standardize(2), StudentT(3), joined().bijector],
    ids=lambda model: type(model).__name__,
)
def test_parts_are_saved_alone(path: Path, model: nnx.Module):
    """Catches a file format for flows alone."""
    save(path, model)
    assert_same(load(path), model)


def test_what_is_no_model_is_refused(path: Path):
    """Catches a module of another library, which no file can rebuild."""
    with pytest.raises(TypeError, match="model is a Linear; expected a flow"):
        save(path, nnx.Linear(2, 2, rngs=nnx.Rngs(0)))
