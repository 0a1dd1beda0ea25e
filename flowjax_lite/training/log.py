"""Callbacks that write down what a run finds, epoch after epoch: a table, or events."""

import csv
import io
import json
import os
import struct
import time
from dataclasses import dataclass
from pathlib import Path

from flowjax_lite.core.extra import import_extra
from flowjax_lite.core.files import writing_whole
from flowjax_lite.training.record import Progress

_ENDINGS = (".jsonl", ".csv")
# TensorBoard reads every file with "tfevents" in its name; the ending says which one is ours, and
# the number when the run began, in nanoseconds.
_NAME = "events.out.tfevents.{}.flowjax_lite"


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


@dataclass(frozen=True)
class TensorBoard:
    """A callback that keeps an event file of all columns of the history, a step for each epoch.

    It holds the epochs of the history and no others, also where a run was interrupted and went
    on. While the epochs that it holds are those of the history, new ones are added at its end,
    which is where a TensorBoard that is open goes on reading; otherwise, as where a run went on
    from an earlier epoch or another run used the directory, a new file takes its place.

    Needs tensorboardX: `pip install "flowjax-lite[tensorboard]"`.

    Attributes:
        directory: of the event file; made where it is missing. Other files in it are left alone.

    Raises:
        ImportError: tensorboardX is missing.
    """

    directory: str | os.PathLike[str]

    def __post_init__(self) -> None:
        import_extra("tensorboardX", "tensorboard")

    def __call__(self, progress: Progress) -> None:
        """Write the epochs that are not yet in the file."""
        directory = Path(self.directory)
        directory.mkdir(parents=True, exist_ok=True)
        files = sorted(directory.glob(_NAME.format("*")))
        if files:
            start = int(files[-1].name.split(".")[3])
            written, content = files[-1].read_bytes(), _content(progress, start)
            if content.startswith(written):
                with files[-1].open("ab") as file:
                    file.write(content[len(written) :])
                return
        start = time.time_ns() - int(1e9 * progress.history["seconds"][-1])
        with writing_whole(directory / _NAME.format(start)) as file:
            file.write(_content(progress, start))
        for path in files:
            path.unlink()


def _content(progress: Progress, start: int) -> bytes:
    """The version of the format, and an event for each epoch, of a run that began at a time.

    A record for each event: the length and its checksum, the event and its checksum.
    """
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary
    from tensorboardX.record_writer import masked_crc32c

    events = [Event(wall_time=1e-9 * start, file_version="brain.Event:2")]
    for epoch, seconds in enumerate(progress.history["seconds"]):
        values = [
            Summary.Value(tag=name, simple_value=column[epoch])
            for name, column in progress.history.items()
        ]
        summary = Summary(value=values)
        events.append(Event(wall_time=1e-9 * start + seconds, step=epoch, summary=summary))
    content = b""
    for event in events:
        body = event.SerializeToString(deterministic=True)
        for part in (struct.pack("<Q", len(body)), body):
            content += part + struct.pack("<I", masked_crc32c(part))
    return content
