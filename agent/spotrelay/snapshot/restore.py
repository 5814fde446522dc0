"""Rebuild a directory from a manifest that has been checked (plan.py): clear → lay out → fill → finish.

1. Clear what is there, except what is excluded.
2. Lay out directories and FIFOs, and the files that come in several parts at their full size; everything is created by
   us (O_EXCL). Links come last of all: until then there is nothing to write through.
3. Fill, as many packs at a time as there are turns. A slice that is stored as it is goes to its file as it arrives,
   hashed on the way: so each byte is read from memory once after the network wrote it there, out of the core's own
   cache. A pack of small files is checked first; then each file is made, filled and dressed in one go, which takes five
   system calls where laying it out before took eleven.
4. Finish what is left, deepest first: links, attributes, owner, mode, times; then look whether it took.

Only then is the directory what the manifest says, and only then does `rebuild` return. A pack that is not what its name
says is fetched once more: on its way it may have been damaged by somebody else than the store.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby, zip_longest
from operator import attrgetter

from blake3 import blake3

from spotrelay.core import keys, manifest_reader
from spotrelay.core.errors import PackCorrupt, RestoreFailed
from spotrelay.core.manifest import (
    Directory,
    Entry,
    Extent,
    Fifo,
    File,
    HardLink,
    Meta,
    Pack,
    Skipped,
    Symlink,
    text,
)
from spotrelay.ports import Store
from spotrelay.snapshot import descent, pack, scan
from spotrelay.snapshot.clear import clear
from spotrelay.snapshot.descent import Descent
from spotrelay.snapshot.exclude import Exclusions
from spotrelay.snapshot.lane import Lane
from spotrelay.snapshot.plan import EMPTY, Plan, Together
from spotrelay.snapshot.threads import Threads
from spotrelay.snapshot.turns import Turns

# Only root may give a file away. Anybody else restores what becomes their own.
PRIVILEGED = os.geteuid() == 0
_TYPES = {Directory: stat.S_IFDIR, File: stat.S_IFREG, Symlink: stat.S_IFLNK, Fifo: stat.S_IFIFO}
# A pack that more files share is checked before it is written: each would be held open meanwhile.
MOST_OPEN = 8
# So many files are filled side by side: as many as there are packs in flight at first.
BESIDE = 4
# Damaged on its way, or damaged where it lies: the second time tells.
FETCHES = 2

Places = list[tuple[bytes, Extent]]
_dressed = attrgetter("st_mode", "st_mtime_ns", "st_uid", "st_gid", "st_size")


class Restoring:
    """One restore into the directory behind the descriptor `root`. Raises OSError, StoreError, PackCorrupt, in
    groups.
    """

    def __init__(
        self, store: Store, run: str, root: int, plan: Plan, exclude: Exclusions, turns: Turns, threads: Threads
    ) -> None:
        self.skipped = plan.skipped
        self._store, self._run, self._root, self._plan, self._exclude = store, run, root, plan, exclude
        self._turns, self._threads, self._lane = turns, threads, Lane(threads, BESIDE)
        self._rooms: list[bytearray] = []  # used again, as the buffers in pack.py are

    async def rebuild(self, tell: Callable[[int], None]) -> None:
        """`tell` gets the number of bytes whenever some have been written."""
        await self._threads.run(self._lay_out)
        async with asyncio.TaskGroup() as tasks:
            for digest in dict.fromkeys([*_side_by_side(self._plan.parts), *self._plan.whole]):
                if digest != EMPTY:
                    await self._turns.take()
                    tasks.create_task(self._place(self._plan.packs[digest], tell))
        await self._threads.run(self._finish)

    async def _place(self, what: Pack, tell: Callable[[int], None]) -> None:
        try:
            began = time.monotonic()
            for attempt in range(1, FETCHES + 1):
                try:
                    written = await self._fetch(what)
                    break
                except PackCorrupt:
                    if attempt == FETCHES:
                        raise
            self._turns.moved(what.stored, time.monotonic() - began)
        finally:
            self._turns.end()
        tell(written)

    async def _fetch(self, what: Pack) -> int:
        """The number of bytes written to files."""
        key, places = keys.pack(self._run, what.hash), self._plan.parts.get(what.hash, [])
        togethers = self._plan.whole.get(what.hash, [])
        files = {path for path, _ in places}
        if what.stored < what.size or togethers or len(files) > MOST_OPEN:
            arriving = _Arriving(what, self._rooms.pop() if self._rooms else bytearray(pack.SLICE))
            await self._store.get_stream(key, arriving.begin)
            raw = await self._threads.run(pack.unseal, what, arriving.stored())
            many_files = togethers or len(files) > MOST_OPEN
            fill = (self._lane if many_files else self._threads).run
            written = await fill(self._fill, memoryview(raw), places, togethers)
            self._rooms.append(arriving.room)
            return written
        opened = await self._threads.run(self._open_all, files)
        try:
            stream = _Stream(what, [(opened[path], extent) for path, extent in places])
            await self._store.get_stream(key, stream.begin)
            stream.check()
        finally:
            for file in opened.values():
                os.close(file)
        return sum(extent.length for _, extent in places)

    # --- in a worker thread ------------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        kept = clear(self._root, self._exclude)
        with Descent(self._root) as down:
            for entry in self._plan.entries:
                if entry.path:
                    _create(down, entry, kept)
            for together in self._plan.whole.get(EMPTY, ()):
                self._make(down, together, memoryview(b""))

    def _open_all(self, paths: set[bytes]) -> dict[bytes, int]:
        opened: dict[bytes, int] = {}
        try:
            with Descent(self._root) as down:
                for path in sorted(paths):
                    opened[path] = down.open(path, descent.WRITE)
        except BaseException:
            for file in opened.values():
                os.close(file)
            raise
        return opened

    def _fill(self, raw: memoryview, places: Places, togethers: list[Together]) -> int:
        written = sum(extent.length for _, extent in places)
        with Descent(self._root) as down:
            for path, extents in groupby(places, key=lambda place: place[0]):
                file = down.open(path, descent.WRITE)
                try:
                    for _, (offset, _, at, length) in extents:
                        _write(file, raw[at : at + length], offset)
                finally:
                    os.close(file)
            for together in togethers:
                written += self._make(down, together, raw)
        return written

    def _make(self, down: Descent, together: Together, raw: memoryview) -> int:
        """Small files, each in one go. The number of bytes."""
        directory, block, written = os.fsencode(together.directory), self._plan.blocks[together.directory], 0
        parent = down.directory(directory)
        for which, slot in enumerate(together.slots):
            path, meta, size, at = manifest_reader.whole_of(self._plan.row(together, which))
            status = self._make_one(parent, path, meta, raw[at : at + size])
            block.set_stamp(slot, scan.stamp(status))
            written += size
        return written

    def _make_one(self, parent: int, path: bytes, meta: Meta, data: memoryview) -> os.stat_result:
        # Set-id bits come after the owner, and attributes need a file that one may write.
        mode = 0o600 if meta.xattrs else meta.mode & 0o777
        file = os.open(path.rpartition(b"/")[2], descent.CREATE, mode, dir_fd=parent)
        try:
            _write(file, data, 0)
            if meta.xattrs:
                self._attributes(file, path, meta)
            os.utime(file, ns=(meta.mtime, meta.mtime))
            status = os.fstat(file)
            if _is_so(status, meta, len(data)):
                return status
            status = _dress_open(file, meta)
        finally:
            os.close(file)
        self._check(path, stat.S_IFREG, meta, status, len(data))
        return status

    def _finish(self) -> None:
        entries = self._plan.entries
        with Descent(self._root) as down, Descent(self._root) as targets:
            for entry in entries:
                if isinstance(entry, Symlink):
                    name, parent = down.place(entry.path)
                    os.symlink(entry.target, name, dir_fd=parent)
                elif isinstance(entry, HardLink):
                    _link(down, targets, entry)
            # Deepest first: a directory's time is set after the last change in it, its mode when nobody needs to enter.
            for entry in reversed(entries):
                if isinstance(entry, HardLink):
                    _same_file(down, entry)
                elif isinstance(entry, Directory | File | Symlink | Fifo):
                    self._dress(down, entry)

    def _dress(self, down: Descent, entry: Directory | File | Symlink | Fifo) -> None:
        """Owner, mode, attributes, times; then see whether it took."""
        if isinstance(entry, Symlink):
            status = _dress_symlink(down, entry)
        else:
            file = down.open(entry.path, descent.READ)
            try:
                self._attributes(file, entry.path, entry.meta)
                status = _dress_open(file, entry.meta)
            finally:
                os.close(file)
        self._check(entry.path, _TYPES[type(entry)], entry.meta, status, entry.size if isinstance(entry, File) else -1)
        if isinstance(entry, File):
            self._plan.stamp(entry.path, scan.stamp(status))

    def _attributes(self, file: int, path: bytes, meta: Meta) -> None:
        try:
            for name, value in meta.xattrs:
                os.setxattr(file, name, value)
        except OSError as error:
            if error.errno != errno.ENOTSUP:
                raise
            self.skipped.append(Skipped(path, "extended attributes: this file system has none"))

    def _check(self, path: bytes, kind: int, meta: Meta, status: os.stat_result, size: int) -> None:
        """`size`: a file's; otherwise -1."""
        wrong = stat.S_IFMT(status.st_mode) != kind
        if kind != stat.S_IFLNK:
            wrong |= stat.S_IMODE(status.st_mode) != _mode(meta, status)
        if size >= 0:
            wrong |= status.st_size != size
        if PRIVILEGED:
            wrong |= (status.st_uid, status.st_gid) != (meta.uid, meta.gid)
        if wrong:
            raise RestoreFailed(f"{text(path)!r} is not what the snapshot holds", next_step="see the file system's log")
        if status.st_mtime_ns != meta.mtime:
            self.skipped.append(Skipped(path, "time of change: this file system keeps it less exactly"))


class _Arriving:
    """A pack that is looked at as a whole."""

    def __init__(self, what: Pack, room: bytearray) -> None:
        self._what, self._at = what, 0
        self.room = room if what.stored <= len(room) else bytearray(what.stored)

    def begin(self) -> Callable[[memoryview], None]:
        self._at = 0
        return self._take

    def _take(self, chunk: memoryview) -> None:
        end = self._at + len(chunk)
        if end > self._what.stored:
            raise pack.corrupt(self._what, "it is longer than what was stored")
        self.room[self._at : end] = chunk
        self._at = end

    def stored(self) -> memoryview:
        return memoryview(self.room)[: self._at]


class _Stream:
    """A pack's raw bytes on their way to open files, hashed as they pass."""

    def __init__(self, what: Pack, places: list[tuple[int, Extent]]) -> None:
        self._what, self._places = what, places
        self._hash, self._at = blake3(), 0

    def begin(self) -> Callable[[memoryview], None]:
        self._hash, self._at = blake3(), 0
        return self._take

    def _take(self, chunk: memoryview) -> None:
        begin, end = self._at, self._at + len(chunk)
        if end > self._what.size:
            raise pack.corrupt(self._what, "it is longer than its raw bytes")
        self._hash.update(chunk)
        for file, (offset, _, at, length) in self._places:
            first, last = max(at, begin), min(at + length, end)
            if first < last:
                _write(file, chunk[first - begin : last - begin], offset + first - at)
        self._at = end

    def check(self) -> None:
        """Raises PackCorrupt."""
        if self._at != self._what.size or self._hash.hexdigest() != self._what.hash:
            raise pack.corrupt(self._what, "its bytes do not match its name")


def _side_by_side(parts: Mapping[str, Places]) -> Iterator[str]:
    """Packs in an order in which neighbours belong to different files: two threads that write to one file wait for its
    lock in the kernel, spinning (6 % of a restore's CPU). The longest come first, so that no single one is left over.
    """
    files: dict[bytes, list[str]] = {}
    for digest, places in parts.items():
        files.setdefault(places[0][0], []).append(digest)
    longest_first = sorted(files.values(), key=len, reverse=True)
    for begin in range(0, len(longest_first), BESIDE):
        for abreast in zip_longest(*longest_first[begin : begin + BESIDE]):
            yield from filter(None, abreast)


def _create(down: Descent, entry: Entry, kept: frozenset[bytes]) -> None:
    name, parent = down.place(entry.path)
    match entry:
        case Directory():
            # A directory that had to stay is opened with O_NOFOLLOW like any other when something is put into it.
            if entry.path not in kept:
                os.mkdir(name, 0o700, dir_fd=parent)
        case File():
            file = os.open(name, descent.CREATE, 0o600, dir_fd=parent)
            try:
                os.truncate(file, entry.size)
            finally:
                os.close(file)
        case Fifo():
            os.mkfifo(name, 0o600, dir_fd=parent)
        case _:
            pass  # links come last


def _link(down: Descent, targets: Descent, entry: HardLink) -> None:
    source, there = targets.place(entry.target)
    name, parent = down.place(entry.path)
    os.link(source, name, src_dir_fd=there, dst_dir_fd=parent, follow_symlinks=False)


def _write(file: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(file, data, offset)
        data, offset = data[written:], offset + written


def _dress_symlink(down: Descent, entry: Symlink) -> os.stat_result:
    name, parent = down.place(entry.path)
    meta = entry.meta
    if PRIVILEGED:
        os.chown(name, meta.uid, meta.gid, dir_fd=parent, follow_symlinks=False)
    os.utime(name, ns=(meta.mtime, meta.mtime), dir_fd=parent, follow_symlinks=False)
    return os.stat(name, dir_fd=parent, follow_symlinks=False)


def _dress_open(file: int, meta: Meta) -> os.stat_result:
    if PRIVILEGED:
        os.chown(file, meta.uid, meta.gid)  # before chmod: it clears the set-id bits
    os.chmod(file, _mode(meta, os.fstat(file)))
    os.utime(file, ns=(meta.mtime, meta.mtime))
    return os.fstat(file)


def _is_so(status: os.stat_result, meta: Meta, size: int) -> bool:
    """A regular file is all that the snapshot says."""
    mode, mtime, uid, gid, _ = meta
    return _dressed(status) == (stat.S_IFREG | mode, mtime, uid, gid, size)


def _mode(meta: Meta, status: os.stat_result) -> int:
    """Set-id bits mean the owner's identity: without the owner they would lend another's."""
    same_owner = (status.st_uid, status.st_gid) == (meta.uid, meta.gid)
    return meta.mode if same_owner else meta.mode & ~(stat.S_ISUID | stat.S_ISGID)


def _same_file(down: Descent, entry: HardLink) -> None:
    one, other = down.stat(entry.path), down.stat(entry.target)
    if (one.st_dev, one.st_ino) != (other.st_dev, other.st_ino):
        raise RestoreFailed(f"{text(entry.path)!r} is not linked to {text(entry.target)!r}")
