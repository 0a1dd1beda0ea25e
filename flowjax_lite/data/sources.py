"""One door to all data: a name, or a path."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from flowjax_lite.core.checks import suggest
from flowjax_lite.data.benchmarks import bsds300, uci
from flowjax_lite.data.checks import check_data
from flowjax_lite.data.dataset import Dataset
from flowjax_lite.data.dequantize import dequantize
from flowjax_lite.data.embedded import EMBEDDED, digits
from flowjax_lite.data.files import read_table
from flowjax_lite.data.paths import file_errors
from flowjax_lite.data.splits import split
from flowjax_lite.data.table import check_apart, divide_columns
from flowjax_lite.data.toy import TOYS, toy


def load(
    source: str | PathLike[str],
    *,
    data_dir: str | PathLike[str] | None = None,
    seed: int = 0,
    columns: Sequence[str] | None = None,
    condition_columns: Sequence[str] | None = None,
    array: str | None = None,
    validation: float | int = 0.1,
    test: float | int = 0.1,
    num: int = 10000,
    noise_copies: int = 1,
    checks: str = "error",
) -> Dataset:
    """Load a data set and divide it into training, validation and test rows.

    Args:
        source: `digits`, `breast_cancer`, `wine` or `iris`; a toy density such as `moons`;
            `bsds300` or `uci/NAME`; otherwise the path of a file that `read_table` reads. Names
            win over files: write `./moons` for a file called so.
        data_dir: Folder of the benchmark files, for `bsds300` and `uci/NAME`.
        seed: Seed of everything random: draws, dequantisation, splits.
        columns: Columns of a file that make x; all but `condition_columns` by default.
        condition_columns: Columns of a file that make the condition.
        array: Name of the array in an npz file that holds more than one.
        validation: Fraction (float) or number (int) of validation rows, for files and toys; the
            other sources have splits of their own.
        test: The same for the test rows.
        num: Number of rows to draw, for toys.
        noise_copies: For `digits`: how often each training image appears, each time with
            dequantisation noise of its own.
        checks: What happens to files and benchmarks that a density does not fit: "error",
            "warn" or "off", as for `check_data`.

    Returns:
        The data set, in float32. Byte images of idx files are dequantised to [0, 1).

    Raises:
        FileNotFoundError, ImportError: A file or package is not there.
        TypeError, ValueError: An unknown name, an option that the source does not take, or data
            that no density fits (see `check_data`).
    """
    name = str(source)
    if noise_copies != 1 and name != "digits":
        raise ValueError(
            f"noise_copies is {noise_copies}, but {name} is not dequantised here; it is for "
            "digits alone. Leave it out."
        )
    is_uci = name.startswith("uci/") and not Path(name).suffix
    if not (is_uci or name == "bsds300" or name in EMBEDDED or name in TOYS):
        return _load_file(
            _existing(name),
            seed=seed,
            columns=columns,
            condition_columns=condition_columns,
            array=array,
            validation=validation,
            test=test,
            checks=checks,
        )
    if columns or condition_columns or array:
        raise ValueError(
            f"columns, condition_columns and array are for files alone; {name} has a fixed form. "
            "Leave them out."
        )
    if name == "digits":
        return digits(seed, noise_copies=noise_copies)
    if name in EMBEDDED:
        return EMBEDDED[name](seed)
    if name in TOYS:
        return toy(name, num=num, seed=seed, validation=validation, test=test)
    if data_dir is None:
        raise ValueError(
            f"{name} is read from files: give data_dir, the folder that holds bsds300/ and uci/."
        )
    if is_uci:
        data = uci(data_dir, name.removeprefix("uci/"), seed=seed)
    else:
        data = bsds300(data_dir, seed=seed)
    _check_splits(data, checks)
    return data


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


def _load_file(
    path: Path,
    *,
    seed: int,
    columns: Sequence[str] | None,
    condition_columns: Sequence[str] | None,
    array: str | None,
    validation: float | int,
    test: float | int,
    checks: str,
) -> Dataset:
    conditions = tuple(condition_columns or ())
    wanted = (*columns, *conditions) if columns else None
    with file_errors(path):
        check_apart(columns, conditions)
    table = read_table(path, columns=wanted, array=array)
    with file_errors(path):
        of_x, of_condition = divide_columns(columns, conditions, table.columns)
    names = tuple(table.columns[i] for i in of_x)
    x, num_levels = table.values[:, of_x], None
    image_shape = None if conditions else table.image_shape  # only all pixels make an image
    if image_shape and x.dtype == np.uint8:
        num_levels = 256
        x = dequantize(x, num_levels, seed=seed)
    x = check_data(x, name=str(path), dtype=np.float32, columns=names, checks=checks)
    condition = None
    if conditions:
        condition = check_data(
            table.values[:, of_condition].astype(float),
            name=f"the condition of {path}",
            dtype=np.float32,
            allow_degenerate=True,
            columns=conditions,
            checks=checks,
        )
    train, held_out, tested = split(
        x, condition=condition, seed=seed, validation=validation, test=test
    )
    return Dataset(
        path.stem,
        train,
        held_out,
        tested,
        columns=names,
        condition_columns=conditions,
        image_shape=image_shape,
        num_levels=num_levels,
    )


def _check_splits(data: Dataset, checks: str) -> None:
    """Check the rows of each split, and the conditions; only training rows need a density."""
    for name in ("train", "validation", "test"):
        part, label = getattr(data, name), f"{data.name} ({name} rows)"
        held_out = name != "train"
        check_data(
            part.x, name=label, allow_degenerate=held_out, columns=data.columns, checks=checks
        )
        if part.condition is not None:
            check_data(
                part.condition,
                name=f"the condition of {label}",
                allow_degenerate=True,
                columns=data.condition_columns,
                checks=checks,
            )
