import math

import numpy as np
import pytest

from flowjax_lite.cli import report
from flowjax_lite.cli.report import Score
from flowjax_lite.data import Dataset, Split


def _score(name: str, **changes) -> Score:
    values = {"note": "", "parameters": 3, "train": 1.0, "validation": 2.0, "test": -3.456}
    return Score(name=name, **{**values, "test_error": 0.1, **changes})


def test_score_of_log_likelihoods() -> None:
    """Would catch splits mixed up, and a standard deviation given for a standard error."""
    rows = Split(np.zeros((3, 2)))
    data = Dataset("a", rows, rows, rows, columns=("a", "b"), num_levels=4)
    log_prob = [np.zeros(4), np.ones(2), np.array([1.0, 3.0, 5.0])]
    score = Score.of(log_prob, data, name="a", note="b", parameters=7)
    assert (score.train, score.validation, score.test) == (0.0, 1.0, 3.0)
    assert score.test_error == pytest.approx(2.0 / math.sqrt(3))
    assert score.bits_per_dim == pytest.approx((-1.5 + math.log(4)) / math.log(2))
    assert math.isnan(report.standard_error(np.ones(1)))


def test_table_lines_up_and_has_notes() -> None:
    """Would catch columns that run into each other in a terminal, and a note that is lost."""
    table = report.score_table([_score("flow", note="how"), _score("a longer name", test=123.0)])
    lines = table.splitlines()
    assert len({len(line) for line in lines[:4]}) == 1
    assert [line.count("|") for line in lines[:4]] == [5] * 4
    assert "-3.46 ± 0.10" in lines[2]
    assert "bits/dim" not in lines[0]
    assert lines[-1] == "flow: how."


def test_bits_per_dim_appear_for_images_alone() -> None:
    """Would catch a missing column, or a baseline without bits that breaks the table."""
    lines = report.score_table([_score("a", bits_per_dim=2.2914), _score("b")]).splitlines()
    assert "bits/dim (test)" in lines[0]
    assert lines[2].endswith("2.291 |")
    assert lines[3].endswith("– |")


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (math.nan, "–"), (1234567.0, "1,230,000"), (99.96, "100"), (0.01234, "0.0123")],
)
def test_short_numbers(value: float | None, text: str) -> None:
    """Would catch exponents in a table, and digits that no measurement supports."""
    assert report.short(value) == text
