import numpy as np
import pytest

from flowjax_lite.data import check_data
from flowjax_lite.data.named.embedded import EMBEDDED, digits

pytest.importorskip("sklearn")


def test_digits() -> None:
    """Would catch another split, 16 levels for 17, and pixels outside the unit interval."""
    data = digits()
    assert (len(data.train), len(data.validation), len(data.test)) == (1300, 200, 297)
    assert (data.dim, data.image_shape, data.num_levels) == (64, (8, 8), 17)
    x = np.concatenate([data.train.x, data.validation.x, data.test.x])
    assert x.min() >= 0
    assert 16 / 17 < x.max() < 1
    assert (x < 1 / 17).mean() == pytest.approx(0.489, abs=0.001)  # the share of black pixels


@pytest.mark.parametrize(
    ("name", "rows", "dim", "column"),
    [
        ("breast_cancer", 569, 30, "mean radius"),
        ("wine", 178, 13, "alcohol"),
        ("iris", 150, 4, "sepal length (cm)"),
    ],
)
def test_tables(name: str, rows: int, dim: int, column: str) -> None:
    """Would catch dropped rows, lost names, and parts of other sizes than 70, 15 and 15 %."""
    data = EMBEDDED[name](0)
    sizes = [len(data.train), len(data.validation), len(data.test)]
    assert sum(sizes) == rows
    np.testing.assert_allclose(np.array(sizes) / rows, [0.7, 0.15, 0.15], atol=0.01)
    assert data.dim == len(data.columns) == dim
    assert data.columns[0] == column
    check_data(data.train.x)


@pytest.mark.parametrize("name", EMBEDDED)
def test_seed_decides_the_split(name: str) -> None:
    """Would catch a seed that goes unused."""
    first, again, other = (EMBEDDED[name](seed).test.x for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
