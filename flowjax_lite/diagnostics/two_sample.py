"""How well a classifier tells samples from a reference."""

from typing import Any

import numpy as np

from flowjax_lite.core.checks import check_positive_int
from flowjax_lite.core.extra import import_extra

_FOLDS = 5


def c2st(reference: Any, samples: Any, *, seed: int = 1) -> float:
    """The accuracy of a classifier between two sets of samples: 0.5 where they are alike.

    As the benchmark sbibm defines it, so that numbers can be compared with those published for
    it: both sets in units of the mean and standard deviation of the reference; a network with two
    hidden layers of 10 · dim units, trained until it no longer improves; its accuracy on rows held
    out, the mean over 5 folds. Other classifiers give other numbers, and so do the two sets in the
    other order. The published numbers are of 10,000 samples against 10,000.

    Lopez-Paz and Oquab, 2017, arXiv:1610.06545; Lueckmann, Boelts, Greenberg, Goncalves and Macke,
    2021, arXiv:2101.04653.

    Args:
        reference: (rows, dim), exact samples.
        samples: (rows, dim), as many samples of a model.
        seed: of the folds and the classifier.

    Returns:
        The accuracy, from about 0.5 to 1.

    Raises:
        ImportError: scikit-learn is missing.
        ValueError: the shapes differ, a number is not finite, or an entry of the reference is
            constant.

    Example:
        >>> import numpy as np, flowjax_lite as fl
        >>> rng = np.random.default_rng(0)
        >>> fl.diagnostics.c2st(rng.normal(size=(100, 1)), rng.normal(9.0, size=(100, 1))) > 0.9
        True
    """
    selection = import_extra("sklearn.model_selection", "interop")
    neural_network = import_extra("sklearn.neural_network", "interop")
    check_positive_int(seed, "seed", minimum=0)
    sets = {"reference": np.asarray(reference), "samples": np.asarray(samples)}
    for name, rows in sets.items():
        if rows.ndim != 2 or rows.shape != sets["reference"].shape or len(rows) < _FOLDS:
            raise ValueError(
                f"{name} has shape {rows.shape}; expected (rows, dim) of at least {_FOLDS} rows, "
                f"and the same for reference and samples"
            )
        if not np.isfinite(rows).all():
            raise ValueError(f"{name} holds numbers that are not finite: leave such rows out")
    mean, scale = sets["reference"].mean(axis=0), sets["reference"].std(axis=0, ddof=1)
    if not scale.all():
        raise ValueError(f"reference[:, {int(np.argmin(scale))}] is constant: leave it out of both")
    both = np.concatenate([(rows - mean) / scale for rows in sets.values()])
    labels = np.repeat([0, 1], len(both) // 2)
    width = 10 * both.shape[1]
    classifier = neural_network.MLPClassifier((width, width), max_iter=10_000, random_state=seed)
    folds = selection.KFold(_FOLDS, shuffle=True, random_state=seed)
    score = selection.cross_val_score
    return float(score(classifier, both, labels, cv=folds, scoring="accuracy").mean())
