"""How a save from a laptop looks while it goes on: a line on a terminal, once it has taken a second; else nothing."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.filesize import decimal
from rich.status import Status

from spotrelay.snapshot import Progress

# What is done sooner needs no telling.
AFTER_S = 1.0


class Sending:
    """A context manager. How much it will be in all nobody knows: the directory is read as it is sent."""

    def __init__(self, console: Console) -> None:
        self._status = Status("", console=console) if console.is_terminal else None
        self._began, self._shown = time.monotonic(), False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def show(self, progress: Progress) -> None:
        seconds = time.monotonic() - self._began
        if self._status is None or seconds < AFTER_S:
            return
        rate = decimal(round(progress.bytes / seconds))
        self._status.update(f"saving the directory: {decimal(progress.bytes)}, {rate}/s")
        if not self._shown:
            self._shown = True
            self._status.start()
