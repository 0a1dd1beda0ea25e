"""Model files from strangers: each loads as it was saved, or is refused in words."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx
from helpers.mutations import mutations, peak_bytes

from flowjax_lite.bijectors import AbstractBijector, Invert, Tanh
from flowjax_lite.core.recipe import from_json, to_json
from flowjax_lite.distributions import Flow
from flowjax_lite.flows import realnvp
from flowjax_lite.io import model_file, serialization
from flowjax_lite.io.serialization import load, save

MIB = 2**20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a model may be saved."""
    return tmp_path / "model.safetensors"


def tiny() -> Flow:
    """A flow of 5 kB, of which most are numbers."""
    return realnvp(dim=2, num_layers=1, hidden=(32, 32), rngs=nnx.Rngs(0))


def same(first: Flow, second: Flow) -> bool:
    """Whether two flows have equal structures and bits."""
    if nnx.graphdef(first) != nnx.graphdef(second):
        return False
    leaves = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in leaves)


def num_wrong(path: Path, *, num: int) -> int:
    """How many damaged copies of a file load as another flow; all others raise a ValueError."""
    save(path, tiny())
    wrong = 0
    for content in mutations(path.read_bytes(), num=num, seed=0):
        path.write_bytes(content)
        try:
            wrong += not same(load(path), tiny())
        except ValueError as error:
            assert str(path) in str(error)
    return wrong


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04" + bytes(100), b"a: 1\n" * 30, bytes(64)])
def test_another_kind_of_file(path: Path, content: bytes):
    """Catches a strange error for a zip or text file."""
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"is not a whole .* another kind of file"):
        load(path)


def test_a_safetensors_file_of_another_program(path: Path):
    """Catches weights of some other model taken for a flow's."""
    for metadata in (None, {"format": "pt"}):
        path.write_bytes(safetensors.numpy.save({"a": np.zeros(2)}, metadata))
        with pytest.raises(ValueError, match="is a safetensors file, but not a flowjax_lite model"):
            load(path)


def test_a_file_cut_anywhere_is_refused(path: Path):
    """Catches a half-written or half-copied model that loads."""
    save(path, tiny())
    content = path.read_bytes()
    for size in {*range(0, len(content), 97), 7, 8, 9, len(content) - 1}:
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match="cut off or damaged"):
            load(path)


def test_appended_bytes_are_refused(path: Path):
    """Catches two files joined by accident."""
    save(path, tiny())
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ValueError, match="is not a whole"):
        load(path)


def test_a_header_that_claims_much_is_refused(path: Path):
    """Catches a small file that makes the reader allocate a terabyte."""
    header = {
        "__metadata__": {"format": "flowjax_lite", "format_version": "1"},
        "a": {"dtype": "F32", "shape": [2**38], "data_offsets": [0, 2**40]},
    }
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    with pytest.raises(ValueError, match="is not a whole"):
        load(path)


def test_a_newer_file_says_so(path: Path, monkeypatch: pytest.MonkeyPatch):
    """Catches a newer format reported as damage, or read as if it were the old one."""
    monkeypatch.setattr(model_file, "_FORMAT_VERSION", 3)
    save(path, tiny())
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"written by a newer flowjax_lite.*format 3.*upgrade"):
        load(path)


def test_damage_is_noticed_or_harmless(path: Path):
    """Catches a damaged file that loads as another flow, or raises an error without its name."""
    assert num_wrong(path, num=1000) == 0


def test_without_the_checksum_damage_loads_wrong(path: Path, monkeypatch: pytest.MonkeyPatch):
    """The twin: catches damage too gentle to matter."""

    class Agrees(str):
        def __ne__(self, other: object) -> bool:
            return False

    monkeypatch.setattr(model_file, "_checksum", lambda metadata, arrays: Agrees("0"))
    assert num_wrong(path, num=60) > 10


def raw(header: Mapping[str, Any] | bytes, body: bytes = b"") -> bytes:
    """The bytes of a safetensors file."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def entry(shape: list[int], start: int, stop: int, dtype: str = "F32") -> dict[str, Any]:
    """What a header says of one array."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


META = {"format": "flowjax_lite", "format_version": "1", "recipe": "null", "sha256": ""}
HOSTILE = {
    "nothing": b"",
    "a header beyond the end": (2**63).to_bytes(8, "little") + b"{}",
    "a long header": raw(b'{"__metadata__": {"a": "' + 9 * MIB * b"x" + b'"}}'),
    "deep nesting": raw(b'{"a": ' + 50_000 * b"[" + 50_000 * b"]" + b"}"),
    "no JSON": raw(b"{'a': 1}"),
    "no object": raw(b"[]"),
    "bytes that are no text": raw(b'{"__metadata__": {"format": "\xff"}}'),
    "half a character": raw(b'{"__metadata__": {"format": "\\ud800"}}'),
    "no numbers": raw(b'{"__metadata__": {"format": NaN}}'),
    "metadata of null": raw({"__metadata__": None}),
    "metadata of a list": raw({"__metadata__": [1]}),
    "metadata of numbers": raw({"__metadata__": {"format": 1}}),
    "a format twice": raw(b'{"__metadata__": {"format": "flowjax_lite", "format": "other"}}'),
    "an array twice": raw(
        b'{"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},'
        b' "a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}',
        b"1",
    ),
    "no checksum": raw({"__metadata__": {k: v for k, v in META.items() if k != "sha256"}}),
    "an endless version": raw({"__metadata__": META | {"format_version": 10_000 * "9"}}),
    "digits of another script": raw({"__metadata__": META | {"format_version": "²"}}),
    "arrays that overlap": raw({"a": entry([1], 0, 4), "b": entry([1], 0, 4)}, b"1234"),
    "an array out of range": raw({"a": entry([2], 0, 8)}, b"1234"),
    "a gap": raw({"a": entry([1], 4, 8)}, b"12345678"),
    "a shape that disagrees": raw({"a": entry([2], 0, 4)}, b"1234"),
    "a shape that overflows": raw({"a": entry([2**62, 4], 0, 0)}),
    "a negative shape": raw({"a": entry([-1, -1], 0, 4)}, b"1234"),
    "endless emptiness": raw({"__metadata__": META, "a": entry([0, 2**62, 2**62], 0, 0)}),
    "a hundred axes": raw({"__metadata__": META, "a": entry(100 * [1], 0, 4)}, b"1234"),
    "a foreign dtype": raw({"__metadata__": META, "a": entry([8], 0, 4, "F4")}, b"1234"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused(path: Path, name: str):
    """Catches a MemoryError, RecursionError or KeyError, and memory beyond twice the file."""
    content = HOSTILE[name]
    path.write_bytes(content)

    def refused() -> None:
        with pytest.raises(ValueError, match=r"model\.safetensors"):
            load(path)

    assert peak_bytes(refused) < 2 * len(content) + MIB


def test_reading_takes_at_most_twice_the_file(path: Path):
    """Catches copies of all arrays on the way, as for a checksum."""
    arrays = {name: np.ones(4 * MIB, np.uint8) for name in "ab"}
    model_file.write(path, model_file.Content("null", None, arrays))
    assert 1.9 < peak_bytes(lambda: model_file.read(path)) / path.stat().st_size < 2.1


def nested(depth: int) -> str:
    """A recipe of maps inside one another."""
    inner = '{"name": "Tanh", "arguments": {"dim": 2}}'
    start, end = '{"name": "Invert", "arguments": {"bijector": ', "}}"
    return depth * start + inner + depth * end


RECIPES = {
    "nothing": "",
    "no JSON": "{",
    "a number": "3",
    "a list": "[]",
    "not a number": '{"name": "maf", "arguments": {"dim": NaN}}',
    "an argument twice": '{"name": "maf", "arguments": {"dim": 2, "dim": 3}}',
    "a function of Python": '{"name": "os.system", "arguments": {"command": "true"}}',
    "a builtin": '{"name": "eval", "arguments": {"source": "1"}}',
    "a module": '{"name": "flowjax_lite", "arguments": {}}',
    "no name": '{"name": "", "arguments": {}}',
    "a terminal's escape": '{"name": "\\u001b[2J", "arguments": {}}',
    "an unknown argument": '{"name": "maf", "arguments": {"dim": 2, "shell": true}}',
    "a missing argument": '{"name": "maf", "arguments": {}}',
    "text for a number": '{"name": "maf", "arguments": {"dim": "2"}}',
    "a function by name": '{"name": "maf", "arguments": {"dim": 2, "activation": "os.system"}}',
    "no widths": '{"name": "maf", "arguments": {"dim": 2, "hidden": 3}}',
    "infinitely many": '{"name": "maf", "arguments": {"dim": {"float": "inf"}}}',
    "a map for a base": '{"name": "maf", "arguments": {"dim": 2, "base": '
    '{"name": "Tanh", "arguments": {"dim": 2}}}}',
    "a map, no flow": '{"name": "Tanh", "arguments": {"dim": 2}}',
    "a map in a map": nested(20),
    "deep nesting": nested(200),
    "deeper nesting": nested(100_000),
    "many layers": '{"name": "maf", "arguments": {"dim": 2, "num_layers": 1000000000}}',
    "a huge dimension": '{"name": "maf", "arguments": {"dim": 1000000000}}',
    "a number without end": '{"name": "maf", "arguments": {"dim": ' + 5000 * "9" + "}}",
    "a large dimension": '{"name": "maf", "arguments": {"dim": 100000}}',
    "masks of wide blocks": '{"name": "bnaf", "arguments": {"dim": 100000}}',
    "a huge array": '{"name": "Permutation", "arguments": {"indices": '
    '{"array": [10000000000], "dtype": "int32"}}}',
    "an array of no dtype": '{"name": "Permutation", "arguments": {"indices": '
    '{"array": [3], "dtype": "O"}}}',
    "an array of a long dtype": '{"name": "Permutation", "arguments": {"indices": '
    '{"array": [3], "dtype": "S1000000000"}}}',
    "an array of no shape": '{"name": "Permutation", "arguments": {"indices": '
    '{"array": [-3], "dtype": "int32"}}}',
    "a function outside": '{"name": "maf", "arguments": {"dim": 2, "activation": '
    '{"function": "os.system"}}}',
    "a maker of nothing": '{"name": "Repeat", "arguments": {"make_layer": {"maker": 3}, '
    '"num_layers": 2, "gradient": "store"}}',
    "a maker of itself": '{"name": "Repeat", "arguments": {"make_layer": {"maker": {"name": "maf", '
    '"arguments": {"dim": 2}}}, "num_layers": 2, "gradient": "store"}}',
    "an unknown kind": '{"name": "transformers.base.Affine", "arguments": {}}',
    "settings, no model": '{"name": "Solver", "arguments": {}}',
    "many reflections": '{"name": "QR", "arguments": {"dim": 60000, "num_reflections": 60000}}',
}


LONG_RECIPES = {
    "many widths": '{"name": "maf", "arguments": {"dim": 2, "hidden": [' + 400 * "1," + "1]}}",
    "many maps": '{"name": "Chain", "arguments": {"bijectors": ['
    + ",".join(400 * ['{"name": "Tanh", "arguments": {"dim": 2}}'])
    + "]}}",
    "many sigmoids": '{"name": "naf", "arguments": {"dim": 2, "num_sigmoid_layers": 60000}}',
}


@pytest.mark.parametrize("name", LONG_RECIPES)
def test_a_recipe_that_takes_long_is_refused_at_once(path: Path, name: str):
    """Catches a file of a kilobyte with hundreds of layers, which takes minutes to open."""
    model_file.write(
        path, model_file.Content(LONG_RECIPES[name], None, {"a": np.zeros(3, np.float32)})
    )
    start = time.process_time()
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        load(path)
    assert time.process_time() - start < 3.0


def test_layers_load_where_their_arrays_are(path: Path, monkeypatch: pytest.MonkeyPatch):
    """Catches a bound that refuses deep networks, whose arrays the file has."""
    monkeypatch.setattr(serialization, "_FREE_PARTS", 0)
    flow = realnvp(dim=2, num_layers=1, hidden=(2,) * 12, rngs=nnx.Rngs(0))
    save(path, flow)
    assert same(load(path), flow)


@pytest.mark.parametrize("name", RECIPES)
def test_a_hostile_recipe_is_refused(path: Path, name: str):
    """Catches a recipe that builds what it likes, runs what it names, or fills the memory."""
    model_file.write(path, model_file.Content(RECIPES[name], None, {"a": np.zeros(3, np.float32)}))

    def refused() -> None:
        with pytest.raises(ValueError, match=r"model\.safetensors"):
            load(path)

    assert peak_bytes(refused) < 4 * MIB + 6 * len(RECIPES[name])


def test_a_recipe_may_not_claim_more_than_the_file_holds(path: Path):
    """Catches a refusal without a way out, and one of flows that are as large as they say."""
    flow = realnvp(dim=2, num_layers=1, hidden=(2**17,), rngs=nnx.Rngs(0))
    assert flow.recipe is not None
    save(path, flow)
    assert same(load(path), flow)
    model_file.write(
        path, model_file.Content(to_json(flow.recipe), None, {"a": np.zeros(3, np.float32)})
    )
    with pytest.raises(ValueError, match=r"add up to 131\d+, .* of 3 numbers.*template=model"):
        load(path)


@pytest.mark.parametrize(("depth", "remembered"), [(31, True), (32, False)])
def test_only_recipes_that_load_are_remembered(depth: int, remembered: bool):
    """Catches a file that `save` writes and `load` then refuses."""
    bijector: AbstractBijector = Tanh(2)
    for _ in range(depth):
        bijector = Invert(bijector)
    assert (bijector.recipe is not None) == remembered
    if bijector.recipe is not None:
        assert from_json(to_json(bijector.recipe)) == bijector.recipe
