"""How a run stands: what `ls` shows a line of, and what everything else about it begins with.

Requests, whatever the run's history:

    ended          1   its outcome
    not ended      6   outcome, names of its attempts (a request for a thousand), and then at once claim, status and
                       hand-over of the newest, and what it waits for
    not begun      7   as that, and whether there is a run at all: a folder that has none is somebody else's

A claim or status that is garbled leaves the rest readable: `trouble` names the object, and the state is what can be
said without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from spotrelay.core import keys, records
from spotrelay.core.errors import NotFound
from spotrelay.core.lifecycle import Phase
from spotrelay.ports import BrowsableStore

T = TypeVar("T")

# The agent's heartbeat comes every 15 s. Four that are missing are a machine that died, or cannot reach the store.
SILENT_S = 60.0
# Runs that are looked at side by side. Each is a round trip or two; S3 answers thousands of requests a second.
AT_ONCE = 64


class State(StrEnum):
    WAITING = "waiting"  # for a machine
    STUCK = "stuck"  # as that, and somebody must change something
    STARTING = "starting"  # it has one, which restores the directory
    RUNNING = "running"
    ENDING = "ending"  # the command was told, or has ended; its machine saves
    SILENT = "silent"  # it should have a machine, and that has not been heard of
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    LIMIT = "limit"  # it reached one of its own limits
    UNREADABLE = "unreadable"

    @property
    def over(self) -> bool:
        return self in _OVER


_OVER = {State.SUCCEEDED, State.FAILED, State.STOPPED, State.LIMIT}
_ENDINGS = {str(state) for state in _OVER}
STARTING = {Phase.ARRIVING, Phase.CLAIMING, Phase.WAITING, Phase.RESTORING, Phase.STARTING}
_GONE = {Phase.STAYING, Phase.LEAVING}


@dataclass(frozen=True, slots=True)
class Glance:
    """`attempt`: the newest, 0 before the first. `claim`, `status`, `handover` are its own. `trouble`: what could not
    be read, and why."""

    name: str
    attempt: int = 0
    outcome: records.Outcome | None = None
    claim: records.Claim | None = None
    status: records.Status | None = None
    handover: records.Handover | None = None
    hunt: records.Hunt | None = None
    trouble: str = ""

    @property
    def at(self) -> float:
        """The last that was heard of it, in unix seconds; 0: nothing."""
        told = (self.outcome, self.handover, self.status, self.claim, self.wait)
        return max((each.at for each in told if each is not None), default=0.0)

    @property
    def since(self) -> float:
        """When what it does now began, in unix seconds: its end, its wait for a machine, its command; 0: unknown."""
        if self.outcome is not None:
            return self.outcome.at
        if self.wait is not None:
            return self.wait.since
        if self.handover is not None:
            return self.handover.at
        status = self.status
        running = status.running_since if status is not None and status.phase not in STARTING else None
        return running or (self.claim.at if self.claim is not None else 0.0)

    @property
    def wait(self) -> records.Hunt | None:
        """What it waits for, where it waits for a machine."""
        return self.hunt if self.hunt is not None and self.hunt.attempt == self.attempt + 1 else None

    def state(self, now: float) -> State:
        if self.outcome is not None:
            return State(self.outcome.result) if self.outcome.result in _ENDINGS else State.UNREADABLE
        if self.trouble and self.claim is None:
            return State.UNREADABLE
        if self.wait is not None or self.claim is None or self.handover is not None:
            return State.STUCK if self.wait is not None and self.wait.person else State.WAITING
        if now - self.at > SILENT_S:
            return State.SILENT
        phase = self.status.phase if self.status is not None else Phase.CLAIMING
        if phase in STARTING:
            return State.STARTING
        return State.RUNNING if phase == Phase.RUNNING else State.WAITING if phase in _GONE else State.ENDING


async def glance(store: BrowsableStore, run: str) -> Glance:
    """Raises StoreUnavailable, StoreDenied: what is wrong with the store is wrong with every run."""
    reading = Reading(store)
    outcome = await reading.record(records.Outcome, keys.outcome(run))
    if outcome is not None:
        return Glance(run, outcome.attempt, outcome, trouble=reading.trouble)
    attempt = max(attempts_among(await store.folders(keys.attempts(run))), default=0)
    claim, status, handover, hunt = await asyncio.gather(
        reading.record(records.Claim, keys.claim(run, attempt)),
        reading.record(records.Status, keys.status(run, attempt)),
        reading.record(records.Handover, keys.handover(run, attempt)),
        reading.record(records.Hunt, keys.hunt(run)),
    )
    trouble = reading.trouble
    if not attempt and hunt is None and not await store.list(keys.spec(run)):
        trouble = trouble or no_run(run)
    return Glance(run, attempt, None, claim, status, handover, hunt, trouble)


def no_run(run: str) -> str:
    """What is wrong with a folder that nobody has begun a run in."""
    return f"{keys.spec(run)} is missing"


async def glances(store: BrowsableStore, runs: Iterable[str]) -> list[Glance]:
    """As `glance`, of many, in their order."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(run: str) -> Glance:
        async with turns:
            return await glance(store, run)

    return await asyncio.gather(*map(one, runs))


def attempts_among(folders: Iterable[str]) -> list[int]:
    """Their numbers, sorted, without what is no attempt's folder."""
    return sorted(int(name) for name in folders if len(name) == 5 and name.isascii() and name.isdigit() and int(name))


class Reading:
    """Typed reading of a run's objects. `trouble`: the first that was damaged."""

    def __init__(self, store: BrowsableStore) -> None:
        self._store = store
        self.trouble = ""

    async def record(self, cls: type[T], key: str) -> T | None:
        """None where there is none, or a damaged one. Raises StoreUnavailable, StoreDenied."""
        try:
            return records.decode(cls, await self._store.get(key), key=key)
        except NotFound:
            return None
        except records.RecordInvalid as error:
            self.trouble = self.trouble or str(error)
            return None
