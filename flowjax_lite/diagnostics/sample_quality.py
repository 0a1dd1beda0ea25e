"""How near samples are to data, in features of both: distances, precision and recall, copies.

Features are rows of numbers in which distances mean something, such as the last hidden layer of a
classifier of the same images.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from flowjax_lite.core.checks import check_positive_int

_CHUNK = 1000  # rows whose distances to all others are in memory at once


class PrecisionRecall(NamedTuple):
    """What `precision_recall` measures.

    Attributes:
        precision: the fraction of samples that look like data.
        recall: the fraction of data that look like samples.
    """

    precision: float
    recall: float


def frechet_distance(reference: ArrayLike, samples: ArrayLike) -> float:
    """The Fréchet distance between the normal distributions of two sets of features.

        |μ - ν|² + tr(Σ + T - 2 (Σ T)^½)

    It is zero where means and covariances agree. With few rows it is too large: compare numbers
    from equally many, and with that of two parts of the data.

    Heusel et al., 2017, arXiv:1706.08500, equation 6, there of Inception features; those here are
    any.

    Args:
        reference: (rows, features), of data.
        samples: (other rows, features), of samples.

    Returns:
        The distance, squared as usual.

    Raises:
        ValueError: the arrays are no rows of equally many finite features, or have fewer than two
            rows.
    """
    a, b = _check(reference, samples, fewest=2)
    shift = a.mean(axis=0) - b.mean(axis=0)
    first, second = (np.atleast_2d(np.cov(rows, rowvar=False)) for rows in (a, b))
    # The trace of (Σ T)^½ by a symmetric matrix of the same eigenvalues.
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    products = np.linalg.eigvalsh(root @ second @ root)
    common = np.sum(np.sqrt(np.maximum(products, 0)))
    return float(shift @ shift + np.trace(first) + np.trace(second) - 2 * common)


def precision_recall(
    reference: ArrayLike, samples: ArrayLike, *, num_neighbors: int = 3
) -> PrecisionRecall:
    """Which samples look like data, and which data like samples.

    A row looks like those of a set if it is no farther from one of them than that one is from its
    num_neighbors-th nearest neighbour in the set. Samples that are few and good have precision
    without recall; samples that are noise around all data have recall without precision.

    Kynkäänniemi et al., 2019, arXiv:1904.06991, section 2.

    Args:
        reference: (rows, features), of data.
        samples: (other rows, features), of samples, best equally many.
        num_neighbors: which neighbour sets the radius.

    Returns:
        Both fractions.

    Raises:
        ValueError: the arrays are no rows of equally many finite features, or no more than
            num_neighbors of them.
    """
    number = check_positive_int(num_neighbors, "num_neighbors")
    data, drawn = _check(reference, samples, fewest=number + 1)
    return PrecisionRecall(_covered(drawn, data, number), _covered(data, drawn, number))


def nearest_distances(samples: ArrayLike, reference: ArrayLike) -> np.ndarray:
    """The distance of each row to the nearest one of another set.

    A model that has memorised its training data has samples that are nearer to them than data
    held out are: compare `nearest_distances(samples, train)` with `nearest_distances(test, train)`.

    Args:
        samples: (rows, features).
        reference: (other rows, features).

    Returns:
        (rows,).

    Raises:
        ValueError: the arrays are no rows of equally many finite features.
    """
    data, drawn = _check(reference, samples, fewest=1)
    return np.concatenate([_distances(part, data).min(axis=1) for part in _chunks(drawn)])


def _covered(rows: np.ndarray, others: np.ndarray, number: int) -> float:
    """The fraction of rows that lie within the radius of one of the others."""
    # Each row is its own nearest neighbour.
    radii = np.concatenate(
        [
            np.partition(_distances(part, others), number, axis=1)[:, number]
            for part in _chunks(others)
        ]
    )
    inside = [np.any(_distances(part, others) <= radii, axis=1) for part in _chunks(rows)]
    return float(np.mean(np.concatenate(inside)))


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(rows of a, rows of b)."""
    from scipy.spatial.distance import cdist

    return np.asarray(cdist(a, b))


def _chunks(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[i : i + _CHUNK] for i in range(0, len(rows), _CHUNK)]


def _check(
    reference: ArrayLike, samples: ArrayLike, *, fewest: int
) -> tuple[np.ndarray, np.ndarray]:
    """Both as rows of float64.

    Raises:
        ValueError: see above.
    """
    sets = {"reference": reference, "samples": samples}
    data, drawn = (np.asarray(rows, np.float64) for rows in sets.values())
    if data.ndim != 2 or drawn.ndim != 2 or data.shape[1:] != drawn.shape[1:]:
        raise ValueError(
            f"reference has shape {data.shape} and samples {drawn.shape}; expected (rows, "
            f"features) of both, with equally many features: flatten images"
        )
    for name, rows in zip(sets, (data, drawn), strict=True):
        if len(rows) < fewest:
            raise ValueError(f"{name} has {len(rows)} rows; expected at least {fewest}")
        if not np.isfinite(rows).all():
            raise ValueError(f"{name} has entries that are NaN or infinite: leave those rows out")
    return data, drawn
