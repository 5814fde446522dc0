"""Save the directory while the command runs, and once more at its end.

1. Now and then: so often that the newest snapshot is never older than `every_s`. A save begins when half of that has
   passed, and has half of the rest to be done in; one that was quick begins later. Gently (snapshot/pace.py): what has
   settled is read and sent beside the command, and costs it less than it notices.
2. After EC2 recommends to go: at once, every minute, and harder.
3. After a notice: as fast as can be, from its first second, while the command writes its checkpoint. What it wrote
   before that is then out of the machine when it ends.
4. At the end: a save that is under way is abandoned, and the last one begins. What was read and sent counts: only what
   the last checkpoint changed is left.

So the last save sends little, where others did its work. What an interruption had to send is therefore what was sent
for all snapshots since the one that stood when the notice came (`sent`); and a snapshot's own bytes are all that were
sent since the one before it, by whichever save (Saved.new_bytes). The forecast goes by these: what a checkpoint weighs
does not depend on how many saves it took.

Beside the command, a snapshot has to be the directory at one moment (snapshot/still.py). One that does not come to rest
is not committed, and tried again after a sixteenth of the interval: a checkpoint that was being written is finished by
then, and the snapshot before it stands (P4). At the third time in a row it is committed nevertheless, and says which
files moved (P8). Two pauses and two more tries have the last quarter of the interval, and need not be gentle, for only
that is read which moves: so a program that rewrites a file all the time loses no more than others do. After a notice
never: what the last save does not bring is better missing than mixed. The last save needs none of this, for nobody
writes any more.

A save that fails is logged, never raised: the command is not hurt by it (P6), and the snapshot before it stands.

One save at a time, numbered from 0 within the attempt; between two of them, now and then, what nobody needs is deleted
(snapshot/housekeeping.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Callable

import structlog

from spotrelay.core.errors import AlreadyExists, SpotrelayError
from spotrelay.core.forecast import Forecast
from spotrelay.core.keys import SnapshotId
from spotrelay.experience import Experience
from spotrelay.line import Line
from spotrelay.snapshot import Progress, Saved, Snapshots, housekeeping
from spotrelay.snapshot.housekeeping import Housekeeping
from spotrelay.snapshot.pace import BRISK, FULL, GENTLE, Budget, Gait
from spotrelay.snapshot.still import NAMED, Restless

# After a recommendation, whatever the spec says (0, never, excepted).
BRISK_EVERY_S = 60.0
# After a notice. The first only for a command that does not end at once: most do, and then it would be in the way.
FULL_AFTER_S = 1.0
FULL_EVERY_S = 5.0
# So often the directory may be restless before it is committed as it is; how soon it is tried again, and how long that
# may take. With 205 MiB rewritten every 4 s, tries as long as the first had their first commit after 512 s of 300.
TRIES = 3
AGAIN_AFTER = 1 / 16
FIRST_WITHIN, AGAIN_WITHIN = 1 / 4, 1 / 16
# How long one try waits for a moment in which nothing moves, if not AGAIN_AFTER: in 8 s, some GB are written.
STILL_S = 8.0
# What a checkpoint changes is the most that one of so many saves had to send: some fall between two checkpoints.
SEEN = 5
# And a save that had less than this to send says nothing about checkpoints once one was seen: it is a log's new lines.
# Hours may lie between two checkpoints, and the last save brings one all the same. 1 MiB takes no line a second.
TRIFLE = 1 << 20


class Saver:
    """`line`: what the snapshots go through, or nothing is known of its rate. `keeper`: nothing is deleted without.
    `sent`: bytes for the newest snapshot; after a notice, for all since the one that stood when it came."""

    def __init__(
        self,
        snapshots: Snapshots,
        attempt: int,
        *,
        told: Callable[[Saved], None],
        line: Line | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.last: Saved | None = None
        self.sent = 0
        self.keeper: Housekeeping | None = None
        self.learned = Experience()
        self._snapshots, self._attempt, self._told, self._line, self._clock = snapshots, attempt, told, line, clock
        self._number = 0
        self._every_s, self._gait, self.due = math.inf, GENTLE, math.inf
        self._pace: Budget | None = None
        self._moved = asyncio.Event()  # `due` was
        self._under_way: asyncio.Task[None] | None = None
        self._weighed: deque[int] = deque(maxlen=SEEN)
        self._all_new: bool | None = None  # nothing of the directory was in the store when the first save began
        self._stood: Saved | None = None  # when the notice came
        self._restless = 0  # tries in a row
        self._first_try_at = 0.0
        self._look_s = 0.0
        self._tidy_at = clock() + housekeeping.EVERY_S
        self._log = structlog.get_logger()

    def begin_at(self, number: int) -> None:
        """An agent that was restarted goes on counting where it stopped."""
        self._number = number

    def start(self, every_s: float) -> None:
        """0: none before there is a notice."""
        self._every_s = every_s or math.inf
        self.due = self._clock() + self._every_s / 2
        self._under_way = asyncio.create_task(self._now_and_then(), name="background saves")

    def early(self) -> None:
        """EC2 recommends to go."""
        if self._gait is GENTLE and self._every_s < math.inf:
            self._every_s = min(self._every_s, BRISK_EVERY_S)
            self._hasten(BRISK, self._clock())

    def hurry(self) -> None:
        """The machine will go."""
        if self._gait is not FULL:
            self._stood = self.last
        self._hasten(FULL, min(self.due, self._clock() + FULL_AFTER_S))

    def _hasten(self, gait: Gait, due: float) -> None:
        self._gait, self.due = gait, due
        self._moved.set()
        if self._pace is not None:
            self._pace.hurry(gait)

    async def stop(self) -> None:
        """Returns when nothing is read or sent or deleted any more."""
        if self._under_way is not None:
            self._under_way.cancel()
            # Not await and suppress: that would swallow the cancellation of a last save whose time is over.
            await asyncio.wait([self._under_way])
            self._under_way = None

    async def save(
        self,
        progress: Callable[[Progress], None] | None = None,
        *,
        pace: Budget | None = None,
        still: float | None = None,
        anyway: bool = False,
    ) -> Saved:
        """One save, committed. `still` and `anyway` are Snapshots.save's. Raises SnapshotError's and StoreError's
        families; cancelled, it commits nothing."""
        if self._all_new is None:
            self._all_new = not self._snapshots.known_packs()
        while True:
            snapshot = SnapshotId(self._attempt, self._number)
            try:
                saved = await self._snapshots.save(snapshot, progress=progress, pace=pace, still=still, anyway=anyway)
            except AlreadyExists:  # by this attempt, before its agent was restarted, or by a save whose answer was lost
                self._number += 1
                continue
            self._number += 1
            self._learn(saved, pace.waited_s if pace else 0.0)
            self._told(saved)
            moving = [str(path) for path in saved.moving[:NAMED]]
            self._log.info(
                "snapshot.saved", snapshot=str(snapshot), files=saved.files, new_bytes=saved.new_bytes, moving=moving
            )
            return saved

    # --- what a last save would take

    @property
    def rate(self) -> float | None:
        """Bytes a second that the line was seen to carry here."""
        return self._line.rate if self._line is not None else None

    def forecast(self) -> Forecast:
        """As far as it was measured: here, or by earlier attempts."""
        seen = max(self._weighed, default=None)
        return Forecast(
            checkpoint_s=self.learned.checkpoint_s,
            dirty=self.learned.dirty if seen is None else max(seen, self.learned.dirty or 0),
            rate=max(filter(None, (self.rate, self.learned.rate)), default=None),
            look_s=self._look_s,
        )

    def _learn(self, saved: Saved, waited_s: float) -> None:
        # The very first save of a run sends what was there before it; later ones send what checkpoints change.
        if not self._all_new and (saved.new_bytes >= TRIFLE or max(self._weighed, default=0) < TRIFLE):
            self._weighed.append(saved.new_bytes)
        self._all_new = False
        after_notice = self._gait is FULL and self.last is not self._stood
        self.sent = saved.new_bytes + (self.sent if after_notice else 0)
        self.last = saved
        sending = (saved.new_bytes - saved.earlier_bytes) / self.rate if self.rate else 0.0
        self._look_s = max(0.0, saved.seconds - waited_s - sending) / saved.looks

    # --- beside the command

    async def _now_and_then(self) -> None:
        while True:
            await self._until_due()
            if not self._tries_again:
                self._first_try_at = self._clock()
            self.due = math.inf
            await self._save_beside()
            await self._tidy()
            # A gait that came meanwhile has set the next one already.
            self.due = min(self.due, self.next_after(self._first_try_at))

    async def _until_due(self) -> None:
        while (wait := self.due - self._clock()) > 0:
            self._moved.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if wait == math.inf else wait):
                    await self._moved.wait()

    @property
    def _tries_again(self) -> bool:
        return 0 < self._restless < TRIES

    def next_after(self, began: float) -> float:
        """When the next save begins, after one whose first try began then and that is done now."""
        now = self._clock()
        if self._gait is FULL:
            return now + FULL_EVERY_S
        if self._tries_again:
            return now + self._every_s * AGAIN_AFTER
        return began + max(self._every_s / 2, self._every_s - 2 * (now - began))

    def within_s(self) -> float:
        """What the next try may take, the waiting for rest aside."""
        share = AGAIN_WITHIN if self._tries_again else FIRST_WITHIN
        return self._every_s * share - self._still_s

    @property
    def _still_s(self) -> float:
        return min(STILL_S, self._every_s * AGAIN_AFTER)

    async def _save_beside(self) -> None:
        self._pace = Budget(self._gait, within_s=self.within_s())
        anyway = self._restless >= TRIES - 1 and self._gait is not FULL
        try:
            saved = await self.save(pace=self._pace, still=self._still_s, anyway=anyway)
        except Restless as error:
            self._restless += 1
            self._log.info("snapshot.restless", tries=self._restless, error=str(error))
        except Exception as error:  # a fault of ours, too: the next save may be spared by it, the last one tells
            foreseen = isinstance(error, SpotrelayError | OSError)
            self._log.warning("snapshot.failed", error=str(error), exc_info=not foreseen)
        else:
            # One that moves all the time will go on so: it is committed each time, until it comes to rest.
            self._restless = TRIES if saved.moving else 0
        finally:
            self._pace = None

    async def _tidy(self) -> None:
        if self.keeper is None or self.last is None or self._clock() < self._tidy_at:
            return
        self._tidy_at = self._clock() + housekeeping.EVERY_S
        try:
            tidied = await self.keeper.round()
        except Exception as error:  # likewise; what was not deleted is found again
            foreseen = isinstance(error, SpotrelayError | OSError)
            self._log.warning("housekeeping.failed", error=str(error), exc_info=not foreseen)
        else:
            self._log.info("housekeeping.done", snapshots=tidied.snapshots, packs=tidied.packs)
