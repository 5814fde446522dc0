"""What is not saved, and what a restore therefore neither deletes nor writes: excluded paths and foreign mounts.

A pattern is one of fnmatch's (`*`, `?`, `[seq]`, `[!seq]`), case-sensitive, and means:

    *.tmp          no slash: the name of anything, at any depth
    logs/*.txt     a slash inside or in front: the path below the execution directory; `*` crosses slashes
    /cache         so: `cache` at the top only
    scratch/       a slash at the end: directories only

What lies in an excluded directory is excluded. There is no negation: a list that can be read in any order cannot be
misread. `**` means the same as `*`, as it crosses slashes anyway.

A mount below the directory is another disk: scratch space, a dataset, somebody else's. It is not descended into, and
the manifest records it as skipped. Mount points are read from mountinfo, because a bind mount of the same file system
has the device number of its surroundings.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

EXCLUDED = "excluded"
MOUNT = "a mount of its own"


class Exclusions:
    """Raises ValueError for a pattern that can match nothing."""

    def __init__(self, patterns: Sequence[str] = (), mounts: frozenset[bytes] = frozenset()) -> None:
        self.patterns, self.mounts = bool(patterns), bool(mounts)
        self._mounts = mounts
        self._anything = _Patterns([pattern for pattern in patterns if not pattern.endswith("/")])
        self._directories = _Patterns(patterns)

    def why(self, path: bytes, is_directory: bool) -> str:
        """EXCLUDED, MOUNT, or nothing. For one whose parents are known not to be excluded."""
        if not self.mounts and not self.patterns:
            return ""
        if self.is_mount(path):
            return MOUNT
        return EXCLUDED if self.excluded(os.fsdecode(path), is_directory) else ""

    def is_mount(self, path: bytes) -> bool:
        return path in self._mounts

    def excluded(self, path: str, is_directory: bool) -> bool:
        return self.patterns and bool((self._directories if is_directory else self._anything)(path))


class _Patterns:
    """One regular expression for names and one for paths: ten patterns cost what one does."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._name = _any_of([pattern for pattern in patterns if "/" not in pattern.rstrip("/")])
        self._path = _any_of([pattern for pattern in patterns if "/" in pattern.rstrip("/")])

    def __call__(self, path: str) -> bool:
        return bool((self._name and self._name(path.rpartition("/")[2])) or (self._path and self._path(path)))


def _any_of(patterns: Sequence[str]) -> Callable[[str], object] | None:
    return re.compile("|".join(map(_regex, patterns))).match if patterns else None


def _regex(pattern: str) -> str:
    body = pattern.strip("/")
    if not body or "\0" in body:
        raise ValueError(f"an exclude pattern that matches nothing: {pattern!r}")
    return fnmatch.translate(body)  # anchored at its end


def mounts_below(directory: Path, mountinfo: Path = Path("/proc/self/mountinfo")) -> frozenset[bytes]:
    """Mount points below `directory`, relative to it. None where there is no /proc (a laptop that is no Linux)."""
    root = os.path.realpath(os.fsencode(directory)).rstrip(b"/") + b"/"
    try:
        lines = mountinfo.read_bytes().splitlines()
    except FileNotFoundError:
        return frozenset()
    points = (re.sub(rb"\\(\d{3})", lambda m: bytes([int(m[1], 8)]), line.split()[4]) for line in lines)
    return frozenset(point[len(root) :] for point in points if point.startswith(root) and point != root)
