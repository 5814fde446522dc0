"""The way in: an instance takes the run over from whoever had it, and starts its command.

    claim → wait for those before → choose the base → restore, or take up what is on the disk → mend → spawn

Each step ends in an event, and knows its own bound. What an error means, the attempt says: the run's own is counted;
one of the surroundings is another instance's chance. Before the claim is ours nothing is touched (P1), and in a
directory that was not verified nothing is started (P2).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from functools import partial
from pathlib import Path

import structlog

from spotrelay import host
from spotrelay.attempt import Attempt
from spotrelay.checkpoints.mending import Mending
from spotrelay.core import events as ev
from spotrelay.core import keys, records
from spotrelay.core.errors import (
    AlreadyExists,
    ClaimLost,
    CommandError,
    RunOver,
    SecretRefused,
    SecretUnavailable,
    SnapshotError,
    SpotrelayError,
    StoreError,
)
from spotrelay.core.events import Event
from spotrelay.core.keys import SnapshotId
from spotrelay.experience import experience
from spotrelay.marker import Marker
from spotrelay.patience import PATIENCE_S, patiently
from spotrelay.predecessors import Predecessors
from spotrelay.snapshot.housekeeping import Housekeeping

# A notice that comes meanwhile waits for it.
SECRET_S = 20.0
# How often a successor looks for the hand-over: four small reads, and nobody works meanwhile.
LOOK_S = 0.5
# An unfinished checkpoint is looked for in so many earlier snapshots, whole. Housekeeping keeps three of an attempt.
LOOK_BACK = 8


class Takeover:
    """Of one attempt."""

    def __init__(self, attempt: Attempt) -> None:
        self._mine = attempt
        self._run, self._number, self._spec = attempt.run, attempt.number, attempt.spec
        self._store, self._history, self._snapshots = attempt.store, attempt.history, attempt.snapshots
        self._identity, self._wall = attempt.identity, attempt.wall
        self._predecessors = Predecessors(attempt.history, attempt.number, wall=attempt.wall)
        self._marker = Marker(
            attempt.output.with_suffix(".here"),
            Path(attempt.spec.run.directory),
            run=attempt.run,
            attempt=attempt.number,
            instance=attempt.identity.instance_id,
        )
        self._log = structlog.get_logger()

    async def claim(self) -> Event:
        """Create-only: of all instances that think this attempt theirs, one gets Claimed (P1)."""
        me = records.Claim(
            instance=self._identity.instance_id,
            token=secrets.token_hex(8),
            at=self._wall(),
            instance_type=self._identity.instance_type,
            zone=self._identity.zone,
            market=self._identity.market,
        )
        try:
            return await patiently(lambda: self._claim(me), what="claim", for_s=PATIENCE_S)
        except StoreError as error:
            return self._turned_away(error)

    async def _claim(self, me: records.Claim) -> Event:
        if await self._history.outcome() is not None:
            return self._turned_away(RunOver("the run is over"))
        if await self._history.claim(self._number + 1) is not None:
            return self._turned_away(ClaimLost("a later attempt has begun"))
        try:
            await self._store.create(keys.claim(self._run, self._number), records.encode(me))
        except AlreadyExists:
            owner = await self._history.claim(self._number)
            if owner is None or owner.instance != me.instance:
                return self._turned_away(ClaimLost(f"{owner.instance if owner else 'somebody'} owns the attempt"))
            if await self._history.handover(self._number) is not None:
                return self._turned_away(ClaimLost("this attempt was handed over: the next one goes on"))
            self._mine.again = owner.token != me.token
            if self._mine.again:
                self._mine.carry_over(await self._last_status(), since=owner.at)
        first = await self._history.claim(1)
        self._mine.began = first.at if first else me.at
        return ev.Claimed()

    async def _last_status(self) -> records.Status | None:
        """Read before this agent's own first beat replaces it. A damaged one says nothing."""
        try:
            return await self._history.status(self._number)
        except records.RecordInvalid as error:
            self._log.warning("status.unreadable", error=str(error))
            return None

    def _turned_away(self, why: SpotrelayError) -> Event:
        self._log.warning("attempt.refused", why=str(why))
        self._mine.refusal = why
        return ev.TurnedAway()

    async def await_predecessor(self) -> Event:
        """Until it handed over, or can add nothing any more. What it saves while we wait is worth the wait; it may even
        end the run."""
        while True:
            try:
                done = await self._predecessors.done()
                self._mine.errors_before = self._predecessors.errors
                if await self._history.outcome() is not None:
                    return self._turned_away(RunOver("the run is over"))
                if done:
                    return ev.PredecessorGone()
            except StoreError as error:
                self._log.warning("predecessor.unknown", error=str(error))
            await asyncio.sleep(LOOK_S)

    async def restore(self) -> Event:
        """The directory as the newest snapshot that counts; verified, or the command is not started (P2). An agent that
        was restarted finds it on its disk, newer than any snapshot."""
        try:
            snapshot = await patiently(self._fix_base, what="base", for_s=PATIENCE_S)
            await self._learn()
            self._mine.saver.keeper = Housekeeping(
                self._store,
                self._run,
                self._number,
                self._snapshots,
                base=snapshot,
                owned=self._mine.owns,
            )
            if self._marker.holds():
                await self._take_up(snapshot)
                self._mine.carried_s = self._mine.earlier_s or 0.0
                await self._mend(snapshot, also_itself=True)
            else:
                self._marker.remove()
                await self._rebuild(snapshot)
                self._mine.carried_s = self._mine.kept_s
                await self._mend(snapshot)
                self._marker.set()
        except StoreError as error:
            return self._mine.outside_fault(error)
        except (SnapshotError, OSError) as error:
            return self._mine.fault(error)
        self._mine.newest = snapshot
        return ev.Restored()

    async def _rebuild(self, snapshot: SnapshotId | None) -> None:
        if snapshot is None:
            await asyncio.to_thread(host.make_directory, Path(self._spec.run.directory), self._spec.run.user)
            return
        # Attempt 0 is a person's computer: its uid 1000 is nobody's here, or somebody else's.
        owner = host.owner_for(self._spec.run.user) if snapshot.attempt == 0 else None
        self._mine.restored = await patiently(
            lambda: self._snapshots.restore(snapshot, owner=owner), what="restore", for_s=PATIENCE_S
        )
        self._log.info("snapshot.restored", snapshot=str(snapshot), files=self._mine.restored.files)

    async def _take_up(self, snapshot: SnapshotId | None) -> None:
        self._log.warning("directory.taken_up", why="the agent was restarted", stands=str(snapshot))
        if snapshot is not None:
            await patiently(lambda: self._snapshots.recall(snapshot), what="manifest", for_s=PATIENCE_S)

    async def _mend(self, snapshot: SnapshotId | None, *, also_itself: bool = False) -> None:
        """A checkpoint that was being written when the machine died is not what the command goes on from."""
        earlier: list[SnapshotId] = []
        if snapshot is not None:
            earlier = await patiently(lambda: self._history.before(snapshot), what="snapshots", for_s=PATIENCE_S)
            earlier = ([snapshot] if also_itself else []) + earlier
        directory = Path(self._spec.run.directory)
        mending = Mending(directory, self._store, self._run, self._snapshots, self._number)
        self._mine.unfinished = await mending.mend(
            self._spec.save.unfinished, earlier[:LOOK_BACK], since=self._mine.began or self._wall()
        )

    async def _fix_base(self) -> SnapshotId | None:
        """Choose what this attempt begins from, for ever (`history.py`). A restarted agent has snapshots of its own."""
        newest = await self._history.newest_allowed(self._number)
        base = records.Base(str(newest) if newest else None, self._wall(), self._identity.instance_id)
        with contextlib.suppress(AlreadyExists):
            await self._store.create(keys.base(self._run, self._number), records.encode(base))
        if newest is not None and newest.attempt == self._number:
            self._mine.saver.begin_at(newest.number + 1)
        return newest

    async def _learn(self) -> None:
        """What earlier attempts took. Nice to know, and no reason to wait."""
        try:
            self._mine.saver.learned = await experience(self._history, self._number, self._identity.instance_type)
        except StoreError as error:
            self._log.warning("experience.unknown", error=str(error))

    async def spawn(self) -> Event:
        try:
            hidden = await self._secrets()
            given = {**self._mine.environment, **self._spec.run.env, **hidden, **self._own_environment()}
            await self._mine.command.spawn(given)
        except SecretUnavailable as error:
            return self._mine.outside_fault(error)
        except (SecretRefused, CommandError) as error:
            return self._mine.fault(error)
        return ev.Spawned()

    async def _secrets(self) -> dict[str, str]:
        """Read for the command alone, and kept nowhere. Raises SecretRefused, SecretUnavailable."""
        names = {name: text.removeprefix("ssm:") for name, text in (self._spec.run.secrets or {}).items()}
        source = self._mine.arrival.secrets
        if names and source is None:
            raise SecretRefused("there is nothing here to read secrets from", next_step="leave run.secrets out")
        found = {}
        for name, parameter in names.items():
            assert source is not None
            found[name] = await patiently(partial(source.read, parameter), what="secret", for_s=SECRET_S)
        return found

    def _own_environment(self) -> dict[str, str]:
        return {
            "SPOTRELAY_RUN": self._run,
            "SPOTRELAY_ATTEMPT": str(self._number),
            "SPOTRELAY_SNAPSHOT": str(self._mine.newest) if self._mine.newest else "",
            "SPOTRELAY_RESUMED": "1" if self._mine.newest and self._mine.newest.attempt else "0",
        }
