"""What a snapshot's manifest says, and how it is written. How one is read without trust: manifest_reader.py.

A manifest is a stream of JSON lines (`snapshot/__init__.py` draws the format). Strategy:

1. Rows stand in path order, compared component by component: a directory comes before what it holds, and equal paths
   would be neighbours. So one pass that remembers the chain of open directories finds duplicates, missing parents and
   "a symlink, then a file through it", whatever the number of entries.
2. A pack's row stands before the first entry that uses it, so that a reader can check each extent as it arrives. Its
   number is the pack's in later manifests of the same agent, too: rows of what did not change are copied as they are.
3. The last row counts the others: a manifest that lost its end is not a shorter manifest but an invalid one.

Paths, link targets and attribute names are bytes. JSON has none, so they are UTF-8 text with Python's surrogateescape:
a byte b that is no UTF-8 is the lone surrogate U+DC00 + b. There is one spelling for each name; others are refused.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any, NamedTuple

from spotrelay.core.keys import SnapshotId

FORMAT = "spotrelay-manifest"
VERSION = 1

# Inside of a name a quotation mark has a backslash before it.
_EXTENTS = re.compile(rb'"extents":\[\[\d+,(\d+),\d+,\d+\]([^}"]*)')
_EXTENT = re.compile(rb"\[\d+,(\d+),")


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


class Meta(NamedTuple):
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
    changed under every read and there was no earlier version, so these bytes may never have been together; "moving":
    these bytes were together, but it or others changed at every look, so they may not belong to those of others."""

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
STATES = ("", "kept", "torn", "moving")


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
#
# A row of its own does not change when rows before it do: packs keep their numbers from one manifest to the next. So
# who saves a million unchanged entries copies their rows. Rows are formatted by hand: json.dumps takes three times as
# long (4.6 µs a file, 1.5 so).


def opening(header: Header) -> bytes:
    return _line({"format": FORMAT, "version": VERSION, "run": header.run, "snapshot": str(header.snapshot)})


def pack_row(number: int, pack: Pack) -> bytes:
    return b'{"kind":"pack","number":%d,"hash":"%s","size":%d,"stored":%d}\n' % (
        number, pack.hash.encode("ascii"), pack.size, pack.stored
    )  # fmt: skip


def row(entry: Entry, numbers: Mapping[str, int], *, linked: bool = False) -> bytes:
    """`numbers`: of the packs that the entry uses. `linked`: hard links point to it."""
    match entry:
        case File():
            extents = [(offset, numbers[pack], at, length) for offset, pack, at, length in entry.extents]
            return file_row(text(entry.path), entry.meta, entry.size, extents, entry.state, linked=linked)
        case Directory():
            return _row("directory", entry.path, _meta_fields(entry.meta))
        case HardLink():
            return _row("hardlink", entry.path, f',"target":{_quoted(text(entry.target))}')
        case Symlink():
            return _row("symlink", entry.path, f'{_meta_fields(entry.meta)},"target":{_quoted(text(entry.target))}')
        case Fifo():
            return _row("fifo", entry.path, _meta_fields(entry.meta))
        case Skipped():
            return _row("skipped", entry.path, f',"reason":{_quoted(entry.reason)}')


def file_row(
    path: str, meta: Meta, size: int, extents: Sequence[tuple[int, int, int, int]], state: str = "", *, linked: bool
) -> bytes:
    """`extents` with packs by their numbers."""
    places = ",".join([f"[{offset},{pack},{at},{length}]" for offset, pack, at, length in extents])
    rest = (f',"state":"{state}"' if state else "") + (',"linked":true' if linked else "")
    fields = f'{_meta_fields(meta)},"size":{size},"extents":[{places}]{rest}'
    return f'{{"kind":"file","path":{_quoted(path)}{fields}}}\n'.encode("ascii")


def packs_of(rows: bytes) -> set[int]:
    """The numbers of the packs that rows of ours use."""
    firsts, others = set[bytes](), set[bytes]()
    for first, rest in _EXTENTS.findall(rows):
        firsts.add(first)
        if len(rest) > 2:
            others.update(_EXTENT.findall(rest))
    return {int(number) for number in firsts | others}


def kept(row: bytes, *, linked: bool) -> bytes:
    """A file's row of an earlier manifest, for one in which the file could not be read anew."""
    fields = json.loads(row) | {"state": "kept"}
    fields.pop("linked", None)
    return _line(fields | ({"linked": True} if linked else {}))


def renamed(row: bytes, path: bytes) -> bytes:
    """A file's row, as that of another of its names."""
    return _line(json.loads(row) | {"path": text(path)})


def target_of(row: bytes) -> bytes:
    """What a hard link's row points to."""
    target: str = json.loads(row)["target"]
    return target.encode("utf-8", "surrogateescape")


def moving(row: bytes) -> bytes:
    """A file's row, in which that is its state if it has none yet."""
    return row if has_state(row) else _line(json.loads(row) | {"state": "moving"})


def has_state(row: bytes) -> bool:
    return b',"state":"' in row  # inside of a name a quotation mark has a backslash before it


def size_of(row: bytes) -> int:
    """-1 if it is no file's."""
    return int(json.loads(row).get("size", -1))


def closing(entries: int, packs: int, total: int) -> bytes:
    return _line({"kind": "end", "entries": entries, "packs": packs, "bytes": total})


def _line(row: dict[str, Any]) -> bytes:
    return json.dumps(row, separators=(",", ":")).encode("ascii") + b"\n"


def _row(kind: str, path: bytes, fields: str) -> bytes:
    return f'{{"kind":"{kind}","path":{_quoted(text(path))}{fields}}}\n'.encode("ascii")


def _meta_fields(meta: Meta) -> str:
    fields = f',"mode":{meta.mode},"mtime":{meta.mtime},"uid":{meta.uid},"gid":{meta.gid}'
    if meta.xattrs:
        said = {text(name): base64.b64encode(value).decode("ascii") for name, value in meta.xattrs}
        fields += f',"xattrs":{json.dumps(said, separators=(",", ":"))}'
    return fields
