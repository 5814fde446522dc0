"""Save the directory while the command runs, and once more at its end.

1. Between notices: every `every_s`, or at once when EC2 recommends a rebalance. A save that fails is logged, never
   raised: the command is not hurt by it (P6), and the snapshot before it stands.
2. At the end: a save that is under way is abandoned (what it has sent counts for the next), and the last one begins.

One save at a time, numbered from 0 within the attempt. What earlier saves took is the estimate for the next.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from spotrelay.core.errors import AlreadyExists, SpotrelayError
from spotrelay.core.keys import SnapshotId
from spotrelay.snapshot import Progress, Saved, Snapshots

# Before the first save nothing is measured. A guess that a first checkpoint of some GiB at 2.5 Gbit/s fits in.
FIRST_ESTIMATE_S = 20.0


class Saver:
    def __init__(self, snapshots: Snapshots, attempt: int, *, told: Callable[[Saved], None]) -> None:
        self._snapshots, self._attempt, self._told = snapshots, attempt, told
        self._number = 0
        self._early = asyncio.Event()
        self._under_way: asyncio.Task[None] | None = None
        self._log = structlog.get_logger()
        self.estimate_s = FIRST_ESTIMATE_S
        self.last: Saved | None = None

    def begin_at(self, number: int) -> None:
        """An agent that was restarted goes on counting where it stopped."""
        self._number = number

    def start(self, every_s: float) -> None:
        self._under_way = asyncio.create_task(self._now_and_then(every_s), name="background saves")

    def early(self) -> None:
        self._early.set()

    async def stop(self) -> None:
        """Returns when nothing is read or sent any more."""
        if self._under_way is not None:
            self._under_way.cancel()
            # Not await and suppress: that would swallow the cancellation of a last save whose time is over.
            await asyncio.wait([self._under_way])
            self._under_way = None

    async def save(self, progress: Callable[[Progress], None] | None = None) -> Saved:
        """One save, committed. Raises SnapshotError's and StoreError's families; cancelled, it commits nothing."""
        while True:
            snapshot = SnapshotId(self._attempt, self._number)
            self._number += 1
            try:
                saved = await self._snapshots.save(snapshot, progress=progress)
            except AlreadyExists:
                continue  # committed by this attempt before its agent was restarted
            self.estimate_s, self.last = saved.seconds, saved
            self._told(saved)
            self._log.info("snapshot.saved", snapshot=str(snapshot), files=saved.files, new_bytes=saved.new_bytes)
            return saved

    async def _now_and_then(self, every_s: float) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(every_s):
                    await self._early.wait()
            self._early.clear()
            try:
                await self.save()
            except Exception as error:  # a fault of ours, too: the next save may be spared by it, the last one tells
                foreseen = isinstance(error, SpotrelayError | OSError)
                self._log.warning("snapshot.failed", error=str(error), exc_info=not foreseen)
