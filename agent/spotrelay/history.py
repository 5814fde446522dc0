"""What earlier attempts left, and which of it counts (P1).

Attempt n begins from exactly one snapshot, fixed in its create-only base.json before the first byte is restored. That
object is the fence: whatever an earlier attempt commits after it is never looked at again, because who comes later asks
the newest attempt first:

    for n from the newest attempt down:  its own newest snapshot, if it has one
                                         else its base, if it fixed one
                                         else it left nothing: look at n - 1

The claim, earlier still, fences the *command*: an attempt that sees a later claim ends. Not the snapshots: an attempt
that was told to go is still saving while its successor has claimed and waits for it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeVar

from spotrelay.core import keys, records
from spotrelay.core.errors import NotFound
from spotrelay.core.keys import SnapshotId
from spotrelay.ports import Store

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class History:
    """Of run `run`, in `store`. Raises StoreError's family as the store does."""

    store: Store
    run: str

    async def newest_allowed(self, attempt: int) -> SnapshotId | None:
        """The snapshot that whoever continues after `attempt` begins from; None: no snapshot, ever."""
        saved = keys.snapshots_among(await self.store.list(keys.snapshots(self.run)))
        return await self.newest_of(saved, attempt)

    async def newest_of(self, saved: Collection[SnapshotId], attempt: int) -> SnapshotId | None:
        """As `newest_allowed`, for whoever has listed them already."""
        for number in range(attempt, -1, -1):
            own = [snapshot for snapshot in saved if snapshot.attempt == number]
            if own:
                return max(own)
            base = await self.base(number) if number else None
            if base is not None:
                return SnapshotId.parse(base.snapshot) if base.snapshot else None
        return None

    async def before(self, snapshot: SnapshotId) -> list[SnapshotId]:
        """What `snapshot` came of and is still there, the newest first: what others saved and was fenced, is not."""
        saved = keys.snapshots_among(await self.store.list(keys.snapshots(self.run)))
        found: list[SnapshotId] = []
        while True:
            own = [one for one in saved if one.attempt == snapshot.attempt and one.number < snapshot.number]
            found += sorted(own, reverse=True)
            base = await self.base(snapshot.attempt) if snapshot.attempt else None
            earlier = SnapshotId.parse(base.snapshot) if base is not None and base.snapshot else None
            if earlier is None or earlier.attempt >= snapshot.attempt:
                return found
            found += [earlier] if earlier in saved else []
            snapshot = earlier

    async def base(self, attempt: int) -> records.Base | None:
        return await self._read(records.Base, keys.base(self.run, attempt))

    async def claim(self, attempt: int) -> records.Claim | None:
        return await self._read(records.Claim, keys.claim(self.run, attempt))

    async def status(self, attempt: int) -> records.Status | None:
        return await self._read(records.Status, keys.status(self.run, attempt))

    async def handover(self, attempt: int) -> records.Handover | None:
        return await self._read(records.Handover, keys.handover(self.run, attempt))

    async def death(self, attempt: int) -> records.Death | None:
        return await self._read(records.Death, keys.death(self.run, attempt))

    async def outcome(self) -> records.Outcome | None:
        return await self._read(records.Outcome, keys.outcome(self.run))

    async def cancelled(self) -> records.Cancel | None:
        data = await self._get(keys.cancel(self.run))
        return None if data is None else records.Cancel.read(data)

    async def _read(self, cls: type[T], key: str) -> T | None:
        data = await self._get(key)
        return None if data is None else records.decode(cls, data, key=key)

    async def _get(self, key: str) -> bytes | None:
        try:
            return await self.store.get(key)
        except NotFound:
            return None
