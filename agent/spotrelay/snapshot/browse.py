"""Look into a snapshot from elsewhere: one folder's entries, one file's bytes, without a directory to restore to.

The manifest stays as it was stored, compressed; each question is one pass over it that keeps its answer alone. Of a
million entries (a thousand folders of a thousand) that is 7 MB instead of 580 as objects, and 13 s of one core either
way: the pass checks everything that a restore checks. A file's bytes come out of packs whose hash was compared first,
one pack ahead of whoever reads; holes are zeros.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby

from spotrelay.core import keys, manifest, manifest_reader
from spotrelay.core.errors import ManifestInvalid, NotFound, PackCorrupt, StoreError
from spotrelay.core.keys import SnapshotId
from spotrelay.core.manifest import Directory, Entry, Extent, Fifo, File, HardLink, Header, Pack, Symlink
from spotrelay.ports import Store
from spotrelay.snapshot import pack, stored_manifest

# A million entries are 20 MB. A bucket may hold anything, and this is read into memory.
LARGEST_MANIFEST = 256 << 20
# Damaged on its way, or damaged where it lies: the second time tells.
FETCHES = 2
ZEROS = bytes(1 << 20)


@dataclass(frozen=True, slots=True)
class Listed:
    """What a folder shows of an entry. Of a directory, `size` and `files` are of all that is below. `note`: a link's
    target, why it was skipped, or a file's state. `mtime`: nanoseconds, 0 where there is none."""

    name: bytes
    kind: str
    size: int = 0
    files: int = 0
    mtime: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A file, and the packs that it needs."""

    file: File
    packs: dict[str, Pack]


class Browser:
    """Of one snapshot, whose manifest is `data`."""

    def __init__(self, store: Store, run: str, snapshot: SnapshotId, data: bytes) -> None:
        self._store, self._run, self.snapshot, self._data = store, run, snapshot, data

    @classmethod
    async def open(cls, store: Store, run: str, snapshot: SnapshotId) -> Browser:
        """Raises StoreError (NotFound)."""
        data = await fetch(store, keys.snapshot(run, snapshot), LARGEST_MANIFEST)
        return cls(store, run, snapshot, data)

    async def folder(self, path: bytes, *, most: int) -> tuple[list[Listed], int]:
        """Its entries, directories first, each sorted by name; and how many there are beyond the first `most`. Raises
        NotFound, ManifestInvalid, ManifestUnknown."""
        found = await asyncio.to_thread(self._folder, path)
        return found[:most], max(0, len(found) - most)

    async def file(self, path: bytes) -> Found:
        """By any of its names. Raises as `folder`: NotFound also for what is no file."""
        return await asyncio.to_thread(self._file, path)

    async def read(self, found: Found) -> AsyncGenerator[memoryview, None]:
        """The file's bytes in order. Raises PackCorrupt, StoreError, when the last good one has been given."""
        groups = [list(places) for _, places in groupby(found.file.extents, key=lambda extent: extent.pack)]
        ahead = self._ahead(found, groups, 0)
        at = 0
        try:
            for number, places in enumerate(groups):
                assert ahead is not None
                raw = await ahead
                ahead = self._ahead(found, groups, number + 1)
                for extent in places:
                    for hole in _zeros(extent.offset - at):
                        yield hole
                    yield raw[extent.at : extent.at + extent.length]
                    at = extent.offset + extent.length
            for hole in _zeros(found.file.size - at):
                yield hole
        finally:
            if ahead is not None:
                ahead.cancel()
                with suppress(asyncio.CancelledError, StoreError, PackCorrupt):
                    await ahead

    def _ahead(self, found: Found, groups: list[list[Extent]], number: int) -> asyncio.Task[memoryview] | None:
        if number == len(groups):
            return None
        return asyncio.create_task(self.pack(found.packs[groups[number][0].pack]))

    async def pack(self, what: Pack) -> memoryview:
        """All of it, verified. Raises PackCorrupt, StoreError."""
        for last in (False, True):
            stored = await fetch(self._store, keys.pack(self._run, what.hash), what.stored)
            try:
                return memoryview(await asyncio.to_thread(pack.unseal, what, stored))
            except PackCorrupt:
                if last:
                    raise
        raise AssertionError("unreachable: the second time returns or raises")

    # --- in a thread -------------------------------------------------------------------------------------------------

    def _folder(self, path: bytes) -> list[Listed]:
        below = path + b"/" if path else b""
        found: dict[bytes, Listed] = {}
        there = False
        for entry, _ in self.entries():
            there |= entry.path == path and isinstance(entry, Directory)
            if not entry.path.startswith(below) or entry.path == path:
                continue
            name, _, deeper = entry.path[len(below) :].partition(b"/")
            if not deeper:
                found[name] = _listed(name, entry)
            elif isinstance(entry, File):
                above = found[name]
                found[name] = replace(above, size=above.size + entry.size, files=above.files + 1)
        if not there:
            raise NotFound(f"snapshot {self.snapshot} has no such folder")
        return sorted(found.values(), key=lambda each: (each.kind != "directory", each.name))

    def _file(self, path: bytes) -> Found:
        entry, packs = self._entry(path)
        if isinstance(entry, HardLink):
            entry, packs = self._entry(entry.target)
        if not isinstance(entry, File):
            raise NotFound(f"snapshot {self.snapshot} has no such file")
        return Found(entry, {digest: packs[digest] for digest in {extent.pack for extent in entry.extents}})

    def _entry(self, path: bytes) -> tuple[Entry | None, dict[str, Pack]]:
        """To the end, though it is found before: only then is the manifest known to be whole."""
        wanted, known = None, dict[str, Pack]()
        for entry, reader in self.entries():
            known = reader.packs
            if entry.path == path:
                wanted = entry
        return wanted, known

    def entries(self) -> Iterator[tuple[Entry, manifest_reader.Reader]]:
        """In their order, with what is known of packs and links by then."""
        reader = manifest_reader.Reader()
        for _, entry in reader.entries(stored_manifest.lines(self._data)):
            yield entry, reader
        if reader.header != Header(self._run, self.snapshot):
            raise ManifestInvalid(f"the manifest of snapshot {self.snapshot} says it is another")


async def fetch(store: Store, key: str, most: int) -> bytes:
    """The object, if it is no longer than `most` bytes: nothing larger comes into memory. Raises StoreError."""
    room = bytearray()

    def begin() -> Callable[[memoryview], None]:
        room.clear()
        return take

    def take(chunk: memoryview) -> None:
        if len(room) + len(chunk) > most:
            raise StoreError(f"{key} is longer than the {most} bytes that it should have at most")
        room.extend(chunk)

    await store.get_stream(key, begin)
    return bytes(room)


def _zeros(length: int) -> Iterator[memoryview]:
    while length > 0:
        yield memoryview(ZEROS)[:length]
        length -= len(ZEROS)


def _listed(name: bytes, entry: Entry) -> Listed:
    match entry:
        case Directory():
            return Listed(name, "directory", mtime=entry.meta.mtime)
        case File():
            return Listed(name, "file", entry.size, 1, entry.meta.mtime, entry.state)
        case HardLink():
            return Listed(name, "hardlink", note=manifest.text(entry.target))
        case Symlink():
            return Listed(name, "symlink", mtime=entry.meta.mtime, note=manifest.text(entry.target))
        case Fifo():
            return Listed(name, "fifo", mtime=entry.meta.mtime)
        case _:
            return Listed(name, "skipped", note=entry.reason)
