"""Small real data sets that come with scikit-learn."""

from collections.abc import Callable

import numpy as np

from flowjax_lite.core.checks import check_choice
from flowjax_lite.core.extra import import_extra
from flowjax_lite.data.dataset import Dataset, Split, split
from flowjax_lite.data.domains import dequantize
from flowjax_lite.data.labels import one_hot

NUM_LEVELS = 17  # of the digits' pixels


def digits(seed: int = 0, *, noise_copies: int = 1, labels: str | None = None) -> Dataset:
    """1797 handwritten digits of 8 × 8 pixels with 17 grey levels, dequantised.

    Args:
        seed: Seed of the noise and of the split into 1300, 200 and 297 rows.
        noise_copies: How often each training image appears, each time with noise of its own;
            more copies keep a flow from learning the noise. Validation and test images appear
            once.
        labels: "target" takes the digit that each image shows as the condition, one-hot.

    Returns:
        The data set, 64 columns in [0, 1).

    Raises:
        ValueError: labels is another word.
    """
    bunch = import_extra("sklearn.datasets", "data").load_digits()
    schema, condition = None, None
    if labels is not None:
        check_choice(labels, ("target",), "labels")
        schema, condition = one_hot(bunch.target)
    first, *others = split(bunch.data, condition=condition, seed=seed, validation=200, test=297)
    copies = first[np.tile(np.arange(len(first)), noise_copies)]
    train, validation, test = (
        Split(dequantize(part.x, NUM_LEVELS, seed=[seed, i]), part.condition)
        for i, part in enumerate((copies, *others))
    )
    return Dataset(
        "digits",
        train,
        validation,
        test,
        columns=tuple(bunch.feature_names),
        condition_columns=() if schema is None else schema.columns,
        condition_schema=schema,
        image_shape=(8, 8),
        num_levels=NUM_LEVELS,
    )


def breast_cancer(seed: int = 0) -> Dataset:
    """569 breast tumours, 30 measurements of each.

    Args:
        seed: Seed of the split into 70, 15 and 15 per cent.

    Returns:
        The data set, 30 columns.
    """
    return _table("breast_cancer", seed)


def wine(seed: int = 0) -> Dataset:
    """178 wines, 13 chemical measurements of each.

    Args:
        seed: Seed of the split into 70, 15 and 15 per cent.

    Returns:
        The data set, 13 columns.
    """
    return _table("wine", seed)


def iris(seed: int = 0) -> Dataset:
    """150 iris flowers, 4 measurements of each.

    Args:
        seed: Seed of the split into 70, 15 and 15 per cent.

    Returns:
        The data set, 4 columns.
    """
    return _table("iris", seed)


_LOADERS = (digits, breast_cancer, wine, iris)
EMBEDDED: dict[str, Callable[..., Dataset]] = {loader.__name__: loader for loader in _LOADERS}


def _table(name: str, seed: int) -> Dataset:
    bunch = getattr(import_extra("sklearn.datasets", "data"), f"load_{name}")()
    parts = split(bunch.data, seed=seed, validation=0.15, test=0.15)
    return Dataset(name, *parts, columns=tuple(map(str, bunch.feature_names)))
