"""What a run was: attempt by attempt (leg.py), and the sums. Plain data, for whoever draws it: the terminal, a page to
keep, the page in the browser.

A sum with a part in it that nobody knows says how many parts are missing.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from spotrelay.core import keys, records
from spotrelay.person.glance import Reading
from spotrelay.person.history import Chronicle, History
from spotrelay.person.leg import WORKS, Leg, legs
from spotrelay.ports import BrowsableStore

# us-east-1a is in us-east-1; us-west-2-lax-1a, a local zone, in us-west-2.
_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Sum:
    """`unknown`: how many legs have no such figure."""

    known: float
    unknown: int = 0

    @property
    def whole(self) -> float | None:
        return None if self.unknown else self.known


@dataclass(frozen=True, slots=True)
class Receipt:
    """`result`: succeeded, failed, stopped, limit; "" while it goes on. `asked_at`: when there first was something to
    run; `began_at`: when a machine first was. `kept`: of `worked`, what snapshots keep. `saved_dollars`: against the
    same seconds on demand; `free_dollars`: what the free legs would have cost on demand."""

    run: str
    result: str
    message: str
    asked_at: float | None
    began_at: float | None
    ended_at: float | None
    legs: tuple[Leg, ...]
    worked: Sum
    kept: Sum
    lost: Sum
    machine: Sum
    dollars: Sum
    on_demand: Sum
    free_legs: int
    free_s: float
    free_dollars: float | None
    trouble: str = ""

    @property
    def saved_dollars(self) -> float | None:
        spent, listed = self.dollars.whole, self.on_demand.whole
        return None if spent is None or listed is None else listed - spent


async def receipt(store: BrowsableStore, run: str) -> Receipt:
    """Each object is read once: what `Chronicle` reads, and a price for each type. Raises StoreUnavailable,
    StoreDenied."""
    history = await Chronicle(store, run).read()
    return of(history, await _prices(store, history))


def of(history: History, hourly: Mapping[tuple[str, str], float] | None = None) -> Receipt:
    """`hourly`: list prices by zone and type."""
    ran = tuple(legs(history, hourly or {}))
    began_at = min((leg.claimed_at for leg in ran if leg.claimed_at is not None), default=None)
    outcome = history.glance.outcome
    free = [leg for leg in ran if leg.free]
    return Receipt(
        run=history.glance.name,
        result=outcome.result if outcome is not None else "",
        message=outcome.message if outcome is not None else "",
        asked_at=min((*history.saves.values(), *filter(None, [began_at])), default=None),
        began_at=began_at,
        ended_at=outcome.at if outcome is not None else None,
        legs=ran,
        worked=_sum(leg.worked_s for leg in ran),
        kept=_sum(leg.kept_s for leg in ran),
        lost=_sum(leg.lost_s for leg in ran if leg.end != WORKS),
        machine=_sum(leg.machine_s for leg in ran),
        dollars=_sum(leg.dollars for leg in ran),
        on_demand=_sum(leg.on_demand_dollars for leg in ran),
        free_legs=len(free),
        free_s=sum(leg.machine_s or 0.0 for leg in free),
        free_dollars=_sum(leg.on_demand_dollars for leg in free).whole if free else None,
        trouble=history.trouble,
    )


async def _prices(store: BrowsableStore, history: History) -> dict[tuple[str, str], float]:
    """A read for each type in each region."""
    pools = {(each.claim.zone, each.claim.instance_type) for each in history.attempts if each.claim is not None}
    wanted = {(match[0], kind) for zone, kind in pools if (match := _REGION.match(zone)) and "/" not in kind and kind}
    reading = Reading(store)
    found = await asyncio.gather(
        *(reading.record(records.Price, keys.price(region, kind)) for region, kind in sorted(wanted))
    )
    listed = {pool: price.hourly for pool, price in zip(sorted(wanted), found, strict=True) if price is not None}
    return {
        (zone, kind): listed[match[0], kind]
        for zone, kind in pools
        if (match := _REGION.match(zone)) and (match[0], kind) in listed
    }


def _sum(figures: Iterable[float | None]) -> Sum:
    known = list(figures)
    return Sum(sum(figure for figure in known if figure is not None), sum(figure is None for figure in known))
