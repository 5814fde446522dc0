"""Directory trees as literals, and where two of them differ.

    tree({"model/": {"w.bin": b"...", "again": same_as(b"model/w.bin")}, "latest": link("model")}).write(root)
    assert [] == differences(root, restored)

Names are str or bytes; the slash at the end of a directory's is for the reader. A value is the file's bytes, a dict, or
one of the makers below.
"""

# ruff: noqa: PTH101, PTH102, PTH115, PTH123, PTH211 - names of any bytes, which pathlib does not have
from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Name = str | bytes
Literal = Mapping[Name, Any]


@dataclass(frozen=True)
class Link:
    target: bytes


@dataclass(frozen=True)
class SameAs:
    path: bytes


@dataclass(frozen=True)
class Pipe:
    pass


@dataclass(frozen=True)
class Sparse:
    size: int
    data: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True)
class Dressed:
    """Anything with a mode, a time or attributes of its own."""

    what: Any
    mode: int | None = None
    mtime: int | None = None
    xattrs: Mapping[bytes, bytes] = field(default_factory=dict)


def link(target: Name) -> Link:
    return Link(os.fsencode(target))


def same_as(path: Name) -> SameAs:
    """One more name of the file at `path`, from the tree's root, which stands earlier in the literal."""
    return SameAs(os.fsencode(path))


def pipe() -> Pipe:
    return Pipe()


def sparse(size: int, *data: tuple[int, bytes]) -> Sparse:
    return Sparse(size, data)


def dressed(what: Any, **how: Any) -> Dressed:
    return Dressed(what, **how)


class tree:
    def __init__(self, literal: Literal) -> None:
        self.literal = literal

    def write(self, root: Path) -> Path:
        root.mkdir(exist_ok=True)
        _fill(os.fsencode(root), os.fsencode(root), self.literal)
        return root


def _fill(root: bytes, directory: bytes, literal: Literal) -> None:
    for name, what in literal.items():
        _make(root, directory + b"/" + os.fsencode(name).rstrip(b"/"), what)


def _make(root: bytes, path: bytes, what: Any) -> None:
    match what:
        case Dressed():
            _make(root, path, what.what)
            _dress(path, what)
        case Link():
            os.symlink(what.target, path)
        case SameAs():
            os.link(root + b"/" + what.path, path)
        case Pipe():
            os.mkfifo(path)
        case Sparse():
            with open(path, "wb") as file:
                file.truncate(what.size)
                for offset, data in what.data:
                    file.seek(offset)
                    file.write(data)
        case Mapping():
            os.mkdir(path)
            _fill(root, path, what)
        case _:
            with open(path, "wb") as file:
                file.write(what)


def _dress(path: bytes, how: Dressed) -> None:
    for name, value in how.xattrs.items():
        os.setxattr(path, name, value)
    if how.mode is not None:
        os.chmod(path, how.mode)
    if how.mtime is not None:
        os.utime(path, ns=(how.mtime, how.mtime), follow_symlinks=False)


def differences(expected: Path, actual: Path) -> list[str]:
    """A line for each path that differs, and in what; empty when the trees are equal in all that a snapshot keeps."""
    one, other = looks(expected), looks(actual)
    found = [f"{path!r}: missing" for path in sorted(one.keys() - other.keys())]
    found += [f"{path!r}: not expected" for path in sorted(other.keys() - one.keys())]
    for path in sorted(one.keys() & other.keys()):
        found += [
            f"{path!r}: {what} is {other[path].get(what)!r}, not {one[path].get(what)!r}"[:300]
            for what in sorted(one[path].keys() | other[path].keys())
            if one[path].get(what) != other[path].get(what)
        ]
    return found


def looks(root: Path) -> dict[bytes, dict[str, Any]]:
    """Everything that a snapshot keeps, by path. Names of one file share the first of them as "file"."""
    found: dict[bytes, dict[str, Any]] = {}
    first: dict[int, bytes] = {}
    for path in _paths(os.fsencode(root)):
        relative = path[len(os.fsencode(root)) + 1 :]
        status = os.lstat(path)
        look: dict[str, Any] = {
            "type": stat.filemode(status.st_mode)[0],
            "mode": oct(stat.S_IMODE(status.st_mode)),
            "mtime": status.st_mtime_ns,
            "owner": (status.st_uid, status.st_gid),
        }
        if stat.S_ISLNK(status.st_mode):
            look["target"] = os.readlink(path)
        elif stat.S_ISREG(status.st_mode):
            look |= {
                "file": first.setdefault(status.st_ino, relative),
                "size": status.st_size,
                **_content(path, status),
            }
        if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
            look["xattrs"] = {n: os.getxattr(path, n) for n in os.listxattr(path) if n.startswith("user.")}
        found[relative] = look
    return found


def _paths(root: bytes) -> Iterator[bytes]:
    yield root
    for directory, names, files in os.walk(root):
        yield from sorted(directory + b"/" + name for name in names + files)


def _content(path: bytes, status: os.stat_result) -> dict[str, Any]:
    """The bytes between the holes: whatever is equal in these is equal."""
    file = os.open(path, os.O_RDONLY)
    try:
        segments, end = [], 0
        while end < status.st_size:
            try:
                start = os.lseek(file, end, os.SEEK_DATA)
            except OSError:
                break
            end = os.lseek(file, start, os.SEEK_HOLE)
            segments.append((start, os.pread(file, end - start, start)))
    finally:
        os.close(file)
    return {"data": segments}
