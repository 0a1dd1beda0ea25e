import gzip
from pathlib import Path

import numpy as np
import pytest

from flowjax_lite.data import read_table


def idx_bytes(values: np.ndarray, code: int) -> bytes:
    """Write the idx format, after its own description."""
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return bytes([0, 0, code, values.ndim]) + sizes + values.tobytes()


IMAGES = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)


@pytest.mark.parametrize(
    "name", ["a.idx", "a.idx.gz", "train-images-idx3-ubyte", "train-images-idx3-ubyte.gz"]
)
def test_images_become_rows(tmp_path: Path, name: str) -> None:
    """Would catch transposed images, a lost shape, and names of files that go unrecognised."""
    raw = idx_bytes(IMAGES, 0x08)
    (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith("gz") else raw)
    table = read_table(tmp_path / name)
    assert table.image_shape == (2, 3)
    assert table.values.dtype == np.uint8
    np.testing.assert_array_equal(table.values, IMAGES.reshape(4, 6))


def test_labels_are_one_column(tmp_path: Path) -> None:
    """Would catch labels read as one row."""
    (tmp_path / "a.idx").write_bytes(idx_bytes(np.array([3, 1, 2], np.uint8), 0x08))
    table = read_table(tmp_path / "a.idx")
    assert table.image_shape is None
    np.testing.assert_array_equal(table.values, [[3], [1], [2]])


@pytest.mark.parametrize(
    ("code", "dtype"),
    [(0x09, "i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")],
)
def test_every_type_of_number(tmp_path: Path, code: int, dtype: str) -> None:
    """Would catch numbers read with their bytes in the wrong order."""
    values = np.array([[1, -2], [3, 100]], dtype)
    (tmp_path / "a.idx").write_bytes(idx_bytes(values, code))
    table = read_table(tmp_path / "a.idx")
    assert table.values.dtype.isnative
    np.testing.assert_array_equal(table.values, values)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (idx_bytes(IMAGES, 0x08)[:-1], r"is damaged or cut short: it holds 23 bytes.*need 24"),
        (
            idx_bytes(IMAGES, 0x08) + b"\0",
            r"is damaged or cut short: it holds 25 bytes.* or more.*need 24",
        ),
        (idx_bytes(IMAGES, 0x08)[:10], r"is not a whole idx file"),
        (b"\0\0", r"is not a whole idx file: it starts with the bytes 00 00;"),
        (b"PK\3\4", r"is not a whole idx file"),
        (idx_bytes(IMAGES[:0], 0x08), r"is empty: it holds no rows"),
    ],
)
def test_damaged_files(tmp_path: Path, raw: bytes, message: str) -> None:
    """Would catch a download cut short being read as fewer images."""
    (tmp_path / "a.idx").write_bytes(raw)
    with pytest.raises(ValueError, match=r"a\.idx: " + message):
        read_table(tmp_path / "a.idx")


@pytest.mark.parametrize("damage", [lambda raw: raw[:-9], lambda raw: b"no gzip at all"])
def test_damaged_gzip(tmp_path: Path, damage) -> None:
    """Would catch gzip's own error, which names no file."""
    (tmp_path / "a.idx.gz").write_bytes(damage(gzip.compress(idx_bytes(IMAGES, 0x08))))
    with pytest.raises(ValueError, match=r"a\.idx\.gz: cannot be read"):
        read_table(tmp_path / "a.idx.gz")
