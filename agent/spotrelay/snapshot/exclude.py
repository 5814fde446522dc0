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
        self._mounts = mounts
        self._names = _any_of([p for p in patterns if "/" not in p.rstrip("/")])
        self._paths = _any_of([p for p in patterns if "/" in p.rstrip("/")])

    def why(self, path: bytes, is_directory: bool) -> str:
        """EXCLUDED, MOUNT, or nothing. For one whose parents are known not to be excluded."""
        if path in self._mounts:
            return MOUNT
        spelled = os.fsdecode(path) + ("/" if is_directory else "")
        if self._names and self._names(spelled.rstrip("/").rpartition("/")[2] + ("/" if is_directory else "")):
            return EXCLUDED
        return EXCLUDED if self._paths and self._paths(spelled) else ""


def _any_of(patterns: Sequence[str]) -> Callable[[str], object] | None:
    """One regular expression for all: a match costs the same for one pattern as for ten."""
    return re.compile("|".join(map(_regex, patterns))).fullmatch if patterns else None


def _regex(pattern: str) -> str:
    body = pattern.strip("/")
    if not body or "\0" in body:
        raise ValueError(f"an exclude pattern that matches nothing: {pattern!r}")
    # translate() ends in \Z (\z from Python 3.14 on). A directory arrives with a slash at its end, which a pattern
    # without one does not ask for.
    return fnmatch.translate(body)[:-2] + ("/" if pattern.endswith("/") else "/?")


def mounts_below(directory: Path, mountinfo: Path = Path("/proc/self/mountinfo")) -> frozenset[bytes]:
    """Mount points below `directory`, relative to it. None where there is no /proc (a laptop that is no Linux)."""
    root = os.path.realpath(os.fsencode(directory)).rstrip(b"/") + b"/"
    try:
        lines = mountinfo.read_bytes().splitlines()
    except FileNotFoundError:
        return frozenset()
    points = (re.sub(rb"\\(\d{3})", lambda m: bytes([int(m[1], 8)]), line.split()[4]) for line in lines)
    return frozenset(point[len(root) :] for point in points if point.startswith(root) and point != root)
