"""A callback that writes down what a run finds, epoch after epoch."""

import csv
import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from flowjax_lite.core.files import writing_whole
from flowjax_lite.training.record import Progress

Line = dict[str, float]


@dataclass(frozen=True)
class LogFile:
    """A callback that keeps a file of one line for each epoch, with all columns of the history.

    After each epoch the file is replaced by one of all epochs, so it is whole at any time and
    has no epoch twice, also where a run was interrupted and went on.

    Attributes:
        path: the file; its ending says the form, .jsonl or .csv. Directories that are
            missing are made.

    Raises:
        ValueError: another ending.
    """

    path: str | os.PathLike[str]

    def __post_init__(self) -> None:
        if Path(self.path).suffix not in _WRITERS:
            raise ValueError(f"{self.path} ends on neither of {', '.join(_WRITERS)}; choose one")

    def __call__(self, progress: Progress) -> None:
        """Write the file."""
        path = Path(self.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        text = io.StringIO(newline="")
        _WRITERS[path.suffix](text, _lines(progress))
        with writing_whole(path) as file:
            file.write(text.getvalue().encode())


def _lines(progress: Progress) -> list[Line]:
    names = ("epoch", *progress.history)
    columns = (range(progress.epoch + 1), *progress.history.values())
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _write_jsonl(file: IO[str], lines: list[Line]) -> None:
    file.writelines(json.dumps(line) + "\n" for line in lines)


def _write_csv(file: IO[str], lines: list[Line]) -> None:
    writer = csv.DictWriter(file, list(lines[0]))
    writer.writeheader()
    writer.writerows(lines)


_WRITERS: dict[str, Callable[[IO[str], list[Line]], Any]] = {
    ".jsonl": _write_jsonl,
    ".csv": _write_csv,
}
