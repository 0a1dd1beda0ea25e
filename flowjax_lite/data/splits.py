"""Random train, validation and test rows."""

import numpy as np

from flowjax_lite.data.dataset import Split


def split_sizes(
    num_rows: int, *, validation: float | int, test: float | int
) -> tuple[int, int, int]:
    """Turn fractions or counts into numbers of rows.

    Args:
        num_rows: Rows to divide.
        validation: A float in (0, 1), a fraction of all rows; or an int, a count.
        test: The same for the test rows.

    Returns:
        Numbers of training, validation and test rows; each at least 1, their sum `num_rows`.

    Raises:
        TypeError: A size is neither an int nor a float.
        ValueError: A fraction is outside (0, 1), or a part would have no row.
    """
    num_validation = _num_rows("validation", validation, num_rows)
    num_test = _num_rows("test", test, num_rows)
    num_train = num_rows - num_validation - num_test
    if num_train < 1:
        raise ValueError(
            f"validation={validation} and test={test} take {num_validation} + {num_test} of "
            f"{num_rows} rows and leave none for training. Make them smaller."
        )
    return num_train, num_validation, num_test


def split(
    x: np.ndarray,
    *,
    condition: np.ndarray | None = None,
    seed: int,
    validation: float | int,
    test: float | int,
) -> tuple[Split, Split, Split]:
    """Divide rows at random.

    Args:
        x: Data, `(n, d)`.
        condition: Conditions of the same rows, `(n, c)`, or None.
        seed: Seed of the permutation; the same seed gives the same rows.
        validation: Fraction (float) or number (int) of validation rows.
        test: Fraction (float) or number (int) of test rows.

    Returns:
        Training, validation and test rows, in float32.

    Raises:
        TypeError, ValueError: As `split_sizes`.
    """
    num_train, num_validation, _ = split_sizes(len(x), validation=validation, test=test)
    order = np.random.default_rng(seed).permutation(len(x))
    train, held_out, tested = np.split(order, [num_train, num_train + num_validation])
    return (
        take_rows(x, condition, train),
        take_rows(x, condition, held_out),
        take_rows(x, condition, tested),
    )


def take_rows(x: np.ndarray, condition: np.ndarray | None, rows: np.ndarray) -> Split:
    """Collect some rows.

    Args:
        x: Data, `(n, d)`.
        condition: Conditions of the same rows, `(n, c)`, or None.
        rows: Row numbers, `(k,)`.

    Returns:
        Those rows, in float32.
    """
    return Split(
        x[rows].astype(np.float32),
        None if condition is None else condition[rows].astype(np.float32),
    )


def join(*parts: Split) -> Split:
    """Return the rows of several splits, one after the other."""
    conditions = [part.condition for part in parts if part.condition is not None]
    x = np.concatenate([part.x for part in parts])
    return Split(x, np.concatenate(conditions) if conditions else None)


def _num_rows(name: str, size: float | int, num_rows: int) -> int:
    if isinstance(size, bool) or not isinstance(size, int | float | np.integer | np.floating):
        raise TypeError(
            f"{name} is {size!r}; expected a fraction (float) or a number of rows (int)."
        )
    if isinstance(size, float | np.floating):
        if not 0 < size < 1:
            raise ValueError(
                f"{name} is {size}; a fraction must lie strictly between 0 and 1. "
                "Give an int for a number of rows."
            )
        size = round(size * num_rows)
    if not 1 <= size <= num_rows:
        raise ValueError(
            f"{name} comes to {size} of {num_rows} rows; expected at least 1 and fewer than all. "
            "Give more data or another size."
        )
    return int(size)
