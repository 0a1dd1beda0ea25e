import math

import numpy as np
import pytest

from flowjax_lite.data import Dataset, Split, check_data


def make(num_levels: int | None) -> Dataset:
    """Three rows of two columns."""
    part = Split(np.zeros((3, 2), np.float32))
    return Dataset("pair", part, part, part, columns=("a", "b"), num_levels=num_levels)


def test_bits_per_dim_of_a_uniform_density() -> None:
    """Would catch a wrong sign of log num_levels: uniform bytes cost exactly 8 bits each."""
    np.testing.assert_allclose(make(256).bits_per_dim(np.zeros(4)), np.full(4, 8.0))


def test_bits_per_dim_divides_nats_by_the_dimensions() -> None:
    """Would catch bits per row in place of bits per dimension."""
    assert make(2).bits_per_dim(-2 * math.log(2)) == pytest.approx(2.0)


def test_bits_per_dim_needs_levels() -> None:
    """Would catch bits per dimension being reported for continuous data."""
    with pytest.raises(ValueError, match=r"pair does not hold .*num_levels is None.*report nats"):
        make(None).bits_per_dim(0.0)


def test_split_has_a_length_and_checks_shapes() -> None:
    """Would catch conditions that belong to other rows, and flat arrays."""
    x = np.zeros((3, 2), np.float32)
    assert len(Split(x)) == 3
    with pytest.raises(ValueError, match=r"x has shape \(3,\); expected \(n, d\)"):
        Split(x[:, 0])
    for condition in (np.zeros((2, 1)), np.zeros(3)):
        with pytest.raises(ValueError, match=r"condition has shape .*expected \(3, c\)"):
            Split(x, condition)


def test_masked_rows_are_refused() -> None:
    """Would catch a mask that is dropped on the way into a data set."""
    x = np.ma.masked_array(np.zeros((3, 2)), mask=[[0, 0], [1, 0], [0, 0]])
    with pytest.raises(ValueError, match="x is a masked array with 1 masked cells"):
        Split(x)
    with pytest.raises(ValueError, match="condition is a masked array"):
        Split(x.data, x)


def test_a_data_set_is_told_from_rows() -> None:
    """Would catch an error of numpy's for the data set in place of its rows."""
    data = make(None)
    with pytest.raises(TypeError, match=r"data is a Dataset; expected rows.*data.train.x"):
        check_data(data)
    with pytest.raises(TypeError, match="data is a Split; expected rows"):
        check_data(data.train)


def test_splits_are_indexed_like_arrays() -> None:
    """Would catch conditions that stay with other rows."""
    rows = Split(np.arange(6.0)[:, None], -np.arange(6.0)[:, None])
    for index in (slice(1, 4), np.array([4, 0])):
        np.testing.assert_array_equal(rows[index].x[:, 0], np.arange(6.0)[index])
        np.testing.assert_array_equal(rows[index].condition, -rows[index].x)


def test_repr_says_what_there_is() -> None:
    """Would catch a page of numbers in place of a few lines."""
    part = Split(np.zeros((3000, 2), np.float32), np.zeros((3000, 1), np.float32))
    data = Dataset("pair", part, part, part, columns=("a", "b"), condition_columns=("c",))
    assert repr(data).split("\n") == [
        "Dataset 'pair': 3,000 training, 3,000 validation and 3,000 test rows",
        "  x: 2 columns (a, b)",
        "  condition: 1 column (c)",
    ]
    assert repr(part) == "Split(x (3000, 2), condition (3000, 1))"
    shown = data._repr_html_()
    assert shown.count("<tr>") == 3 and "<th>b</th><td>0</td>" in shown
    images = Split(np.zeros((3, 4, 5, 3), np.float32))
    shown = repr(Dataset("images", images, images, images, columns=(), num_levels=256))
    assert "x: shape (4, 5, 3)" in shown and "256 grey levels" in shown
