"""What a snapshot's manifest says, how it is written, and what makes one unacceptable.

A manifest is a stream of JSON lines (`snapshot/__init__.py` draws the format). Strategy:

1. Rows stand in path order, compared component by component: a directory comes before what it holds, and equal paths
   would be neighbours. So one pass that remembers the chain of open directories finds duplicates, missing parents and
   "a symlink, then a file through it", whatever the number of entries.
2. A pack's row stands before the first entry that uses it, so that a reader can check each extent as it arrives.
3. The last row counts the others: a manifest that lost its end is not a shorter manifest but an invalid one.
4. Nothing unknown is passed over. A key, kind or version that this reader does not know might change what the known
   ones mean.

Paths, link targets and attribute names are bytes. JSON has none, so they are UTF-8 text with Python's surrogateescape:
a byte b that is no UTF-8 is the lone surrogate U+DC00 + b. There is one spelling for each name; others are refused.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn

from spotrelay.core import keys
from spotrelay.core.errors import ManifestInvalid, ManifestUnknown
from spotrelay.core.keys import SnapshotId

FORMAT = "spotrelay-manifest"
VERSION = 1

# A reader holds a few packs in memory at a time and allocates what a row declares, so the declaration has a limit.
# Four times what is written today (pack.py), which leaves room to tune without a new version.
LARGEST_PACK = 64 << 20
LONGEST_NAME = 255  # NAME_MAX of every file system here
LONGEST_TARGET = 4095  # PATH_MAX without its NUL
LARGEST_XATTR = 64 << 10  # XATTR_SIZE_MAX
_INT64 = (-(1 << 63), (1 << 63) - 1)
_ID = (0, (1 << 32) - 2)  # -1 means "leave it" to chown


@dataclass(frozen=True, slots=True)
class Header:
    run: str
    snapshot: SnapshotId


@dataclass(frozen=True, slots=True)
class Pack:
    """`size` raw bytes whose blake3 is `hash`, kept as `stored` bytes: fewer than `size` means one zstd frame."""

    hash: str
    size: int
    stored: int


class Extent(NamedTuple):
    """File bytes [offset, offset + length) are pack bytes [at, at + length). What no extent covers is a hole."""

    offset: int
    pack: str
    at: int
    length: int


@dataclass(frozen=True, slots=True)
class Meta:
    """`mtime` in nanoseconds since 1970; uid and gid are numbers, since both ends boot the same image."""

    mode: int
    mtime: int
    uid: int
    gid: int
    xattrs: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Directory:
    """The execution directory itself has the empty path and is the first entry."""

    path: bytes
    meta: Meta


@dataclass(frozen=True, slots=True)
class File:
    """`state`: "" as it was; "kept": it changed under every read, this is its last consistent version; "torn": it
    changed under every read and there was no earlier version, so these bytes may never have been together."""

    path: bytes
    meta: Meta
    size: int
    extents: tuple[Extent, ...]
    state: str = ""


@dataclass(frozen=True, slots=True)
class HardLink:
    """One more name for the file at `target`, an earlier path."""

    path: bytes
    target: bytes


@dataclass(frozen=True, slots=True)
class Symlink:
    path: bytes
    meta: Meta
    target: bytes


@dataclass(frozen=True, slots=True)
class Fifo:
    path: bytes
    meta: Meta


@dataclass(frozen=True, slots=True)
class Skipped:
    """Was there, is not in the snapshot: a socket, a device, a mount, an unreadable file."""

    path: bytes
    reason: str


Entry = Directory | File | HardLink | Symlink | Fifo | Skipped
STATES = ("", "kept", "torn")


@dataclass(frozen=True, slots=True)
class Manifest:
    header: Header
    packs: Mapping[str, Pack]
    entries: list[Entry] = field(default_factory=list)


def text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def order(path: bytes) -> bytes:
    """A sort key for paths: component by component, for NUL is below every byte that a name can hold."""
    return path.replace(b"/", b"\0")


# --- writing ---------------------------------------------------------------------------------------------------------


def encode(
    header: Header, entries: Iterable[Entry], packs: Mapping[str, Pack], linked: frozenset[bytes]
) -> Iterator[bytes]:
    """The manifest's lines. `entries` in path order; `linked`: the paths that hard links point to."""
    yield _line({"format": FORMAT, "version": VERSION, "run": header.run, "snapshot": str(header.snapshot)})
    numbers: dict[str, int] = {}
    count = total = 0
    for entry in entries:
        if isinstance(entry, File):
            total += entry.size
            for extent in entry.extents:
                if extent.pack not in numbers:
                    numbers[extent.pack] = len(numbers)
                    pack = packs[extent.pack]
                    yield _line({"kind": "pack", "hash": pack.hash, "size": pack.size, "stored": pack.stored})
        yield _line(_row(entry, numbers, linked))
        count += 1
    yield _line({"kind": "end", "entries": count, "packs": len(numbers), "bytes": total})


def _line(row: dict[str, Any]) -> bytes:
    return json.dumps(row, separators=(",", ":")).encode("ascii") + b"\n"


def _row(entry: Entry, numbers: Mapping[str, int], linked: frozenset[bytes]) -> dict[str, Any]:
    path = text(entry.path)
    match entry:
        case Directory():
            return {"kind": "directory", "path": path, **_meta_row(entry.meta)}
        case File():
            extents = [(offset, numbers[pack], at, length) for offset, pack, at, length in entry.extents]
            row = {"kind": "file", "path": path, **_meta_row(entry.meta), "size": entry.size, "extents": extents}
            row |= {"state": entry.state} if entry.state else {}
            return row | ({"linked": True} if entry.path in linked else {})
        case HardLink():
            return {"kind": "hardlink", "path": path, "target": text(entry.target)}
        case Symlink():
            return {"kind": "symlink", "path": path, **_meta_row(entry.meta), "target": text(entry.target)}
        case Fifo():
            return {"kind": "fifo", "path": path, **_meta_row(entry.meta)}
        case Skipped():
            return {"kind": "skipped", "path": path, "reason": entry.reason}


def _meta_row(meta: Meta) -> dict[str, Any]:
    row: dict[str, Any] = {"mode": meta.mode, "mtime": meta.mtime, "uid": meta.uid, "gid": meta.gid}
    if meta.xattrs:
        row["xattrs"] = {text(name): base64.b64encode(value).decode("ascii") for name, value in meta.xattrs}
    return row


# --- reading ---------------------------------------------------------------------------------------------------------


def load(lines: Iterable[bytes]) -> Manifest:
    """Check everything, then return it. Raises ManifestInvalid or ManifestUnknown, and nothing else, whatever the
    lines.
    """
    reader = _Reader()
    number = 0
    for number, line in enumerate(lines, start=1):
        try:
            reader.take(line)
        except (ValueError, RecursionError) as error:
            raise ManifestInvalid(f"manifest line {number}: {error}", next_step=_NEXT_STEP) from error
    if not reader.ended:
        raise ManifestInvalid(f"manifest ends after line {number} without its last row", next_step=_NEXT_STEP)
    assert reader.header is not None
    return Manifest(reader.header, reader.packs, reader.entries)


def pack_names(lines: Iterable[bytes]) -> frozenset[str]:
    """The packs that a manifest refers to, from its pack rows; entries are not looked at, but that all packs were seen
    is. Raises as `load` does.
    """
    reader, last = _Reader(), b""
    try:
        for line in lines:
            if reader.header is None or line.startswith(b'{"kind":"pack"'):
                reader.take(line)
            last = line
        said = json.loads(last or b"null")
    except (ValueError, RecursionError) as error:
        raise ManifestInvalid(f"manifest: {error}", next_step=_NEXT_STEP) from error
    if not isinstance(said, dict) or (said.get("kind"), said.get("packs")) != ("end", len(reader.packs)):
        raise ManifestInvalid("manifest ends without its last row, or lacks a pack", next_step=_NEXT_STEP)
    return frozenset(reader.packs)


_NEXT_STEP = "nothing was written; an earlier snapshot of the run may be whole"


def _refuse(why: str) -> NoReturn:
    raise ValueError(why)


class _Reader:
    """Takes one line after the other; a ValueError of any kind means that the line is unacceptable."""

    def __init__(self) -> None:
        self.header: Header | None = None
        self.packs: dict[str, Pack] = {}
        self.entries: list[Entry] = []
        self.ended = False
        self._names: list[str] = []  # of packs, by number
        self._last: bytes | None = None  # the path before this one, as a sort key
        self._open: list[bytes] = []  # the directories from the root to the entry before this one
        self._linked: set[bytes] = set()
        self._bytes = 0

    def take(self, line: bytes) -> None:
        row = json.loads(line)
        if not isinstance(row, dict):
            _refuse("not an object")
        if self.header is None:
            self.header = _header(row)
        elif self.ended:
            _refuse("a row after the last one")
        elif row.get("kind") == "pack":
            self._pack(row)
        elif row.get("kind") == "end":
            self._end(row)
        else:
            self._entry(row)

    def _pack(self, row: dict[str, Any]) -> None:
        _only(row, "kind", "hash", "size", "stored")
        name, size = _string(row, "hash"), _int(row, "size", 1, LARGEST_PACK)
        if not keys.PACK_NAME.fullmatch(name) or name in self.packs:
            _refuse(f"hash is not a new pack's name: {name[:80]!r}")
        self.packs[name] = Pack(name, size, _int(row, "stored", 1, size))
        self._names.append(name)

    def _end(self, row: dict[str, Any]) -> None:
        _only(row, "kind", "entries", "packs", "bytes")
        counted = {"entries": len(self.entries), "packs": len(self.packs), "bytes": self._bytes}
        said = {name: row.get(name) for name in counted}
        if said != counted or not self.entries:
            _refuse(f"the last row says {said}, there were {counted}")
        self.ended = True

    def _entry(self, row: dict[str, Any]) -> None:
        path = _name(row, "path")
        self._place(path)
        parse = _KINDS.get(_string(row, "kind"))
        if parse is None:
            _refuse(f"unknown kind {row['kind'][:80]!r}")
        entry = parse(self, path, row)
        if not path and not isinstance(entry, Directory):
            _refuse("the first entry is not a directory")
        if isinstance(entry, Directory):
            self._open.append(path)
        self.entries.append(entry)

    def _place(self, path: bytes) -> None:
        """The path is well-formed, comes after the one before, and its parent is a directory of this manifest."""
        key = order(path)
        if self._last is None:
            if path:
                _refuse("the first entry is not the directory itself")
        elif key <= self._last:
            _refuse(f"path twice or out of order: {path[:80]!r}")
        elif any(part in (b"", b".", b"..") or len(part) > LONGEST_NAME for part in path.split(b"/")):
            _refuse(f"not a path below the directory: {path[:80]!r}")
        else:
            parent = path.rpartition(b"/")[0]
            while self._open and self._open[-1] != parent:
                self._open.pop()
            if not self._open:
                _refuse(f"parent is not a directory of this manifest: {path[:80]!r}")
        self._last = key

    def _directory(self, path: bytes, row: dict[str, Any]) -> Directory:
        _only(row, *_META)
        return Directory(path, _meta(row))

    def _file(self, path: bytes, row: dict[str, Any]) -> File:
        _only(row, *_META, "size", "extents", "state", "linked")
        size = _int(row, "size", 0, _INT64[1])
        state = row.get("state", "")
        if state not in STATES or row.get("linked", True) is not True:
            _refuse(f"unknown state of a file: {path[:80]!r}")
        if "linked" in row:
            self._linked.add(path)
        self._bytes += size
        return File(path, _meta(row), size, self._extents(row.get("extents"), size), state)

    def _extents(self, rows: Any, size: int) -> tuple[Extent, ...]:
        if not isinstance(rows, list):
            _refuse("extents is not a list")
        extents, end = [], 0
        for row in rows:
            if not isinstance(row, list) or len(row) != 4 or not all(type(n) is int and n >= 0 for n in row):
                _refuse("an extent is not four numbers")
            offset, number, at, length = row
            if offset < end or length == 0 or offset + length > size:
                _refuse("an extent overlaps the one before, is empty, or goes beyond the file's size")
            if number >= len(self._names) or at + length > self.packs[self._names[number]].size:
                _refuse("an extent goes beyond its pack")
            extents.append(Extent(offset, self._names[number], at, length))
            end = offset + length
        return tuple(extents)

    def _hardlink(self, path: bytes, row: dict[str, Any]) -> HardLink:
        _only(row, "kind", "path", "target")
        target = _name(row, "target")
        if target not in self._linked:
            _refuse("a hard link to what is not an earlier file marked as linked")
        return HardLink(path, target)

    def _symlink(self, path: bytes, row: dict[str, Any]) -> Symlink:
        _only(row, *_META, "target")
        target = _name(row, "target")
        if not 0 < len(target) <= LONGEST_TARGET:
            _refuse("a symlink's target is empty or too long")
        return Symlink(path, _meta(row), target)

    def _fifo(self, path: bytes, row: dict[str, Any]) -> Fifo:
        _only(row, *_META)
        return Fifo(path, _meta(row))

    def _skipped(self, path: bytes, row: dict[str, Any]) -> Skipped:
        _only(row, "kind", "path", "reason")
        return Skipped(path, _string(row, "reason"))


_META = ("kind", "path", "mode", "mtime", "uid", "gid", "xattrs")
_KINDS: dict[str, Callable[[_Reader, bytes, dict[str, Any]], Entry]] = {
    "directory": _Reader._directory,
    "file": _Reader._file,
    "hardlink": _Reader._hardlink,
    "symlink": _Reader._symlink,
    "fifo": _Reader._fifo,
    "skipped": _Reader._skipped,
}


def _header(row: dict[str, Any]) -> Header:
    """The version is looked at before anything else: of a newer one nothing else is known."""
    if row.get("format") != FORMAT:
        _refuse("not a manifest of spotrelay")
    if row.get("version") != VERSION or type(row["version"]) is not int:
        what = f"manifest of version {str(row.get('version'))[:20]}, this spotrelay reads {VERSION}"
        raise ManifestUnknown(what, next_step="use the spotrelay that wrote it, or a newer one")
    _only(row, "format", "version", "run", "snapshot")
    run = _string(row, "run")
    if not keys.RUN_NAME.fullmatch(run):
        _refuse("run is not a run's name")
    return Header(run, SnapshotId.parse(_string(row, "snapshot")))


def _meta(row: dict[str, Any]) -> Meta:
    mode, mtime = _int(row, "mode", 0, 0o7777), _int(row, "mtime", *_INT64)
    return Meta(mode, mtime, _int(row, "uid", *_ID), _int(row, "gid", *_ID), _xattrs(row))


def _xattrs(row: dict[str, Any]) -> tuple[tuple[bytes, bytes], ...]:
    said = row.get("xattrs", {})
    if not isinstance(said, dict):
        _refuse("xattrs is not an object")
    return tuple((_xattr_name(name), _xattr_value(said, name)) for name in said)


def _xattr_name(name: str) -> bytes:
    raw = _exact(name)
    if not raw.startswith(b"user.") or not 5 < len(raw) <= LONGEST_NAME:
        _refuse("an extended attribute outside of user.*")
    return raw


def _xattr_value(said: dict[str, Any], name: str) -> bytes:
    try:
        value = base64.b64decode(_string(said, name), validate=True)
    except binascii.Error as error:
        raise ValueError("an extended attribute is not base64") from error
    if len(value) > LARGEST_XATTR:
        _refuse("an extended attribute is too large")
    return value


def _only(row: dict[str, Any], *known: str) -> None:
    if not row.keys() <= set(known):
        _refuse(f"unknown key {sorted(row.keys() - set(known))[0][:80]!r}")


def _int(row: dict[str, Any], name: str, least: int, most: int) -> int:
    value = row.get(name)
    # `type is int`, because True is an instance of int.
    if type(value) is not int or not least <= value <= most:
        _refuse(f"{name} is not a number from {least} to {most}")
    return value


def _string(row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str):
        _refuse(f"{name} is not a string")
    return value


def _name(row: dict[str, Any], name: str) -> bytes:
    return _exact(_string(row, name))


def _exact(spelled: str) -> bytes:
    """The bytes of a name. UnicodeEncodeError, for what surrogateescape cannot undo, is a ValueError too."""
    raw = spelled.encode("utf-8", "surrogateescape")
    if b"\0" in raw or text(raw) != spelled:
        _refuse("a name with NUL, or spelled in a second way")
    return raw
