from pathlib import Path

import numpy as np
import pytest

from flowjax_lite.cli.commands import ask


@pytest.mark.parametrize("suffix", ask.TABLES)
def test_written_tables_are_read_back(tmp_path: Path, suffix: str) -> None:
    """Would catch digits lost on the way to csv, and names that break its header."""
    values = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    names = ("x0", "x1") if suffix == ".npy" else ("length (cm)", "a, b")
    path = tmp_path / "new" / f"table{suffix}"
    ask._write(path, values, columns=names)
    np.testing.assert_array_equal(ask._read(path, names, None), values)


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    """Would catch columns taken by position, so that a flow sees the wrong ones."""
    path = tmp_path / "t.csv"
    path.write_text("b,z,a\n1.5,9,2.5\n")
    assert ask._read(path, ("a", "b"), None).tolist() == [[2.5, 1.5]]
    with pytest.raises(ValueError, match="no column 'c'"):
        ask._read(path, ("a", "c"), None)


def test_bad_cells_are_named(tmp_path: Path) -> None:
    """Would catch NaN likelihoods without a hint at the row that caused them."""
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1.0,2.0\n3.0,nan\n")
    with pytest.raises(ValueError, match=r"\(nan\) in row 1 \(counted from 0\), column 'b'"):
        ask._read(path, ("a", "b"), None)
    path.write_text("a,b\n1e39,2.0\n3.0,4.0\n")
    with pytest.raises(ValueError, match=r"row 0 .*column 'a'.*float32"):
        ask._read(path, ("a", "b"), None)


def test_unsupported_endings(tmp_path: Path) -> None:
    """Would catch an unknown ending noticed only after the work is done."""
    with pytest.raises(ValueError, match=r"ends in '.txt': give a name in .npy or .csv"):
        ask._check_out(tmp_path / "x.txt", ask.TABLES, overwrite=False)
