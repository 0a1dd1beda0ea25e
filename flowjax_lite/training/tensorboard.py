"""A callback that writes what a run finds for TensorBoard."""

import os
import struct
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from flowjax_lite.core.files import writing_whole
from flowjax_lite.training.record import Progress

# TensorBoard reads every file with "tfevents" in its name; the ending says which one is ours.
_NAME = "events.out.tfevents.{}.flowjax_lite"


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
        try:
            import tensorboardX  # noqa: F401
        except ImportError as error:
            raise ImportError(
                "event files need tensorboardX, which is not installed: "
                'pip install "flowjax-lite[tensorboard]"'
            ) from error

    def __call__(self, progress: Progress) -> None:
        """Write the epochs that are not yet in the file."""
        directory = Path(self.directory)
        directory.mkdir(parents=True, exist_ok=True)
        files = sorted(directory.glob(_NAME.format("*")))
        if files and _add(files[-1], progress):
            return
        start = time.time() - progress.history["seconds"][-1]
        with writing_whole(directory / _NAME.format(time.time_ns())) as file:
            file.write(_records(_events(progress, start)))
        for path in files:
            path.unlink()


def _add(path: Path, progress: Progress) -> bool:
    """Add the epochs that a file lacks, if it holds those before them and nothing else."""
    from tensorboardX.proto.event_pb2 import Event

    content = path.read_bytes()
    written = list(_split(content))
    if _records(written) != content or not written:
        return False
    events = _events(progress, start=Event.FromString(written[0]).wall_time)
    if events[: len(written)] != written:
        return False
    with path.open("ab") as file:
        file.write(_records(events[len(written) :]))
    return True


def _events(progress: Progress, start: float) -> list[bytes]:
    """The version of the format, and an event for each epoch, at its seconds after the start."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary

    events = [Event(wall_time=start, file_version="brain.Event:2")]
    for epoch, seconds in enumerate(progress.history["seconds"]):
        values = [
            Summary.Value(tag=name, simple_value=column[epoch])
            for name, column in progress.history.items()
        ]
        summary = Summary(value=values)
        events.append(Event(wall_time=start + seconds, step=epoch, summary=summary))
    return [event.SerializeToString(deterministic=True) for event in events]


def _records(events: Iterable[bytes]) -> bytes:
    """A record for each event: the length and its checksum, the event and its checksum."""
    from tensorboardX.record_writer import masked_crc32c

    parts = []
    for event in events:
        length = struct.pack("<Q", len(event))
        checks = (struct.pack("<I", masked_crc32c(part)) for part in (length, event))
        parts += [length, next(checks), event, next(checks)]
    return b"".join(parts)


def _split(content: bytes) -> Iterator[bytes]:
    """The events of whole records, up to one that was cut off."""
    at = 0
    while at + 16 <= len(content):
        (length,) = struct.unpack_from("<Q", content, at)
        at += 16 + length
        if at > len(content):
            return
        yield content[at - 4 - length : at - 4]
