"""Delete what nobody will ever restore: old snapshots, and packs that no snapshot needs.

What must never happen
    A snapshot that may be restored loses its manifest or a pack; or a save that commits relied on a pack that is gone.

Who may be at it
    One attempt saves and deletes: the newest that has fixed its base (history.py). Those before it may still write, and
    whatever they write counts for nothing. One that comes after waits until this one is done (predecessors.py): handed
    over, dead by EC2's word, past its deadline, or silent for three minutes.

Who deletes
    1. The owner of the newest attempt, once it has a snapshot of its own: from then on nothing older than that can be
       restored, since whoever comes later asks the newest attempt first.
    2. Only while the run is undisputed: no notice has come, no later attempt has claimed, and that was seen within the
       last minute (`owned`, asked before every request). A heart that beat a minute ago keeps a successor waiting for
       two more, and a request is carried out well within these or never: that is the one thing assumed of the store.
    3. Between two saves of its own, never beside one. So every pack that a save relies on is either known to it now
       (`Snapshots.known_packs`) or will be sent by it anew.
    Cancelled (a notice has come, the last save wants to begin), a round waits for the request that is under way, so
    that no deletion overtakes the save that follows.

What goes, in one round
    1. Packs are listed, then manifests: what is committed in between (by nobody who counts) could only be spared.
    2. Kept are the newest KEEP snapshots of this attempt and the base it began from. All other manifests go first, so
       that a snapshot which can be seen is whole; if that fails, the round ends here.
    3. Packs go that no kept manifest names, that no save of ours relies on, and that were all this in the round before
       as well. The wait is no clock's: whoever had just sent a pack has had a whole period to commit it.
    A manifest that cannot be read ends the round: what it needs is not known.
    A crash anywhere leaves manifests that are whole and packs that the next round finds, for it remembers nothing but
    what the round before saw.

What is missing
    The listing also shows what should be there and is not: somebody's lifecycle rule, a person's mistake. Those packs
    are forgotten (`Snapshots.forget_packs`), and the next save sends them again from the directory.

What it costs
    A round is one LIST for each 1,000 packs and 1,000 manifests, one GET for each kept manifest that was not read
    before, one DELETE for each 1,000 names. Half-hourly, for 60 GiB in 16 MiB packs: 5 LIST, up to 3 GET, 1 or 2
    DELETE, which are free: 0.1 cents a day.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass

import structlog

from spotrelay.core import keys
from spotrelay.core.errors import SnapshotError
from spotrelay.core.keys import SnapshotId
from spotrelay.ports import Store
from spotrelay.snapshot import stored_manifest
from spotrelay.snapshot.snapshots import Snapshots

# The newest is what is restored. Two more are for a person whose program wrote nonsense into its last checkpoint.
KEEP = 3
# At most so much of what a command rewrites is stored for nothing: twice this. 60 GiB for an hour are 0.2 cents.
EVERY_S = 1800.0
# As many as one request takes: `owned` is asked before each.
AT_ONCE = 1000
# S3 deletes a thousand names in about a second. A last save waits for that, and for no more.
LAST_S = 3.0


@dataclass(frozen=True, slots=True)
class Tidied:
    """What one round deleted, and the packs it found missing."""

    snapshots: int = 0
    packs: int = 0
    missing: int = 0


class Disowned(SnapshotError):
    """The run may be somebody else's by now: nothing more is deleted."""


class Housekeeping:
    """Of a run by its attempt `attempt`, which began from `base`. `owned`: whether it is undisputed, see above."""

    def __init__(
        self,
        store: Store,
        run: str,
        attempt: int,
        snapshots: Snapshots,
        *,
        base: SnapshotId | None,
        owned: Callable[[], bool],
    ) -> None:
        self._store, self._run, self._attempt, self._snapshots = store, run, attempt, snapshots
        self._base, self._owned = base, owned
        self._suspects: frozenset[str] = frozenset()
        self._packs_of: dict[SnapshotId, frozenset[str]] = {}  # of kept manifests: they never change
        self._log = structlog.get_logger()

    async def round(self) -> Tidied:
        """One round. Raises Disowned, StoreError, ManifestInvalid, ManifestUnknown: then what was not done stays."""
        suspects, self._suspects = self._suspects, frozenset()
        self._ask()
        there = _packs_among(await self._store.list(keys.packs(self._run)))
        saved = keys.snapshots_among(await self._store.list(keys.snapshots(self._run)))
        kept = self._kept(saved)
        if not kept:
            return Tidied()
        needed = await self._needed(kept) | self._snapshots.known_packs()
        missing = self._missing(there)
        old = [snapshot for snapshot in saved if snapshot not in kept]
        await self._delete([keys.snapshot(self._run, snapshot) for snapshot in old])
        idle = there - needed
        condemned = sorted(idle & suspects)
        await self._delete([keys.pack(self._run, digest) for digest in condemned])
        self._suspects = frozenset(idle.difference(condemned))
        return Tidied(len(old), len(condemned), len(missing))

    def _ask(self) -> None:
        if not self._owned():
            raise Disowned("nothing is deleted: this attempt may have a successor")

    def _kept(self, saved: Sequence[SnapshotId]) -> frozenset[SnapshotId]:
        """Nothing, as long as this attempt has nothing of its own: then others may still decide what counts."""
        if saved and saved[-1].attempt > self._attempt:
            raise Disowned(f"nothing is deleted: there is snapshot {saved[-1]} of a successor")
        own = [snapshot for snapshot in saved if snapshot.attempt == self._attempt]
        return frozenset(own[-KEEP:]) | frozenset(saved).intersection([self._base]) if own else frozenset()

    async def _needed(self, kept: Collection[SnapshotId]) -> frozenset[str]:
        self._packs_of = {snapshot: packs for snapshot, packs in self._packs_of.items() if snapshot in kept}
        for snapshot in kept:
            if snapshot not in self._packs_of:
                data = await self._store.get(keys.snapshot(self._run, snapshot))
                self._packs_of[snapshot] = await asyncio.to_thread(stored_manifest.packs, data)
        return frozenset().union(*self._packs_of.values())

    def _missing(self, there: frozenset[str]) -> frozenset[str]:
        missing = self._snapshots.known_packs() - there
        if missing:
            self._log.error("packs.missing", packs=len(missing), example=min(missing))
            self._snapshots.forget_packs(missing)
        return missing

    async def _delete(self, names: Sequence[str]) -> None:
        for begin in range(0, len(names), AT_ONCE):
            self._ask()
            await _to_its_end(self._store.delete(*names[begin : begin + AT_ONCE]))


async def _to_its_end(request: Coroutine[None, None, None]) -> None:
    """A request that has begun is not abandoned: nobody would know whether, and when, it is carried out."""
    task = asyncio.ensure_future(request)
    cancelled = None
    while not task.done():
        try:
            async with asyncio.timeout(None if cancelled is None else LAST_S):
                await asyncio.shield(task)
        except asyncio.CancelledError as again:
            cancelled = cancelled or again
        except TimeoutError:
            task.cancel()
            await asyncio.wait([task])
    if cancelled is not None:
        raise cancelled
    task.result()


def _packs_among(names: Collection[str]) -> frozenset[str]:
    digests = (name.rpartition("/")[2] for name in names)
    return frozenset(digest for digest in digests if keys.PACK_NAME.fullmatch(digest))
