"""Log-likelihoods of a density on the three splits, and tables of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

SPLITS = ("train", "validation", "test")


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
        bits_per_dim: The test mean in bits per dimension, for images.
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
        cls,
        log_prob: Mapping[str, np.ndarray],
        *,
        name: str,
        note: str,
        parameters: int,
        bits_per_dim: float | None = None,
    ) -> "Score":
        """Return the score of log-likelihoods `(n,)` given for each split."""
        train, validation, test = (float(np.mean(log_prob[split])) for split in SPLITS)
        error = standard_error(log_prob["test"])
        return cls(name, note, parameters, train, validation, test, error, bits_per_dim)

    @classmethod
    def read(cls, values: Mapping[str, Any], *, name: str) -> "Score":
        """Return the score that was written as such values, under a name.

        Raises:
            KeyError: One is missing.
            TypeError: One is of another type.
            ValueError: One is no number, or the note is no line of text.
        """
        note, bits = values["note"], values["bits_per_dim"]
        if not isinstance(note, str) or not note.isprintable():
            raise ValueError("its note is no line of text")
        means = {key: float(values[key]) for key in (*SPLITS, "test_error")}
        bits = None if bits is None else float(bits)
        parameters = int(values["parameters"])
        return cls(name=name, note=note, parameters=parameters, **means, bits_per_dim=bits)


@dataclass(frozen=True)
class ComparisonRow:
    """What is known of one density; None where it does not apply, as for a baseline.

    Args:
        score: Log-likelihoods in nats.
        epochs: The number of epochs trained.
        seconds_per_epoch: The median over all epochs but the first.
        compile_seconds: The first epoch less the median of the later ones.
        total_seconds: The whole of training, compilation included.
        log_prob_per_second: Events per second, in full batches.
        samples_per_second: The same for sampling.
        curve: (seconds, validation log-likelihood) after every epoch.
    """

    score: Score
    epochs: int | None = None
    seconds_per_epoch: float | None = None
    compile_seconds: float | None = None
    total_seconds: float | None = None
    log_prob_per_second: float | None = None
    samples_per_second: float | None = None
    curve: tuple[tuple[float, float], ...] = ()


def standard_error(values: np.ndarray) -> float:
    """Return the standard error of the mean of values `(n,)`."""
    return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan


def score_table(scores: Sequence[Score]) -> str:
    """Return scores as a Markdown table with their notes below."""
    images = any(score.bits_per_dim is not None for score in scores)
    columns = ["log-likelihood (nats)", *SPLITS] + (["bits/dim (test)"] if images else [])
    rows = [
        [score.name, number(score.train), number(score.validation), with_error(score)]
        + ([number(score.bits_per_dim, digits=3)] if images else [])
        for score in scores
    ]
    return markdown(columns, rows) + notes(scores)


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


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table that also reads well in a terminal: numbers line up on the right."""
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(map(line, [columns, rule, *rows])) + "\n"
