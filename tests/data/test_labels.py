"""Classes of rows as a condition: from files, archives and arrays."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flowjax_lite.data import load

CLASSES = np.random.default_rng(0).permutation(np.arange(60) % 3)
# Each image is as bright as its class says, so that a row tells its own.
IMAGES = (
    80 * CLASSES[:, None, None] + np.random.default_rng(1).integers(0, 60, (60, 4, 4))
).astype(np.uint8)


def idx(x: np.ndarray) -> bytes:
    """The bytes of an idx file."""
    return bytes([0, 0, 8, x.ndim]) + b"".join(n.to_bytes(4, "big") for n in x.shape) + x.tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One data set as idx files, and as an archive."""
    (tmp_path / "images.idx").write_bytes(idx(IMAGES))
    (tmp_path / "labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(CLASSES.astype(np.uint8))))
    np.savez(tmp_path / "all.npz", x=IMAGES, label=CLASSES.astype(np.int64))
    return tmp_path


@pytest.mark.parametrize("kind", ["files", "archive", "array"])
def test_each_row_has_its_own_class(folder: Path, kind: str) -> None:
    """Would catch classes of other rows, and a class that is lost in a part without it."""
    source, options = {
        "files": (folder / "images.idx", {"labels": folder / "labels-idx1-ubyte.gz"}),
        "archive": (folder / "all.npz", {"array": "x", "labels": "label"}),
        "array": (IMAGES, {"labels": CLASSES}),
    }[kind]
    data = load(source, **options)
    assert data.condition_columns == ("label=0", "label=1", "label=2")
    assert data.image_shape == (4, 4)
    for part in (data.train, data.validation, data.test):
        of_brightness = (256 * part.x.reshape(len(part), -1).mean(1) / 80).astype(int)
        np.testing.assert_array_equal(part.condition.argmax(1), of_brightness)
        np.testing.assert_array_equal(part.condition.sum(1), 1)
    assert load(source, **(options | {"labels": None})).train.condition is None


def test_digits() -> None:
    """Would catch digits of other images, also where these are there several times."""
    data, plain = load("digits", labels="target", noise_copies=2), load("digits", noise_copies=2)
    assert len(data.condition_columns) == 10
    np.testing.assert_array_equal(data.train.x, plain.train.x)
    np.testing.assert_array_equal(data.train.condition[:1300], data.train.condition[1300:])
    means = data.train.condition.T @ data.train.x
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    right = np.argmax(data.test.x @ means.T, 1) == data.test.condition.argmax(1)
    assert right.mean() > 0.8


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("digits", {"labels": "class"}, "labels is 'class'; expected one of 'target'"),
        ("moons", {"labels": CLASSES}, "labels is .* has no effect on moons"),
        (IMAGES, {"labels": CLASSES[:-1]}, "has 60 rows, and there are 59 labels"),
        (IMAGES, {"labels": CLASSES + 0.5}, "labels holds .* expected one whole number for each"),
        (IMAGES, {"labels": CLASSES.reshape(30, 2)}, r"holds values of shape \(30, 2\)"),
        (np.random.rand(2000, 2), {"labels": np.arange(2000)}, "2000 different ones; expected cla"),
        (np.random.rand(60, 2), {"labels": CLASSES, "condition_columns": ["x0"]}, "give one of"),
        ({"a": CLASSES / 7}, {"labels": CLASSES, "schema": "auto"}, "labels is .* has no effect"),
        ("all.npz", {"array": "x", "labels": "lable"}, "no array 'lable'. Did you mean label"),
        ("images.idx", {"labels": "classes.idx"}, "there is no such file"),
    ],
)
def test_what_labels_cannot_be(
    folder: Path, monkeypatch: pytest.MonkeyPatch, source: Any, options: dict, message: str
) -> None:
    """Would catch a condition that is no class, or of other rows, and a mistyped name."""
    monkeypatch.chdir(folder)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load(source, **options)
