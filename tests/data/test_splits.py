import numpy as np
import pytest

from flowjax_lite.data import Split, join, split, split_sizes


def test_sizes_from_fractions_and_counts() -> None:
    """Would catch fractions of the remainder in place of all rows, and counts read as fractions."""
    assert split_sizes(100, validation=0.1, test=0.2) == (70, 10, 20)
    assert split_sizes(1797, validation=200, test=297) == (1300, 200, 297)
    assert split_sizes(10, validation=np.int64(1), test=np.float32(0.5)) == (4, 1, 5)


@pytest.mark.parametrize(
    ("validation", "test", "message"),
    [
        (0.0, 0.1, r"validation is 0.0; a fraction .*between 0 and 1"),
        (0.1, 1.0, r"test is 1.0; a fraction .*Give an int"),
        (0.01, 0.1, r"validation comes to 0 of 10 rows"),
        (0, 1, r"validation comes to 0 of 10 rows"),
        (1, 11, r"test comes to 11 of 10 rows"),
        (5, 5, r"take 5 \+ 5 of 10 rows and leave none for training"),
        (float("nan"), 1, r"validation is nan"),
    ],
)
def test_sizes_that_do_not_fit(validation: float, test: float, message: str) -> None:
    """Would catch an empty part, whose mean log-likelihood is NaN."""
    with pytest.raises(ValueError, match=message):
        split_sizes(10, validation=validation, test=test)


@pytest.mark.parametrize("size", [True, "0.1", None])
def test_sizes_of_a_wrong_type(size) -> None:
    """Would catch True taken for one row."""
    with pytest.raises(TypeError, match=r"validation is .*fraction"):
        split_sizes(10, validation=size, test=1)


def test_parts_are_disjoint_complete_and_aligned() -> None:
    """Would catch rows in two parts or in none, and conditions of other rows."""
    x = np.arange(50.0)[:, None]
    parts = split(x, condition=-x, seed=3, validation=0.2, test=5)
    assert [len(part) for part in parts] == [35, 10, 5]
    np.testing.assert_array_equal(np.sort(np.concatenate([part.x for part in parts]), 0), x)
    for part in parts:
        assert part.x.dtype == part.condition.dtype == np.float32
        np.testing.assert_array_equal(part.condition, -part.x)


def test_seed_decides_the_rows() -> None:
    """Would catch an unseeded permutation, and rows left in the order of the file."""
    x = np.arange(50.0)[:, None]
    first, again, other = (
        split(x, seed=seed, validation=0.2, test=0.2)[0].x[:, 0] for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert set(first) != set(other)
    assert set(first) != set(range(30))


def test_join_and_slices_keep_rows_with_their_conditions() -> None:
    """Would catch conditions that move to other rows, or that are dropped."""
    parts = [Split(np.full((2, 1), i), np.full((2, 1), 10 * i)) for i in (1, 2)]
    joined = join(*parts)[:3]
    assert joined.x.ravel().tolist() == [1, 1, 2]
    assert joined.condition is not None
    assert joined.condition.ravel().tolist() == [10, 10, 20]
    assert join(Split(np.ones((2, 1))))[:1].condition is None
