"""What a terminal, a notebook or a log shows of a run on its way."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from flowjax_lite.core.progress import tqdm

_PACE = 10.0  # seconds between lines of a log


class Bar:
    """A bar on a terminal or in a notebook, and lines elsewhere; a context manager.

    Nearly all time before the first epoch has ended is compilation, so that it says nothing about
    the time left.

    Args:
        total: epochs of the run, at most.
        shown: whether to show anything.
    """

    def __init__(self, total: int, *, shown: bool) -> None:
        self._total = total
        self._in_lines = shown and not sys.stderr.isatty() and "ipykernel" not in sys.modules
        self._next_line, self._waiting = 0.0, ""
        hidden = not shown or self._in_lines
        self._bar = tqdm(
            total=total, disable=hidden, unit="epoch", desc="compiling", bar_format="{desc} ..."
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._waiting:
            self._write(self._waiting)
        self._bar.close()

    def show(self, epoch: int, values: Mapping[str, float]) -> None:
        """Show an epoch that has ended.

        Args:
            epoch: how many have ended.
            values: its part of the history.
        """
        losses = {name: f"{values[name]:.4f}" for name in ("train", "validation")}
        if self._in_lines:
            words = ", ".join(f"{name} {value}" for name, value in losses.items())
            self._waiting = f"epoch {epoch} of {self._total}: {words}, {values['seconds']:.1f} s"
            if time.monotonic() >= self._next_line:
                self._write(self._waiting)
        elif not self._bar.disable:
            if self._bar.bar_format is not None:  # the first to end
                self._bar.bar_format = None
                self._bar.set_description(None, refresh=False)
                self._bar.unpause()
                self._bar.n = self._bar.initial = epoch
            self._bar.set_postfix(losses, refresh=False)
            self._bar.update(epoch - self._bar.n)
            self._bar.refresh()

    def _write(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)
        self._waiting, self._next_line = "", time.monotonic() + _PACE
