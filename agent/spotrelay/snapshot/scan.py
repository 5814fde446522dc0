"""What there is below a directory, in path order, without the bytes of its files.

`walk` sees names and status; `scan` turns them into a manifest's entries, except that a regular file comes out as
`Found`, to be compared with the index and read if need be. Memory is one listing for each open level.

The directory may be in use. What vanishes between the listing and the look was deleted, and is simply not there.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Generator, Iterator
from typing import NamedTuple

from spotrelay.core.manifest import Directory, Entry, Fifo, Meta, Skipped, Symlink
from spotrelay.snapshot import descent
from spotrelay.snapshot.descent import Descent
from spotrelay.snapshot.exclude import EXCLUDED, Exclusions

# The file was there, and is not, or is something else: ENOENT, ELOOP and ENOTDIR from O_NOFOLLOW, ENXIO from a socket.
GONE = (FileNotFoundError, NotADirectoryError)


class Node(NamedTuple):
    """`barrier` says why a walk did not go in (or look): excluded, a mount, unreadable. Otherwise it is empty."""

    path: bytes
    status: os.stat_result
    barrier: str


class Found(NamedTuple):
    """A regular file, not yet read."""

    path: bytes
    status: os.stat_result


def walk(down: Descent, exclude: Exclusions) -> Iterator[Node]:
    """Everything from the directory itself (path b"") on, each directory before what it holds, siblings in byte
    order.
    """
    yield Node(b"", down.stat(b""), "")
    levels = [_children(down, b"")]
    while levels:
        path = next(levels[-1], None)
        if path is None:
            levels.pop()
            continue
        try:
            status = down.stat(path)
            is_directory = stat.S_ISDIR(status.st_mode)
            barrier = exclude.why(path, is_directory)
            if is_directory and not barrier:
                levels.append(_children(down, path))
        except PermissionError as error:
            barrier = f"unreadable: {error.strerror}"
        except OSError as error:
            if not gone(error):
                raise
            continue
        yield Node(path, status, barrier)


def gone(error: OSError) -> bool:
    return isinstance(error, GONE) or error.errno in (errno.ELOOP, errno.ENXIO, errno.ESTALE)


def _children(down: Descent, path: bytes) -> Iterator[bytes]:
    if path.count(b"/") >= descent.DEEPEST:
        raise PermissionError(0, f"more than {descent.DEEPEST} directories deep")
    names = sorted(map(os.fsencode, os.listdir(down.directory(path))))  # noqa: PTH208 by descriptor
    return iter([path + b"/" + name for name in names] if path else names)


def scan(root: int, exclude: Exclusions) -> Generator[Entry | Found, None, None]:
    """`root`: a descriptor of the directory. Raises OSError when the directory itself cannot be listed."""
    with Descent(root) as down:
        for path, status, barrier in walk(down, exclude):
            if barrier == EXCLUDED:
                continue
            try:
                yield Skipped(path, barrier) if barrier else _entry(down, path, status)
            except OSError as error:
                if not gone(error):
                    raise


def _entry(down: Descent, path: bytes, status: os.stat_result) -> Entry | Found:
    match stat.S_IFMT(status.st_mode):
        case stat.S_IFREG:
            return Found(path, status)
        case stat.S_IFDIR:
            return Directory(path, meta(status, xattrs(down.directory(path))))
        case stat.S_IFLNK:
            name, parent = down.place(path)
            return Symlink(path, meta(status), os.readlink(name, dir_fd=parent))
        case stat.S_IFIFO:
            return Fifo(path, meta(status))
        case stat.S_IFSOCK:
            return Skipped(path, "a socket")
        case _:
            return Skipped(path, "a device")


def meta(status: os.stat_result, attributes: tuple[tuple[bytes, bytes], ...] = ()) -> Meta:
    return Meta(stat.S_IMODE(status.st_mode), status.st_mtime_ns, status.st_uid, status.st_gid, attributes)


def xattrs(file: int) -> tuple[tuple[bytes, bytes], ...]:
    """The user.* attributes. Others (security.*, system.*) belong to the machine and its policy, not to the run."""
    try:
        names = sorted(name for name in os.listxattr(file) if name.startswith("user."))
        return tuple((os.fsencode(name), os.getxattr(file, name)) for name in names)
    except OSError:  # the file system has none, or one vanished under our hands
        return ()


def look(down: Descent, path: bytes) -> Found | None:
    """The regular file at `path`, if there is one."""
    try:
        status = down.stat(path)
    except OSError as error:
        if not gone(error):
            raise
        return None
    return Found(path, status) if stat.S_ISREG(status.st_mode) else None
