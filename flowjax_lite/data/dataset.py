"""What every loader returns: rows in three parts, and the facts needed to report on them."""

import math
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from flowjax_lite.core.checks import listed
from flowjax_lite.data.arrays import as_array, check_events
from flowjax_lite.data.schema import Schema

_MOST_SHOWN = 20  # columns of a table in a notebook


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Rows of one part of a data set; an index or a slice gives some of them.

    Args:
        x: Data, `(n, *event_shape)`; an array, a frame, or whatever `check_data` takes.
        condition: Conditions of the same rows, `(n, *condition_shape)`, or None.

    Raises:
        ValueError: An array has no axis of events, or the numbers of rows differ.
    """

    x: np.ndarray
    condition: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "x", as_array(self.x, name="x"))
        check_events(self.x, "x")
        if self.condition is not None:
            condition = as_array(self.condition, name="condition")
            object.__setattr__(self, "condition", condition)
            if condition.ndim < 2 or len(condition) != len(self.x):
                raise ValueError(
                    f"condition has shape {condition.shape}; expected ({len(self.x)}, c), one row "
                    "for each row of x."
                )

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: np.ndarray | slice) -> "Split":
        return Split(self.x[rows], None if self.condition is None else self.condition[rows])

    def cast(self) -> "Split":
        """Return the same rows in float32."""
        condition = None if self.condition is None else self.condition.astype(np.float32)
        return Split(self.x.astype(np.float32), condition)

    def __repr__(self) -> str:
        given = "" if self.condition is None else f", condition {self.condition.shape}"
        return f"Split(x {self.x.shape}{given})"


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """A named data set in three parts.

    Args:
        name: What reports call it.
        train: Rows to fit.
        validation: Rows that choose the best epoch.
        test: Rows that are scored once, at the end.
        columns: Names of the d columns of x; empty where events have more than one axis.
        condition_columns: Names of the c columns of the condition; empty without one.
        image_shape: (height, width) where a row of x is a grey image, flat or not, and (height,
            width, channels) where it is one of several channels.
        num_levels: Number of grey levels, where x holds dequantised levels scaled to [0, 1].
        schema: What the columns of the table were from which x was made.
        condition_schema: The same of the condition.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    columns: tuple[str, ...]
    condition_columns: tuple[str, ...] = ()
    image_shape: tuple[int, ...] | None = None
    num_levels: int | None = None
    schema: Schema | None = None
    condition_schema: Schema | None = None

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of a row of x."""
        return self.train.x.shape[1:]

    @property
    def dim(self) -> int:
        """Number of entries of a row of x."""
        return math.prod(self.event_shape)

    def __repr__(self) -> str:
        parts = self.train, self.validation, self.test
        sizes = "{:,} training, {:,} validation and {:,} test rows".format(*map(len, parts))
        lines = [f"Dataset {self.name!r}: {sizes}", f"  x: {_named(self.train.x, self.columns)}"]
        if self.train.condition is not None:
            named = _named(self.train.condition, self.condition_columns)
            lines.append(f"  condition: {named}")
        if self.num_levels is not None:
            lines.append(f"  {self.num_levels} grey levels, dequantised to [0, 1)")
        if self.image_shape is not None:
            lines.append("  each row an image of {} × {} pixels".format(*self.image_shape))
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        text = f"<pre>{escape(repr(self))}</pre>"
        if not self.columns:
            return text
        x = self.train.x[:, :_MOST_SHOWN].astype(np.float64)
        numbers = zip(x.mean(0), x.std(0), x.min(0), x.max(0), strict=True)
        rows = [
            f"<th>{escape(name)}</th>" + "".join(f"<td>{number:.4g}</td>" for number in row)
            for name, row in zip(self.columns, numbers, strict=False)
        ]
        head = "<th>training rows</th><th>mean</th><th>std</th><th>min</th><th>max</th>"
        return f"{text}<table><tr>{'</tr><tr>'.join([head, *rows])}</tr></table>"

    def to_table(self, x: ArrayLike) -> Any:
        """Turn samples of a flow into a table like the one that was loaded.

        Args:
            x: `(n, d)`.

        Returns:
            A frame where the data came from one, otherwise a dict of arrays by column; whole
            numbers as integers where a schema was inferred.

        Raises:
            ValueError: x has another number of columns, or the data have none.
        """
        if not self.columns:
            raise ValueError(f"{self.name} has events of shape {self.event_shape}, without columns")
        schema = self.schema or Schema(dict.fromkeys(self.columns, "real"))
        return schema.to_table(x)

    def bits_per_dim(self, log_prob: ArrayLike) -> np.ndarray:
        """Convert log-densities of x to bits per dimension of the grey levels.

        A level occupies 1 / num_levels of the unit interval, so the density of x is num_levels
        times that of the levels, in each dimension.

        Args:
            log_prob: Log-densities in nats, any shape.

        Returns:
            `(-log_prob / d + log num_levels) / log 2`, the same shape.

        Raises:
            ValueError: The data are not dequantised levels.
        """
        if self.num_levels is None:
            raise ValueError(
                f"{self.name} does not hold dequantised grey levels (num_levels is None), so bits "
                "per dimension mean nothing here; report nats."
            )
        nats = -np.asarray(log_prob) / self.dim + math.log(self.num_levels)
        return nats / math.log(2)

    def nats(self, bits_per_dim: ArrayLike) -> np.ndarray:
        """Convert bits per dimension to negative log-densities of x: undoes `bits_per_dim`.

        Args:
            bits_per_dim: Of the grey levels, any shape.

        Returns:
            In nats, the same shape.

        Raises:
            ValueError: The data are not dequantised levels.
        """
        return self.dim * math.log(2) * (np.asarray(bits_per_dim) - self.bits_per_dim(0.0))


def _named(values: np.ndarray, names: tuple[str, ...]) -> str:
    if not names:
        return f"shape {values.shape[1:]}"
    return f"{len(names)} {'column' if len(names) == 1 else 'columns'} ({listed(names)})"


def join(*parts: Split) -> Split:
    """Return the rows of several splits, one after the other."""
    conditions = [part.condition for part in parts if part.condition is not None]
    x = np.concatenate([part.x for part in parts])
    return Split(x, np.concatenate(conditions) if conditions else None)


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
        x: Data, `(n, *event_shape)`.
        condition: Conditions of the same rows, `(n, *condition_shape)`, or None.
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
    every = Split(x, condition)
    return every[train].cast(), every[held_out].cast(), every[tested].cast()


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
