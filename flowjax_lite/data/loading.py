"""One door to all data: a name, or a path."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from flowjax_lite.core.checks import suggest
from flowjax_lite.data.dataset import Dataset, split
from flowjax_lite.data.dequantization import dequantize
from flowjax_lite.data.named.benchmarks import bsds300, uci
from flowjax_lite.data.named.embedded import EMBEDDED, digits
from flowjax_lite.data.named.toys import TOYS, toy
from flowjax_lite.data.quality import check_data
from flowjax_lite.data.read import read_table
from flowjax_lite.data.read.files import file_errors
from flowjax_lite.data.read.table import check_apart, divide_columns

# Of each option its default, the kinds of data that take it, and what it is for.
_FILES, _DIVIDED = "files", "files and toy densities; the others have splits of their own"
_OPTIONS: dict[str, tuple[Any, set[str], str]] = {
    "data_dir": (None, {"benchmark"}, "bsds300 and uci/NAME"),
    "columns": (None, {"file"}, _FILES),
    "condition_columns": (None, {"file"}, _FILES),
    "array": (None, {"file"}, _FILES),
    "validation": (0.1, {"file", "toy"}, _DIVIDED),
    "test": (0.1, {"file", "toy"}, _DIVIDED),
    "num": (10000, {"toy"}, "toy densities"),
    "noise_copies": (1, {"digits"}, "digits, whose noise is added here"),
}


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
        The data set, in float32. Images of bytes, of an idx file or a npy file of three axes or
        more, are dequantised to [0, 1).

    Raises:
        FileNotFoundError, ImportError: A file or package is not there.
        TypeError, ValueError: An unknown name, an option that the source does not take, or data
            that no density fits (see `check_data`).
    """
    name = str(source)
    kind = _kind(name)
    given = {
        "data_dir": data_dir,
        "columns": columns,
        "condition_columns": condition_columns,
        "array": array,
        "validation": validation,
        "test": test,
        "num": num,
        "noise_copies": noise_copies,
    }
    for option, value in given.items():
        default, kinds, purpose = _OPTIONS[option]
        if value != default and kind not in kinds:
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
    if kind == "file":
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
    if data_dir is None:
        raise ValueError(
            f"{name} is read from files: give data_dir, the folder that holds bsds300/ and uci/."
        )
    if name == "bsds300":
        data = bsds300(data_dir, seed=seed)
    else:
        data = uci(data_dir, name.removeprefix("uci/"), seed=seed)
    _check_splits(data, checks)
    return data


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
    x, names = table.values, table.columns
    of_condition: tuple[int, ...] = ()
    if x.ndim == 2:
        with file_errors(path):
            of_x, of_condition = divide_columns(columns, conditions, names)
        x, names = x[:, of_x], tuple(names[i] for i in of_x)
    image_shape = None if conditions else table.image_shape  # only all pixels make an image
    num_levels = None
    if (image_shape or x.ndim > 2) and x.dtype == np.uint8:
        num_levels = 256
        x = dequantize(x, num_levels, seed=seed)
    x = check_data(x, name=str(path), dtype=np.float32, columns=names, checks=checks)
    condition = None
    if conditions:
        condition = check_data(
            table.values[:, of_condition],
            name=f"the condition of {path}",
            dtype=np.float32,
            allow_degenerate=True,
            whole_numbers=True,
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
