"""A callback that writes down what a run finds, epoch after epoch."""

import csv
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path

from flowjax_lite.core.files import writing_whole
from flowjax_lite.training.record import Progress

_ENDINGS = (".jsonl", ".csv")


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
        if Path(self.path).suffix not in _ENDINGS:
            raise ValueError(f"{self.path} ends on neither of {', '.join(_ENDINGS)}; choose one")

    def __call__(self, progress: Progress) -> None:
        """Write the file."""
        path = Path(self.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        names = ("epoch", *progress.history)
        columns = (range(progress.epoch + 1), *progress.history.values())
        lines = [dict(zip(names, line, strict=True)) for line in zip(*columns, strict=True)]
        text = io.StringIO(newline="")
        if path.suffix == ".jsonl":
            text.writelines(json.dumps(line) + "\n" for line in lines)
        else:
            writer = csv.DictWriter(text, names)
            writer.writeheader()
            writer.writerows(lines)
        with writing_whole(path) as file:
            file.write(text.getvalue().encode())
