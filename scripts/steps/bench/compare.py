"""Whether what came back is what was sent, to the last byte. A fast wrong copy is no copy."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

CHUNK = 1 << 20


def differences(expected: Path, actual: Path, *, faithful: bool) -> list[str]:
    """The first few, in words; none is what one hopes for. `faithful`: modes and times are compared, too."""
    return list(islice(_differences(expected, actual, faithful), 5))


def _differences(expected: Path, actual: Path, faithful: bool) -> Iterator[str]:
    wanted, found = _names(expected), _names(actual)
    for name in sorted(wanted.keys() - found.keys()):
        yield f"{name} is missing"
    for name in sorted(found.keys() - wanted.keys()):
        yield f"{name} was not there before"
    for name in sorted(wanted.keys() & found.keys()):
        one, other = wanted[name], found[name]
        if one.st_size != other.st_size or not _same_bytes(expected / name, actual / name):
            yield f"{name} has other bytes"
        elif faithful and (one.st_mode, one.st_mtime_ns) != (other.st_mode, other.st_mtime_ns):
            yield f"{name} has another mode or time"


def _names(tree: Path) -> dict[str, os.stat_result]:
    """Regular files: no peer of ours keeps more than them."""
    found = {}
    for folder, _, names in os.walk(tree):
        for name in names:
            path = Path(folder, name)
            if stat.S_ISREG((about := path.lstat()).st_mode):
                found[str(path.relative_to(tree))] = about
    return found


def _same_bytes(one: Path, other: Path) -> bool:
    with one.open("rb", buffering=0) as left, other.open("rb", buffering=0) as right:
        while True:
            a, b = left.read(CHUNK), right.read(CHUNK)
            if a != b:
                return False
            if not a:
                return True


def hashes(tree: Path) -> dict[str, str]:
    """As the server tells them of its objects."""
    found = {}
    for name in _names(tree):
        digest = hashlib.blake2b(digest_size=16)
        with (tree / name).open("rb", buffering=0) as file:
            while data := file.read(CHUNK):
                digest.update(data)
        found[name] = digest.hexdigest()
    return found
