"""All of a run: each attempt with everything that was written about it. What a receipt and a timeline are made of.

Six small reads an attempt, side by side, and one listing for all of them. An attempt that is over does not change any
more: `Chronicle` keeps what it has read, so that a page which looks every second reads the newest alone.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from spotrelay.core import keys, records, spec
from spotrelay.core.errors import NotFound, SpecError
from spotrelay.person.glance import AT_ONCE, Glance, Reading, attempts_among, glance
from spotrelay.ports import BrowsableStore


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is known of attempt `number`."""

    number: int
    claim: records.Claim | None = None
    base: records.Base | None = None
    status: records.Status | None = None
    handover: records.Handover | None = None
    death: records.Death | None = None
    ledger: records.Ledger | None = None

    @property
    def over(self) -> bool:
        """Nothing that is written about it will change."""
        return self.ledger is not None and (self.handover is not None or self.death is not None)


@dataclass(frozen=True, slots=True)
class History:
    """`spec`: None where there is none, or a damaged one: `trouble` says so."""

    glance: Glance
    spec: spec.Spec | None
    cancel: records.Cancel | None
    attempts: tuple[Attempt, ...]
    trouble: str = ""


class Chronicle:
    """Of run `run`. `read` it as often as wanted."""

    def __init__(self, store: BrowsableStore, run: str) -> None:
        self._store, self._run = store, run
        self._over: dict[int, Attempt] = {}
        self._spec: spec.Spec | None = None

    async def read(self) -> History:
        """Raises StoreUnavailable, StoreDenied."""
        reading, turns = Reading(self._store), asyncio.Semaphore(AT_ONCE)

        async def attempt(number: int) -> Attempt:
            async with turns:
                return self._over.get(number) or await self._attempt(reading, number)

        now = await glance(self._store, self._run)
        numbers = attempts_among(await self._store.folders(keys.attempts(self._run)))
        attempts = await asyncio.gather(*map(attempt, numbers))
        self._over |= {each.number: each for each in attempts if each.over}
        cancel = await self._cancel()
        return History(now, await self._read_spec(reading), cancel, tuple(attempts), now.trouble or reading.trouble)

    async def _attempt(self, reading: Reading, number: int) -> Attempt:
        run = self._run
        claim, base, status, handover, death, ledger = await asyncio.gather(
            reading.record(records.Claim, keys.claim(run, number)),
            reading.record(records.Base, keys.base(run, number)),
            reading.record(records.Status, keys.status(run, number)),
            reading.record(records.Handover, keys.handover(run, number)),
            reading.record(records.Death, keys.death(run, number)),
            reading.record(records.Ledger, keys.ledger(run, number)),
        )
        return Attempt(number, claim, base, status, handover, death, ledger)

    async def _read_spec(self, reading: Reading) -> spec.Spec | None:
        if self._spec is None:
            key = keys.spec(self._run)
            try:
                self._spec = spec.from_json(await self._store.get(key), source=key)
            except NotFound:
                return None
            except SpecError as error:
                reading.trouble = reading.trouble or str(error)
        return self._spec

    async def _cancel(self) -> records.Cancel | None:
        try:
            return records.Cancel.read(await self._store.get(keys.cancel(self._run)))
        except NotFound:
            return None
