"""A large file that is read slice by slice, and open only meanwhile.

A gentle save waits a second or more between two slices of a checkpoint, and the command renames the next one over it.
What was renamed over is worth nobody's time, so it is given up; and as long as somebody has it open, the command does
not get back the room that it takes. To open it again for each slice takes 0.01 ms.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from spotrelay.snapshot import read, scan
from spotrelay.snapshot.descent import Descent


@dataclass(slots=True)
class Source:
    """`file`: a descriptor, if it is held all the time; -1 if not."""

    root: int
    path: bytes
    inode: int
    file: int
    replaced: bool = False

    @contextmanager
    def opened(self) -> Iterator[int | None]:
        """None if the path leads to another file now, or to none, or may not be followed any more."""
        if self.file >= 0:
            yield self.file
            return
        file = None
        with Descent(self.root) as down, suppress(PermissionError):
            file = read.open_file(down, self.path)
        try:
            self.replaced |= file is None or os.fstat(file).st_ino != self.inode
            yield None if self.replaced else file
        finally:
            if file is not None:
                os.close(file)

    def look(self) -> tuple[os.stat_result, tuple[tuple[bytes, bytes], ...]] | None:
        """None if it was replaced at any time."""
        with self.opened() as file:
            return None if file is None else (os.fstat(file), scan.xattrs(file))
