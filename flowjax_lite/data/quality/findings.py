"""What speaks against fitting a density to the rows of a survey: a sentence for each kind."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from flowjax_lite.core.checks import listed
from flowjax_lite.data.quality.survey import NUM_FARTHEST, Survey

# Kinds of findings, in the order in which they are told. Where a serious one is, no density fits.
_SERIOUS = ("not_finite", "few_rows", "constant", "copies", "collinear")
_OTHERS = ("far_cells", "repeated_rows", "whole_numbers", "grey_levels", "offset", "scale")
_ALWAYS_BAD = ("not_finite", "far_cells")  # in conditions and validation rows, too

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
        kind: "not_finite", "few_rows", "constant", "copies", "collinear", "far_cells",
            "repeated_rows", "whole_numbers", "grey_levels", "offset" or "scale".
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
    judge = _Judge(survey, columns, unit_scale)
    kinds: tuple[str, ...] = _ALWAYS_BAD if allow_degenerate else _SERIOUS + _OTHERS
    if not survey.num_used:
        kinds = ("not_finite",)
    return tuple(
        Finding(kind, f"{name} has {sentence}", serious=kind in _SERIOUS)
        for kind in kinds
        for sentence in getattr(judge, kind)()
    )


class _Judge:
    """For each kind of finding a method that yields its sentence where there is cause.

    Args:
        survey: The rows, none of them waiting.
        columns: Names of the columns, or None.
        unit_scale: Whether columns should be near unit scale.
    """

    def __init__(self, survey: Survey, columns: Sequence[str] | None, unit_scale: bool) -> None:
        self.survey, self.columns, self.unit_scale = survey, columns, unit_scale
        self.is_vector = len(survey.event_shape) == 1
        self.noun = "column" if self.is_vector else "entry"
        self.varying = survey.low < survey.high
        self.eps = float(np.finfo(survey.dtype).eps)

    def label(self, j: int | np.integer) -> str:
        """What messages call a column, or an entry of an image."""
        if self.columns:
            return repr(self.columns[int(j)])
        place = tuple(map(int, np.unravel_index(j, self.survey.event_shape)))
        return str(j) if self.is_vector else str(place)

    def counted(self, items: Iterable[str]) -> str:
        """Say how many columns there are, and which."""
        items = list(items)
        return f"{_number(len(items), self.noun)} ({listed(items)})"

    def not_finite(self) -> Iterator[str]:
        if self.survey.first_bad is not None:
            row, column, value = self.survey.first_bad
            yield (
                f"{_number(self.survey.num_bad, 'NaN or infinite cell')}, the first ({value}) in "
                f"row {row} (counted from 0), {self.noun} {self.label(column)}. Drop or fill those "
                "rows; a number beyond 3.4e38 is infinite in float32."
            )

    def few_rows(self) -> Iterator[str]:
        rows, dim = self.survey.num_rows, self.survey.dim
        if self.is_vector and rows <= dim:
            yield (
                f"{_number(rows, 'row')} for {_number(dim, 'column')}; expected at least {dim + 1} "
                f"rows, as fewer lie in a plane, and {_GROWS}. Gather more rows or drop columns."
            )

    def constant(self) -> Iterator[str]:
        if self.survey.num_used > 1 and not self.varying.all():
            columns = self.counted(self.label(j) for j in np.flatnonzero(~self.varying))
            fix = "Drop it." if self.is_vector else "Dequantise grey levels: fl.data.dequantize."
            yield f"{columns} with the same value in every row; {_GROWS}. {fix}"

    @cached_property
    def first_copies(self) -> dict[int, int]:
        """Of each column that is a copy of an earlier one, the first such."""
        survey, copies = self.survey, {}
        first: dict[bytes, int] = {}
        numbers = np.stack([survey.low, survey.high, survey.mean])
        for j in map(int, np.flatnonzero(self.varying)):
            key = numbers[:, j].tobytes() + survey.sketch.values[:, j].tobytes()
            if first.setdefault(key, j) != j:
                copies[j] = first[key]
        return copies

    def copies(self) -> Iterator[str]:
        if self.first_copies:
            pairs = [f"{self.label(j)} = {self.label(i)}" for j, i in self.first_copies.items()]
            number = _number(len(pairs), f"duplicated {self.noun}")
            yield f"{number} ({listed(pairs)}); {_GROWS}. Keep one of each."

    def collinear(self) -> Iterator[str]:
        """Find columns that earlier ones determine up to rounding, by a Cholesky factorisation."""
        if not self.is_vector or self.survey.num_used <= self.survey.dim:
            return
        from scipy.linalg import solve_triangular

        # Far cells drown the rest of their columns, and tie them to each other.
        of = self.measured.copy()
        of[list(self.first_copies)] = False
        columns, mean, std = np.flatnonzero(of), self.survey.mean[of], self.std[of]
        correlation = self.survey.covariance[np.ix_(of, of)] / std[:, None] / std
        rounding = _ROUNDING * self.eps**2 * (1 + (mean / std) ** 2)
        factor = np.zeros_like(correlation)  # its rows: what each kept column adds to the others
        kept: list[int] = []
        equations = []
        for i in range(len(columns)):
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
                    heavy = np.argsort(-np.abs(weights), kind="stable")
                    heavy = heavy[np.abs(weights[heavy]) > _LEAST_WEIGHT * np.abs(weights).max()]
                    terms = {columns[kept[k]]: slopes[k] for k in heavy}
                    equations.append(self.equation(columns[i], terms, constant))
                    continue
            factor[n] = (correlation[i] - factor[:n, i] @ factor[:n]) / np.sqrt(unexplained)
            kept.append(i)
        if equations:
            yield (
                f"{self.counted(equations)} that others determine up to rounding; {_GROWS}. Drop "
                "one column of each equation."
            )

    def equation(self, j: int, terms: Mapping[int, float], constant: float) -> str:
        """Write a column as a sum of others and a constant."""

        def name(j: int) -> str:
            return self.label(j) if self.columns else f"column {self.label(j)}"

        right = listed((f"{_signed(c)} * {name(i)}" for i, c in terms.items()), separator=" ")
        rest = f" {_signed(constant)}" if constant else ""
        return f"{name(j)} = {right.removeprefix('+ ')}{rest}"

    @cached_property
    def far(self) -> dict[int, int]:
        """Columns in which a few cells lie far outside, and about how many do.

        Heavy tails reach as far, but not across a gap: in a tail of 1/t, the farthest cell is a
        thousand times as far out as the next in one column of a thousand.
        """
        survey, far = self.survey, {}
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

    def far_cells(self) -> Iterator[str]:
        if self.far:
            values, rows = self.survey.farthest_value[0], self.survey.farthest_row[0]
            cells = [
                f"{values[j]:.6g} in row {rows[j]}, {self.noun} {self.label(j)}" for j in self.far
            ]
            yield (
                f"{_number(sum(self.far.values()), 'cell')} far away from all others in "
                f"{_number(len(self.far), self.noun)} ({listed(cells, separator='; ')}; rows "
                "counted from 0), where a scale would be that of those cells. Mend them or drop "
                "those rows."
            )

    def repeated_rows(self) -> Iterator[str]:
        sketch, num_rows = self.survey.sketch, self.survey.num_used
        repeated = 1 - sketch.num_distinct() / num_rows
        # Numbers of few digits meet by chance: each column has some 1/eps values.
        by_chance = num_rows * self.eps**self.survey.dim
        if repeated > max(_MOST_DUPLICATED, _MOST_ERRORS * sketch.error) + by_chance:
            most = int(np.argmax(sketch.counts))
            yield (
                f"{100 * repeated:.0f} % rows that repeat others, such as row {sketch.first[most]} "
                f"(counted from 0), which comes {sketch.counts[most]} times; the density would "
                "grow there without bound, and rows held out are known already. Drop repeats, or "
                "give each row once with weights."
            )

    def whole_numbers(self) -> Iterator[str]:
        fix = "fl.data.dequantize_integers, or give them as a condition"
        return self.levels(self.survey.whole, "whole numbers", fix if self.is_vector else _NOISE)

    def grey_levels(self) -> Iterator[str]:
        grey = self.survey.grey & ~self.survey.whole
        return self.levels(grey, "multiples of 1/255", _NOISE)

    def levels(self, are_levels: np.ndarray, described: str, fix: str) -> Iterator[str]:
        """Find numbers each of which comes so often that it has weight of its own."""
        survey, sketch = self.survey, self.survey.sketch
        largest = np.maximum(np.abs(survey.low), np.abs(survey.high)).astype(np.float64)
        # Large floats are whole by themselves.
        candidates = np.flatnonzero(are_levels & self.varying & (largest * self.eps < 1))
        most = _MOST_DISTINCT * sketch.counts.sum()
        labels = [self.label(j) for j in candidates if len(np.unique(sketch.values[:, j])) <= most]
        if labels:
            yield (
                f"{self.counted(labels)} with {described} alone, which have no density: add noise "
                f"with {fix}."
            )

    def offset(self) -> Iterator[str]:
        sentence = (
            f"so far from zero that {self.survey.dtype} rounds off what varies. Subtract a "
            "constant in float64 first."
        )
        return self.scales(self.is_offset, sentence)

    def scale(self) -> Iterator[str]:
        far = self.near & ~self.measured
        if self.unit_scale:
            low, high = _UNIT
            largest = np.hypot(self.survey.mean, self.std)
            far |= self.measured & ~self.is_offset & ((self.std < low) | (largest > high))
        sentence = (
            "far from mean 0 and standard deviation 1, where layers start. Rescale them, or build "
            "the flow with data_map=fl.bijectors.Standardize.from_data(x)."
        )
        return self.scales(far, sentence)

    def scales(self, of: np.ndarray, sentence: str) -> Iterator[str]:
        """Say the mean and the standard deviation of columns."""
        if of.any():
            columns = self.counted(
                f"{self.label(j)}: {self.survey.mean[j]:.3g} ± {self.std[j]:.2g}"
                for j in np.flatnonzero(of)
            )
            yield f"{columns} {sentence}"

    @cached_property
    def near(self) -> np.ndarray:
        """Columns that vary, and not because of a few far cells."""
        near = self.varying.copy()
        near[list(self.far)] = False
        return near

    @cached_property
    def std(self) -> np.ndarray:
        return np.sqrt(np.maximum(self.survey.variance, 0))

    @cached_property
    def measured(self) -> np.ndarray:
        """Columns of these whose squares neither vanish nor overflow in float64."""
        return self.near & (self.std > 0) & (self.std < np.inf)

    @cached_property
    def is_offset(self) -> np.ndarray:
        return self.measured & (np.abs(self.survey.mean) * self.eps > _LOST * self.std)


def _signed(number: float) -> str:
    return f"{'-' if number < 0 else '+'} {abs(number):.4g}"


def _number(count: int, noun: str) -> str:
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count} {noun if count == 1 else plural}"
