"""Every kind of bad data is named, and good data are not."""

import re
from collections.abc import Callable

import numpy as np
import pytest
from helpers.mutations import peak_bytes

from flowjax_lite.data import TOYS, Finding, Survey, check_data, findings, load
from flowjax_lite.data.named.embedded import EMBEDDED

ROWS = 500


def normal(rng: np.random.Generator, rows: int = ROWS) -> np.ndarray:
    """Four columns that differ in location and scale."""
    z = rng.standard_normal((rows, 4))
    return (z @ np.triu(np.ones((4, 4))) * [1, 0.1, 30, 2] + [0, 1, 100, -3]).astype(np.float32)


def found(x: np.ndarray, **options) -> tuple[Finding, ...]:
    """What is found in an array."""
    survey = Survey()
    survey.add(x)
    return findings(survey, **options)


def cell(row: int, column: int, value: float) -> Callable:
    """Spoil one cell."""

    def make(rng: np.random.Generator) -> np.ndarray:
        x = normal(rng)
        x[row, column] = value
        return x

    return make


def column(j: int, of: Callable) -> Callable:
    """Replace a column by a function of the others and of random numbers."""

    def make(rng: np.random.Generator) -> np.ndarray:
        x = normal(rng)
        x[:, j] = of(x.astype(np.float64), rng)
        return x

    return make


def twice(rng: np.random.Generator) -> np.ndarray:
    """A tenth of the rows comes twice."""
    x = normal(rng)
    return np.concatenate([x, x[100 : 100 + ROWS // 10]])


def one_row_often(rng: np.random.Generator) -> np.ndarray:
    """One row in four is filled with zeros."""
    x = normal(rng)
    x[3::4] = 0
    return x


def shares(rng: np.random.Generator) -> np.ndarray:
    """Parts of a whole."""
    return rng.dirichlet(np.ones(5), size=ROWS).astype(np.float32)


def fill_values(rng: np.random.Generator) -> np.ndarray:
    """The number that stands for a missing one in many formats, in one row of a hundred."""
    x = normal(rng, 30_000)
    x[50::100, 3] = 9.96921e36
    return x


# name: (data, kind, what the message says, whether it is serious)
BAD: dict[str, tuple[Callable, str, str, bool]] = {
    "NaN": (cell(7, 2, np.nan), "not_finite", "1 NaN .* cell, .*(nan).* row 7 .*column 2", True),
    "inf": (cell(499, 0, np.inf), "not_finite", r"\(inf\) in row 499 .*column 0", True),
    "-inf": (cell(0, 3, -np.inf), "not_finite", r"\(-inf\) in row 0 .*column 3", True),
    "constant": (column(1, lambda x, rng: 3.0), "constant", r"1 column \(1\)", True),
    "all zero": (column(2, lambda x, rng: 0.0), "constant", r"1 column \(2\)", True),
    "copy": (column(3, lambda x, rng: x[:, 1]), "copies", r"\(3 = 1\)", True),
    "negative": (
        column(3, lambda x, rng: -x[:, 1]),
        "collinear",
        r"\(column 3 = - 1 \* column 1\)",
        True,
    ),
    "other unit": (
        column(2, lambda x, rng: 1.8 * x[:, 0] + 32),
        "collinear",
        r"\(column 2 = 1.8 \* column 0 \+ 32\)",
        True,
    ),
    "sum": (
        column(3, lambda x, rng: 2 * x[:, 0] - 50 * x[:, 1] + 5),
        "collinear",
        r"\(column 3 = - 50 \* column 1 \+ 2 \* column 0 \+ 5\)",
        True,
    ),
    "shares of a whole": (shares, "collinear", r"column 4 = - 1 .*column 3.* \+ 1\)", True),
    "few rows": (lambda rng: normal(rng, 4), "few_rows", "4 rows for 4 columns; .*least 5", True),
    "repeats": (twice, "repeated_rows", "9 % rows .*row 1[0-4][0-9] .* 2 times", False),
    "one row often": (one_row_often, "repeated_rows", "25 % .* row 3 .* comes 125 times", False),
    "counts": (
        column(0, lambda x, rng: rng.poisson(4, ROWS)),
        "whole_numbers",
        r"1 column \(0\)",
        False,
    ),
    "flag": (
        column(1, lambda x, rng: rng.random(ROWS) < 0.3),
        "whole_numbers",
        r"1 column \(1\)",
        False,
    ),
    "grey levels": (
        lambda rng: rng.integers(256, size=(4000, 3)).astype(np.float32) / 255,
        "grey_levels",
        r"3 columns \(0, 1, 2\) with multiples of 1/255 alone.*fl.data.dequantize",
        False,
    ),
    "year in seconds": (
        column(0, lambda x, rng: 1.7e9 + 1e3 * x[:, 0]),
        "offset",
        r"\(0: 1.7e\+09 ± .*float32",
        False,
    ),
    "1e20": (cell(8, 1, 1e20), "far_cells", r"1 cell .*\(1e\+20 in row 8, column 1;", False),
    "1e6": (cell(9, 2, 1e6), "far_cells", r"1 cell .*\(1e\+06 in row 9, column 2;", False),
    "-1e6": (cell(9, 0, -1e6), "far_cells", r"\(-1e\+06 in row 9, column 0;", False),
    "fill values": (fill_values, "far_cells", r"9.96921e\+36 in row \d*50, column 3", False),
    "tiny": (
        column(2, lambda x, rng: 1e-5 * x[:, 2]),
        "scale",
        r"\(2: 0.00\d+ ± 0.000.*Standard",
        False,
    ),
    "huge": (
        column(2, lambda x, rng: 1e5 * x[:, 2]),
        "scale",
        r"\(2: 9.\d+e\+06 ± .*Standard",
        False,
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_data_are_named(name: str) -> None:
    """Catches a fault that passes, is taken for another, or whose place is told wrongly."""
    make, kind, message, serious = BAD[name]
    for seed in range(3):
        all_found = found(make(np.random.default_rng(seed)), unit_scale=kind == "scale")
        assert [finding.kind for finding in all_found] == [kind]
        assert all_found[0].serious == serious
        assert re.search(message, all_found[0].message), all_found[0].message


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e20, 1e6])
def test_one_bad_cell_in_a_million(value: float) -> None:
    """Catches a cell that is lost in averages, or named by its place within a block."""
    x = np.random.default_rng(0).standard_normal((250_000, 4), np.float32)
    x[123_457, 3] = value
    (finding,) = found(x)
    assert f"{value:.6g}" in finding.message
    assert "row 123457" in finding.message
    assert "column 3" in finding.message


GOOD: dict[str, Callable] = {
    "normal": normal,
    "as few rows as can be": lambda rng: normal(rng, 5),
    "half precision": lambda rng: rng.standard_normal((3000, 1)).astype(np.float16),
    "Cauchy": lambda rng: rng.standard_cauchy((20_000, 5)).astype(np.float32),
    "log-normal": lambda rng: np.exp(3 * rng.standard_normal((20_000, 5))).astype(np.float32),
    "mostly zero": lambda rng: np.where(rng.random((2000, 20)) < 0.7, 0, rng.random((2000, 20))),
    "large enough to be whole": lambda rng: (1e8 * rng.random((2000, 2))).astype(np.float32),
    "whole without repeats": lambda rng: rng.permutation(ROWS).astype(float)[:, None],
    "nearly collinear": lambda rng: rng.standard_normal((ROWS, 2)) @ [[1, 1], [0, 1e-5]],
    "equal extremes": lambda rng: np.stack([rng.permutation(ROWS) / 7.0 for _ in range(2)], 1),
    "grey levels with noise": lambda rng: (
        (rng.integers(256, size=(4000, 3)) + rng.random((4000, 3))) / 256
    ).astype(np.float32),
    "two narrow clusters": lambda rng: (
        rng.integers(2, size=(20, 1)) * 1e3 + 1e-3 * rng.standard_normal((20, 1))
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_data_pass(name: str) -> None:
    """Catches false alarms: heavy tails, sparse columns, coarse floats, few rows."""
    for seed in range(3):
        assert found(GOOD[name](np.random.default_rng(seed))) == ()


def test_scales_matter_only_where_layers_see_them() -> None:
    """Catches an alarm about units that a data_map takes care of."""
    x = normal(np.random.default_rng(0)) * 1e6
    assert found(x) == ()
    assert [finding.kind for finding in found(x, unit_scale=True)] == ["scale"]


def test_all_that_is_wrong_is_told_at_once_the_serious_first() -> None:
    """Catches a fault that hides another: one far cell, a relation, a constant, a NaN."""
    x = normal(np.random.default_rng(0))
    x = np.concatenate([x, x[:, :1] + x[:, 3:], np.ones((ROWS, 1), np.float32)], axis=1)
    x[5, 2], x[6, 1] = np.nan, 1e9
    kinds = [finding.kind for finding in found(x)]
    assert kinds == ["not_finite", "constant", "collinear", "far_cells"]
    kinds = [finding.kind for finding in found(x, allow_degenerate=True)]
    assert kinds == ["not_finite", "far_cells"]


def test_far_cells_do_not_tie_columns_together() -> None:
    """Catches a row of fill values that makes independent columns look collinear."""
    x = normal(np.random.default_rng(0))
    x[77] = 1e20
    assert [finding.kind for finding in found(x)] == ["far_cells"]


def test_numbers_at_the_edge_of_double_precision() -> None:
    """Catches squares that overflow or vanish without a word, or with a warning of numpy's."""
    x = np.random.default_rng(0).standard_normal((ROWS, 2))
    for scale in (1e200, 1e-200):
        assert [finding.kind for finding in found(x * [1, scale])] == ["scale"]
    widest = np.where(x < 0, -1.7e308, 1.7e308)
    assert "scale" in [finding.kind for finding in found(widest)]
    assert found((3e38 * np.tanh(x)).astype(np.float32)) == ()


def test_a_single_row_is_too_few() -> None:
    """Catches one row whose columns are all called constant, and copies of each other."""
    assert [finding.kind for finding in found(np.ones((1, 3)))] == ["few_rows"]


def test_entries_of_images_are_named_by_their_place() -> None:
    """Catches a pixel that is told by a number, and images refused because they are few."""
    images = np.random.default_rng(0).standard_normal((30, 4, 5, 3)).astype(np.float32)
    assert found(images) == ()
    images[:, 1, 2, 0] = 0.5
    images[7, 3, 4, 2] = np.nan
    bad, constant = found(images)
    assert "row 7 (counted from 0), entry (3, 4, 2)" in bad.message
    assert re.search(r"1 entry \(\(1, 2, 0\)\).*fl.data.dequantize", constant.message)
    images = np.random.default_rng(0).integers(9, size=(200, 4, 5)).astype(np.float32)
    (finding,) = found(images)
    assert finding.kind == "whole_numbers" and "20 entries ((0, 0), (0, 1)" in finding.message


def test_large_images_are_judged_in_bounded_memory() -> None:
    """Catches a covariance of all pixels, or a sketch that holds the data once more."""
    images = np.random.default_rng(0).standard_normal((1200, 96, 96, 1), np.float32)
    images[800:] = images[:400]
    problems: list[Finding] = []
    assert peak_bytes(lambda: problems.extend(found(images))) < 200 * 2**20
    assert [finding.kind for finding in problems] == ["repeated_rows"]
    assert "33 % rows" in problems[0].message


def test_many_names_are_cut_short() -> None:
    """Catches a message of a thousand columns."""
    x = np.ones((3000, 2000), np.float32)
    (finding,) = (finding for finding in found(x) if finding.kind == "constant")
    assert "2000 columns (0, 1, 2, 3, 4, ...)" in finding.message


@pytest.mark.parametrize("name", [*TOYS, *EMBEDDED])
def test_the_package_s_own_data_pass(name: str) -> None:
    """Catches a check so strict that no real data pass; a warning is an error here."""
    if name in EMBEDDED:
        pytest.importorskip("sklearn")
    data = load(name)
    for part in (data.train, data.validation, data.test):
        check_data(part.x, allow_degenerate=part is not data.train)
