import math

import numpy as np
import pytest

from flowjax_lite.data.dataset import Dataset, Split


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
