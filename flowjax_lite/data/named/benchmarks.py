"""Published benchmark protocols, on files that the user has."""

from os import PathLike
from pathlib import Path

import numpy as np

from flowjax_lite.data.dataset import Dataset, Split
from flowjax_lite.data.domains import dequantize
from flowjax_lite.data.read.files import read_table
from flowjax_lite.data.read.table import numbered


def bsds300(data_dir: str | PathLike[str], seed: int = 0) -> Dataset:
    """Natural image patches of 8 × 8 pixels, as 63 dimensions.

    Dequantise, subtract the mean of each patch, drop the last pixel, which then follows from the
    others. Log-densities are reported in nats.

    Args:
        data_dir: Folder that holds `bsds300/patches_u8.npz` with uint8 arrays `train`, `val` and
            `test`, each `(n, 64)`.
        seed: Seed of the dequantisation noise; the splits are those stored.

    Returns:
        The data set, 63 columns.

    Raises:
        FileNotFoundError: The file is not there.
        ValueError: An array is missing or has another width.

    Reference: Uria, Murray and Larochelle (2013), arXiv:1306.0186; Papamakarios, Pavlakou and
    Murray (2017), arXiv:1705.07057.
    """
    path = Path(data_dir) / "bsds300" / "patches_u8.npz"
    train, validation, test = (
        _patches(path, array, seed=(seed, index))
        for index, array in enumerate(("train", "val", "test"))
    )
    return Dataset("bsds300", train, validation, test, columns=numbered("pixel", 63))


def uci(data_dir: str | PathLike[str], name: str, split: int = 0, seed: int = 0) -> Dataset:
    """A regression set as a conditional density: the target given the features.

    Args:
        data_dir: Folder that holds `uci/NAME.npz` with `x` (n, c), `y` (n,), and the row numbers
            `train_0`, `test_0`, `train_1`, ... of the published splits.
        name: Name of the set, such as `"yacht"`.
        split: Which published split.
        seed: Seed that chooses the tenth of the training rows held out for validation.

    Returns:
        The data set, 1 column, conditioned on c features.

    Raises:
        FileNotFoundError: The file is not there.
        ValueError: An array is missing or a split does not fit the rows.

    Reference: Hernández-Lobato and Adams (2015), arXiv:1502.05336.
    """
    path = Path(data_dir) / "uci" / f"{name}.npz"
    features = read_table(path, array="x").values
    target = read_table(path, array="y").values
    train = _row_numbers(path, f"train_{split}", len(target))
    test = _row_numbers(path, f"test_{split}", len(target))
    train = np.random.default_rng(seed).permutation(train)
    num_validation = max(1, round(0.1 * len(train)))
    every = Split(target, features)
    return Dataset(
        f"uci/{name}",
        every[train[num_validation:]].cast(),
        every[train[:num_validation]].cast(),
        every[test].cast(),
        columns=("y",),
        condition_columns=numbered("x", features.shape[1]),
    )


def _patches(path: Path, array: str, *, seed: tuple[int, int]) -> Split:
    levels = read_table(path, array=array).values
    if levels.shape[1] != 64:
        raise ValueError(f"{path}: {array} has shape {levels.shape}; expected (n, 64) patches.")
    x = dequantize(levels, 256, seed=seed)
    x -= x.mean(axis=1, keepdims=True)
    return Split(np.ascontiguousarray(x[:, :-1]))


def _row_numbers(path: Path, array: str, num_rows: int) -> np.ndarray:
    rows = read_table(path, array=array).values[:, 0]
    if rows.dtype.kind not in "iu" or rows.min() < 0 or rows.max() >= num_rows:
        raise ValueError(
            f"{path}: {array} does not hold row numbers 0 to {num_rows - 1} of x and y. The file "
            "may be damaged; fetch it again."
        )
    return rows
