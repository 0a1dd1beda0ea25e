"""What speaks against fitting a density to the rows of a survey."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from flowjax_lite.core.checks import listed
from flowjax_lite.data.quality.survey import NUM_FARTHEST, Survey

_MOST_DUPLICATED = 0.05  # part of the rows
_MOST_ERRORS = 4  # standard deviations of an estimate
_MOST_DISTINCT = 0.2  # whole numbers per row, where each has weight of its own
_WIDEST_GAP = 1e3  # between a cell and the next one nearer to the middle
_FARTHEST = 1e4  # typical deviations
_FEW = 0.02  # part of the rows that may lie far outside and still be a few
_LOST = 0.01  # rounding, in standard deviations
_UNIT = 1e-3, 1e3  # scales that layers learn to bring to one

_NOISE = "fl.data.dequantize(levels, 256, seed=0), from the grey levels 0 to 255"

# Of an equation between columns; variances, as parts of a column's own.
_ROUNDING = 4.0  # of sums of numbers, in squared units in the last place
_PRODUCTS = 1e-13  # of covariances in float64
_MOST_UNEXPLAINED = 1e-4  # where rounding alone could be the column
_LEAST_WEIGHT = 1e-3  # of a term worth naming


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
    judge = _Judge(survey, name, columns)
    problems = list(judge.not_finite())
    if survey.num_used:
        problems += judge.far_cells()
        if not allow_degenerate:
            problems += judge.degenerate()
            problems += judge.repeated_rows()
            problems += judge.levels()
            problems += judge.scales(unit_scale)
    return tuple(sorted(problems, key=lambda finding: not finding.serious))


class _Judge:
    """The findings of each kind.

    Args:
        survey: The rows, none of them waiting.
        name: What messages call them.
        columns: Names of the columns, or None.
    """

    def __init__(self, survey: Survey, name: str, columns: Sequence[str] | None) -> None:
        self.survey, self.name, self.columns = survey, name, columns
        self.is_vector = len(survey.event_shape) == 1
        self.noun = "column" if self.is_vector else "entry"
        self.varying = survey.low < survey.high
        self.far = _far_cells(survey) if survey.num_used else {}

    def label(self, j: int | np.integer) -> str:
        """What messages call a column, or an entry of an image."""
        if self.columns:
            return repr(self.columns[int(j)])
        place = tuple(map(int, np.unravel_index(j, self.survey.event_shape)))
        return str(j) if self.is_vector else str(place)

    def not_finite(self) -> Iterator[Finding]:
        if self.survey.first_bad is not None:
            row, column, value = self.survey.first_bad
            message = (
                f"{self.name} has {_number(self.survey.num_bad, 'NaN or infinite cell')}, the "
                f"first ({value}) in row {row} (counted from 0), {self.noun} {self.label(column)}."
                " Drop or fill those rows; a number beyond 3.4e38 is infinite in float32."
            )
            yield Finding("not_finite", message, serious=True)

    def degenerate(self) -> Iterator[Finding]:
        """Find what lets the likelihood grow without bound."""
        survey, name, label = self.survey, self.name, self.label
        if self.is_vector and survey.num_rows <= survey.dim:
            message = (
                f"{name} has {_number(survey.num_rows, 'row')} for {_number(survey.dim, 'column')};"
                f" expected at least {survey.dim + 1} rows, as fewer lie in a plane, and the "
                "likelihood would grow without bound. Gather more rows or drop columns."
            )
            yield Finding("few_rows", message, serious=True)
        if survey.num_used == 1:
            return  # all columns of one row are constant
        if not self.varying.all():
            fix = "Drop it." if self.is_vector else "Dequantise grey levels: fl.data.dequantize."
            message = (
                f"{name} has {self._counted(label(j) for j in np.flatnonzero(~self.varying))} "
                f"with the same value in every row; the likelihood would grow without bound. {fix}"
            )
            yield Finding("constant", message, serious=True)
        varying = [int(j) for j in np.flatnonzero(self.varying)]
        copies = _copies(survey, varying)
        if copies:
            pairs = [f"{label(j)} = {label(first)}" for j, first in copies.items()]
            message = (
                f"{name} has {_number(len(pairs), f'duplicated {self.noun}')} ({listed(pairs)}); "
                "the likelihood would grow without bound. Keep one of each."
            )
            yield Finding("copies", message, serious=True)
        if self.is_vector and survey.num_used > survey.dim:
            # Far cells drown the rest of their columns, and tie them to each other.
            candidates = [j for j in varying if j not in copies and j not in self.far]
            equations = [_equation(each, label) for each in _relations(survey, candidates)]
            if equations:
                message = (
                    f"{name} has {self._counted(equations)} that others determine up to rounding; "
                    "the likelihood would grow without bound. Drop one column of each equation."
                )
                yield Finding("collinear", message, serious=True)

    def repeated_rows(self) -> Iterator[Finding]:
        sketch, num_rows = self.survey.sketch, self.survey.num_used
        repeated = 1 - sketch.num_distinct() / num_rows
        # Numbers of few digits meet by chance: each column has some 1/eps values.
        by_chance = num_rows * float(np.finfo(self.survey.dtype).eps) ** self.survey.dim
        if repeated > max(_MOST_DUPLICATED, _MOST_ERRORS * sketch.error) + by_chance:
            most = int(np.argmax(sketch.counts))
            message = (
                f"{self.name} has {100 * repeated:.0f} % rows that repeat others, such as row "
                f"{sketch.first[most]} (counted from 0), which comes {sketch.counts[most]} times; "
                "the density would grow there without bound, and rows held out are known already. "
                "Drop repeats, or give each row once with weights."
            )
            yield Finding("repeated_rows", message, serious=False)

    def levels(self) -> Iterator[Finding]:
        """Find numbers that are whole, or grey levels: each comes so often that it has weight."""
        survey, sketch = self.survey, self.survey.sketch
        largest = np.maximum(np.abs(survey.low), np.abs(survey.high)).astype(np.float64)
        # Large floats are whole by themselves.
        have_fractions = largest * np.finfo(survey.dtype).eps < 1
        most = _MOST_DISTINCT * sketch.counts.sum()
        noise = "fl.data.dequantize_integers, or give them as a condition"
        kinds = (
            ("whole_numbers", survey.whole, "whole numbers", noise if self.is_vector else _NOISE),
            ("grey_levels", survey.grey & ~survey.whole, "multiples of 1/255", _NOISE),
        )
        for kind, columns, described, fix in kinds:
            labels = [
                self.label(j)
                for j in np.flatnonzero(columns & have_fractions & self.varying)
                if len(np.unique(sketch.values[:, j])) <= most
            ]
            if labels:
                message = (
                    f"{self.name} has {self._counted(labels)} with {described} alone, which have "
                    f"no density: add noise with {fix}."
                )
                yield Finding(kind, message, serious=False)

    def scales(self, unit_scale: bool) -> Iterator[Finding]:
        mean, variance, dtype = self.survey.mean, self.survey.variance, self.survey.dtype
        std = np.sqrt(np.maximum(variance, 0))
        varying = self.varying.copy()
        varying[list(self.far)] = False  # their means and deviations are those of a few cells
        measured = varying & (variance > 0) & np.isfinite(variance)
        offset = measured & (np.abs(mean) * float(np.finfo(dtype).eps) > _LOST * std)
        scale = varying & ~measured
        if unit_scale:
            low, high = _UNIT
            scale |= measured & ~offset & ((std < low) | (np.hypot(mean, std) > high))

        def told(columns: np.ndarray) -> str:
            return self._counted(
                f"{self.label(j)}: {mean[j]:.3g} ± {std[j]:.2g}" for j in np.flatnonzero(columns)
            )

        if offset.any():
            message = (
                f"{self.name} has {told(offset)} so far from zero that {dtype} rounds off what "
                "varies. Subtract a constant in float64 first."
            )
            yield Finding("offset", message, serious=False)
        if scale.any():
            message = (
                f"{self.name} has {told(scale)} far from mean 0 and standard deviation 1, where "
                "layers start. Rescale them, or build the flow with "
                "data_map=fl.bijectors.Standardize.from_data(x)."
            )
            yield Finding("scale", message, serious=False)

    def far_cells(self) -> Iterator[Finding]:
        if self.far:
            values, rows = self.survey.farthest_value[0], self.survey.farthest_row[0]
            texts = (
                f"{values[j]:.6g} in row {rows[j]}, {self.noun} {self.label(j)}" for j in self.far
            )
            message = (
                f"{self.name} has {_number(sum(self.far.values()), 'cell')} far away from all "
                f"others in {_number(len(self.far), self.noun)} ({listed(texts, separator='; ')}; "
                "rows counted from 0), where a scale would be that of those cells. Mend them or "
                "drop those rows."
            )
            yield Finding("far_cells", message, serious=False)

    def _counted(self, items: Iterable[str]) -> str:
        items = list(items)
        return f"{_number(len(items), self.noun)} ({listed(items)})"


def _far_cells(survey: Survey) -> dict[int, int]:
    """Find columns in which a few cells lie far outside, and about how many do.

    Heavy tails reach as far, but not across a gap: in a tail of 1/t, the farthest cell is a
    thousand times as far out as the next in one column of a thousand.
    """
    with np.errstate(over="ignore"):
        deviations = np.abs(survey.sketch.values - survey.centre)
    far = {}
    # Of all deviations, zeros included, the median is smaller: a bound that is quick to know.
    suspects = survey.farthest[0] > _FARTHEST * np.median(deviations, axis=0)
    for j in map(int, np.flatnonzero(suspects)):
        farthest = survey.farthest[:, j]
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
            part = np.mean(deviations[:, j] >= ladder[gaps[-1]])
            count = max(count, round(part * survey.num_used))
        if count <= max(1, _FEW * survey.num_used):
            far[j] = count
    return far


class _Relation(NamedTuple):
    """An equation between columns: column = Σ coefficient · other + constant.

    Attributes:
        column: Which column follows from the others.
        terms: Pairs of another column and its coefficient.
        constant: The rest; zero where that is small beside the column's spread.
    """

    column: int
    terms: tuple[tuple[int, float], ...]
    constant: float


def _copies(survey: Survey, columns: Sequence[int]) -> dict[int, int]:
    """Map each column that is a copy of an earlier one to the first such."""
    first: dict[bytes, int] = {}
    copies = {}
    numbers = np.stack([survey.low, survey.high, survey.mean])
    for j in columns:
        key = numbers[:, j].tobytes() + survey.sketch.values[:, j].tobytes()
        if first.setdefault(key, j) != j:
            copies[j] = first[key]
    return copies


def _relations(survey: Survey, columns: Sequence[int]) -> list[_Relation]:
    """Find columns that earlier columns determine up to rounding, by a Cholesky factorisation.

    Args:
        survey: The rows.
        columns: Which columns to look at, none of them constant.
    """
    from scipy.linalg import solve_triangular

    variance = np.diag(survey.covariance)
    of = np.array([j for j in columns if 0 < variance[j] < np.inf], int)
    mean, std = survey.mean[of], np.sqrt(variance[of])
    correlation = survey.covariance[np.ix_(of, of)] / std[:, None] / std
    rounding = _ROUNDING * float(np.finfo(survey.dtype).eps) ** 2 * (1 + (mean / std) ** 2)
    factor = np.zeros((len(of), len(of)))
    kept: list[int] = []
    equations = []
    for i, j in enumerate(of):
        n = len(kept)
        row = solve_triangular(factor[:n, :n], correlation[kept, i], lower=True)
        weights = solve_triangular(factor[:n, :n], row, lower=True, trans="T")
        unexplained = 1 - row @ row
        noise = rounding[i] + weights**2 @ rounding[kept]
        noise += _PRODUCTS * (1 + np.abs(weights).sum()) ** 2
        if unexplained > min(noise, _MOST_UNEXPLAINED):
            factor[n, :n], factor[n, n] = row, np.sqrt(unexplained)
            kept.append(i)
            continue
        coefficients = weights * std[i] / std[kept]
        constant = mean[i] - coefficients @ mean[kept]
        if abs(constant) < _LEAST_WEIGHT * std[i]:
            constant = 0.0
        heavy = np.flatnonzero(np.abs(weights) > _LEAST_WEIGHT * np.abs(weights).max())
        heavy = heavy[np.argsort(-np.abs(weights[heavy]), kind="stable")]
        terms = tuple((int(of[kept[k]]), float(coefficients[k])) for k in heavy)
        equations.append(_Relation(int(j), terms, float(constant)))
    return equations


def _equation(relation: _Relation, label: Callable[[int], str]) -> str:
    # A number alone would read as a number.
    name, *others = [
        text if text.startswith(("'", '"')) else f"column {text}"
        for text in map(label, (relation.column, *(j for j, _ in relation.terms)))
    ]
    terms = [
        f"{_signed(c)} * {other}" for (_, c), other in zip(relation.terms, others, strict=True)
    ]
    rest = f" {_signed(relation.constant)}" if relation.constant else ""
    right = listed(terms, separator=" ") + rest
    return f"{name} = {right.removeprefix('+ ')}"


def _signed(number: float) -> str:
    return f"{'-' if number < 0 else '+'} {abs(number):.4g}"


def _number(count: int, noun: str) -> str:
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count} {noun if count == 1 else plural}"
