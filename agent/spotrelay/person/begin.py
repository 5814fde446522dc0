"""Begin a run: from a directory on a laptop to a bell that has rung. Each step can be the last one that happens.

    1  begun.json     create-only: the name is taken, by whom and for which spec
    2  snapshot 0-k   the directory
    3  open/<run>     by which the launcher's sweep finds the run
    4  run.json       create-only: from here on there is a run
    5  the bell       for attempt 1
    6  begun.json     goes

Died after     nothing runs and          the same command again
1, 2, 3        there is no run yet       goes on: what a finished save has sent is not sent again
4              the sweep finds the run   finds it there, and rings
5              all is done               the same, and a bell too many finds its work done

1 before 2: of two who begin a run of one name, the second would put its own directory on top of the first one's, and
that would be run. 3 before 4: a run without a mark is one that nobody is called for. 4 last of what is written: all of
it is there when the launcher looks.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from spotrelay.core import keys, records
from spotrelay.core.errors import AlreadyExists, NotFound, QueueError, RunExists, SnapshotError, UsageError
from spotrelay.core.keys import SnapshotId
from spotrelay.core.messages import ResumeRequest
from spotrelay.core.spec import Spec
from spotrelay.person.wishes import Wish, numbered
from spotrelay.ports import ResumeQueue, Store
from spotrelay.snapshot import Progress, Saved, Snapshots


@dataclass(frozen=True, slots=True)
class Origin:
    """The directory and whose it is: `by` as a person would say it (ada@laptop)."""

    directory: Path
    by: str


@dataclass(frozen=True, slots=True)
class Begun:
    """`saved`: None where an earlier try had come so far already. `again`: it goes on after an earlier try."""

    spec: Spec
    saved: Saved | None
    again: bool

    @property
    def name(self) -> str:
        return self.spec.run.name


class Beginning:
    """`stays`: patterns of what is not taken along, beside those of the spec. `told`: hears the name that it got, and
    whether it goes on; `progress` of the save. `begun`: its name, from when on it may go on by itself (4)."""

    def __init__(
        self,
        store: Store,
        queue: ResumeQueue,
        wish: Wish,
        origin: Origin,
        *,
        stays: Sequence[str] = (),
        told: Callable[[str, bool], None] = lambda _name, _again: None,
        progress: Callable[[Progress], None] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._queue, self._wish, self._origin = store, queue, wish, origin
        self._stays, self._told, self._progress, self._now = tuple(stays), told, progress, now
        self.begun = ""

    async def run(self) -> Begun:
        """Raises RunExists (of that very name, where the person chose it), SnapshotError's and StoreError's families,
        QueueError."""
        own = self._wish.spec.run.name
        names = [own] if self._wish.named else numbered(own)
        for name in names:
            try:
                return await self._begin(self._wish.called(name))
            except RunExists:
                if name == names[-1]:
                    raise
        raise UsageError(f"no run can be called {own!r}", next_step="choose its name: --name")

    async def _begin(self, wanted: Spec) -> Begun:
        name = wanted.run.name
        fresh = await self._take(wanted)
        there, over = await self._get(keys.spec(name)), await self._get(keys.outcome(name)) is not None
        if there is not None or over:
            if there == wanted.encode() and not fresh and not over:
                return await self._ring(wanted, None, again=True)
            await self._store.delete(keys.begun(name))
            raise _exists(name)
        saved, again = await self._save(wanted, fresh=fresh)
        await self._store.put(keys.open_run(name), b"")
        self.begun = name
        try:
            await self._store.create(keys.spec(name), wanted.encode())
        except AlreadyExists:
            if await self._store.get(keys.spec(name)) != wanted.encode():
                raise _exists(name) from None
        return await self._ring(wanted, saved, again=again)

    async def _take(self, wanted: Spec) -> bool:
        """The name. False: it was ours already."""
        name = wanted.run.name
        mine = records.Begun(self._origin.by, str(self._origin.directory), _digest(wanted), self._now())
        try:
            await self._store.create(keys.begun(name), records.encode(mine))
        except AlreadyExists:
            found = await self._get(keys.begun(name))
            theirs = None if found is None else records.decode(records.Begun, found, key=keys.begun(name))
            if theirs is not None and replace(theirs, at=mine.at) == mine:
                return False
            if theirs is None or await self._get(keys.spec(name)) is not None:
                raise _exists(name) from None
            raise RunExists(
                f"{theirs.by} is beginning a run {name!r}, from {theirs.directory}",
                next_step=f"take another name: --name; or if that will never come to an end: spotrelay rm {name}",
            ) from None
        return True

    async def _save(self, wanted: Spec, *, fresh: bool) -> tuple[Saved, bool]:
        name = wanted.run.name
        exclude = [*wanted.run.exclude, *self._stays]
        snapshots = Snapshots(self._store, name, self._origin.directory, exclude=exclude)
        before = [] if fresh else await snapshots.list()
        self._told(name, not fresh)
        if before:
            # What an earlier try has sent. One that cannot be read only means that all of it is sent.
            with contextlib.suppress(SnapshotError):
                await snapshots.recall(before[-1])
        number = before[-1].number + 1 if before else 0
        return await snapshots.save(SnapshotId(0, number), progress=self._progress), not fresh

    async def _ring(self, wanted: Spec, saved: Saved | None, *, again: bool) -> Begun:
        name = self.begun = wanted.run.name
        try:
            await self._queue.post(ResumeRequest(name, 1))
        except QueueError as error:
            raise QueueError(
                f"the run {name} is written, and the launcher could not be told: {error.what}",
                next_step="the same command again tells it; by itself it finds the run within five minutes",
            ) from error
        await self._store.delete(keys.begun(name))
        return Begun(wanted, saved, again)

    async def _get(self, key: str) -> bytes | None:
        try:
            return await self._store.get(key)
        except NotFound:
            return None


def _digest(wanted: Spec) -> str:
    """Of everything but the name, which may be numbered."""
    return hashlib.sha256(replace(wanted, run=replace(wanted.run, name="run")).encode()).hexdigest()


def _exists(name: str) -> RunExists:
    return RunExists(
        f"there is a run {name!r} already",
        next_step=f"take another name (--name), go on with it (spotrelay resume {name}), or spotrelay rm {name}",
    )
