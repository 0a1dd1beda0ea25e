from pathlib import Path

import numpy as np
import pytest

from flowjax_lite.cli.errors import CommandError
from flowjax_lite.cli.report import rows


@pytest.mark.parametrize("suffix", rows.SUFFIXES)
def test_written_tables_are_read_back(tmp_path: Path, suffix: str) -> None:
    """Would catch digits lost on the way to csv, and names that break its header."""
    values = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    names = ("x0", "x1") if suffix == ".npy" else ("length (cm)", "a, b")
    path = tmp_path / "new" / f"table{suffix}"
    rows.write(path, values, columns=names)
    table = rows.read(path, columns=names)
    assert table.columns == names
    np.testing.assert_array_equal(table.values.astype(np.float32), values)


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    """Would catch columns taken by position, so that a flow sees the wrong ones."""
    path = tmp_path / "t.csv"
    path.write_text("b,z,a\n1.5,9,2.5\n")
    assert rows.read(path, columns=("a", "b")).values.tolist() == [[2.5, 1.5]]
    with pytest.raises(ValueError, match="no column 'c'"):
        rows.read(path, columns=("a", "c"))


def test_bad_cells_are_named(tmp_path: Path) -> None:
    """Would catch NaN likelihoods without a hint at the row that caused them."""
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1.0,2.0\n3.0,nan\n")
    with pytest.raises(CommandError, match=r"row 1 \(counted from 0\), column 'b' holds nan"):
        rows.read(path, columns=("a", "b"))
    path.write_text("a,b\n1e39,2.0\n3.0,4.0\n")
    with pytest.raises(CommandError, match=r"row 0 .*column 'a' holds 1e\+39.*float32"):
        rows.read(path, columns=("a", "b"))


def test_unsupported_endings(tmp_path: Path) -> None:
    """Would catch an unknown ending noticed only after the work is done."""
    with pytest.raises(CommandError, match=r"ends in '.txt': give a name in .npy or .csv"):
        rows.check_out(tmp_path / "x.txt", overwrite=False)
