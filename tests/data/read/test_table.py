import numpy as np
import pytest

from flowjax_lite.data.read.table import TableError, column_positions, table_from_array


def test_columns_are_kept_in_the_order_asked_for() -> None:
    """Would catch columns in the order of the file under the names asked for."""
    table = table_from_array(np.array([[0.0, 1.0, 2.0]]), ["x2", "x0"])
    assert table.columns == ("x2", "x0")
    np.testing.assert_array_equal(table.values, [[2.0, 0.0]])


def test_a_flat_array_is_one_column_of_its_type() -> None:
    """Would catch labels read as one row, and whole numbers turned into floats unseen."""
    table = table_from_array(np.arange(3, dtype=np.uint8), None)
    assert table.values.shape == (3, 1)
    assert table.values.dtype == np.uint8
    assert table.columns == ("x0",)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros(()), r"a single number; expected \(n, d\)"),
        (np.zeros((2, 2), complex), r"type complex128; expected real numbers"),
        (np.array([["a"]]), r"expected real numbers"),
    ],
)
def test_arrays_that_are_no_tables(values: np.ndarray, message: str) -> None:
    """Would catch a number being taken for a table, and text."""
    with pytest.raises(TableError, match=message):
        table_from_array(values, None)


def test_images_keep_their_shape() -> None:
    """Would catch images being flattened unasked, and columns that they do not have."""
    images = np.arange(24.0).reshape(2, 3, 4)
    table = table_from_array(images, None)
    assert table.columns == ()
    np.testing.assert_array_equal(table.values, images)
    with pytest.raises(TableError, match=r"events of shape \(3, 4\) without columns"):
        table_from_array(images, ["x0"])


def test_missing_and_repeated_columns() -> None:
    """Would catch a KeyError without a hint, and the first of two equal names being taken."""
    with pytest.raises(TableError, match=r"no column 'hight'. Did you mean height\? It has"):
        column_positions(["hight"], ["width", "height"])
    with pytest.raises(TableError, match="several columns 'a'"):
        column_positions(["a"], ["a", "a"])
    with pytest.raises(TableError, match=r"x19, \.\.\.\.$"):
        column_positions(["zz"], [f"x{i}" for i in range(784)])
