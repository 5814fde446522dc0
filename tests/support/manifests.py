"""A good manifest with every kind of entry, and a table of changes each of which makes it unacceptable."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from spotrelay.core import manifest, manifest_reader
from spotrelay.core.keys import SnapshotId
from spotrelay.core.manifest import (
    Directory,
    Entry,
    Extent,
    Fifo,
    File,
    HardLink,
    Header,
    Meta,
    Pack,
    Skipped,
    Symlink,
)

HEADER = Header("demo", SnapshotId(1, 0))
META = Meta(0o644, 10**18 + 1, 1000, 1000)
HASH = "ab" * 32
PACK = Pack(HASH, 100, 60)
EVERYTHING: list[Entry] = [
    Directory(b"", Meta(0o755, -1, 0, 0, ((b"user.a\xff", b"\0\1"),))),
    File(b"a", META, 10, (Extent(0, HASH, 5, 4), Extent(6, HASH, 0, 4)), "kept"),
    Directory(b"d", META),
    HardLink(b"d/a", b"a"),
    Skipped(b"d/sock", "a socket"),
    Directory(b"d/\xff\n", META),
    File(b"d/\xff\n/empty", META, 0, ()),
    Fifo(b"d-", META),  # "-" is below "/": by components it comes after all of d
    Symlink(b"latest", META, b"/\xfe"),
]


def lines(entries: list[Entry] = EVERYTHING) -> list[bytes]:
    """Pack 7 stands before its first use."""
    linked = {entry.target for entry in entries if isinstance(entry, HardLink)}
    made = [manifest.row(entry, {HASH: 7}, linked=entry.path in linked) for entry in entries]
    first = next((at for at, entry in enumerate(entries) if isinstance(entry, File)), len(entries))
    made.insert(first, manifest.pack_row(7, PACK))
    size = sum(entry.size for entry in entries if isinstance(entry, File))
    return [manifest.opening(HEADER), *made, manifest.closing(len(entries), 1, size)]


def rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines()]


def _set(row: int, /, **fields: object) -> Callable[[list[dict[str, Any]]], None]:
    return lambda rows: rows[row].update(fields)


def _path(number: int, path: str) -> Callable[[list[dict[str, Any]]], None]:
    return _set(number, path=path)


FILE, DIRECTORY, LINK, PACK_ROW, SYMLINK = 3, 4, 5, 2, 10

HOSTILE: dict[str, Callable[[list[dict[str, Any]]], None]] = {
    "parent of the directory": _path(FILE, ".."),
    "above through below": _path(SYMLINK, "latest/../../etc"),
    "absolute": _path(FILE, "/etc/passwd"),
    "empty component": _path(SYMLINK, "latest//x"),
    "dot": _path(FILE, "."),
    "ends in a slash": _path(SYMLINK, "latest/"),
    "NUL": _path(FILE, "a\0b"),
    "a name too long": _path(FILE, "a" * 256),
    "second spelling": _path(SYMLINK, "l\udcc3\udca9"),
    "half a surrogate": _path(SYMLINK, "l\ud800"),
    "path is a number": _set(FILE, path=7),
    "twice": lambda rows: rows.insert(FILE + 1, dict(rows[FILE], linked=True)),
    "out of order": lambda rows: rows.insert(3, rows.pop(10)),
    "through a symlink": lambda rows: rows.insert(11, dict(rows[SYMLINK], path="latest/passwd")),
    "through a file": lambda rows: rows.insert(4, dict(rows[SYMLINK], path="a/x")),
    "through what was skipped": lambda rows: rows.insert(7, dict(rows[SYMLINK], path="d/sock/x")),
    "no such parent": _path(SYMLINK, "nowhere/x"),
    "parent closed": _path(SYMLINK, "m/x"),
    "no root": lambda rows: rows.pop(1),
    "root is a file": lambda rows: rows.insert(1, dict(rows.pop(1), kind="fifo")),
    "second root": lambda rows: rows.insert(2, rows[1]),
    "unknown kind": _set(SYMLINK, kind="device"),
    "no kind": lambda rows: rows[SYMLINK].pop("kind"),
    "unknown key": _set(FILE, encrypted=True),
    "unknown key of a pack": _set(PACK_ROW, key="…"),
    "unknown state": _set(FILE, state="fine"),
    "mode beyond": _set(FILE, mode=0o10000),
    "mode is true": _set(FILE, mode=True),
    "mode is text": _set(FILE, mode="644"),
    "mtime is a float": _set(FILE, mtime=1.5),
    "mtime beyond 64 bits": _set(FILE, mtime=1 << 63),
    "uid that means keep": _set(FILE, uid=(1 << 32) - 1),
    "negative gid": _set(FILE, gid=-1),
    "no size": lambda rows: rows[FILE].pop("size"),
    "negative size": _set(FILE, size=-1),
    "size beyond 64 bits": _set(FILE, size=1 << 63),
    "extents are missing": lambda rows: rows[FILE].pop("extents"),
    "extent beyond the file": _set(FILE, extents=[[8, 7, 0, 3]]),
    "extent beyond the pack": _set(FILE, extents=[[0, 7, 95, 6]]),
    "extent without end": _set(FILE, size=1 << 62, extents=[[0, 7, 0, 1 << 61]]),
    "empty extent": _set(FILE, extents=[[0, 7, 0, 0]]),
    "negative extent": _set(FILE, extents=[[0, 7, -1, 2]]),
    "overlapping extents": _set(FILE, extents=[[0, 7, 0, 5], [4, 7, 0, 5]]),
    "extents out of order": _set(FILE, extents=[[5, 7, 0, 5], [0, 7, 0, 5]]),
    "unknown pack": _set(FILE, extents=[[0, 1, 0, 5]]),
    "negative pack": _set(FILE, extents=[[0, -1, 0, 5]]),
    "three numbers": _set(FILE, extents=[[0, 7, 5]]),
    "a fraction": _set(FILE, extents=[[0, 7, 0, 5.0]]),
    "pack after its use": lambda rows: rows.insert(4, rows.pop(2)),
    "pack twice": lambda rows: rows.insert(3, rows[2]),
    "two packs with one number": lambda rows: rows.insert(3, dict(rows[2], hash="cd" * 32)),
    "pack without a number": lambda rows: rows[PACK_ROW].pop("number"),
    "number is true": _set(PACK_ROW, number=True),
    "negative number": _set(PACK_ROW, number=-1),
    "number beyond counting": _set(PACK_ROW, number=1 << 53),
    "hash is a path": _set(PACK_ROW, hash="../../../etc/passwd"),
    "hash in capitals": _set(PACK_ROW, hash="AB" * 32),
    "hash is a number": _set(PACK_ROW, hash=5),
    "pack too large": _set(PACK_ROW, size=manifest_reader.LARGEST_PACK + 1),
    "pack of nothing": _set(PACK_ROW, size=0),
    "stored larger than raw": _set(PACK_ROW, stored=101),
    "link to the outside": _set(LINK, target="../x"),
    "link to a directory": _set(LINK, target=""),
    "link to a later file": _set(LINK, target="latest"),
    "link to an unmarked file": lambda rows: rows[FILE].pop("linked"),
    "linked is not true": _set(FILE, linked=1),
    "symlink to nothing": _set(SYMLINK, target=""),
    "symlink too long": _set(SYMLINK, target="x" * 4096),
    "symlink with NUL": _set(SYMLINK, target="a\0b"),
    "attribute of the system": _set(FILE, xattrs={"security.capability": "AAE="}),
    "attribute without a name": _set(FILE, xattrs={"user.": ""}),
    "attribute is not base64": _set(FILE, xattrs={"user.a": "!"}),
    "attributes are a list": _set(FILE, xattrs=[]),
    "attribute too large": _set(FILE, xattrs={"user.a": "AAAA" * 22000}),
    "end too early": lambda rows: rows.insert(4, rows.pop()),
    "wrong count": _set(-1, entries=8),
    "wrong packs": _set(-1, packs=2),
    "wrong bytes": _set(-1, bytes=11),
    "two ends": lambda rows: rows.append(rows[-1]),
    "two headers": lambda rows: rows.insert(1, rows[0]),
    "another format": _set(0, format="tar"),
    "run is a path": _set(0, run="../other"),
    "snapshot is a path": _set(0, snapshot="../1-0"),
    "unknown key of the header": _set(0, encrypted=True),
}
