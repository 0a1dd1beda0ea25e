"""Columns that follow from other columns, so that rows lie in a plane."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flowjax_lite.data.survey import Survey

# Variances, as shares of a column's own.
_ROUNDING = 4.0  # of sums of numbers, in squared units in the last place
_PRODUCTS = 1e-13  # of covariances in float64
_MOST_UNEXPLAINED = 1e-4  # where rounding alone could be the column
_LEAST_WEIGHT = 1e-3  # of a term worth naming


@dataclass(frozen=True)
class Relation:
    """An equation between columns: column = Σ coefficient · other + constant.

    Attributes:
        column: Which column follows from the others.
        terms: Pairs of another column and its coefficient.
        constant: The rest; zero where that is small beside the column's spread.
    """

    column: int
    terms: tuple[tuple[int, float], ...]
    constant: float


def copies(survey: Survey, columns: Sequence[int]) -> dict[int, int]:
    """Map each column that is a copy of an earlier one to the first such."""
    first: dict[bytes, int] = {}
    found = {}
    numbers = np.stack([survey.low, survey.high, survey.mean])
    for j in columns:
        key = numbers[:, j].tobytes() + survey.sketch.values[:, j].tobytes()
        if first.setdefault(key, j) != j:
            found[j] = first[key]
    return found


def relations(survey: Survey, columns: Sequence[int]) -> list[Relation]:
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
    found = []
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
        found.append(Relation(int(j), terms, float(constant)))
    return found
