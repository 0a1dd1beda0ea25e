"""Log-likelihoods of a density on the three splits, and tables of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from flowjax_lite.data import Dataset


@dataclass(frozen=True)
class Score:
    """Mean log-likelihoods of one density in nats, in the units of the data.

    Args:
        name: The name of the density.
        note: The settings that a reader needs to know, or nothing.
        parameters: The number of fitted numbers.
        train: The mean over the training rows.
        validation: The mean over the validation rows.
        test: The mean over the test rows.
        test_error: The standard error of the test mean.
        bits_per_dim: The test mean in bits per dimension, for images of grey levels.
    """

    name: str
    note: str
    parameters: int
    train: float
    validation: float
    test: float
    test_error: float
    bits_per_dim: float | None = None

    @classmethod
    def of(
        cls, log_prob: Sequence[np.ndarray], data: Dataset, name: str, note: str, parameters: int
    ) -> "Score":
        """Return the score of log-likelihoods `(n,)` of the rows of each split, in order."""
        train, validation, test = (float(np.mean(values)) for values in log_prob)
        bits = None if data.num_levels is None else float(data.bits_per_dim(test))
        error = standard_error(log_prob[2])
        return cls(name, note, parameters, train, validation, test, error, bits)


def standard_error(values: np.ndarray) -> float:
    """Return the standard error of the mean of values `(n,)`."""
    return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan


def score_table(scores: Sequence[Score]) -> str:
    """Return scores as a Markdown table with their notes below."""
    images = any(score.bits_per_dim is not None for score in scores)
    rows = []
    for score in scores:
        row = {"log-likelihood (nats)": score.name}
        row |= {"train": number(score.train), "validation": number(score.validation)}
        row["test"] = with_error(score)
        if images:
            row["bits/dim (test)"] = number(score.bits_per_dim, digits=3)
        rows.append(row)
    return markdown(rows) + notes(scores)


def notes(scores: Sequence[Score]) -> str:
    """Return one line for every score that has a note."""
    return "".join(f"\n{score.name}: {score.note}." for score in scores if score.note)


def with_error(score: Score) -> str:
    """Return the test mean with its standard error."""
    return f"{number(score.test)} ± {number(score.test_error)}"


def number(value: float | None, *, digits: int = 2) -> str:
    """Return a number with a fixed count of decimals, or a dash for nothing."""
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def short(value: float | None) -> str:
    """Return a number with three significant digits and thousands apart, or a dash."""
    if value is None or math.isnan(value):
        return "–"
    if value >= 100:
        rounded = round(value, 2 - math.floor(math.log10(value)))
        return f"{rounded:,.0f}"
    return f"{value:.3g}"


def markdown(rows: Sequence[Mapping[str, str]]) -> str:
    """Return rows of cells by column as a Markdown table that also reads well in a terminal."""
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    lines.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    text = ""
    for first, *numbers in lines:
        cells = [first.ljust(widths[0]), *map(str.rjust, numbers, widths[1:])]
        text += f"| {' | '.join(cells)} |\n"
    return text
