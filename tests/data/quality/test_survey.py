"""One pass over rows, in blocks of any size."""

import numpy as np
import pytest

from flowjax_lite.data import findings
from flowjax_lite.data.quality.survey import RowSketch, Survey


def survey(*blocks: np.ndarray) -> Survey:
    """Feed blocks of rows."""
    result = Survey()
    for block in blocks:
        result.add(block)
    result.close()
    return result


def spoiled(rows: int = 3000, dim: int = 200) -> np.ndarray:
    """Rows with every fault, in blocks that a survey works on of 1310 rows."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, dim)).astype(np.float32)
    x[:, 3] = x[:, 7]
    x[:, 11] = x[:, 9] - 2 * x[:, 8] + 1
    x[:, 5] = rng.poisson(3, rows)
    x[:, 6] = 4.0
    x[:, 2] += 3e6
    x[2000:2400] = x[0]
    x[1700, 4], x[1311, 12], x[5, 13] = np.nan, 1e7, -np.inf
    return x


@pytest.mark.parametrize("size", [1, 7, 1000, 1310, 1311, 2999])
def test_blocks_of_any_size_give_the_same(size: int) -> None:
    """Catches a row lost or counted twice between blocks, and numbers that restart with each."""
    x = spoiled()
    whole = survey(x)
    parts = survey(*(x[i : i + size] for i in range(0, len(x), size)))
    expected = findings(whole, name="x")
    assert [finding.kind for finding in expected] == [
        "not_finite",
        "constant",
        "copies",
        "collinear",
        "far_cells",
        "repeated_rows",
        "whole_numbers",
        "offset",
    ]
    assert findings(parts, name="x") == expected
    np.testing.assert_array_equal(parts.covariance, whole.covariance)


def test_moments_and_extremes() -> None:
    """Catches sums about a location that is never added back, and cancellation far from zero."""
    rng = np.random.default_rng(0)
    x = 1e6 + rng.standard_normal((20_000, 40)) @ rng.standard_normal((40, 40))
    x[rng.random(len(x)) < 0.01, 3] = np.nan
    seen, good = survey(x), x[~np.isnan(x).any(axis=1)]
    assert (seen.num_rows, seen.num_used) == (20_000, len(good))
    np.testing.assert_allclose(seen.mean, good.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(seen.covariance, np.cov(good.T, bias=True), rtol=1e-7, atol=1e-8)
    np.testing.assert_array_equal([seen.low, seen.high], [good.min(axis=0), good.max(axis=0)])


def test_the_farthest_cells_are_kept_in_order() -> None:
    """Catches cells that a later block pushes out wrongly, and row numbers that do not follow."""
    x = np.random.default_rng(0).standard_cauchy((20_000, 40))
    seen = survey(x)
    order = np.argsort(-np.abs(x - seen.centre), axis=0)[:8]
    np.testing.assert_array_equal(seen.farthest_row, order)
    np.testing.assert_array_equal(seen.farthest_value, np.take_along_axis(x, order, axis=0))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_all_float_types_pass(dtype: type) -> None:
    """Catches a type whose bits cannot be read, and rows in the memory order of columns."""
    x = np.asfortranarray(np.random.default_rng(0).standard_normal((5000, 3)).astype(dtype))
    seen = survey(x, -x)
    assert not findings(seen)
    assert seen.sketch.num_distinct() == pytest.approx(10_000, rel=0.05)


def test_repeats_are_counted_far_beyond_what_is_kept() -> None:
    """Catches an estimate that depends on the order of rows, or that hashing spoils.

    Rows that differ in signs or one digit alone must count as different.
    """
    signs = 1 - 2 * ((np.arange(2**17)[:, None] >> np.arange(17)) % 2).astype(np.float64)
    for x in (signs, np.arange(2.0**17)[:, None] * [1.0, 0.0], signs.astype(np.float32)):
        sketch = RowSketch(x.shape[1], x.dtype)
        for part in np.array_split(np.concatenate([x, x[::-1], x[:1000]]), 9):
            sketch.add(np.ascontiguousarray(part), np.arange(len(part)))
        assert sketch.num_distinct() == pytest.approx(2**17, rel=0.05)
        assert set(sketch.counts) == {2, 3}


def test_blocks_that_do_not_fit_are_refused() -> None:
    """Catches a file with another number of columns or another type in the middle of a stream."""
    seen = survey(np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"\(3, 4\); expected \(n, 2\)"):
        seen.add(np.ones((3, 4)))
    with pytest.raises(TypeError, match="type float32; blocks before it float64"):
        seen.add(np.ones((3, 2), np.float32))
    with pytest.raises(TypeError, match="the block has type int64; discrete"):
        seen.add(np.ones((3, 2), int))
    with pytest.raises(ValueError, match="no rows"):
        findings(Survey())


def test_a_stream_without_a_good_row() -> None:
    """Catches a mean of nothing."""
    (finding,) = findings(survey(np.full((30, 2), np.nan)))
    assert "60 NaN" in finding.message
