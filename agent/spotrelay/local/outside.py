"""What a machine wrote outside of its execution directory, read off its disk after the last process is gone.

The upper layer of an overlay says it all: a file is there if it was made or changed, a character device 0/0 stands for
one that was deleted, and a directory marked "opaque" was deleted and made again. Two things are there and mean nothing:
the directories on the way to a change, and files that were opened for writing and left as they were.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from spotrelay.local.disk import Place

CREATED, MODIFIED, DELETED = "created", "modified", "deleted"


class Write(NamedTuple):
    """One path and what became of it; `size` in bytes, 0 for what is no regular file."""

    path: Path
    kind: str
    size: int


def writes(places: Sequence[Place], apart: Sequence[Path]) -> Iterator[Write]:
    """All of them, but for what is below `apart` (the machine's own folders) and the directories that lead there."""
    on_the_way = {folder for path in (*apart, *(place.path for place in places)) for folder in (path, *path.parents)}
    below = frozenset(apart)
    for place in places:
        for write in _overlay(place.path, place.upper) if place.overlay else _plain(place.path, place.upper):
            if write.path not in on_the_way and below.isdisjoint(write.path.parents):
                yield write


def _overlay(path: Path, upper: Path) -> Iterator[Write]:
    for entry in os.scandir(upper):
        original = path / entry.name
        now, before = entry.stat(follow_symlinks=False), _stat(original)
        if stat.S_ISCHR(now.st_mode) and now.st_rdev == 0:
            yield Write(original, DELETED, 0)
        elif not stat.S_ISDIR(now.st_mode):
            if _differ(before, now):
                yield _written(original, before, now)
        else:
            if before is None:
                yield _written(original, before, now)
            elif _is_opaque(entry.path):
                yield from _replaced(original, entry.path)
            yield from _overlay(original, Path(entry.path))


def _plain(path: Path, copy: Path) -> Iterator[Write]:
    """A directory that was rebuilt: its entries cannot be changed there, so what is new was made by the machine."""
    for entry in os.scandir(copy):
        original = path / entry.name
        if _stat(original) is None:
            yield _written(original, None, entry.stat(follow_symlinks=False))
            if entry.is_dir(follow_symlinks=False):
                yield from _plain(original, Path(entry.path))


def _replaced(path: Path, upper: str) -> Iterator[Write]:
    there = {entry.name for entry in os.scandir(upper)}
    for entry in os.scandir(path):
        if entry.name not in there:
            yield Write(Path(entry.path), DELETED, 0)


def _written(path: Path, before: os.stat_result | None, now: os.stat_result) -> Write:
    size = now.st_size if stat.S_ISREG(now.st_mode) else 0
    return Write(path, CREATED if before is None else MODIFIED, size)


def _is_opaque(upper: str) -> bool:
    for space in ("trusted", "user"):
        try:
            if os.getxattr(upper, f"{space}.overlay.opaque") == b"y":
                return True
        except OSError:
            continue
    return False


def _differ(before: os.stat_result | None, now: os.stat_result) -> bool:
    if before is None:
        return True
    return (before.st_mode, before.st_size, before.st_mtime_ns) != (now.st_mode, now.st_size, now.st_mtime_ns)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except OSError:
        return None
