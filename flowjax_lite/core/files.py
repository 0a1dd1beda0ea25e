"""Files that are written whole or not at all, and locks between processes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def writing_whole(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that takes the place of `path` once all of it is on the disk.

    Args:
        path: the file, which is replaced; a failure on the way leaves it as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold a lock that one process at a time can have; it ends with the process, however that ends.

    Args:
        path: the file that stands for the lock, in a directory that exists; it is removed at the
            end. Other processes must name the same file.

    Yields:
        Whether the lock is held: False where another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # a system without such locks: nothing is kept out
        yield True
        return
    while True:
        with path.open("a+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield False
                return
            try:
                current = os.path.samestat(os.fstat(file.fileno()), path.stat())
            except FileNotFoundError:
                current = False
            if current:  # otherwise the holder before removed the file that was just opened
                try:
                    yield True
                finally:
                    path.unlink(missing_ok=True)
                return
