"""One door to all data: a name, a path, or a table."""

import warnings
from collections.abc import Callable, Mapping, Sequence
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
# Rows before they are checked and divided, what the columns of x and of the condition hold, and
# what a `Dataset` tells of images.
_Rows = tuple[Split, Schema, Schema, dict[str, Any]]

# What options are for that files and tables do not take, or not they alone.
_DIVIDED = "files, tables and toys; others have splits of their own"
_PURPOSES = {
    "data_dir": "bsds300 and uci/NAME",
    "array": "npz files, without a schema",
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
    for option, value in options.items():
        is_set = value != signature(load).parameters[option].default
        if is_set and option not in taken | {"seed", "checks"}:
            raise ValueError(
                f"{option} is {value!r}, which has no effect on {name}: it is for "
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
        rows, of_x, of_condition, image = (
            _numbers(table, name, columns, condition_columns, array, seed)
            if schema is None
            else _by_schema(table, name, columns, condition_columns, missing, seed)
        )
    rows = _check(rows, name, of_x.columns, of_condition.columns, checks)
    return Dataset(
        Path(name).stem,
        *split(rows.x, condition=rows.condition, seed=seed, validation=validation, test=test),
        columns=of_x.columns,
        condition_columns=of_condition.columns,
        schema=of_x if of_x.kinds else None,
        condition_schema=of_condition if of_condition.kinds else None,
        **image,
    )


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
    source: Any, name: str, columns: _Names, condition_columns: _Names, array: str | None, seed: int
) -> _Rows:
    """The columns of a table of numbers, or images."""
    given = tuple(condition_columns or ())
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
    image_shape = None if given else table.image_shape  # only all pixels make an image
    num_levels = 256 if (image_shape or x.ndim > 2) and x.dtype == np.uint8 else None
    if num_levels is not None:
        x = dequantize(x, num_levels, seed=seed)
    kinds = dict.fromkeys((*names, *given), "real")
    image = {"image_shape": image_shape, "num_levels": num_levels}
    return Split(x, condition), *_schemas(source, kinds, names, given), image


def _by_schema(
    source: Any, name: str, columns: _Names, condition_columns: _Names, missing: str, seed: int
) -> _Rows:
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
    schema, given_schema = _schemas(source, kinds, columns, given)
    condition = given_schema.to_array(table) if given else None
    return Split(schema.to_array(table, seed=seed), condition), schema, given_schema, {}


def _schemas(
    source: Any, kinds: Mapping[str, Any], columns: Sequence[str], given: Sequence[str]
) -> tuple[Schema, Schema]:
    """What the columns of x and of the condition hold."""
    schema = Schema(kinds, frame_kind(source))
    return schema.select(columns), schema.select(given)


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
        rows, label = getattr(data, part), f"{name} ({part} rows)"
        names = data.columns, data.condition_columns
        _check(rows, label, *names, checks, held_out=part != "train")
    return data


def _check(
    rows: Split,
    name: str,
    columns: Sequence[str],
    condition_columns: Sequence[str],
    checks: str,
    *,
    held_out: bool = False,
) -> Split:
    """Rows in float32; those that are not held out have a density."""
    check = partial(check_data, dtype=np.float32, checks=checks)
    x, condition = rows.x, rows.condition
    x = check(x, name=name, columns=columns, allow_degenerate=held_out)
    if condition is not None:
        condition = check(
            condition,
            name=f"the condition of {name}",
            columns=condition_columns,
            allow_degenerate=True,
            whole_numbers=True,
        )
    return Split(x, condition)
