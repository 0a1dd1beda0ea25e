import sys
from pathlib import Path

import numpy as np
import pytest

from flowjax_lite.data import read_table

X = np.array([[1.0, 2.0], [3.0, 5.0]])


def test_npy_and_npz_keep_values_and_types(tmp_path: Path) -> None:
    """Would catch a cast to float that hides whole numbers from the checks."""
    np.save(tmp_path / "a.npy", X.astype(np.int16))
    np.savez(tmp_path / "a.npz", only=X)
    np.savez_compressed(tmp_path / "b.npz", first=X, second=X[:, 0])
    assert read_table(tmp_path / "a.npy").values.dtype == np.int16
    np.testing.assert_array_equal(read_table(tmp_path / "a.npz").values, X)
    np.testing.assert_array_equal(read_table(tmp_path / "b.npz", array="second").values, X[:, :1])
    table = read_table(str(tmp_path / "a.npy"), columns=["x1"])
    assert table.columns == ("x1",)
    np.testing.assert_array_equal(table.values, X[:, 1:])


def test_an_npz_of_several_arrays_asks_which(tmp_path: Path) -> None:
    """Would catch the first array being taken unasked."""
    np.savez(tmp_path / "a.npz", train=X, test=X[:1])
    with pytest.raises(ValueError, match=r"holds 2 arrays.*array=NAME.*train \(2, 2\), test \(1"):
        read_table(tmp_path / "a.npz")
    with pytest.raises(ValueError, match=r"no array 'tran'. Did you mean train\?"):
        read_table(tmp_path / "a.npz", array="tran")
    np.save(tmp_path / "a.npy", X)
    with pytest.raises(ValueError, match=r"array='x' is for \.npz files alone"):
        read_table(tmp_path / "a.npy", array="x")


def test_parquet(tmp_path: Path) -> None:
    """Would catch lost names, text that stops wanted columns, and nulls that become numbers."""
    pa = pytest.importorskip("pyarrow")
    columns = {"a": [1.5, 2.5], "n": [1, None], "label": ["u", "v"], "flag": [True, None]}
    pytest.importorskip("pyarrow.parquet").write_table(pa.table(columns), tmp_path / "a.parquet")
    table = read_table(tmp_path / "a.parquet", columns=["n", "a"])
    assert table.columns == ("n", "a")
    np.testing.assert_array_equal(table.values, [[1, 1.5], [np.nan, 2.5]])
    with pytest.raises(ValueError, match=r"column 'label' is of type string; expected numbers"):
        read_table(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"column 'flag' is of type bool; expected numbers"):
        read_table(tmp_path / "a.parquet", columns=["a", "flag"])
    with pytest.raises(ValueError, match=r"no column 'lable'. Did you mean label\?"):
        read_table(tmp_path / "a.parquet", columns=["lable"])


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Would catch an import error that does not say what to install."""
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ImportError, match=r"flowjax-lite\[data\]"):
        read_table(tmp_path / "a.parquet")


def test_paths_that_are_not_files(tmp_path: Path) -> None:
    """Would catch errors that do not say what is near, or what else to do."""
    np.save(tmp_path / "train.npy", X)
    with pytest.raises(FileNotFoundError, match=r"no such file. Did you mean train.npy\?"):
        read_table(tmp_path / "trian.npy")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        read_table(tmp_path / "none" / "train.npy")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        read_table(tmp_path)


@pytest.mark.parametrize("name", ["a.xlsx", "a", "a.csv.gz", "idx.txt"])
def test_formats_that_are_not_supported(tmp_path: Path, name: str) -> None:
    """Would catch a guess at a format."""
    (tmp_path / name).write_text("1,2\n")
    with pytest.raises(ValueError, match=r"not supported.*\.npy, \.npz, \.csv, \.parquet, \.idx"):
        read_table(tmp_path / name)


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.csv", "a.parquet", "a.idx", "a.idx.gz"])
def test_empty_files(tmp_path: Path, name: str) -> None:
    """Would catch a parser's own error on no bytes at all."""
    (tmp_path / name).touch()
    with pytest.raises(ValueError, match=rf"{name}: is empty \(0 bytes\)"):
        read_table(tmp_path / name)


@pytest.mark.parametrize("keep", [4, 40, 100, -8])
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".parquet"])
def test_files_cut_short(tmp_path: Path, suffix: str, keep: int) -> None:
    """Would catch part of a file being taken for the whole, and errors without its name."""
    path = tmp_path / f"a{suffix}"
    if suffix == ".npy":
        np.save(path, X)
    elif suffix == ".npz":
        np.savez(path, x=X)
    else:
        pa = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(pa.table({"a": X[:, 0]}), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=rf"a\{suffix}: .*(cut short|damaged)"):
        read_table(path)


def test_a_flipped_byte_in_an_npz(tmp_path: Path) -> None:
    """Would catch damage inside the data, which the checksum of the archive knows."""
    path = tmp_path / "a.npz"
    np.savez(path, x=X)
    raw = bytearray(path.read_bytes())
    raw[raw.find(X.tobytes())] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=r"a.npz: cannot be read.*CRC"):
        read_table(path)


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    """Would catch a file that runs code when it is read."""
    np.save(tmp_path / "a.npy", np.array([{}], object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", x=np.array([{}], object))
    for name in ("a.npy", "a.npz"):
        with pytest.raises(ValueError, match=f"{name}: holds values of type object"):
            read_table(tmp_path / name)


def test_no_rows(tmp_path: Path) -> None:
    """Would catch a header without data."""
    np.save(tmp_path / "a.npy", X[:0])
    with pytest.raises(ValueError, match="is empty: it holds no rows"):
        read_table(tmp_path / "a.npy")
