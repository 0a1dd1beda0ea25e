"""Tables from strangers: each is read, or refused in words, in memory that its size allows."""

import gzip
import io
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.mutations import mutations, peak_bytes

from flowjax_lite.data import read_table, stream

MIB = 2**20
X = np.random.default_rng(0).normal(size=(20, 3))


def npy(header: str | bytes, body: bytes = b"", *, version: int = 1, length: int = -1) -> bytes:
    """The bytes of an npy file."""
    text = header if isinstance(header, bytes) else header.encode()
    size = len(text) if length < 0 else length
    return (
        b"\x93NUMPY"
        + struct.pack("<BBH" if version == 1 else "<BBI", version, 0, size)
        + (text + body)
    )


def described(shape: object, descr: object = "<f8") -> str:
    """The header of an npy file."""
    return f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}}}"


def saved(values: np.ndarray) -> bytes:
    """The npy file of an array."""
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def npz(content: bytes, *, name: str = "x.npy", packing: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An archive of one file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packing) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def idx(shape: tuple[int, ...], body: bytes, code: int = 0x08) -> bytes:
    """The bytes of an idx file."""
    return bytes([0, 0, code, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape) + body


def csv(values: np.ndarray) -> bytes:
    """A csv file with a header."""
    lines = ["a,b,c", *(",".join(map(str, row)) for row in values.tolist())]
    return "\n".join(lines).encode()


def parquet(values: np.ndarray) -> bytes:
    """A parquet file of one column for each of the array."""
    pa = pytest.importorskip("pyarrow")
    file = io.BytesIO()
    table = pa.table({f"x{i}": column for i, column in enumerate(values.T)})
    pytest.importorskip("pyarrow.parquet").write_table(table, file)
    return file.getvalue()


FILES: dict[str, Callable[[], bytes]] = {
    "a.npy": lambda: saved(X),
    "a.npz": lambda: npz(saved(X)),
    "a.csv": lambda: csv(X),
    "a.idx": lambda: idx((20, 3), X.tobytes(), 0x0E),
    "a.idx.gz": lambda: gzip.compress(idx((20, 3), X.tobytes(), 0x0E)),
    "a.parquet": lambda: parquet(X),
}


@pytest.mark.parametrize("name", FILES)
def test_damage_is_read_or_refused(tmp_path: Path, name: str) -> None:
    """Catches a crash, an error of another kind or without the file's name, and memory lost.

    Formats without a checksum cannot know a changed number; but what they give is a table.
    """
    path = tmp_path / name
    outcomes = {"read": 0, "refused": 0}

    def read() -> None:
        try:
            with warnings.catch_warnings(action="ignore"):  # of a header that Python 2 wrote
                table = read_table(path)
        except ValueError as error:
            assert str(path) in str(error)
            outcomes["refused"] += 1
        else:
            assert table.values.shape == (len(table.values), len(table.columns))
            outcomes["read"] += 1

    for content in mutations(FILES[name](), num=300, seed=0):
        path.write_bytes(content)
        assert peak_bytes(read) < MIB
    assert outcomes["refused"] > 60, outcomes


@pytest.mark.parametrize("name", ["a.npz", "a.idx.gz"])
def test_formats_with_a_checksum_read_nothing_else(tmp_path: Path, name: str) -> None:
    """Catches a checksum that is not looked at, such as that of an array read to its last byte."""
    path = tmp_path / name
    for content in mutations(FILES[name](), num=300, seed=1):
        path.write_bytes(content)
        try:
            values = read_table(path).values
        except ValueError:
            continue
        np.testing.assert_array_equal(values, X)


HOSTILE = {
    "rows without end": ("a.npy", npy(described((10**12, 3))), "is damaged or cut short"),
    "a product that overflows": ("a.npy", npy(described((2**32, 2**32, 2))), "is damaged or cut"),
    "negative rows": ("a.npy", npy(described((-1, -2)), bytes(16)), "is damaged or cut short"),
    "emptiness without end": ("a.npy", npy(described((0, 2**70))), "columns"),
    "rows of nothing": ("a.npy", npy(described((10**12,), "V0")), "values of type"),
    "text of nothing": ("a.npy", npy(described((10**12,), "<U0")), "values of type"),
    "objects": ("a.npy", npy(described((1,), "|O"), b"cos\nsystem\n"), "values of type object"),
    "fields": ("a.npy", npy(described((1,), [("a", "<f8")]), bytes(8)), "values of type"),
    "dates": ("a.npy", npy(described((1,), "<M8[s]"), bytes(8)), "values of type"),
    "complex numbers": ("a.npy", npy(described((1,), "<c16"), bytes(16)), "values of type"),
    "bytes left over": ("a.npy", npy(described((1,)), bytes(9)), "is damaged or cut short"),
    "columns without end": ("a.npy", npy(described((1, 2 * MIB), "|u1"), bytes(2 * MIB)), "colum"),
    "a header of 4 GB": ("a.npy", npy("{", version=2, length=2**32 - 1), "expected 429"),
    "a header beyond the end": ("a.npy", npy("{", length=9000), "no npy file"),
    "a later version": ("a.npy", npy(described((1,)), version=9), "no npy file"),
    "code": ("a.npy", npy("__import__('os').system('true')"), "no npy file"),
    "deep nesting": ("a.npy", npy(9000 * "("), "no npy file"),
    "signs without end": ("a.npy", npy(9000 * "-" + "1"), "no npy file"),
    "an odd type": ("a.npy", npy(described((1,), ())), "no npy file"),
    "a header that is no text": ("a.npy", npy(b"\xff\xfe", version=2), "no npy file"),
    "a bomb": ("a.npz", npz(saved(np.zeros(70 * MIB, np.uint8))), "unpack to 7340"),
    "a bomb of a header": ("a.npz", npz(npy(70 * MIB * b" ", version=2)), "unpack to"),
    "an entry that says more": ("a.npz", npz(npy(described((10**12,)))), "is damaged or cut"),
    "another packing": ("a.npz", npz(saved(X), packing=zipfile.ZIP_LZMA), "another way"),
    "pickled objects": ("a.npz", npz(saved(np.zeros(1))[:8] + b"\x80\x04."), "no npy"),
    "no arrays": ("a.npz", npz(b"x", name="../../x.txt"), "holds 0 arrays"),
    "a packed bomb": ("a.idx.gz", gzip.compress(idx((70 * MIB,), bytes(70 * MIB))), "unpack to"),
    "a packed excess": ("a.idx.gz", gzip.compress(idx((2,), bytes(70 * MIB))), " or more, but"),
    "a packed promise": ("a.idx.gz", gzip.compress(idx((2**32 - 1,) * 9, b"1")), "unpack to"),
    "a promise": ("a.idx", idx((2**32 - 1,) * 255, b"1"), "is damaged"),
    "empty axes": ("a.idx", idx((0,) + (2**32 - 1,) * 9, b""), "cannot be read"),
    "no end of line": ("a.csv", 17 * MIB * b"1", "a line of 16777216 characters"),
    "a field without end": ("a.csv", b'a,"' + MIB * b"1", "cannot be read.*field"),
    "columns of a header": ("a.csv", MIB * b"a," + b"a\n1", "has 1048577 columns"),
    "no text": ("a.csv", b"a,b\n\xff\xfe\n", "cannot be read.*utf-8"),
    "text of two bytes": ("a.csv", "a,b\n1,2\n".encode("utf-16"), "cannot be read.*utf-8"),
    "zero bytes": ("a.csv", b"a,b\n\0,1\n", r"holds '\\x00'"),
    "no parquet": ("a.parquet", b"PAR1" + 100 * b"\xff" + b"PAR1", "no parquet file"),
    "a footer of 4 GB": ("a.parquet", b"PAR1" + 4 * b"\xff" + b"PAR1", "no parquet file"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_refused(tmp_path: Path, case: str) -> None:
    """Catches memory taken because a header says so, an overflow, code that runs, other errors."""
    name, content, message = HOSTILE[case]
    (tmp_path / name).write_bytes(content)

    def refused() -> None:
        with pytest.raises(ValueError, match=rf"{name}: .*({message})"):
            read_table(tmp_path / name)

    lines = 12 * len(content) if name.endswith("csv") else 0  # a text becomes a list of cells
    assert peak_bytes(refused) < 2 * len(content) + lines + 4 * MIB


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.idx", "a.idx.gz"])
def test_reading_takes_at_most_twice_the_numbers(tmp_path: Path, name: str) -> None:
    """Catches copies on the way, and limits that stop an honest file of many zeros."""
    values = np.zeros((MIB, 8), np.uint8)
    content = {
        "a.npy": lambda: saved(values),
        "a.npz": lambda: npz(saved(values)),
        "a.idx": lambda: idx(values.shape, values.tobytes()),
        "a.idx.gz": lambda: gzip.compress(idx(values.shape, values.tobytes())),
    }[name]()
    (tmp_path / name).write_bytes(content)
    assert peak_bytes(lambda: read_table(tmp_path / name)) < 1.3 * values.nbytes


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_version_and_order_of_npy(
    tmp_path: Path, version: tuple[int, int], order: str
) -> None:
    """Catches a strict reader that refuses or transposes honest files."""
    path = tmp_path / "a.npy"
    with path.open("wb") as file:
        np.lib.format.write_array(file, np.array(X, order=order), version=version)
    np.testing.assert_array_equal(read_table(path).values, X)


def test_a_parquet_bomb(tmp_path: Path) -> None:
    """Catches a few bytes that say the same number millions of times."""
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"x": np.zeros(9 * MIB)}), path, row_group_size=9 * MIB)
    with pytest.raises(ValueError, match=r"a\.parquet: says that its .* unpack to 75497472"):
        read_table(path)
    with pytest.raises(ValueError, match=r"a\.parquet: says that its .* unpack to"):
        rows = stream(path)
        [rows.read(block) for block in range(len(rows.sizes))]
