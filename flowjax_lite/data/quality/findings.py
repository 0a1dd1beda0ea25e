"""What speaks against fitting a density to the rows of a survey."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from flowjax_lite.core.checks import listed
from flowjax_lite.data.quality.survey import NUM_FARTHEST, Survey

# Where one of these is found, no density fits.
_SERIOUS = ("not_finite", "few_rows", "constant", "copies", "collinear")

_MOST_DUPLICATED = 0.05  # part of the rows
_MOST_ERRORS = 4  # standard deviations of an estimate
_MOST_DISTINCT = 0.2  # whole numbers per row, where each has weight of its own
_WIDEST_GAP = 1e3  # between a cell and the next one nearer to the middle
_FARTHEST = 1e4  # typical deviations
_FEW = 0.02  # part of the rows that may lie far outside and still be a few
_LOST = 0.01  # rounding, in standard deviations
_UNIT = 1e-3, 1e3  # scales that layers learn to bring to one

# Of an equation between columns; variances, as parts of a column's own.
_ROUNDING = 4.0  # of sums of numbers, in squared units in the last place
_PRODUCTS = 1e-13  # of covariances in float64
_MOST_UNEXPLAINED = 1e-4  # where rounding alone could be the column
_LEAST_WEIGHT = 1e-3  # of a term worth naming

_GROWS = "the likelihood would grow without bound"
_NOISE = "fl.data.dequantize(levels, 256, seed=0), from the grey levels 0 to 255"


@dataclass(frozen=True)
class Finding:
    """Something that speaks against fitting a density to data.

    Attributes:
        kind: "not_finite", "constant", "copies", "collinear", "few_rows", "repeated_rows",
            "whole_numbers", "grey_levels", "offset", "scale" or "far_cells".
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

    Of events of more than one axis, such as images, entries are judged one by one: that all rows
    lie in a plane is no obstacle to layers that treat all places alike.

    Args:
        survey: The rows, at least one.
        name: What messages call the data.
        columns: Names of the d columns for messages; otherwise columns are numbered from 0, and
            entries of an image are named by their place.
        allow_degenerate: Look for NaN, infinite and far cells alone, as in conditions and
            validation rows, whose shape no density follows.
        unit_scale: Also find columns far from unit scale, for flows without a `data_map`.

    Raises:
        ValueError: The survey has seen no rows.
    """
    if not survey.num_rows:
        raise ValueError("the survey has seen no rows; give it some with survey.add(rows)")
    survey.close()
    problems = [
        Finding(kind, f"{name} has {sentence}", serious=kind in _SERIOUS)
        for kind, sentence in _judge(survey, columns, allow_degenerate, unit_scale).items()
    ]
    return tuple(sorted(problems, key=lambda finding: not finding.serious))


def _judge(
    survey: Survey, names: Sequence[str] | None, allow_degenerate: bool, unit_scale: bool
) -> dict[str, str]:
    """Check after check, tell by its kind what is found."""
    is_vector = len(survey.event_shape) == 1
    noun = "column" if is_vector else "entry"

    def label(j: int | np.integer) -> str:
        if names:
            return repr(names[int(j)])
        place = tuple(map(int, np.unravel_index(j, survey.event_shape)))
        return str(j) if is_vector else str(place)

    def counted(texts: Sequence[str]) -> str:
        return f"{_number(len(texts), noun)} ({listed(texts)})"

    told: dict[str, str] = {}
    if survey.first_bad is not None:
        row, column, value = survey.first_bad
        told["not_finite"] = (
            f"{_number(survey.num_bad, 'NaN or infinite cell')}, the first ({value}) in row {row} "
            f"(counted from 0), {noun} {label(column)}. Drop or fill those rows; a number beyond "
            "3.4e38 is infinite in float32."
        )
    if not survey.num_used:
        return told

    far = _far_cells(survey)
    if far:
        values, rows = survey.farthest_value[0], survey.farthest_row[0]
        cells = [f"{values[j]:.6g} in row {rows[j]}, {noun} {label(j)}" for j in far]
        told["far_cells"] = (
            f"{_number(sum(far.values()), 'cell')} far away from all others in "
            f"{_number(len(far), noun)} ({listed(cells, separator='; ')}; rows counted from 0), "
            "where a scale would be that of those cells. Mend them or drop those rows."
        )
    if allow_degenerate:
        return told

    if is_vector and survey.num_rows <= survey.dim:
        told["few_rows"] = (
            f"{_number(survey.num_rows, 'row')} for {_number(survey.dim, 'column')}; expected at "
            f"least {survey.dim + 1} rows, as fewer lie in a plane, and {_GROWS}. Gather more rows "
            "or drop columns."
        )
    varying = survey.low < survey.high
    if survey.num_used > 1 and not varying.all():
        fix = "Drop it." if is_vector else "Dequantise grey levels: fl.data.dequantize."
        columns = counted([label(j) for j in np.flatnonzero(~varying)])
        told["constant"] = f"{columns} with the same value in every row; {_GROWS}. {fix}"

    copies = _copies(survey, np.flatnonzero(varying))
    if copies:
        pairs = [f"{label(j)} = {label(first)}" for j, first in copies.items()]
        number = _number(len(pairs), f"duplicated {noun}")
        told["copies"] = f"{number} ({listed(pairs)}); {_GROWS}. Keep one of each."

    # Columns whose mean and deviation are not those of a few cells, nor lost in float64.
    near = varying.copy()
    near[list(far)] = False
    mean, std = survey.mean, np.sqrt(np.maximum(survey.variance, 0))
    measured = near & (std > 0) & (std < np.inf)
    if is_vector and survey.num_used > survey.dim:
        measured_once = measured.copy()
        measured_once[list(copies)] = False
        # A number alone would read as a number.
        named = label if names else lambda j: f"column {label(j)}"
        equations = _equations(survey, np.flatnonzero(measured_once), named)
        if equations:
            told["collinear"] = (
                f"{counted(equations)} that others determine up to rounding; {_GROWS}. Drop one "
                "column of each equation."
            )

    sketch, eps = survey.sketch, float(np.finfo(survey.dtype).eps)
    repeated = 1 - sketch.num_distinct() / survey.num_used
    # Numbers of few digits meet by chance: each column has some 1/eps values.
    by_chance = survey.num_used * eps**survey.dim
    if repeated > max(_MOST_DUPLICATED, _MOST_ERRORS * sketch.error) + by_chance:
        most = int(np.argmax(sketch.counts))
        told["repeated_rows"] = (
            f"{100 * repeated:.0f} % rows that repeat others, such as row {sketch.first[most]} "
            f"(counted from 0), which comes {sketch.counts[most]} times; the density would grow "
            "there without bound, and rows held out are known already. Drop repeats, or give each "
            "row once with weights."
        )

    # Numbers each of which comes so often that it has weight; large floats are whole anyway.
    largest = np.maximum(np.abs(survey.low), np.abs(survey.high)).astype(np.float64)
    with_fractions = varying & (largest * eps < 1)
    most_distinct = _MOST_DISTINCT * sketch.counts.sum()
    noise = "fl.data.dequantize_integers, or give them as a condition" if is_vector else _NOISE
    for kind, levels, described, fix in (
        ("whole_numbers", survey.whole, "whole numbers", noise),
        ("grey_levels", survey.grey & ~survey.whole, "multiples of 1/255", _NOISE),
    ):
        texts = [
            label(j)
            for j in np.flatnonzero(levels & with_fractions)
            if len(np.unique(sketch.values[:, j])) <= most_distinct
        ]
        if texts:
            sentence = f"with {described} alone, which have no density: add noise with {fix}."
            told[kind] = f"{counted(texts)} {sentence}"

    def spreads(columns: np.ndarray) -> str:
        texts = [f"{label(j)}: {mean[j]:.3g} ± {std[j]:.2g}" for j in np.flatnonzero(columns)]
        return counted(texts)

    offset = measured & (np.abs(mean) * eps > _LOST * std)
    if offset.any():
        told["offset"] = (
            f"{spreads(offset)} so far from zero that {survey.dtype} rounds off what varies. "
            "Subtract a constant in float64 first."
        )
    scale = near & ~measured
    if unit_scale:
        low, high = _UNIT
        scale |= measured & ~offset & ((std < low) | (np.hypot(mean, std) > high))
    if scale.any():
        told["scale"] = (
            f"{spreads(scale)} far from mean 0 and standard deviation 1, where layers start. "
            "Rescale them, or build the flow with "
            "data_map=fl.bijectors.Standardize.from_data(x)."
        )
    return told


def _far_cells(survey: Survey) -> dict[int, int]:
    """Find columns in which a few cells lie far outside, and about how many do.

    Heavy tails reach as far, but not across a gap: in a tail of 1/t, the farthest cell is a
    thousand times as far out as the next in one column of a thousand.
    """
    far = {}
    with np.errstate(over="ignore"):
        deviations = np.abs(survey.sketch.values - survey.centre)
    # Of all deviations, zeros included, the median is smaller: a bound that is quick to know.
    suspects = survey.farthest[0] > _FARTHEST * np.median(deviations, axis=0)
    for j in map(int, np.flatnonzero(suspects)):
        farthest, sample = survey.farthest[:, j], np.sort(deviations[:, j])[::-1]
        sample = sample[sample > 0]
        if not sample.size:
            continue
        ladder = np.append(farthest[farthest > 0], sample[sample < farthest[-1]])
        next_nearer = np.maximum(_WIDEST_GAP * ladder[1:], _FARTHEST * np.median(sample))
        count = int(np.append(0, np.flatnonzero(ladder[:-1] > next_nearer) + 1)[-1])
        if count >= NUM_FARTHEST:  # there may be more than were kept
            part = np.mean(deviations[:, j] >= ladder[count - 1])
            count = max(count, round(part * survey.num_used))
        if 0 < count <= max(1, _FEW * survey.num_used):
            far[j] = count
    return far


def _copies(survey: Survey, columns: Iterable[int]) -> dict[int, int]:
    """Map each column that is a copy of an earlier one to the first such."""
    first: dict[bytes, int] = {}
    copies = {}
    numbers = np.stack([survey.low, survey.high, survey.mean])
    for j in map(int, columns):
        key = numbers[:, j].tobytes() + survey.sketch.values[:, j].tobytes()
        if first.setdefault(key, j) != j:
            copies[j] = first[key]
    return copies


def _equations(
    survey: Survey, of: np.ndarray, named: Callable[[int | np.integer], str]
) -> list[str]:
    """Write columns that earlier ones determine up to rounding as sums of them.

    They are found by a Cholesky factorisation of the correlation of the columns `of`.
    """
    from scipy.linalg import solve_triangular

    mean, std = survey.mean[of], np.sqrt(survey.variance[of])
    correlation = survey.covariance[np.ix_(of, of)] / std[:, None] / std
    eps = float(np.finfo(survey.dtype).eps)
    rounding = _ROUNDING * eps**2 * (1 + (mean / std) ** 2)
    factor = np.zeros_like(correlation)  # its rows: what each kept column adds to the others
    kept: list[int] = []
    equations = []
    for i in range(len(of)):
        n = len(kept)
        unexplained = 1 - factor[:n, i] @ factor[:n, i]
        if unexplained < _MOST_UNEXPLAINED:
            weights = solve_triangular(factor[:n, kept], factor[:n, i])
            noise = rounding[i] + weights**2 @ rounding[kept]
            if unexplained < noise + _PRODUCTS * (1 + np.abs(weights).sum()) ** 2:
                slopes = weights * std[i] / std[kept]
                constant = mean[i] - slopes @ mean[kept]
                if abs(constant) < _LEAST_WEIGHT * std[i]:
                    constant = 0.0
                size = np.abs(weights)
                heavy = [k for k in np.argsort(-size) if size[k] > _LEAST_WEIGHT * size.max()]
                terms = [f"{_signed(slopes[k])} * {named(of[kept[k]])}" for k in heavy]
                right = listed(terms, separator=" ").removeprefix("+ ")
                rest = f" {_signed(constant)}" if constant else ""
                equations.append(f"{named(of[i])} = {right}{rest}")
                continue
        factor[n] = (correlation[i] - factor[:n, i] @ factor[:n]) / np.sqrt(unexplained)
        kept.append(i)
    return equations


def _signed(number: float) -> str:
    return f"{'-' if number < 0 else '+'} {abs(number):.4g}"


def _number(count: int, noun: str) -> str:
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count} {noun if count == 1 else plural}"
