"""One door to all data: a name, a path, or a table."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from inspect import signature
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from flowjax_lite.core.checks import check_choice, listed, suggest
from flowjax_lite.data.arrays import as_array, frame_columns
from flowjax_lite.data.dataset import Dataset, Split, split
from flowjax_lite.data.domains import dequantize
from flowjax_lite.data.labels import one_hot, read_labels
from flowjax_lite.data.named.benchmarks import bsds300, uci
from flowjax_lite.data.named.embedded import EMBEDDED
from flowjax_lite.data.named.toys import TOYS, toy
from flowjax_lite.data.quality.checks import DataWarning, check_data
from flowjax_lite.data.read.files import read_table
from flowjax_lite.data.read.table import (
    Table,
    TableError,
    column_positions,
    divide_columns,
    naming,
    table_from_array,
)
from flowjax_lite.data.schema import (
    Schema,
    check_complete,
    described,
    frame_kind,
    incomplete_rows,
    sort_columns,
    table_columns,
)

_Names = Sequence[str] | None
# What options are for that files and tables do not take, or not they alone.
_DIVIDED = "files, tables and toys; others have splits of their own"
_PURPOSES = {
    "data_dir": "bsds300 and uci/NAME",
    "array": "npz files, without a schema",
    "labels": "digits, and files and arrays of numbers",
    "validation": _DIVIDED,
    "test": _DIVIDED,
    "num": "toy densities",
    "noise_copies": "digits, whose noise is added here",
}


def load(
    source: Any,
    *,
    data_dir: str | PathLike[str] | None = None,
    seed: int = 0,
    columns: Sequence[str] | None = None,
    condition_columns: Sequence[str] | None = None,
    array: str | None = None,
    labels: str | PathLike[str] | np.ndarray | None = None,
    schema: str | None = None,
    missing: str = "error",
    validation: float | int = 0.1,
    test: float | int = 0.1,
    num: int = 10000,
    noise_copies: int = 1,
    checks: str = "error",
) -> Dataset:
    """Load a data set and divide it into training, validation and test rows.

    Args:
        source: `digits`, `breast_cancer`, `wine` or `iris`; a toy density such as `moons`;
            `bsds300` or `uci/NAME`; the path of a file that `read_table` reads; or a frame of
            pandas or polars, or an array. Names win over files: write `./moons` for a file called
            so.
        data_dir: Folder of the benchmark files, for `bsds300` and `uci/NAME`.
        seed: Seed of everything random: draws, dequantisation, splits.
        columns: Columns of a table that make x; all but `condition_columns` by default.
        condition_columns: Columns of a table that make the condition.
        array: Name of the array in an npz file that holds more than one.
        labels: Classes of the rows, whole numbers, which become the condition, one-hot: a file of
            them, such as the idx file of MNIST, the name of their array in an npz file (in `digits`
            `target`), or an array.
        schema: "auto" finds out what the columns of a frame, or a csv or parquet file, hold (see
            `infer_schema`): whole numbers get noise, so that they have a density, and words are
            taken one-hot as the condition, or left out where `condition_columns` does not name
            them, which a warning tells. None takes numbers alone, as they are.
        missing: With a schema, what happens to rows without a value in one of the columns: "error"
            names the columns, "drop" leaves those rows out.
        validation: Fraction (float) or number (int) of validation rows, for files and toys; the
            other sources have splits of their own.
        test: The same for the test rows.
        num: Number of rows to draw, for toys.
        noise_copies: For `digits`: how often each training image appears, each time with
            dequantisation noise of its own.
        checks: What happens to files and benchmarks that a density does not fit: "error",
            "warn" or "off", as for `check_data`.

    Returns:
        The data set, in float32. Images of bytes, of an idx file or a npy file of three axes or
        more, are dequantised to [0, 1).

    Raises:
        FileNotFoundError, ImportError: A file or package is not there.
        TypeError, ValueError: An unknown name, an option that the source does not take, or data
            that no density fits (see `check_data`).
    """
    options = {option: value for option, value in locals().items() if option != "source"}
    is_path = isinstance(source, str | PathLike)
    name = str(source) if is_path else "data"
    load_named = _named(name) if is_path else None
    if load_named is not None:
        taken = {*signature(load_named).parameters}
    else:
        taken = {*options} - {"data_dir", "num", "noise_copies"}
        if not is_path or schema is not None:
            taken.remove("array")
        if schema is not None:
            taken.remove("labels")
    for option in sorted(options.keys() - taken - {"seed", "checks"}):
        value = options[option]
        if np.any(value != signature(load).parameters[option].default):
            is_array = isinstance(value, np.ndarray)
            told = f"an array of shape {value.shape}" if is_array else repr(value)
            raise ValueError(
                f"{option} is {told}, which has no effect on {name}: it is for "
                f"{_PURPOSES.get(option, 'files and tables')}. Leave it out."
            )
    if load_named is not None:
        return load_named(**{option: options[option] for option in taken})
    check_choice(missing, ("error", "drop"), "missing")
    check_choice(schema or "auto", ("auto",), "schema")
    if missing == "drop" and schema is None:
        raise ValueError("missing is 'drop', which has no effect without schema='auto'")
    table = Path(source) if is_path else source
    with naming(name):
        if schema is None:
            data = _numbers(table, name, columns, condition_columns, array, labels, seed)
        else:
            data = _by_schema(table, name, columns, condition_columns, missing, seed)
    every = _check(data, "train", name, checks)
    parts = split(every.x, condition=every.condition, seed=seed, validation=validation, test=test)
    return replace(data, train=parts[0], validation=parts[1], test=parts[2])


def _named(name: str) -> Callable[..., Dataset] | None:
    """What loads a named set, whose parameters are the options that it takes; None for a file."""
    if name in EMBEDDED:
        return EMBEDDED[name]
    if name in TOYS:
        return partial(toy, name)
    path = Path(name)
    if name == "bsds300" or (name.startswith("uci/") and not path.suffix):
        return partial(_benchmark, name)
    # A bare word is more likely a mistyped name than a file that is not there.
    if not path.exists() and path.name == name and not path.suffix:
        known = [*EMBEDDED, *TOYS, "bsds300", "uci/NAME"]
        raise ValueError(
            f"Unknown data source {name!r}.{suggest(name, known)} Give the path of a file, or one "
            f"of: {', '.join(known)}."
        )
    return None


def _numbers(
    source: Any,
    name: str,
    columns: _Names,
    condition_columns: _Names,
    array: str | None,
    labels: Any,
    seed: int,
) -> Dataset:
    """The columns of a table of numbers, or images."""
    given = tuple(condition_columns or ())
    if given and labels is not None:
        raise TableError("labels and condition_columns are both the condition: give one of them.")
    wanted = (*columns, *given) if columns else None
    if isinstance(source, Path):
        table = read_table(source, columns=wanted, array=array)
    elif (frame := frame_columns(source)) is None:
        table = table_from_array(as_array(source, name=name), wanted)
    else:
        names = tuple(frame)
        chosen = {names[i]: frame[names[i]] for i in column_positions(wanted, names)}
        table = Table(as_array(chosen, name=name), tuple(chosen))
    x, names, condition = table.values, table.columns, None
    if x.ndim == 2 or given:
        of_x, of_condition = divide_columns(columns, given, names)
        x, names = x[:, of_x], tuple(names[i] for i in of_x)
        condition = table.values[:, of_condition] if given else None
    image_shape: tuple[int, ...] | None = None
    if x.ndim > 2 and x.dtype == np.uint8:
        image_shape = x.shape[1:]
    elif not given:  # only all pixels make an image
        image_shape = table.image_shape
    num_levels = 256 if image_shape and x.dtype == np.uint8 else None
    if num_levels is not None:
        x = dequantize(x, num_levels, seed=seed)
    kind = frame_kind(source)
    schema, given_schema = (Schema(dict.fromkeys(part, "real"), kind) for part in (names, given))
    if labels is not None:
        given_schema, condition = one_hot(read_labels(labels, source))
        if len(condition) != len(x):
            raise TableError(
                f"has {len(x)} rows, and there are {len(condition)} labels: expected one for each."
            )
    data = _undivided(name, Split(x, condition), schema, given_schema)
    return replace(data, image_shape=image_shape, num_levels=num_levels)


def _by_schema(
    source: Any, name: str, columns: _Names, condition_columns: _Names, missing: str, seed: int
) -> Dataset:
    """The columns of a table of numbers and words, as an inferred schema has them."""
    table = table_columns(source)
    names = tuple(table)
    _, of_condition = divide_columns(columns, condition_columns, names)
    kinds, unfit = sort_columns(table)
    words = [column for column, kind in kinds.items() if not isinstance(kind, str)]
    are_chosen = columns is not None or condition_columns is not None
    given = [names[i] for i in of_condition] if are_chosen else words
    why = "holds words, which have no density but may be a condition"
    unfit |= {column: why for column in words if column not in given}
    for column in (*(columns or ()), *given):
        if column in unfit:
            raise TableError(f"column {column!r} {unfit[column]}; leave it out")
    told = []
    if given and not are_chosen:
        told.append(f"words become the condition: {listed(map(repr, words), most=10)}")
    if columns is None:
        columns = [column for column in names if column not in given and column not in unfit]
        if unfit:
            told.append(f"left out: {described(unfit)}")
    if told:
        warnings.warn(f"{name}: {'; '.join(told)}", DataWarning, stacklevel=3)
    if not columns:
        raise TableError("no column of numbers is left for the data")
    table = {column: table[column] for column in (*columns, *given)}
    if missing == "drop":
        keep = ~incomplete_rows(table)
        table = {column: values[keep] for column, values in table.items()}
    check_complete(table, "with missing='drop', or those columns with columns=[...]")
    schema = Schema(kinds, frame_kind(source))
    schema, given_schema = schema.select(columns), schema.select(given)
    condition = given_schema.to_array(table) if given else None
    rows = Split(schema.to_array(table, seed=seed), condition)
    return _undivided(name, rows, schema, given_schema)


def _undivided(name: str, rows: Split, schema: Schema, given_schema: Schema) -> Dataset:
    """A data set before its rows are divided: each part has all of them."""
    return Dataset(
        Path(name).stem,
        *(rows, rows, rows),
        columns=schema.columns,
        condition_columns=given_schema.columns,
        schema=schema if schema.kinds else None,
        condition_schema=given_schema if given_schema.kinds else None,
    )


def _benchmark(
    name: str, *, data_dir: str | PathLike[str] | None, seed: int, checks: str
) -> Dataset:
    """A published set; only training rows need a density."""
    if data_dir is None:
        raise ValueError(
            f"{name} is read from files: give data_dir, the folder that holds bsds300/ and uci/."
        )
    if name == "bsds300":
        data = bsds300(data_dir, seed=seed)
    else:
        data = uci(data_dir, name.removeprefix("uci/"), seed=seed)
    for part in ("train", "validation", "test"):
        _check(data, part, f"{name} ({part} rows)", checks)
    return data


def _check(data: Dataset, part: str, name: str, checks: str) -> Split:
    """Rows in float32, of which those to train on have a density."""
    rows: Split = getattr(data, part)
    check = partial(check_data, dtype=np.float32, checks=checks)
    x = check(rows.x, name=name, columns=data.columns, allow_degenerate=part != "train")
    if rows.condition is None:
        return Split(x)
    condition = check(
        rows.condition,
        name=f"the condition of {name}",
        columns=data.condition_columns,
        allow_degenerate=True,
        whole_numbers=True,
    )
    return Split(x, condition)
