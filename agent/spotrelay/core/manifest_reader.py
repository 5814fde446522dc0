"""Read a manifest without trust: what makes one unacceptable, and how the usual is read fast.

1. Nothing unknown is passed over. A key, kind or version that this reader does not know might change what the known
   ones mean.
2. Most rows are of files that lie whole in one pack, in our own spelling. These are recognised by a pattern, in a third
   of the time that JSON takes; whatever is unusual about a row, it is read, or refused, as JSON.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

from spotrelay.core import keys
from spotrelay.core.errors import ManifestInvalid, ManifestUnknown
from spotrelay.core.keys import SnapshotId
from spotrelay.core.manifest import (
    FORMAT,
    STATES,
    VERSION,
    Directory,
    Entry,
    Extent,
    Fifo,
    File,
    HardLink,
    Header,
    Manifest,
    Meta,
    Pack,
    Skipped,
    Symlink,
    order,
    text,
)

# A reader holds a few packs in memory at a time and allocates what a row declares, so the declaration has a limit.
# Four times what is written today (pack.py), which leaves room to tune without a new version.
LARGEST_PACK = 64 << 20
LONGEST_NAME = 255  # NAME_MAX of every file system here
_NO_NAMES = (b"", b".", b"..")
LONGEST_TARGET = 4095  # PATH_MAX without its NUL
LARGEST_XATTR = 64 << 10  # XATTR_SIZE_MAX
_INT64 = (-(1 << 63), (1 << 63) - 1)
_COUNT = rb"(0|[1-9][0-9]{0,18})"
# As `file_row` writes it, if the name has nothing that JSON escapes.
_WHOLE = re.compile(
    rb'\{"kind":"file","path":"([ !#-\[\]-~]+)","mode":%b,"mtime":(0|-?[1-9][0-9]{0,18}),"uid":%b,"gid":%b,"size":%b,'
    rb'"extents":\[\[0,%b,%b,%b\]\]\}\n?' % ((_COUNT,) * 7)
)
_NUMBER = (0, (1 << 53) - 1)  # what every JSON reader can count
_MODES = (0, 0o7777)
_ID = (0, (1 << 32) - 2)  # -1 means "leave it" to chown


def load(lines: Iterable[bytes]) -> Manifest:
    """Check everything, then return it. Raises ManifestInvalid or ManifestUnknown, and nothing else, whatever the
    lines.
    """
    reader = Reader()
    entries = [entry for _, entry in reader.entries(lines)]
    assert reader.header is not None
    return Manifest(reader.header, reader.packs, entries)


def pack_names(lines: Iterable[bytes]) -> frozenset[str]:
    """The packs that a manifest refers to, from its pack rows; entries are not looked at, but that all packs were seen
    is. Raises as `load` does.
    """
    reader, last = Reader(), b""
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


def whole_of(row: bytes) -> tuple[bytes, Meta, int, int]:
    """Of a row that was checked, of a file that lies whole in one pack or is empty: its path, size, and from where on
    it is in the pack."""
    if (found := _WHOLE.fullmatch(row)) is not None:
        mode, mtime, uid, gid, size, _, at, _ = map(int, found.groups()[1:])
        return found[1], Meta(mode, mtime, uid, gid), size, at
    fields = json.loads(row)
    at = fields["extents"][0][2] if fields["size"] else 0
    return _name(fields, "path"), _meta(fields), fields["size"], at


_NEXT_STEP = "nothing was written; an earlier snapshot of the run may be whole"


def _refuse(why: str) -> NoReturn:
    raise ValueError(why)


class Reader:
    """Takes one line after the other, and keeps what it needs to check the next: not the entries."""

    def __init__(self) -> None:
        self.header: Header | None = None
        self.packs: dict[str, Pack] = {}
        self.numbers: dict[str, int] = {}  # of packs, by hash
        self._names: dict[int, Pack] = {}
        self._ended = False
        self._count = self._bytes = 0
        self._last: bytes | None = None  # the path before this one, as a sort key
        self._open: list[bytes] = []  # the directories from the root to the entry before this one
        self.linked: set[bytes] = set()  # paths that hard links may point to
        self.as_written = False  # the last line is spelled as `row` would

    def entries(self, lines: Iterable[bytes]) -> Iterator[tuple[bytes, Entry]]:
        """Each entry with its line, as far as they are acceptable; only at the end is the manifest known to be whole.
        Raises ManifestInvalid and ManifestUnknown.
        """
        number = 0
        for number, line in enumerate(lines, start=1):
            try:
                entry = self.take(line)
            except (ValueError, RecursionError) as error:
                raise ManifestInvalid(f"manifest line {number}: {error}", next_step=_NEXT_STEP) from error
            if entry is not None:
                yield line, entry
        if not self._ended:
            raise ManifestInvalid(f"manifest ends after line {number} without its last row", next_step=_NEXT_STEP)

    def take(self, line: bytes) -> Entry | None:
        """A ValueError of any kind means that the line is unacceptable."""
        whole = self._whole(line)
        self.as_written = whole is not None
        if whole is not None:
            return whole
        row = json.loads(line)
        if not isinstance(row, dict):
            _refuse("not an object")
        if self.header is None:
            self.header = _header(row)
        elif self._ended:
            _refuse("a row after the last one")
        elif row.get("kind") == "pack":
            self._pack(row)
        elif row.get("kind") == "end":
            self._end(row)
        else:
            return self._entry(row)
        return None

    def _whole(self, line: bytes) -> File | None:
        """None if JSON has to tell, or to refuse it."""
        if self.header is None or self._ended or (found := _WHOLE.fullmatch(line)) is None:
            return None
        mode, mtime, uid, gid, size, number, at, length = map(int, found.groups()[1:])
        pack = self._names.get(number)
        if pack is None or not 0 < length <= size or at + length > pack.size:
            return None
        if mode > _MODES[1] or not _INT64[0] <= mtime <= _INT64[1] or max(uid, gid) > _ID[1] or size > _INT64[1]:
            return None
        self._place(found[1])
        self._count += 1
        self._bytes += size
        return File(found[1], Meta(mode, mtime, uid, gid), size, (Extent(0, pack.hash, at, length),))

    def _pack(self, row: dict[str, Any]) -> None:
        _only(row, _PACK)
        name, size, number = _string(row, "hash"), _int(row, "size", 1, LARGEST_PACK), _int(row, "number", *_NUMBER)
        if not keys.PACK_NAME.fullmatch(name) or name in self.packs:
            _refuse(f"hash is not a new pack's name: {name[:80]!r}")
        if number in self._names:
            _refuse("number is another pack's")
        self.packs[name] = self._names[number] = Pack(name, size, _int(row, "stored", 1, size))
        self.numbers[name] = number

    def _end(self, row: dict[str, Any]) -> None:
        _only(row, _END)
        counted = {"entries": self._count, "packs": len(self.packs), "bytes": self._bytes}
        said = {name: row.get(name) for name in counted}
        if said != counted or not self._count:
            _refuse(f"the last row says {said}, there were {counted}")
        self._ended = True

    def _entry(self, row: dict[str, Any]) -> Entry:
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
        self._count += 1
        return entry

    def _place(self, path: bytes) -> None:
        """The path is well-formed, comes after the one before, and its parent is a directory of this manifest."""
        key = order(path)
        if self._last is None:
            if path:
                _refuse("the first entry is not the directory itself")
        elif key <= self._last:
            _refuse(f"path twice or out of order: {path[:80]!r}")
        else:
            parent, slash, name = path.rpartition(b"/")
            if name in _NO_NAMES or len(name) > LONGEST_NAME or (slash and not parent):
                _refuse(f"not a path below the directory: {path[:80]!r}")
            while self._open and self._open[-1] != parent:
                self._open.pop()
            if not self._open:  # of those that are, each part has been looked at
                _refuse(f"parent is not a directory of this manifest: {path[:80]!r}")
        self._last = key

    def _directory(self, path: bytes, row: dict[str, Any]) -> Directory:
        _only(row, _META)
        return Directory(path, _meta(row))

    def _file(self, path: bytes, row: dict[str, Any]) -> File:
        _only(row, _FILE)
        size = _int(row, "size", 0, _INT64[1])
        state = row.get("state", "")
        if state not in STATES or row.get("linked", True) is not True:
            _refuse(f"unknown state of a file: {path[:80]!r}")
        if "linked" in row:
            self.linked.add(path)
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
            pack = self._names.get(number)
            if pack is None or at + length > pack.size:
                _refuse("an extent goes beyond its pack")
            extents.append(Extent(offset, pack.hash, at, length))
            end = offset + length
        return tuple(extents)

    def _hardlink(self, path: bytes, row: dict[str, Any]) -> HardLink:
        _only(row, _HARDLINK)
        target = _name(row, "target")
        if target not in self.linked:
            _refuse("a hard link to what is not an earlier file marked as linked")
        return HardLink(path, target)

    def _symlink(self, path: bytes, row: dict[str, Any]) -> Symlink:
        _only(row, _SYMLINK)
        target = _name(row, "target")
        if not 0 < len(target) <= LONGEST_TARGET:
            _refuse("a symlink's target is empty or too long")
        return Symlink(path, _meta(row), target)

    def _fifo(self, path: bytes, row: dict[str, Any]) -> Fifo:
        _only(row, _META)
        return Fifo(path, _meta(row))

    def _skipped(self, path: bytes, row: dict[str, Any]) -> Skipped:
        _only(row, _SKIPPED)
        return Skipped(path, _string(row, "reason"))


_HEADER = frozenset({"format", "version", "run", "snapshot"})
_PACK = frozenset({"kind", "number", "hash", "size", "stored"})
_END = frozenset({"kind", "entries", "packs", "bytes"})
_META = frozenset({"kind", "path", "mode", "mtime", "uid", "gid", "xattrs"})
_FILE = _META | {"size", "extents", "state", "linked"}
_SYMLINK = _META | {"target"}
_HARDLINK = frozenset({"kind", "path", "target"})
_SKIPPED = frozenset({"kind", "path", "reason"})
_KINDS: dict[str, Callable[[Reader, bytes, dict[str, Any]], Entry]] = {
    "directory": Reader._directory,
    "file": Reader._file,
    "hardlink": Reader._hardlink,
    "symlink": Reader._symlink,
    "fifo": Reader._fifo,
    "skipped": Reader._skipped,
}


def _header(row: dict[str, Any]) -> Header:
    """The version is looked at before anything else: of a newer one nothing else is known."""
    if row.get("format") != FORMAT:
        _refuse("not a manifest of spotrelay")
    if row.get("version") != VERSION or type(row["version"]) is not int:
        what = f"manifest of version {str(row.get('version'))[:20]}, this spotrelay reads {VERSION}"
        raise ManifestUnknown(what, next_step="use the spotrelay that wrote it, or a newer one")
    _only(row, _HEADER)
    run = _string(row, "run")
    if not keys.RUN_NAME.fullmatch(run):
        _refuse("run is not a run's name")
    return Header(run, SnapshotId.parse(_string(row, "snapshot")))


def _meta(row: dict[str, Any]) -> Meta:
    mode, mtime = _int(row, "mode", *_MODES), _int(row, "mtime", *_INT64)
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


def _only(row: dict[str, Any], known: frozenset[str]) -> None:
    if not row.keys() <= known:
        _refuse(f"unknown key {sorted(row.keys() - known)[0][:80]!r}")


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
