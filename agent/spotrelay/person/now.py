"""One run, as it is now: what `status` says, and what it would cost to be interrupted at this moment.

Requests: a glance (1, 6 or 7), the spec, and what it has cost (1 or 2): 10 at most, whatever the run's history.

What a sudden death would lose is what the command has worked here since its newest snapshot was begun. After a notice
nothing is lost, if command and save are done in time; whether they would be is forecast by the agent from what it has
measured (core/forecast.py), and as long as it has measured nothing, nobody knows.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from spotrelay.core import forecast, keys, records, spec
from spotrelay.core.errors import NotFound, SpecError
from spotrelay.person.glance import Glance, State, glance
from spotrelay.person.spending import spent
from spotrelay.ports import BrowsableStore


@dataclass(frozen=True, slots=True)
class Now:
    """`spec`: None where there is none, or a damaged one: `trouble` says so. `ledger`: see spending.py."""

    glance: Glance
    spec: spec.Spec | None
    ledger: records.Ledger | None
    trouble: str = ""

    def working_s(self, now: float) -> float | None:
        """How long the command has worked in this attempt; None where it does not, or that is not known."""
        status = self.glance.status
        if self.glance.state(now) is not State.RUNNING or status is None or status.running_since is None:
            return None
        return max(0.0, now - status.running_since)

    def lost_by_death_s(self, now: float) -> float | None:
        """Seconds of work that would have to be done again if the machine died now without a word."""
        working, status = self.working_s(now), self.glance.status
        return None if working is None or status is None else max(0.0, working - status.kept_s)

    def lost_by_notice_s(self, now: float) -> float | None:
        """As that, of an interruption with EC2's notice; None as long as it cannot be forecast."""
        status = self.glance.status
        if self.working_s(now) is None or status is None or status.needed_s is None:
            return None
        return 0.0 if status.needed_s <= forecast.USABLE_S else self.lost_by_death_s(now)

    def next_save_s(self, now: float) -> float | None:
        """Seconds until it begins; 0: it should be under way."""
        status = self.glance.status
        if self.working_s(now) is None or status is None or status.next_save_at is None:
            return None
        return max(0.0, status.next_save_at - now)


async def standing(store: BrowsableStore, run: str) -> Now:
    """Of the run called `run`. Raises StoreUnavailable, StoreDenied."""
    seen, (said, trouble) = await asyncio.gather(glance(store, run), _spec(store, run))
    return Now(seen, said, await spent(store, run, seen.attempt), seen.trouble or trouble)


async def _spec(store: BrowsableStore, run: str) -> tuple[spec.Spec | None, str]:
    key = keys.spec(run)
    try:
        return spec.from_json(await store.get(key), source=key), ""
    except NotFound:
        return None, f"{key} is missing"
    except SpecError as error:
        return None, str(error)
