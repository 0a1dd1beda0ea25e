"""Classes of rows: read beside the data, and one column of a condition for each."""

from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from flowjax_lite.data.arrays import as_array
from flowjax_lite.data.read.files import read_table
from flowjax_lite.data.read.table import TableError
from flowjax_lite.data.schema import Schema

LABEL = "label"  # what the column of classes is called
_MOST_CLASSES = 1000


def read_labels(labels: Any, source: Any) -> np.ndarray:
    """Return the class of each row.

    Args:
        labels: An array of whole numbers, a file of them, or the name of their array in an npz
            file from which the rows are read.
        source: Where the rows are read from.

    Returns:
        `(n,)`, int64.

    Raises:
        FileNotFoundError, ValueError: There is no such file or array, or it does not hold one
            whole number for each row.
    """
    values, name = labels, "labels"
    if isinstance(labels, str | PathLike):
        archive = isinstance(source, str | PathLike) and Path(source).suffix == ".npz"
        name = str(labels)
        if archive and not Path(labels).exists():
            values = read_table(source, array=name).values
        else:
            values = read_table(labels).values
    array = as_array(values, name=name)
    if array.size != len(array) or not np.all(array == np.floor(array)):
        raise TableError(
            f"labels: {name} holds values of shape {array.shape} and type {array.dtype}; expected "
            f"one whole number for each row, (n,)"
        )
    return array.reshape(-1).astype(np.int64)


def one_hot(labels: np.ndarray) -> tuple[Schema, np.ndarray]:
    """Return the schema of a column of classes, those that occur, and the column by it.

    Args:
        labels: `(n,)`, whole numbers.

    Returns:
        The schema, and `(n, classes)`, float32.

    Raises:
        ValueError: They are as many as if they numbered the rows.
    """
    classes = np.unique(labels)
    if len(classes) > _MOST_CLASSES:
        raise TableError(
            f"labels: there are {len(classes)} different ones; expected classes, at most "
            f"{_MOST_CLASSES}"
        )
    schema = Schema({LABEL: [str(each) for each in classes]})
    return schema, schema.to_array({LABEL: labels})
