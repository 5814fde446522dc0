"""Save a directory: scan → read, hash, compress → send → commit.

1. A thread walks the directory in path order and hands over batches. What the index knows is done at once.
2. The rest is read and sent by `contents`: small files gathered until a pack is full, large ones by themselves. When
   there is no room for one more pack, the walk waits.
3. When every pack has arrived, one create-only object commits the snapshot. Whatever ends the save before (an error,
   a deadline, a cancellation), what was sent is unreferenced, harms nobody, and need not be sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import islice

from spotrelay.core import manifest
from spotrelay.core.manifest import Entry, File, HardLink, Header, Pack
from spotrelay.snapshot import pack, read, scan, stored_manifest
from spotrelay.snapshot.contents import Contents, Outcome, Outgrown
from spotrelay.snapshot.descent import Descent
from spotrelay.snapshot.index import Index
from spotrelay.snapshot.read import Stamp
from spotrelay.snapshot.scan import Found
from spotrelay.snapshot.threads import Threads

BATCH = 2_000
# A pack of empty or tiny files ends here, so that a thread's answer comes while the walk goes on.
MOST_IN_PACK = 4_000
# Large files open at once. Their slices share one room, so this only overlaps the end of one with the start of the
# next.
OPEN_FILES = 3


class Saving:
    """One save of the directory behind the descriptor `root`. Raises StoreError and OSError, in groups."""

    def __init__(self, root: int, index: Index, contents: Contents, threads: Threads) -> None:
        self.entries: list[Entry] = []
        self.files: dict[bytes, tuple[Stamp, File]] = {}  # for the next index
        self._root, self._index, self._contents, self._threads = root, index, contents, threads
        self._order: list[bytes] = []
        self._made: dict[bytes, Entry] = {}
        self._first: dict[tuple[int, int], bytes] = {}  # device and inode → the first of several names
        self._others: dict[bytes, list[bytes]] = {}  # first name → the others
        self._gathered: list[Found] = []
        self._gathered_bytes = 0
        self._files_open = asyncio.Semaphore(OPEN_FILES)

    async def collect(self, items: Iterator[Entry | Found]) -> None:
        """Read what changed and send what is new; then `entries` is what the directory holds, in order."""
        async with asyncio.TaskGroup() as tasks:
            while batch := await self._threads.run(lambda: list(islice(items, BATCH))):
                for item in batch:
                    self._order.append(item.path)
                    await self._take(item, tasks)
            await self._flush(tasks)
        while heirs := await self._threads.run(self._heirs):
            async with asyncio.TaskGroup() as tasks:
                for heir in heirs:
                    await self._read(heir, tasks)
                await self._flush(tasks)
        self.entries = [self._made[path] for path in self._order if path in self._made]

    def encode(self, header: Header) -> bytes:
        linked = frozenset(entry.target for entry in self.entries if isinstance(entry, HardLink))
        return stored_manifest.pack_lines(manifest.encode(header, self.entries, self._index.packs, linked))

    def packs(self) -> dict[str, Pack]:
        """Those that the entries use: what the store is sure to have once they are committed."""
        used = {extent.pack for entry in self.entries if isinstance(entry, File) for extent in entry.extents}
        used |= {extent.pack for _, file in self.files.values() for extent in file.extents}
        return {digest: self._index.packs[digest] for digest in used}

    async def _take(self, item: Entry | Found, tasks: asyncio.TaskGroup) -> None:
        if not isinstance(item, Found):
            self._made[item.path] = item
        elif item.status.st_nlink > 1 and self._is_another_name(item):
            pass
        elif (known := self._index.unchanged(item)) is not None:
            self._enter(known, read.stamp(item.status))
        else:
            await self._read(item, tasks)

    async def _read(self, item: Found, tasks: asyncio.TaskGroup) -> None:
        if item.status.st_size >= pack.SMALL:
            await self._files_open.acquire()
            tasks.create_task(self._large(item))
            return
        self._gathered.append(item)
        self._gathered_bytes += item.status.st_size
        # The next one could fill the pack beyond a slice.
        if len(self._gathered) >= MOST_IN_PACK or self._gathered_bytes > pack.SLICE - pack.SMALL:
            await self._flush(tasks)

    async def _flush(self, tasks: asyncio.TaskGroup) -> None:
        if self._gathered:
            files, self._gathered, self._gathered_bytes = self._gathered, [], 0
            await self._contents.room()
            tasks.create_task(self._small(files, tasks))

    async def _small(self, files: list[Found], tasks: asyncio.TaskGroup) -> None:
        for outcome in await self._contents.small(files):
            if isinstance(outcome, Outgrown):
                await self._files_open.acquire()
                tasks.create_task(self._large(outcome.found))
            else:
                self._settle(outcome)

    async def _large(self, item: Found) -> None:
        try:
            self._settle(await self._contents.large(item))
        finally:
            self._files_open.release()

    def _settle(self, outcome: Outcome) -> None:
        """Enter what reading gave; if that is not consistent, the last version that was."""
        entry, last = outcome.entry, self._index.files.get(outcome.found.path)
        if entry is None:
            return
        if outcome.stamp is None and last is not None:
            then, kept = last
            self._enter(File(kept.path, kept.meta, kept.size, kept.extents, "kept"), None)
            self.files[kept.path] = (then, kept)  # a stamp of the past: it will be read again
        else:
            self._enter(entry, outcome.stamp)

    def _enter(self, entry: Entry, stamp: Stamp | None) -> None:
        self._made[entry.path] = entry
        if stamp is not None and isinstance(entry, File):
            self.files[entry.path] = (stamp, entry)

    # --- hard links ------------------------------------------------------------------------------------------------

    def _is_another_name(self, item: Found) -> bool:
        first = self._first.setdefault((item.status.st_dev, item.status.st_ino), item.path)
        others = self._others.setdefault(first, [])
        if first == item.path:
            return False
        others.append(item.path)
        self._made[item.path] = HardLink(item.path, first)
        return True

    def _heirs(self) -> list[Found]:
        """Where the first name vanished before it was read, the next one takes its place and has to be read."""
        heirs = []
        with Descent(self._root) as down:
            for first in [name for name in self._others if not isinstance(self._made.get(name), File)]:
                names = self._others.pop(first)
                heir = None
                while names and heir is None:
                    del self._made[names[0]]
                    heir = scan.look(down, names.pop(0))
                if heir is not None:
                    heirs.append(heir)
                    self._others[heir.path] = names
                    self._made |= {name: HardLink(name, heir.path) for name in names}
        return heirs
