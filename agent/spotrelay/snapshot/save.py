"""Save a directory: scan → read, hash, compress → send → commit.

1. A thread walks the directory and holds it against the index (survey.py). What is unchanged is done at once.
2. The rest is read and sent: small files gathered until a pack is full (small_files.py), large ones by themselves
   (large_files.py). When there is no turn for one more pack, the walk waits.
3. When every pack has arrived, one create-only object commits the snapshot. Whatever ends the save before (an error,
   a deadline, a cancellation), what was sent is unreferenced and harms nobody; what was read and sent is known to the
   next save (index.py).
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Collection, Iterator
from pathlib import Path

from spotrelay.core import manifest
from spotrelay.core.manifest import Header, Pack, Skipped
from spotrelay.snapshot import still, stored_manifest
from spotrelay.snapshot.index import Block, Index
from spotrelay.snapshot.lane import Lane
from spotrelay.snapshot.large_files import LargeFiles
from spotrelay.snapshot.pack import SLICE, SMALL
from spotrelay.snapshot.small_files import SmallFiles
from spotrelay.snapshot.survey import Directories, Survey, Wanted
from spotrelay.snapshot.threads import Threads
from spotrelay.snapshot.turns import Turns

# Entries for one turn of the walk's thread: some 10 ms.
BATCH = 4_000
# A pack of empty or tiny files ends here, so that a thread's answer comes while the walk goes on.
MOST_IN_PACK = 4_000
# Large files open at once. Their slices share one line, so this only overlaps the end of one with the start of the
# next.
OPEN_FILES = 3


class Saving:
    """One save. Raises StoreError and OSError, in groups."""

    def __init__(
        self,
        survey: Survey,
        index: Index,
        small_files: SmallFiles,
        large_files: LargeFiles,
        turns: Turns,
        threads: Threads,
        lane: Lane,
    ) -> None:
        self.blocks: dict[str, Block] = {}
        self._survey, self._index, self._small_files, self._large_files = survey, index, small_files, large_files
        self._turns, self._threads, self._lane = turns, threads, lane
        self._gathered: list[Wanted] = []
        self._gathered_bytes = 0
        self._files_open = asyncio.Semaphore(OPEN_FILES)

    async def collect(self, directories: Directories) -> None:
        """Read what changed and send what is new; then `blocks` are what the directory holds."""
        async with asyncio.TaskGroup() as tasks:
            while batch := await self._lane.run(_some, directories):
                for item in batch[1]:
                    await self._read(item, tasks)
            await self._flush(tasks)
        while heirs := await self._threads.run(self._survey.heirs):
            async with asyncio.TaskGroup() as tasks:
                for heir in heirs:
                    await self._read(heir, tasks)
                await self._flush(tasks)
        self.blocks = await self._threads.run(self._survey.close)

    def encode(self, header: Header, moving: Collection[Path] = ()) -> bytes:
        """`moving`: what is to be called so."""
        if moving:
            self._survey.blocks = dict(still.marked(self.blocks, {manifest.text(os.fsencode(path)) for path in moving}))
        return stored_manifest.pack_lines(self._lines(header))

    def _lines(self, header: Header) -> Iterator[bytes]:
        packs = {self._index.numbers[digest]: pack for digest, pack in self._index.packs.items()}
        written: dict[int, Pack] = {}
        yield manifest.opening(header)
        yield self._survey.root_row
        for block, rows in self._survey.rows():
            for number in block.packs:
                if number not in written:
                    written[number] = packs[number]
                    yield manifest.pack_row(number, packs[number])
            yield rows
        entries = 1 + sum(len(block.stamps) // 4 for block in self.blocks.values())
        yield manifest.closing(entries, len(written), sum(block.file_bytes for block in self.blocks.values()))

    def remarks(self) -> tuple[list[Path], list[Path], list[Skipped]]:
        """What was kept, torn and skipped."""
        said: dict[str, list[Path]] = {"kept": [], "torn": []}
        skipped = []
        for block in self.blocks.values():
            for row in () if block.plain else map(json.loads, block.rows.splitlines()):
                path = row["path"].encode("utf-8", "surrogateescape")
                if row["kind"] == "skipped":
                    skipped.append(Skipped(path, row["reason"]))
                elif row.get("state"):
                    said[row["state"]].append(Path(os.fsdecode(path)))
        skipped.sort(key=lambda entry: manifest.order(entry.path))
        return said["kept"], said["torn"], skipped

    async def _read(self, item: Wanted, tasks: asyncio.TaskGroup) -> None:
        if item.size >= SMALL:
            await self._files_open.acquire()
            tasks.create_task(self._large(item))
            return
        self._gathered.append(item)
        self._gathered_bytes += item.size
        # The next one could fill the pack beyond a slice.
        if len(self._gathered) >= MOST_IN_PACK or self._gathered_bytes > SLICE - SMALL:
            await self._flush(tasks)

    async def _flush(self, tasks: asyncio.TaskGroup) -> None:
        if self._gathered:
            files, self._gathered, self._gathered_bytes = self._gathered, [], 0
            await self._turns.take()
            tasks.create_task(self._small(files, tasks))

    async def _small(self, files: list[Wanted], tasks: asyncio.TaskGroup) -> None:
        for outgrown in await self._small_files.save(files, self._survey.settle):
            await self._files_open.acquire()
            tasks.create_task(self._large(outgrown))

    async def _large(self, item: Wanted) -> None:
        try:
            self._survey.settle(item, *await self._large_files.save(item))
        finally:
            self._files_open.release()


def _some(directories: Directories) -> tuple[int, list[Wanted]] | None:
    """The walk, on for about BATCH entries; None at its end."""
    seen, wanted = 0, list[Wanted]()
    for count, found in directories:
        seen += count
        wanted += found
        if seen >= BATCH:
            return seen, wanted
    return (seen, wanted) if wanted else None
