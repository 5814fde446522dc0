"""Reach a path below a directory without ever following a link: one component at a time, each relative to the last.

A path is resolved from a file descriptor of the root, and each directory on the way is opened with O_NOFOLLOW. So
whatever a manifest says and whatever another process swaps meanwhile, nothing outside of the root is read or written.
The chain of directories last used stays open: in path order the next one is nearly always a neighbour.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: if a FIFO took the file's place, open() must not wait for its other end.
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
WRITE = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

# One descriptor a level; the usual soft limit is 1,024, and four workers descend at once.
DEEPEST = 200


class Descent:
    """Used by one thread at a time. Its methods raise OSError as the calls below them do."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._chain: list[tuple[bytes, int]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._chain:
            os.close(self._chain.pop()[1])

    def directory(self, path: bytes) -> int:
        """A descriptor of the directory at `path`; the descent keeps and closes it."""
        while self._chain and not (path + b"/").startswith(self._chain[-1][0] + b"/"):
            os.close(self._chain.pop()[1])
        if not path:
            return self._root
        reached, at = self._chain[-1] if self._chain else (b"", self._root)
        for part in path[len(reached) :].strip(b"/").split(b"/") if path != reached else ():
            at = os.open(part, DIRECTORY, dir_fd=at)
            reached = reached + b"/" + part if reached else part
            self._chain.append((reached, at))
        return at

    def place(self, path: bytes) -> tuple[bytes, int]:
        """The name and its directory's descriptor, for calls that take `dir_fd`."""
        parent, _, name = path.rpartition(b"/")
        return name, self.directory(parent)

    def open(self, path: bytes, flags: int, mode: int = 0o600) -> int:
        """A descriptor of the file at `path`, which the caller closes."""
        if not path:
            return os.open(b".", flags, dir_fd=self._root)
        name, parent = self.place(path)
        return os.open(name, flags, mode, dir_fd=parent)

    def stat(self, path: bytes) -> os.stat_result:
        if not path:
            return os.fstat(self._root)
        name, parent = self.place(path)
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
