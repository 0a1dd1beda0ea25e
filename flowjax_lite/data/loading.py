"""One door to all data: a name, a path, or a table."""

import warnings
from collections.abc import Sequence
from inspect import signature
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from flowjax_lite.core.checks import check_choice, listed, suggest
from flowjax_lite.data.arrays import as_array, frame_columns
from flowjax_lite.data.dataset import Dataset, split
from flowjax_lite.data.dequantization import dequantize
from flowjax_lite.data.named.benchmarks import bsds300, uci
from flowjax_lite.data.named.embedded import EMBEDDED, digits
from flowjax_lite.data.named.toys import TOYS, toy
from flowjax_lite.data.quality import DataWarning, check_data
from flowjax_lite.data.read import Table, read_table
from flowjax_lite.data.read.files import file_errors
from flowjax_lite.data.read.table import (
    column_positions,
    divide_columns,
    table_from_array,
)
from flowjax_lite.data.schema import (
    Schema,
    described,
    frame_kind,
    missing_cells,
    sort_columns,
    table_columns,
)

# Of each option the kinds of data that take it, and what it is for.
_TABLES = {"file", "table"}, "files and tables"
_DIVIDED = {"file", "table", "toy"}, "files, tables and toys; others have splits of their own"
_OPTIONS: dict[str, tuple[set[str], str]] = {
    "data_dir": ({"benchmark"}, "bsds300 and uci/NAME"),
    "columns": _TABLES,
    "condition_columns": _TABLES,
    "array": ({"file"}, "files"),
    "schema": _TABLES,
    "missing": _TABLES,
    "validation": _DIVIDED,
    "test": _DIVIDED,
    "num": ({"toy"}, "toy densities"),
    "noise_copies": ({"digits"}, "digits, whose noise is added here"),
}


def load(
    source: Any,
    *,
    data_dir: str | PathLike[str] | None = None,
    seed: int = 0,
    columns: Sequence[str] | None = None,
    condition_columns: Sequence[str] | None = None,
    array: str | None = None,
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
    options = locals()
    is_name = isinstance(source, str | PathLike)
    name = str(source) if is_name else "data"
    kind = _kind(name) if is_name else "table"
    for option, (kinds, purpose) in _OPTIONS.items():
        value = options[option]
        if kind not in kinds and value != signature(load).parameters[option].default:
            raise ValueError(
                f"{option} is {value!r}, which has no effect on {name}: it is for {purpose}. Leave "
                "it out."
            )
    if kind == "digits":
        return digits(seed, noise_copies=noise_copies)
    if kind == "embedded":
        return EMBEDDED[name](seed)
    if kind == "toy":
        return toy(name, num=num, seed=seed, validation=validation, test=test)
    if kind == "benchmark":
        return _benchmark(name, data_dir, seed, checks)
    check_choice(missing, ("error", "drop"), "missing")
    source = _existing(name) if kind == "file" else source
    if schema is not None:
        check_choice(schema, ("auto",), "schema")
        rows = _by_schema(source, name, columns, condition_columns, missing, seed)
    elif missing == "drop":
        raise ValueError("missing is 'drop', which has no effect without schema='auto'")
    else:
        rows = _numbers(source, name, columns, tuple(condition_columns or ()), array, seed)
    x, condition, facts = rows
    x = check_data(x, name=name, dtype=np.float32, columns=facts["columns"], checks=checks)
    if condition is not None:
        condition = _check_condition(condition, name, facts["condition_columns"], checks)
    parts = split(x, condition=condition, seed=seed, validation=validation, test=test)
    return Dataset(Path(name).stem, *parts, **facts)


def _kind(name: str) -> str:
    if name == "digits":
        return name
    if name in EMBEDDED:
        return "embedded"
    if name in TOYS:
        return "toy"
    is_uci = name.startswith("uci/") and not Path(name).suffix
    return "benchmark" if is_uci or name == "bsds300" else "file"


def _existing(name: str) -> Path:
    path = Path(name)
    # A bare word is more likely a mistyped name than a file that is not there.
    if not path.exists() and path.name == name and not path.suffix:
        known = [*EMBEDDED, *TOYS, "bsds300", "uci/NAME"]
        raise ValueError(
            f"Unknown data source {name!r}.{suggest(name, known)} Give the path of a file, or one "
            f"of: {', '.join(known)}."
        )
    return path


# Rows before they are checked and divided: x, condition, and what a `Dataset` tells of them.
_Rows = tuple[np.ndarray, np.ndarray | None, dict[str, Any]]


def _numbers(
    source: Any,
    title: str,
    columns: Sequence[str] | None,
    conditions: tuple[str, ...],
    array: str | None,
    seed: int,
) -> _Rows:
    """The columns of a table of numbers, or images."""
    table = _table(source, title, (*columns, *conditions) if columns else None, array)
    x, names, condition = table.values, table.columns, None
    if x.ndim == 2:
        with file_errors(Path(title)):
            of_x, of_condition = divide_columns(columns, conditions, names)
        x, names = x[:, of_x], tuple(names[i] for i in of_x)
        condition = table.values[:, of_condition] if conditions else None
    image_shape = None if conditions else table.image_shape  # only all pixels make an image
    num_levels = 256 if (image_shape or x.ndim > 2) and x.dtype == np.uint8 else None
    if num_levels is not None:
        x = dequantize(x, num_levels, seed=seed)
    kind = frame_kind(source)
    facts: dict[str, Any] = {
        "columns": names,
        "condition_columns": conditions,
        "image_shape": image_shape,
        "num_levels": num_levels,
        "schema": Schema(dict.fromkeys(names, "real"), kind) if names else None,
        "condition_schema": Schema(dict.fromkeys(conditions, "real"), kind) if conditions else None,
    }
    return x, condition, facts


def _table(source: Any, title: str, columns: Sequence[str] | None, array: str | None) -> Table:
    if isinstance(source, Path):
        return read_table(source, columns=columns, array=array)
    frame = frame_columns(source)
    with file_errors(Path(title)):
        if frame is None:
            return table_from_array(as_array(source, name=title), columns)
        column_positions(columns, tuple(frame))
        chosen = tuple(columns or frame)
        return Table(as_array({name: frame[name] for name in chosen}, name=title), chosen)


def _by_schema(
    source: Any,
    title: str,
    columns: Sequence[str] | None,
    condition_columns: Sequence[str] | None,
    missing: str,
    seed: int,
) -> _Rows:
    """The columns of a table of numbers and words, as an inferred schema has them."""
    table = table_columns(source)
    with file_errors(Path(title)):
        for asked in (columns, condition_columns):
            column_positions(asked, tuple(table))
    kinds, useless = sort_columns(table)
    words = [name for name, kind in kinds.items() if not isinstance(kind, str)]
    for name in (*(columns or ()), *(condition_columns or ())):
        if name in useless:
            raise ValueError(f"{title}: column {name!r} {useless[name]}; leave it out")
        if name in words and name in (columns or ()):
            raise ValueError(
                f"{title}: column {name!r} holds words, which have no density: name it in "
                "condition_columns, or leave it out of columns"
            )
    told = []
    if condition_columns is None and columns is None and words:
        condition_columns = words
        told.append(f"words become the condition: {listed(map(repr, words), most=10)}")
    given = tuple(condition_columns or ())
    if columns is None:
        columns = [name for name in kinds if name not in given and name not in words]
        useless |= {name: "holds words" for name in words if name not in given}
        if useless:
            told.append(f"left out: {described(useless)}")
    if told:
        warnings.warn(f"{title}: {'; '.join(told)}", DataWarning, stacklevel=3)
    if not columns:
        raise ValueError(f"{title}: no column of numbers is left for the data")
    table = {name: table[name] for name in (*columns, *given)}
    gaps = missing_cells(table)
    if gaps:
        rows = np.any(list(gaps.values()), axis=0)
        counts = listed((f"{name!r}: {cells.sum()}" for name, cells in gaps.items()), most=10)
        if missing == "error":
            raise ValueError(
                f"{title} has {rows.sum()} of {len(rows)} rows without a value ({counts}): leave "
                "out those rows with missing='drop', or those columns with columns=[...]"
            )
        table = {name: values[~rows] for name, values in table.items()}
    schema = Schema({name: kinds[name] for name in columns}, frame_kind(source))
    condition_schema = Schema({name: kinds[name] for name in given}, frame_kind(source))
    facts: dict[str, Any] = {
        "columns": schema.columns,
        "condition_columns": condition_schema.columns,
        "schema": schema,
        "condition_schema": condition_schema if given else None,
    }
    condition = condition_schema.to_array(table) if given else None
    return schema.to_array(table, seed=seed), condition, facts


def _benchmark(name: str, data_dir: str | PathLike[str] | None, seed: int, checks: str) -> Dataset:
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
        rows, label = getattr(data, part), f"{name} ({part} rows)"
        held_out = part != "train"
        check_data(
            rows.x, name=label, allow_degenerate=held_out, columns=data.columns, checks=checks
        )
        if rows.condition is not None:
            _check_condition(rows.condition, label, data.condition_columns, checks)
    return data


def _check_condition(
    condition: np.ndarray, name: str, columns: Sequence[str], checks: str
) -> np.ndarray:
    return check_data(
        condition,
        name=f"the condition of {name}",
        dtype=np.float32,
        allow_degenerate=True,
        whole_numbers=True,
        columns=columns,
        checks=checks,
    )
