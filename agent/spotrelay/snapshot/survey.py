"""The walk, held against the index: what is unchanged keeps its rows, what is not gets new ones or is to be read.

1. A directory whose names and stamps are all as they were keeps its block, without a look at the single entries.
2. Otherwise each entry is looked at: an unchanged one keeps its row; a regular file is `Wanted`; the rest is written
   down.
3. A file with several names is a file under the first of them and a hard link under the others. Which is the first may
   change though nothing in its directory does (an earlier directory was renamed): so blocks with such files always
   take the second way. The walk meets an upper directory's names before those further down, which may come earlier in
   a manifest: the first that the walk meets is read, and at the end the first in path order gets the file.

The walk goes on in one worker thread while `settle` is called from others.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Generator, Iterator
from typing import NamedTuple

from spotrelay.core import manifest
from spotrelay.core.manifest import Directory, Entry, Fifo, HardLink, Skipped, Symlink
from spotrelay.snapshot import descent, read, scan
from spotrelay.snapshot.descent import Descent
from spotrelay.snapshot.exclude import MOUNT, Exclusions
from spotrelay.snapshot.index import DIRECTORY, FILE, NEVER, Block, Draft, Index, Stamp
from spotrelay.snapshot.scan import Barrier, Listing

_TORN, _SKIPPED, _HARDLINK = b'"state":"torn"', b'{"kind":"skipped"', b'{"kind":"hardlink"'


class Wanted(NamedTuple):
    """A file to be read, and where its row belongs. `last`: its row of before, if it had one that was consistent.
    `seen`: what the walk saw, if that shows all that may happen to the file from then on, and it has no holes."""

    size: int
    draft: Draft
    slot: int
    linked: bool
    last: bytes
    seen: os.stat_result | None = None

    @property
    def name(self) -> str:
        return self.draft.names[self.slot]

    @property
    def path(self) -> bytes:
        return os.fsencode(scan.join(self.draft.path, self.name))


class Name(NamedTuple):
    """One of a file's several."""

    path: bytes
    draft: Draft
    slot: int


Directories = Generator[tuple[int, list[Wanted]], None, None]


class Survey:
    def __init__(self, root: int, exclude: Exclusions, index: Index) -> None:
        self.root_row = b""
        self.blocks: dict[str, Block | Draft] = {}
        self._root, self._exclude, self._index = root, exclude, index
        self._first: dict[tuple[int, int], Name] = {}  # device and inode → the first of several names
        self._others: dict[bytes, tuple[Name, list[Name]]] = {}  # first path → it and the others
        self._old: dict[str, tuple[Stamp, bytes]] = {}
        self._behind_links: dict[str, dict[str, tuple[Stamp, bytes]]] = {}  # entries of a directory that links lead to
        self._settled = 0
        self._lock = threading.Lock()

    def directories(self) -> Directories:
        """For each directory: how many entries it has, and what is to be read of them. Raises OSError."""
        meta = scan.meta(os.fstat(self._root), scan.xattrs(self._root))
        self.root_row = manifest.row(Directory(b"", meta), {})
        for found in scan.walk(self._root, self._exclude):
            if isinstance(found, Barrier):
                self._bar(found)
            else:
                yield len(found.names), self._compare(found)

    def rows(self) -> Iterator[tuple[Block, bytes]]:
        """All rows in path order, in pieces, each with its block. When nothing is wanted any more."""
        return self._rows_of("")

    def _rows_of(self, path: str) -> Iterator[tuple[Block, bytes]]:
        block = self.blocks[path]
        assert isinstance(block, Block)
        begin = 0
        for name, end in block.cuts:
            yield block, block.rows[begin:end]
            if (below := scan.join(path, name)) in self.blocks:  # or it became a directory after it was listed
                yield from self._rows_of(below)
            begin = end
        yield block, block.rows[begin:]

    def close(self) -> dict[str, Block]:
        """All blocks, when nothing is wanted any more."""
        self._give_files_to_first_names()
        return {path: self._closed(path) for path in self.blocks}

    def _closed(self, path: str) -> Block:
        block = self.blocks[path]
        if isinstance(block, Draft):
            block = self.blocks[path] = block.close()
        return block

    def settle(self, wanted: Wanted, row: bytes, stamp: Stamp | None, size: int) -> None:
        """What came of a file that was to be read; see Draft.enter. From any thread."""
        with self._lock:
            wanted.draft.enter(wanted.slot, row, stamp, size)
            wanted.draft.waiting -= 1
            self._close_early(wanted.draft)

    def _close_early(self, draft: Draft) -> None:
        """A draft takes three times the memory of a block, so it becomes one as soon as nothing in it can change."""
        if not draft.waiting and draft.plain:
            self.blocks[draft.path] = draft.close()

    # --- one directory ----------------------------------------------------------------------------------------------

    def _compare(self, listing: Listing) -> list[Wanted]:
        path, names = listing.path, listing.names
        block = self._index.blocks.get(path)
        if block is not None and block.plain and _same(block, listing):
            self.blocks[path] = block
            return []
        # Stamped before its clock has moved on, an entry may change and keep its stamp (read.py).
        self._settled = listing.began - int(read.TICK_S * 1e9)
        self._old = {name: (stamp, row) for name, stamp, row in block.entries()} if block is not None else {}
        draft = self.blocks[path] = Draft(path, names)
        wanted = [
            item
            for slot, (name, status) in enumerate(zip(names, listing.statuses, strict=True))
            if (item := self._look(listing, draft, slot, name, status)) is not None
        ]
        draft.waiting += len(wanted)
        self._close_early(draft)
        return wanted

    def _look(self, listing: Listing, draft: Draft, slot: int, name: str, status: os.stat_result) -> Wanted | None:
        """Enters the row, or says that the file has to be read for it."""
        then, row = self._old.get(name, (NEVER, b""))
        if not row and status.st_nlink == 1 and stat.S_ISREG(status.st_mode) and not self._exclude.mounts:
            return Wanted(status.st_size, draft, slot, False, b"", self._shows_all(status))  # most, the first time
        path = os.fsencode(scan.join(listing.path, name))
        stamp = scan.stamp(status)
        if row.startswith(_HARDLINK):
            then, row = self._behind(row, path)
        if self._exclude.is_mount(path):
            draft.enter(slot, manifest.row(Skipped(path, MOUNT), {}))
        elif not stat.S_ISREG(status.st_mode):
            self._other(listing, draft, slot, path, status, row if then == stamp else b"")
        elif status.st_nlink > 1 and self._is_another_name(Name(path, draft, slot), status):
            pass
        elif then == stamp and row.startswith(FILE):
            draft.enter(slot, row, stamp, stamp.size)
        else:
            last = row if row.startswith(FILE) and _TORN not in row else b""
            return Wanted(status.st_size, draft, slot, status.st_nlink > 1, last, self._shows_all(status))
        return None

    def _shows_all(self, status: os.stat_result) -> os.stat_result | None:
        settled = status.st_ctime_ns < self._settled
        return status if settled and status.st_blocks * 512 >= status.st_size else None

    def _other(
        self, listing: Listing, draft: Draft, slot: int, path: bytes, status: os.stat_result, unchanged: bytes
    ) -> None:
        try:
            row = unchanged or manifest.row(_entry(listing.file, path, status), {})
        except OSError as error:
            if not scan.gone(error):
                raise
            draft.drop(slot)
            return
        clean = status.st_ctime_ns < self._settled and not row.startswith(_SKIPPED)
        draft.enter(slot, row, scan.stamp(status) if clean else None)

    def _bar(self, barrier: Barrier) -> None:
        """The row in the directory above says that it is entered, and it was not."""
        above, _, name = barrier.path.rpartition("/")
        with self._lock:
            block = self.blocks[above]
            draft = _reopened(above, block) if isinstance(block, Block) else block
            slot = draft.names.index(name) if name in draft.names else -1
            if slot < 0 or not draft.rows[slot].startswith(DIRECTORY):
                return
            self.blocks[above] = draft
            draft.enter(slot, manifest.row(Skipped(os.fsencode(barrier.path), barrier.why), {}) if barrier.why else b"")

    # --- several names ----------------------------------------------------------------------------------------------

    def _is_another_name(self, name: Name, status: os.stat_result) -> bool:
        name.draft.plain = False
        first = self._first.setdefault((status.st_dev, status.st_ino), name)
        if first is name:
            return False
        self._others.setdefault(first.path, (first, []))[1].append(name)
        _link(name, first)
        return True

    def _behind(self, link: bytes, path: bytes) -> tuple[Stamp, bytes]:
        """What was known of the file that `path` was a hard link to, as its own."""
        directory, _, name = os.fsdecode(manifest.target_of(link)).rpartition("/")
        if directory not in self._behind_links:
            block = self._index.blocks.get(directory)
            entries = block.entries() if block is not None else ()
            self._behind_links[directory] = {name: (stamp, row) for name, stamp, row in entries}
        stamp, row = self._behind_links[directory].get(name, (NEVER, b""))
        return (stamp, manifest.renamed(row, path)) if row.startswith(FILE) else (NEVER, b"")

    def _give_files_to_first_names(self) -> None:
        for first, names in self._others.values():
            foremost = min([first, *names], key=lambda name: manifest.order(name.path))
            row = first.draft.rows[first.slot]
            if foremost is first or not row.startswith(FILE):
                continue
            stamp, size = first.draft.stamps[first.slot], first.draft.sizes[first.slot]
            foremost.draft.enter(foremost.slot, manifest.renamed(row, foremost.path), stamp, size)
            for name in (first, *names):
                if name is not foremost:
                    _link(name, foremost)

    def heirs(self) -> list[Wanted]:
        """Where the first name vanished before it was read, the next one takes its place and has to be read."""
        heirs = []
        with Descent(self._root) as down:
            for path, (first, names) in list(self._others.items()):
                if first.draft.rows[first.slot].startswith(FILE):
                    continue
                del self._others[path]
                while names:
                    name = names.pop(0)
                    name.draft.drop(name.slot)
                    if (found := scan.look(down, name.path)) is not None:
                        heirs.append(Wanted(found.status.st_size, name.draft, name.slot, True, b""))
                        name.draft.waiting += 1
                        self._others[name.path] = name, names
                        for other in names:
                            _link(other, name)
                        break
        return heirs


def _same(block: Block, listing: Listing) -> bool:
    return block.stamps == scan.stamps(listing.statuses) and block.names == "/".join(listing.names)


def _link(name: Name, first: Name) -> None:
    name.draft.enter(name.slot, manifest.row(HardLink(name.path, first.path), {}))


def _reopened(path: str, block: Block) -> Draft:
    entries = list(block.entries())
    draft = Draft(path, [name for name, _, _ in entries])
    for slot, (_, stamp, row) in enumerate(entries):
        draft.enter(slot, row, stamp, stamp.size if row.startswith(FILE) else -1)
    return draft


def _entry(directory: int, path: bytes, status: os.stat_result) -> Entry:
    name = path.rpartition(b"/")[2]
    match stat.S_IFMT(status.st_mode):
        case stat.S_IFDIR:
            return Directory(path, scan.meta(status, _attributes_of(directory, name)))
        case stat.S_IFLNK:
            return Symlink(path, scan.meta(status), os.readlink(name, dir_fd=directory))
        case stat.S_IFIFO:
            return Fifo(path, scan.meta(status))
        case stat.S_IFSOCK:
            return Skipped(path, "a socket")
        case _:
            return Skipped(path, "a device")


def _attributes_of(directory: int, name: bytes) -> tuple[tuple[bytes, bytes], ...]:
    try:
        inside = os.open(name, descent.DIRECTORY, dir_fd=directory)
    except PermissionError:  # then it is not entered either, and that is said instead
        return ()
    try:
        return scan.xattrs(inside)
    finally:
        os.close(inside)
