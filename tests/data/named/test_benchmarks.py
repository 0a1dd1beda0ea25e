from pathlib import Path

import numpy as np
import pytest

from flowjax_lite.data import bsds300, uci


@pytest.fixture
def patches(tmp_path: Path) -> dict[str, np.ndarray]:
    """Random patches, written as bsds300 stores them."""
    rng = np.random.default_rng(0)
    arrays = {
        name: rng.integers(256, size=(rows, 64), dtype=np.uint8)
        for name, rows in (("train", 200), ("val", 50), ("test", 60))
    }
    (tmp_path / "bsds300").mkdir()
    np.savez(tmp_path / "bsds300" / "patches_u8.npz", **arrays)
    return arrays


def test_bsds300_follows_the_protocol(tmp_path: Path, patches: dict[str, np.ndarray]) -> None:
    """Would catch the mean taken after the pixel was dropped, and swapped splits."""
    data = bsds300(tmp_path)
    for part, name in ((data.train, "train"), (data.validation, "val"), (data.test, "test")):
        # The noise is less than one level, so pixel and mean are each known to within 1/256.
        levels = patches[name] / 256
        expected = (levels - levels.mean(axis=1, keepdims=True))[:, :-1]
        assert part.x.shape == expected.shape
        assert part.x.dtype == np.float32
        assert np.abs(part.x - expected).max() < 1 / 256
    assert data.num_levels is None
    assert len(data.columns) == 63


def test_bsds300_noise_differs_between_splits_and_seeds(tmp_path: Path) -> None:
    """Would catch one noise pattern shared by all splits, and a seed that goes unused."""
    (tmp_path / "bsds300").mkdir()
    same = np.zeros((5, 64), np.uint8)
    np.savez(tmp_path / "bsds300" / "patches_u8.npz", train=same, val=same, test=same)
    data, again, other = bsds300(tmp_path), bsds300(tmp_path), bsds300(tmp_path, seed=1)
    np.testing.assert_array_equal(data.train.x, again.train.x)
    assert not np.array_equal(data.train.x, other.train.x)
    assert not np.array_equal(data.train.x, data.test.x)


def test_bsds300_of_another_shape(tmp_path: Path) -> None:
    """Would catch patches of another size."""
    (tmp_path / "bsds300").mkdir()
    np.savez(tmp_path / "bsds300" / "patches_u8.npz", train=np.zeros((5, 16), np.uint8), val=[1])
    with pytest.raises(ValueError, match=r"train has shape \(5, 16\); expected \(n, 64\)"):
        bsds300(tmp_path)


def write_uci(folder: Path, **changes: np.ndarray) -> None:
    """A set in which y is 3 i and x is y, y + 1, y + 2 in row i, with two splits."""
    (folder / "uci").mkdir()
    arrays = {
        "x": np.arange(120.0).reshape(40, 3),
        "y": np.arange(40.0) * 3,
        "train_0": np.arange(4, 40),
        "test_0": np.arange(4),
        "train_1": np.arange(36),
        "test_1": np.arange(36, 40),
    }
    np.savez(folder / "uci" / "tiny.npz", **(arrays | changes))


def test_uci_takes_the_published_split(tmp_path: Path) -> None:
    """Would catch test rows in training, and features of other rows than the target."""
    write_uci(tmp_path)
    data = uci(tmp_path, "tiny", split=1)
    np.testing.assert_array_equal(data.test.x[:, 0], [108, 111, 114, 117])
    held_in = np.concatenate([data.train.x, data.validation.x])[:, 0]
    np.testing.assert_array_equal(np.sort(held_in), np.arange(36) * 3)
    assert len(data.validation) == 4
    for part in (data.train, data.validation, data.test):
        np.testing.assert_array_equal(part.condition, part.x + [[0, 1, 2]])
    assert data.columns == ("y",)
    assert data.condition_columns == ("x0", "x1", "x2")


def test_uci_seed_chooses_validation_alone(tmp_path: Path) -> None:
    """Would catch a seed that moves the published test rows."""
    write_uci(tmp_path)
    first, other = uci(tmp_path, "tiny"), uci(tmp_path, "tiny", seed=1)
    assert set(first.validation.x[:, 0]) != set(other.validation.x[:, 0])
    np.testing.assert_array_equal(first.test.x, other.test.x)


def test_uci_errors(tmp_path: Path) -> None:
    """Would catch a mistyped set, a split that was not published, and rows that do not exist."""
    write_uci(tmp_path, train_1=np.array([0, 40]))
    with pytest.raises(FileNotFoundError, match=r"Did you mean tiny.npz\?"):
        uci(tmp_path, "tyny")
    with pytest.raises(ValueError, match=r"no array 'train_20'.*Choose.*train_0 \(36,\)"):
        uci(tmp_path, "tiny", split=20)
    with pytest.raises(ValueError, match="train_1 does not hold row numbers 0 to 39"):
        uci(tmp_path, "tiny", split=1)
