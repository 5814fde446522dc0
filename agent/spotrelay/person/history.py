"""All of a run: each attempt with everything that was written about it. What a receipt, a timeline and the page are
made of.

One look, in two rounds, each object once:

    first     outcome, cancel, and four listings: the attempts, when each snapshot was committed, past outcomes
    then      six small reads an attempt, the spec, and what the run waits for as long as it is not over

So of a run with n attempts, 6 n + 6 requests, and one more while it goes on (listings: one for every thousand names).
`Chronicle` keeps what cannot change, so that a page which looks every second reads of the newest attempt what may still
come, and of those that are over nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from spotrelay.core import keys, records, spec
from spotrelay.core.errors import NotFound, SpecError
from spotrelay.core.keys import SnapshotId
from spotrelay.person.glance import AT_ONCE, Glance, Reading, attempts_among, no_run
from spotrelay.ports import BrowsableStore

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is known of attempt `number`. `trouble`: the first of it that was damaged."""

    number: int
    claim: records.Claim | None = None
    base: records.Base | None = None
    status: records.Status | None = None
    handover: records.Handover | None = None
    death: records.Death | None = None
    ledger: records.Ledger | None = None
    trouble: str = ""

    @property
    def over(self) -> bool:
        """Nothing that is written about it will change."""
        return self.ledger is not None and (self.handover is not None or self.death is not None) and not self.trouble


@dataclass(frozen=True, slots=True)
class History:
    """`spec`: None where there is none, or a damaged one: `trouble` says so. `saves`: when each snapshot was committed,
    by the store's clock. `past`: outcomes that a person's resume took away."""

    glance: Glance
    spec: spec.Spec | None = None
    cancel: records.Cancel | None = None
    attempts: tuple[Attempt, ...] = ()
    saves: Mapping[SnapshotId, float] = field(default_factory=dict)
    past: tuple[records.Outcome, ...] = ()
    trouble: str = ""

    @property
    def newest(self) -> SnapshotId | None:
        """The snapshot that the run stands at (P1): what the outcome names, or whoever comes next would begin from. The
        rule is `history.History.newest_allowed`'s, on what has been read already."""
        outcome = self.glance.outcome
        if outcome is not None and outcome.snapshot is not None:
            return SnapshotId.parse(outcome.snapshot)
        for attempt in reversed(self.attempts):
            own = [snapshot for snapshot in self.saves if snapshot.attempt == attempt.number]
            if own:
                return max(own)
            if attempt.base is not None:
                return SnapshotId.parse(attempt.base.snapshot) if attempt.base.snapshot else None
        return max((snapshot for snapshot in self.saves if snapshot.attempt == 0), default=None)


class Chronicle:
    """Of run `run`. `read` it as often as wanted."""

    def __init__(self, store: BrowsableStore, run: str) -> None:
        self._store, self._run = store, run
        self._known: dict[int, Attempt] = {}
        self._saves: dict[SnapshotId, float] = {}
        self._past: dict[str, records.Outcome] = {}
        self._spec: spec.Spec | None = None

    async def read(self) -> History:
        """Raises StoreUnavailable, StoreDenied."""
        run, store, reading = self._run, self._store, Reading(self._store)
        outcome, cancel, folders, times, past = await asyncio.gather(
            reading.record(records.Outcome, keys.outcome(run)),
            self._cancel(),
            store.folders(keys.attempts(run)),
            store.times(keys.snapshots(run)),
            store.list(keys.past_outcomes(run)),
        )
        # Housekeeping removes old snapshots; that there was one is remembered by whoever saw it.
        self._saves |= {snapshot: times[key] for key in times for snapshot in keys.snapshots_among([key])}
        hunt, attempts, (said, unreadable), _ = await asyncio.gather(
            self._hunt(reading, over=outcome is not None),
            self._attempts(attempts_among(folders)),
            self._read_spec(over=outcome is not None),
            self._read_past(past),
        )
        seen = self._seen(outcome, attempts, hunt, reading.trouble, begun=said is not None or bool(unreadable))
        troubles = [seen.trouble, *(each.trouble for each in attempts), unreadable]
        trouble = next(filter(None, troubles), "")
        return History(seen, said, cancel, attempts, dict(self._saves), tuple(self._past.values()), trouble)

    def _seen(
        self,
        outcome: records.Outcome | None,
        attempts: tuple[Attempt, ...],
        hunt: records.Hunt | None,
        trouble: str,
        *,
        begun: bool,
    ) -> Glance:
        """What `glance` would say, of what has been read."""
        if outcome is not None:
            return Glance(self._run, outcome.attempt, outcome, trouble=trouble)
        last = attempts[-1] if attempts else Attempt(0)
        trouble = trouble or last.trouble
        if not last.number and hunt is None and not begun:
            trouble = trouble or no_run(self._run)
        return Glance(self._run, last.number, None, last.claim, last.status, last.handover, hunt, trouble)

    async def _hunt(self, reading: Reading, *, over: bool) -> records.Hunt | None:
        return None if over else await reading.record(records.Hunt, keys.hunt(self._run))

    async def _attempts(self, numbers: Iterable[int]) -> tuple[Attempt, ...]:
        turns = asyncio.Semaphore(AT_ONCE)

        async def attempt(number: int) -> Attempt:
            async with turns:
                return await self._attempt(self._known.get(number, Attempt(number)))

        found = await asyncio.gather(*map(attempt, numbers))
        self._known = {each.number: each for each in found}
        return tuple(found)

    async def _attempt(self, known: Attempt) -> Attempt:
        """What is create-only is not read again."""
        if known.over:
            return known
        run, number, reading = self._run, known.number, Reading(self._store)

        async def once(before: T | None, cls: type[T], key: str) -> T | None:
            return before if before is not None else await reading.record(cls, key)

        claim, base, status, handover, death, ledger = await asyncio.gather(
            once(known.claim, records.Claim, keys.claim(run, number)),
            once(known.base, records.Base, keys.base(run, number)),
            reading.record(records.Status, keys.status(run, number)),
            once(known.handover, records.Handover, keys.handover(run, number)),
            once(known.death, records.Death, keys.death(run, number)),
            once(known.ledger, records.Ledger, keys.ledger(run, number)),
        )
        return Attempt(number, claim, base, status, handover, death, ledger, reading.trouble)

    async def _read_past(self, found: Iterable[str]) -> None:
        reading = Reading(self._store)
        for key in found:
            if key not in self._past and (past := await reading.record(records.Outcome, key)) is not None:
                self._past[key] = past

    async def _read_spec(self, *, over: bool) -> tuple[spec.Spec | None, str]:
        """It, or what is wrong with it. A person may change it while the run is over (resume), and at no other time."""
        key, known = keys.spec(self._run), self._spec
        try:
            said = known or spec.from_json(await self._store.get(key), source=key)
        except NotFound:
            return None, ""
        except SpecError as error:
            return None, str(error)
        self._spec = None if over else said
        return said, ""

    async def _cancel(self) -> records.Cancel | None:
        try:
            return records.Cancel.read(await self._store.get(keys.cancel(self._run)))
        except NotFound:
            return None
