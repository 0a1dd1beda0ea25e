"""Tables of numbers, whole numbers and words: what each column holds, as numbers and back."""

import importlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np

from flowjax_lite.bijectors.domains import read_domains
from flowjax_lite.core.checks import check_choice, listed
from flowjax_lite.data.arrays import as_array, frame_columns
from flowjax_lite.data.domains import dequantize_integers, quantize_integers
from flowjax_lite.data.quality.checks import DataWarning
from flowjax_lite.data.read.files import read_columns
from flowjax_lite.data.read.table import TableError, column_positions, naming, numbered

_MOST_WORDS = 50  # of a column that says of which kind a row is
_LARGEST_WHOLE = 2**22  # beyond, noise in [0, 1) has few digits in float32

Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True, repr=False)
class Schema:
    """What the columns of a table hold; turns the table into numbers, and samples into a table.

        schema = fl.data.infer_schema(frame)
        x = schema.to_array(frame, seed=0)  # whole numbers with noise, words one-hot
        result = fl.fit(fl.flows.maf(dim=schema.dim, rngs=rngs), x, key=key)
        schema.to_table(result.flow.sample(key, 100))  # a frame like the first

    Args:
        kinds: For each column by name a domain as of `domain_map` ("real", "positive", "integer",
            ...), or a sequence of the words that it may hold.
        frame: Of what kind tables are: "pandas", "polars", or None for a dict of arrays.

    Raises:
        TypeError, ValueError: A kind is neither.
    """

    kinds: Mapping[str, str | Sequence[str]]
    frame: str | None = None

    def __post_init__(self) -> None:
        kinds = {
            name: kind if isinstance(kind, str) else tuple(map(str, kind))
            for name, kind in self.kinds.items()
        }
        object.__setattr__(self, "kinds", kinds)
        check_choice(self.frame or "", ("", "pandas", "polars"), "frame")
        if kinds:
            read_domains(self.domains)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of numbers; words get one each, such as `city=Rome`."""
        return tuple(column for column, _ in self._columns)

    @property
    def domains(self) -> tuple[str, ...]:
        """The domain of each column of numbers, for `domain_map`."""
        return tuple(domain for _, domain in self._columns)

    @property
    def _columns(self) -> Iterator[tuple[str, str]]:
        for name, kind in self.kinds.items():
            if isinstance(kind, str):
                yield name, kind
            else:
                yield from ((f"{name}={word}", "real") for word in kind)

    @property
    def dim(self) -> int:
        """Number of columns of numbers."""
        return len(self.columns)

    def __repr__(self) -> str:
        lines = [
            f"  {name}: {kind if isinstance(kind, str) else f'one of {listed(kind)}'}"
            for name, kind in self.kinds.items()
        ]
        return "\n".join([f"Schema of {len(lines)} columns", *lines])

    def select(self, names: Sequence[str]) -> "Schema":
        """Return the schema of some of the columns.

        Raises:
            ValueError: There is no such column.
        """
        with naming("the schema"):
            column_positions(names, tuple(self.kinds))
        return Schema({name: self.kinds[name] for name in names}, self.frame)

    def to_array(self, table: Any, *, seed: int | None = None) -> np.ndarray:
        """Turn a table into numbers.

        Args:
            table: A frame, a mapping from names to columns, or the path of a csv or parquet file;
                columns that the schema does not know are left out.
            seed: Of the noise in [0, 1) that gives whole numbers a density; None adds none, as for
                conditions.

        Returns:
            `(n, dim)`, float32.

        Raises:
            ValueError: A column is not there, a value is missing, a word is unknown, or a number
                does not belong to its kind.
        """
        columns = table_columns(table)
        with naming("the table"):
            column_positions(tuple(self.kinds), tuple(columns))
            columns = {name: columns[name] for name in self.kinds}
            check_complete(columns, "or those columns")
        parts = [_numbers(name, kind, columns[name]) for name, kind in self.kinds.items()]
        x = np.concatenate(parts, axis=1).astype(np.float32)
        return x if seed is None else dequantize_integers(self.domains, x, seed=seed)

    def to_table(self, x: Any) -> Any:
        """Turn numbers, such as samples of a flow, into a table with the columns of the schema.

        Args:
            x: `(n, dim)`.

        Returns:
            A frame of the kind `frame`, or a dict of arrays: whole numbers as integers, and the
            word whose column is the largest.

        Raises:
            ValueError: x has another number of columns.
        """
        array = as_array(x, name="x")
        if array.ndim != 2 or array.shape[1] != self.dim:
            raise ValueError(f"x has shape {array.shape}; expected (n, {self.dim})")
        array = quantize_integers(self.domains, array)
        widths = [1 if isinstance(kind, str) else len(kind) for kind in self.kinds.values()]
        parts = np.split(array, np.cumsum(widths, dtype=int), axis=1)  # the last is empty
        table: dict[str, np.ndarray] = {}
        for (name, kind), part in zip(self.kinds.items(), parts, strict=False):
            if isinstance(kind, str):
                is_whole = kind.startswith("integer") and np.isfinite(part).all()
                table[name] = part[:, 0].astype(np.int64 if is_whole else part.dtype)
            else:
                table[name] = np.array(kind)[part.argmax(axis=1)]
        return importlib.import_module(self.frame).DataFrame(table) if self.frame else table


def infer_schema(table: Any) -> Schema:
    """Find out what the columns of a table hold.

    Whole numbers are "integer", other numbers "real", and a column of at most 50 different words,
    or of flags, has these as its words. Left out, with a warning, are columns of more words or of
    dates, and those that number the rows.

    What values do not tell, such as that none is below 1, is said afterwards:

        schema = fl.data.Schema(schema.kinds | {"rooms": "integer(1, inf)"}, schema.frame)

    Args:
        table: A frame of pandas or polars, a mapping from names to columns, an array, or the path
            of a csv or parquet file.

    Returns:
        The schema.

    Raises:
        FileNotFoundError, ValueError: There is no such file, or it cannot be read.
    """
    kinds, useless = sort_columns(table_columns(table))
    if useless:
        warnings.warn(f"left out: {described(useless)}", DataWarning, stacklevel=2)
    return Schema(kinds, frame_kind(table))


def table_columns(table: Any) -> Columns:
    """Return the columns of a frame, a mapping, an array, or a csv or parquet file, by name."""
    if isinstance(table, str | PathLike):
        return read_columns(table)
    columns = frame_columns(table)
    if columns is not None:
        return columns
    array = as_array(table, name="the table")
    if array.ndim != 2:
        raise ValueError(f"the table has shape {array.shape}; expected (n, d)")
    return dict(zip(numbered("x", array.shape[1]), array.T, strict=True))


def frame_kind(table: Any) -> str | None:
    """Return "pandas" or "polars" for their frames, None for anything else."""
    module = type(table).__module__.partition(".")[0]
    return module if module in ("pandas", "polars") else None


def sort_columns(columns: Columns) -> tuple[dict[str, str | tuple[str, ...]], dict[str, str]]:
    """Return the kinds of columns as in a schema, and why each of the others is left out."""
    kinds: dict[str, str | tuple[str, ...]] = {}
    useless = {}
    for name, values in columns.items():
        known = values[~_is_missing(values)]
        if known.dtype.kind in "fiu":
            is_whole = np.all(known == np.floor(known)) and np.all(np.abs(known) < _LARGEST_WHOLE)
            if is_whole and len(known) > 2 and np.all(np.diff(known) == 1):
                useless[name] = "numbers the rows"
            else:
                kinds[name] = "integer" if is_whole else "real"
        elif known.dtype.kind in "OUSb":
            words = sorted({str(value) for value in known.tolist()})
            if len(words) <= _MOST_WORDS:
                kinds[name] = tuple(words)
            else:
                useless[name] = f"holds {len(words)} different words"
        else:
            useless[name] = f"holds values of type {values.dtype}"
    return kinds, useless


def incomplete_rows(columns: Columns) -> np.ndarray:
    """Return which rows have no value in one of the columns, `(n,)`."""
    return np.any([_is_missing(values) for values in columns.values()], axis=0)


def check_complete(columns: Columns, or_else: str) -> None:
    """Check that every row has a value in each of the columns.

    Args:
        columns: The columns by name.
        or_else: What else to do than to leave out the rows that have none.

    Raises:
        TableError: One has not.
    """
    rows = incomplete_rows(columns)
    if rows.any():
        counts = {name: _is_missing(values).sum() for name, values in columns.items()}
        told = listed((f"{name!r}: {num}" for name, num in counts.items() if num), most=10)
        raise TableError(
            f"has {rows.sum()} of {len(rows)} rows without a value ({told}), the first row "
            f"{np.argmax(rows)} (counted from 0): leave out those rows {or_else}"
        )


def described(useless: Mapping[str, str]) -> str:
    """Name columns that are left out, with the reason."""
    return listed((f"{name!r} ({why})" for name, why in useless.items()), most=10)


def _is_missing(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "f":
        return np.isnan(values)
    if values.dtype.kind != "O":
        return np.zeros(len(values), bool)
    # Frames have several words for it, one of which refuses to be compared.
    absent = ("NoneType", "NAType", "NaTType")
    missing = [type(v).__name__ in absent or (isinstance(v, float) and v != v) for v in values]
    return np.array(missing, bool)


def _numbers(name: str, kind: str | Sequence[str], values: np.ndarray) -> np.ndarray:
    """A column as numbers, `(n, 1)`, or `(n, words)`."""
    if isinstance(kind, str):
        if values.dtype.kind not in "fiub":
            raise ValueError(f"column {name!r} holds {str(values[0])!r}; expected numbers ({kind})")
        return values[:, None].astype(np.float64)
    words = np.array([str(value) for value in values.tolist()], object)
    if values.dtype.kind in "fiu":  # as a csv file has classes: 1 is 1.0
        one_hot = values[:, None] == np.array([_number(word) for word in kind])
    else:
        one_hot = words[:, None] == np.array(kind, object)
    unknown = np.flatnonzero(~one_hot.any(axis=1))
    if unknown.size:
        raise ValueError(
            f"column {name!r} holds {words[unknown[0]]!r} in row {unknown[0]} (counted from 0); "
            f"expected one of {listed(kind, most=10)}"
        )
    return one_hot.astype(np.float64)


def _number(word: str) -> float:
    """The number that a word spells; NaN, which equals nothing, where it spells none."""
    try:
        return float(word)
    except ValueError:
        return np.nan
