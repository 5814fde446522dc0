"""Rebuild a directory from a manifest that has been checked: clear → lay out → fill → finish.

1. Clear what is there, except what is excluded.
2. Lay out directories, files at their full size, hard links, FIFOs, every one created by us (O_EXCL). Symlinks come
   last of all: until then there is nothing to write through.
3. Fill: each pack is fetched, checked against its name and written where its extents say, IN_FLIGHT at a time.
4. Finish, deepest first: links, attributes, owner, mode, times; then look whether it took.

Only then is the directory what the manifest says, and only then does `restore` return.
"""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import os
import stat
from collections.abc import Callable
from itertools import groupby

from spotrelay.core import keys
from spotrelay.core.errors import RestoreFailed
from spotrelay.core.manifest import (
    Directory,
    Entry,
    Extent,
    Fifo,
    File,
    HardLink,
    Manifest,
    Meta,
    Pack,
    Skipped,
    Symlink,
    text,
)
from spotrelay.ports import Store
from spotrelay.snapshot import descent, pack, read
from spotrelay.snapshot.clear import clear
from spotrelay.snapshot.descent import Descent
from spotrelay.snapshot.exclude import Exclusions
from spotrelay.snapshot.read import Stamp
from spotrelay.snapshot.threads import Threads

# Only root may give a file away. Anybody else restores what becomes their own.
PRIVILEGED = os.geteuid() == 0
_TYPES = {Directory: stat.S_IFDIR, File: stat.S_IFREG, Symlink: stat.S_IFLNK, Fifo: stat.S_IFIFO}
# As in contents.py: each is one stored and one raw pack in memory.
IN_FLIGHT = 8


class Restoring:
    """One restore into the directory behind the descriptor `root`. Raises OSError, StoreError, PackCorrupt, in
    groups.
    """

    def __init__(self, store: Store, root: int, manifest: Manifest, exclude: Exclusions, threads: Threads) -> None:
        self.skipped: list[Skipped] = []
        self.files: dict[bytes, tuple[Stamp, File]] = {}  # for the index
        self._store, self._root, self._manifest, self._exclude, self._threads = store, root, manifest, exclude, threads
        self._entries: list[Entry] = []

    async def rebuild(self, tell: Callable[[int], None]) -> None:
        """`tell` gets the number of bytes whenever some have been written."""
        await self._threads.run(self._lay_out)
        places = await self._threads.run(self._places)
        room = asyncio.Semaphore(IN_FLIGHT)

        async def place(digest: str) -> None:
            async with room:
                stored = await self._store.get(keys.pack(self._manifest.header.run, digest))
                await self._threads.run(self._fill, self._manifest.packs[digest], stored, places[digest])
            tell(sum(extent.length for _, extent in places[digest]))

        async with asyncio.TaskGroup() as tasks:
            for digest in places:
                tasks.create_task(place(digest))
        await self._threads.run(self._finish)

    # --- in a worker thread ------------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        kept = clear(self._root, self._exclude)
        self._entries = self._wanted()
        with Descent(self._root) as down, Descent(self._root) as targets:
            for entry in self._entries:
                if entry.path:
                    _create(down, targets, entry, kept)

    def _wanted(self) -> list[Entry]:
        """What the manifest holds and this machine does not keep for itself."""
        wanted: list[Entry] = []
        barrier = b"\0"
        for entry in self._manifest.entries:
            if entry.path.startswith(barrier) or isinstance(entry, Skipped):
                continue
            why = self._exclude.why(entry.path, isinstance(entry, Directory)) if entry.path else ""
            if why:
                self.skipped.append(Skipped(entry.path, why))
                barrier = entry.path + b"/"
            else:
                wanted.append(entry)
        return wanted

    def _places(self) -> dict[str, list[tuple[bytes, Extent]]]:
        """For each pack, where its bytes go, in path order."""
        places: dict[str, list[tuple[bytes, Extent]]] = {}
        for entry in self._entries:
            if isinstance(entry, File):
                for extent in entry.extents:
                    places.setdefault(extent.pack, []).append((entry.path, extent))
        return places

    def _fill(self, what: Pack, stored: bytes, places: list[tuple[bytes, Extent]]) -> None:
        raw = memoryview(pack.unseal(what, stored))
        with Descent(self._root) as down:
            for path, extents in groupby(places, key=lambda place: place[0]):
                file = down.open(path, descent.WRITE)
                try:
                    for _, (offset, _, at, length) in extents:
                        _write(file, raw[at : at + length], offset)
                finally:
                    os.close(file)

    def _finish(self) -> None:
        with Descent(self._root) as down:
            for entry in self._entries:
                if isinstance(entry, Symlink):
                    name, parent = down.place(entry.path)
                    os.symlink(entry.target, name, dir_fd=parent)
            # Deepest first: a directory's time is set after the last change in it, its mode when nobody needs to enter.
            for entry in reversed(self._entries):
                if isinstance(entry, HardLink):
                    _same_file(down, entry)
                elif not isinstance(entry, Skipped):
                    self._dress(down, entry)

    def _dress(self, down: Descent, entry: Directory | File | Symlink | Fifo) -> None:
        """Owner, mode, attributes, times; then see whether it took."""
        if isinstance(entry, Symlink):
            status = _dress_symlink(down, entry)
        else:
            file = down.open(entry.path, descent.READ)
            try:
                self._attributes(file, entry)
                status = _dress_open(file, entry.meta)
            finally:
                os.close(file)
        self._check(entry, status)
        if isinstance(entry, File):
            # What an earlier save could not read consistently is, from now on, simply what the file holds.
            self.files[entry.path] = (read.stamp(status), dataclasses.replace(entry, state=""))

    def _attributes(self, file: int, entry: Directory | File | Fifo) -> None:
        try:
            for name, value in entry.meta.xattrs:
                os.setxattr(file, name, value)
        except OSError as error:
            if error.errno != errno.ENOTSUP:
                raise
            self.skipped.append(Skipped(entry.path, "extended attributes: this file system has none"))

    def _check(self, entry: Directory | File | Symlink | Fifo, status: os.stat_result) -> None:
        wrong = stat.S_IFMT(status.st_mode) != _TYPES[type(entry)]
        if not isinstance(entry, Symlink):
            wrong |= stat.S_IMODE(status.st_mode) != _mode(entry.meta, status)
        if isinstance(entry, File):
            wrong |= status.st_size != entry.size
        if PRIVILEGED:
            wrong |= (status.st_uid, status.st_gid) != (entry.meta.uid, entry.meta.gid)
        if wrong:
            raise RestoreFailed(
                f"{text(entry.path)!r} is not what the snapshot holds", next_step="see the file system's log"
            )
        if status.st_mtime_ns != entry.meta.mtime:
            self.skipped.append(Skipped(entry.path, "time of change: this file system keeps it less exactly"))


def _create(down: Descent, targets: Descent, entry: Entry, kept: frozenset[bytes]) -> None:
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
        case HardLink():
            source, there = targets.place(entry.target)
            os.link(source, name, src_dir_fd=there, dst_dir_fd=parent, follow_symlinks=False)
        case Fifo():
            os.mkfifo(name, 0o600, dir_fd=parent)
        case _:
            pass  # symlinks come last


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


def _mode(meta: Meta, status: os.stat_result) -> int:
    """Set-id bits mean the owner's identity: without the owner they would lend another's."""
    same_owner = (status.st_uid, status.st_gid) == (meta.uid, meta.gid)
    return meta.mode if same_owner else meta.mode & ~(stat.S_ISUID | stat.S_ISGID)


def _same_file(down: Descent, entry: HardLink) -> None:
    one, other = down.stat(entry.path), down.stat(entry.target)
    if (one.st_dev, one.st_ino) != (other.st_dev, other.st_ino):
        raise RestoreFailed(f"{text(entry.path)!r} is not linked to {text(entry.target)!r}")
