"""What speaks against fitting a density to the rows of a survey."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from flowjax_lite.core.checks import listed
from flowjax_lite.data.relations import Relation, copies, relations
from flowjax_lite.data.survey import NUM_FARTHEST, Survey

_MOST_DUPLICATED = 0.05  # share of rows
_MOST_DISTINCT = 0.2  # whole numbers per row, where each has weight of its own
_WIDEST_GAP = 1e3  # between a cell and the next one nearer to the middle
_FARTHEST = 1e4  # typical deviations
_FEW = 0.02  # share of rows that may lie far outside and still be a few
_LOST = 0.01  # rounding, in standard deviations
_UNIT = 1e-3, 1e3  # scales that layers learn to bring to one


@dataclass(frozen=True)
class Finding:
    """Something that speaks against fitting a density to data.

    Attributes:
        kind: "not_finite", "constant", "copies", "collinear", "few_rows", "repeated_rows",
            "whole_numbers", "offset", "scale" or "far_cells".
        message: What was found, where, and how to mend it.
        serious: Whether no density fits. The others are worth a look.
    """

    kind: str
    message: str
    serious: bool


def findings(
    survey: Survey,
    *,
    name: str = "data",
    columns: Sequence[str] | None = None,
    allow_degenerate: bool = False,
    unit_scale: bool = False,
) -> tuple[Finding, ...]:
    """List what speaks against fitting a density, the serious first.

    Args:
        survey: The rows, at least one.
        name: What messages call the data.
        columns: Names of the d columns for messages; otherwise columns are numbered from 0.
        allow_degenerate: Look for NaN, infinite and far cells alone, as in conditions and
            validation rows, whose shape no density follows.
        unit_scale: Also find columns far from unit scale, for flows without a `data_map`.

    Raises:
        ValueError: The survey has seen no rows.
    """
    if not survey.num_rows:
        raise ValueError("the survey has seen no rows; give it some with survey.add(rows)")
    survey.close()
    labels = [repr(c) for c in columns] if columns else [str(j) for j in range(survey.dim)]
    found = list(_not_finite(survey, name, labels))
    if survey.num_used:
        far = _far_cells(survey)
        found += _tell_far_cells(survey, name, labels, far)
        if not allow_degenerate:
            found += _degenerate(survey, name, labels, far)
            found += _repeated_rows(survey, name)
            found += _whole_numbers(survey, name, labels)
            found += _scales(survey, name, labels, far, unit_scale)
    return tuple(sorted(found, key=lambda finding: not finding.serious))


def _not_finite(survey: Survey, name: str, labels: list[str]) -> Iterator[Finding]:
    if survey.first_bad is not None:
        row, column, value = survey.first_bad
        message = (
            f"{name} has {_number(survey.num_bad, 'NaN or infinite cell')}, the first ({value}) "
            f"in row {row} (counted from 0), column {labels[column]}. Drop or fill those rows; a "
            "number beyond 3.4e38 is infinite in float32."
        )
        yield Finding("not_finite", message, serious=True)


def _degenerate(
    survey: Survey, name: str, labels: list[str], far: dict[int, int]
) -> Iterator[Finding]:
    """Find what lets the likelihood grow without bound."""
    if survey.num_rows <= survey.dim:
        message = (
            f"{name} has {_number(survey.num_rows, 'row')} for {_number(survey.dim, 'column')}; "
            f"expected at least {survey.dim + 1} rows, as fewer lie in a plane, and the likelihood "
            "would grow without bound. Gather more rows or drop columns."
        )
        yield Finding("few_rows", message, serious=True)
    if survey.num_used == 1:
        return  # all columns of one row are constant
    constant = survey.low == survey.high
    if constant.any():
        message = (
            f"{name} has {_counted([labels[j] for j in np.flatnonzero(constant)], 'column')} with "
            "the same value in every row; the likelihood would grow without bound. Drop it."
        )
        yield Finding("constant", message, serious=True)
    varying = [int(j) for j in np.flatnonzero(~constant)]
    same = copies(survey, varying)
    if same:
        pairs = [f"{labels[j]} = {labels[first]}" for j, first in same.items()]
        message = (
            f"{name} has {_counted(pairs, 'duplicated column')}; the likelihood would grow without "
            "bound. Keep one of each."
        )
        yield Finding("copies", message, serious=True)
    if survey.num_used > survey.dim:
        # Far cells drown the rest of their columns, and tie them to each other.
        candidates = [j for j in varying if j not in same and j not in far]
        texts = [_equation(relation, labels) for relation in relations(survey, candidates)]
        if texts:
            message = (
                f"{name} has {_counted(texts, 'column')} that others determine up to rounding; the "
                "likelihood would grow without bound. Drop one column of each equation."
            )
            yield Finding("collinear", message, serious=True)


def _repeated_rows(survey: Survey, name: str) -> Iterator[Finding]:
    share = 1 - survey.sketch.num_distinct() / survey.num_used
    # Numbers of few digits meet by chance: each column has some 1/eps values.
    by_chance = survey.num_used * float(np.finfo(survey.dtype).eps) ** survey.dim
    if share > _MOST_DUPLICATED + by_chance:
        most = int(np.argmax(survey.sketch.counts))
        message = (
            f"{name} has {100 * share:.0f} % rows that repeat others, such as row "
            f"{survey.sketch.first[most]} (counted from 0), which comes "
            f"{survey.sketch.counts[most]} times; the density would grow there without bound, and "
            "rows held out are known already. Drop repeats, or give each row once with weights."
        )
        yield Finding("repeated_rows", message, serious=False)


def _whole_numbers(survey: Survey, name: str, labels: list[str]) -> Iterator[Finding]:
    largest = np.maximum(np.abs(survey.low), np.abs(survey.high)).astype(np.float64)
    # Large floats are whole by themselves.
    have_fractions = largest * np.finfo(survey.dtype).eps < 1
    columns = [
        labels[j]
        for j in np.flatnonzero(survey.whole & have_fractions & (survey.low < survey.high))
        if len(np.unique(survey.sketch.values[:, j])) <= _MOST_DISTINCT * survey.sketch.counts.sum()
    ]
    if columns:
        message = (
            f"{name} has {_counted(columns, 'column')} with whole numbers alone, which have no "
            "density: add noise with fl.data.dequantize_integers, or give them as a condition."
        )
        yield Finding("whole_numbers", message, serious=False)


def _scales(
    survey: Survey, name: str, labels: list[str], far: dict[int, int], unit_scale: bool
) -> Iterator[Finding]:
    mean, dtype = survey.mean, survey.dtype
    variance = np.diag(survey.covariance)
    std = np.sqrt(np.maximum(variance, 0))
    varying = survey.low < survey.high
    varying[list(far)] = False  # their means and deviations are those of a few cells
    measured = varying & (variance > 0) & np.isfinite(variance)
    offset = measured & (np.abs(mean) * float(np.finfo(dtype).eps) > _LOST * std)
    if offset.any():
        texts = [f"{labels[j]}: {mean[j]:.3g} ± {std[j]:.2g}" for j in np.flatnonzero(offset)]
        message = (
            f"{name} has {_counted(texts, 'column')} so far from zero that {dtype} rounds off what "
            "varies. Subtract a constant in float64 first."
        )
        yield Finding("offset", message, serious=False)
    scale = varying & ~measured
    if unit_scale:
        low, high = _UNIT
        scale |= measured & ~offset & ((std < low) | (np.hypot(mean, std) > high))
    if scale.any():
        texts = [f"{labels[j]}: {mean[j]:.3g} ± {std[j]:.2g}" for j in np.flatnonzero(scale)]
        message = (
            f"{name} has {_counted(texts, 'column')} far from mean 0 and standard deviation 1, "
            "where layers start. Rescale them, or build the flow with "
            "data_map=fl.bijectors.Standardize.from_data(x)."
        )
        yield Finding("scale", message, serious=False)


def _far_cells(survey: Survey) -> dict[int, int]:
    """Find columns in which a few cells lie far outside, and about how many do.

    Heavy tails reach as far, but not across a gap: in a tail of 1/t, the farthest cell is a
    thousand times as far out as the next in one column of a thousand.
    """
    with np.errstate(over="ignore"):
        deviations = np.abs(survey.sketch.values - survey.centre)
    found = {}
    for j, farthest in enumerate(survey.farthest.T):
        sample = deviations[:, j][deviations[:, j] > 0]
        if not sample.size or farthest[0] <= _FARTHEST * np.median(sample):
            continue
        nearer = np.sort(sample[sample < farthest[-1]])[::-1]
        ladder = np.concatenate([farthest[farthest > 0], nearer])
        gaps = np.flatnonzero(ladder[:-1] > _WIDEST_GAP * ladder[1:])
        gaps = gaps[ladder[gaps] > _FARTHEST * np.median(sample)]
        if not gaps.size:
            continue
        count = int(gaps[-1]) + 1
        if count >= NUM_FARTHEST:  # there may be more than were kept
            share = np.mean(deviations[:, j] >= ladder[gaps[-1]])
            count = max(count, round(share * survey.num_used))
        if count <= max(1, _FEW * survey.num_used):
            found[j] = count
    return found


def _tell_far_cells(
    survey: Survey, name: str, labels: list[str], far: dict[int, int]
) -> Iterator[Finding]:
    if far:
        texts = [
            f"{survey.farthest_value[0, j]:.6g} in row {survey.farthest_row[0, j]}, column "
            f"{labels[j]}"
            for j in far
        ]
        cells = listed(texts, separator="; ")
        message = (
            f"{name} has {_number(sum(far.values()), 'cell')} far away from all others in "
            f"{_number(len(far), 'column')} ({cells}; rows counted from 0), where a scale would "
            "be that of those cells. Mend them or drop those rows."
        )
        yield Finding("far_cells", message, serious=False)


def _equation(relation: Relation, labels: list[str]) -> str:
    # A number alone would read as a number.
    names = [label if label.startswith(("'", '"')) else f"column {label}" for label in labels]
    terms = [f"{_signed(c)} * {names[j]}" for j, c in relation.terms]
    rest = f" {_signed(relation.constant)}" if relation.constant else ""
    right = listed(terms, separator=" ") + rest
    return f"{names[relation.column]} = {right.removeprefix('+ ')}"


def _signed(number: float) -> str:
    return f"{'-' if number < 0 else '+'} {abs(number):.4g}"


def _counted(items: Sequence[str], noun: str) -> str:
    return f"{_number(len(items), noun)} ({listed(items)})"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' if count > 1 else ''}"
