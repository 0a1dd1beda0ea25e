from pathlib import Path

import numpy as np
import pytest

from flowjax_lite.data import DataWarning, read_table


def write(folder: Path, text: str) -> Path:
    """Write a csv file in UTF-8."""
    path = folder / "table.csv"
    path.write_bytes(text.encode())
    return path


def test_with_and_without_a_header(tmp_path: Path) -> None:
    """Would catch the first row being lost, or read as a header."""
    table = read_table(write(tmp_path, "a,b\n1,2\n3,4e-1\n"))
    assert table.columns == ("a", "b")
    np.testing.assert_array_equal(table.values, [[1, 2], [3, 0.4]])
    table = read_table(write(tmp_path, "1,2\n3,nan\n"))
    assert table.columns == ("x0", "x1")
    np.testing.assert_array_equal(table.values, [[1, 2], [3, np.nan]])


@pytest.mark.parametrize("first", ["1.5,2,n/a", "1.5,,3"])
def test_a_first_row_of_numbers_and_a_word_is_told(tmp_path: Path, first: str) -> None:
    """Would catch a row of data that is taken for a header without a word."""
    path = write(tmp_path, f"{first}\n1,2,3\n")
    with pytest.warns(DataWarning, match=r"table.csv: the first row is taken for .*2 of its 3"):
        table = read_table(path)
    assert table.columns == tuple(first.split(","))
    np.testing.assert_array_equal(table.values, [[1, 2, 3]])


def test_the_dialects_of_spreadsheets(tmp_path: Path) -> None:
    """Would catch a byte-order mark in the first name, and quotes, spaces and blank lines."""
    table = read_table(write(tmp_path, '\ufeff"a, raw", b\r\n\r\n"1", 2\r\n3,4\r\n\r\n'))
    assert table.columns == ("a, raw", "b")
    np.testing.assert_array_equal(table.values, [[1, 2], [3, 4]])


def test_text_is_no_matter_in_columns_left_out(tmp_path: Path) -> None:
    """Would catch a whole file being refused for a column that is not wanted."""
    table = read_table(write(tmp_path, "id,a,b\nx1,1,2\nx2,3,4\n"), columns=["b", "a"])
    assert table.columns == ("b", "a")
    np.testing.assert_array_equal(table.values, [[2, 1], [4, 3]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3,four\n", r"line 3, column 'b' holds 'four'; expected a number"),
        ("a,b\n1,2\n3,\n", r"line 3, column 'b' holds ''; expected a number"),
        ("1,2\n\n3,1_2\n", r"line 3, column 'x1' holds '1_2'"),
        ("a;b\n1;2\n", r"line 2, column 'a;b' holds '1;2'.*separated by commas"),
        ("a,b\n1,2\n3\n", r"line 3 has 1 cells; expected 2"),
        ("a,b\n1,2,3\n", r"line 2 has 3 cells; expected 2"),
        ("a,b,a\n1,2,3\n", r"has several columns 'a'\. Rename all but one"),
        ("a,b\n", r"is empty: it holds no rows"),
        ("\n\n", r"is empty: it holds no rows"),
        ("a,\x00\n1,2\x00\n", r"holds '2\\x00'|cannot be read"),
    ],
)
def test_bad_cells_and_rows_are_found(tmp_path: Path, text: str, message: str) -> None:
    """Would catch an error that leaves the user to search the file."""
    path = write(tmp_path, text)
    with pytest.raises(ValueError, match=message) as caught:
        read_table(path)
    assert str(path) in str(caught.value)


def test_ragged_rows_are_found_when_columns_are_chosen(tmp_path: Path) -> None:
    """Would catch shifted cells in rows that happen to be long enough."""
    with pytest.raises(ValueError, match="line 3 has 3 cells; expected 2"):
        read_table(write(tmp_path, "a,b\n1,2\n3,4,5\n"), columns=["a"])


def test_text_in_another_encoding(tmp_path: Path) -> None:
    """Would catch a decoding error that does not name the file."""
    path = tmp_path / "table.csv"
    path.write_bytes(b"gr\xf6sse\n1\n")
    with pytest.raises(ValueError, match=r"table.csv: cannot be read as .csv .*utf-8"):
        read_table(path)
