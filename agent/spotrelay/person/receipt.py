"""What a run was: attempt by attempt, in seconds and dollars. Plain data, for whoever draws it.

Only what was written down by those who were there (P8): a figure that nobody measured is None, and a sum with such a
part in it says how many parts are missing.

    seconds     of a leg: the machine's claim, its command's start, the notice, the hand-over, as the agent wrote them.
                Between two machines they are good to a second: that is how exactly both know EC2's time.
    lost        what the command had worked and no snapshot keeps. After a hand-over exactly. Of a machine that died
                without a word there are bounds: its newest snapshot was committed, it was heard of once more, it was
                found dead.
    dollars     a leg's is the difference of two ledgers (launcher/ledger.py). As long as its own is not written, or has
                seconds without a price in it, it is not known.
    on demand   the same machine seconds at the list price, where the bucket has one for the type.
    free        EC2 does not charge for a spot machine that it takes in its first hour: the ledger has nothing for it.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass

from spotrelay.core import keys, records
from spotrelay.person.glance import Glance, Reading
from spotrelay.person.history import Attempt, Chronicle, History
from spotrelay.ports import BrowsableStore

# us-east-1a is in us-east-1; us-west-2-lax-1a, a local zone, in us-west-2.
_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d+", re.ASCII)
INTERRUPTED, DIED, ERROR, WORKS = "interrupted", "died", "error", "at work"


@dataclass(frozen=True, slots=True)
class Leg:
    """One attempt. `end`: interrupted (and handed over), died (without a word), error, at work, or the run's result.

    `claimed_at`, `running_at`, `noticed_at`, `left_at`: unix seconds. `saved_s`: from the notice to the hand-over;
    `again_s`: from the notice (of a death: from when it was last heard of) to the command's start in the next leg.
    `lost_most_s`: where `lost_s` is not exact but the least, the most that it can be, if that is known, too. `free`:
    EC2 took it in its first hour.
    """

    number: int
    end: str
    why: str = ""
    instance: str = ""
    instance_type: str = ""
    zone: str = ""
    market: str = ""
    claimed_at: float | None = None
    running_at: float | None = None
    noticed_at: float | None = None
    left_at: float | None = None
    saved_s: float | None = None
    again_s: float | None = None
    worked_s: float | None = None
    lost_s: float | None = None
    lost_most_s: float | None = None
    began_from: str | None = None
    restored_bytes: int | None = None
    saved_bytes: int | None = None
    machine_s: float | None = None
    dollars: float | None = None
    on_demand_dollars: float | None = None
    free: bool = False


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
    """`result`: succeeded, failed, stopped, limit; "" while it goes on. `saved_dollars`: against the same seconds on
    demand; `free_dollars`: what the free legs would have cost on demand."""

    run: str
    result: str
    message: str
    began_at: float | None
    ended_at: float | None
    legs: tuple[Leg, ...]
    worked: Sum
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
    """Raises StoreUnavailable, StoreDenied."""
    history = await Chronicle(store, run).read()
    committed: dict[int, float] = {}
    for key, at in (await store.times(keys.snapshots(run))).items():
        for snapshot in keys.snapshots_among([key]):
            committed[snapshot.attempt] = max(at, committed.get(snapshot.attempt, 0.0))
    return of(history, await _prices(store, history), committed)


def of(history: History, hourly: dict[tuple[str, str], float], committed: dict[int, float]) -> Receipt:
    """`hourly`: list prices by zone and type. `committed`: when an attempt's newest snapshot was."""
    legs = tuple(_legs(history, hourly, committed))
    outcome = history.glance.outcome
    free = [leg for leg in legs if leg.free]
    return Receipt(
        run=history.glance.name,
        result=outcome.result if outcome is not None else "",
        message=outcome.message if outcome is not None else "",
        began_at=min((leg.claimed_at for leg in legs if leg.claimed_at is not None), default=None),
        ended_at=outcome.at if outcome is not None else None,
        legs=legs,
        worked=_sum(leg.worked_s for leg in legs),
        lost=_sum(leg.lost_s for leg in legs if leg.end != WORKS),
        machine=_sum(leg.machine_s for leg in legs),
        dollars=_sum(leg.dollars for leg in legs),
        on_demand=_sum(leg.on_demand_dollars for leg in legs),
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


def _legs(history: History, hourly: dict[tuple[str, str], float], committed: dict[int, float]) -> Iterable[Leg]:
    attempts = history.attempts
    for each, following in itertools.zip_longest(attempts, attempts[1:]):
        before = next((other for other in attempts if other.number == each.number - 1), None)
        yield _leg(_Traces(history.glance, each, following, committed.get(each.number)), before, hourly)


@dataclass(frozen=True, slots=True)
class _Traces:
    """What one attempt left. `saved_at`: when its newest snapshot was committed."""

    seen: Glance
    own: Attempt
    following: Attempt | None
    saved_at: float | None

    @property
    def last(self) -> bool:
        """The outcome is its."""
        return self.seen.outcome is not None and self.seen.outcome.attempt == self.own.number

    @property
    def end(self) -> str:
        if self.last and self.seen.outcome is not None:
            return self.seen.outcome.result
        if self.own.handover is not None:
            return ERROR if self.own.handover.reason == "error" else INTERRUPTED
        over = self.own.death is not None or self.following is not None or self.seen.outcome is not None
        return DIED if over else WORKS

    @property
    def heard_at(self) -> float | None:
        """When it gave its last sign of life."""
        status = self.own.status
        return max(filter(None, (status.at if status is not None else None, self.saved_at)), default=None)

    @property
    def left_at(self) -> float | None:
        """When it was done with the run; of one that died, or is at work, when it was last heard of."""
        if self.last and self.seen.outcome is not None:
            return self.seen.outcome.at
        return self.own.handover.at if self.own.handover is not None else self.heard_at

    @property
    def worked_s(self) -> float | None:
        """Of the run's last attempt, what its snapshot keeps: it ended by itself, and all of it counts."""
        if self.own.handover is not None:
            return self.own.handover.worked_s
        if self.own.status is None:
            return None
        return self.own.status.kept_s if self.last else _between(self.own.status.running_since, self.heard_at)

    @property
    def lost(self) -> tuple[float | None, float | None]:
        """Exactly, or at least and at most."""
        if self.last:
            return 0.0, None
        if self.own.handover is not None:
            worked = self.own.handover.worked_s
            return (None if worked is None else max(0.0, worked - self.own.handover.kept_s)), None
        status = self.own.status
        if self.end != DIED or status is None or status.running_since is None:
            return None, None
        # What a snapshot keeps ends when it was begun: not long before it was committed.
        kept_until = max(status.running_since + status.kept_s, (self.saved_at or 0.0) - (status.last_save_s or 0.0))
        dead_at = self.own.death.at if self.own.death is not None else None
        return _between(max(kept_until, self.saved_at or 0.0), self.heard_at), _between(kept_until, dead_at)


def _leg(left: _Traces, before: Attempt | None, hourly: dict[tuple[str, str], float]) -> Leg:
    claim, status, handover, following = left.own.claim, left.own.status, left.own.handover, left.following
    noticed_at = handover.noticed_at if handover is not None else None
    again_at = following.status.running_since if following is not None and following.status is not None else None
    machine_s, dollars = _bill(left.own, before)
    if machine_s is None:
        machine_s = _between(claim.at if claim is not None else None, left.left_at)
    pool = (claim.zone, claim.instance_type) if claim is not None else ("", "")
    least, most = left.lost
    return Leg(
        number=left.own.number,
        end=left.end,
        why=handover.message if handover is not None else "",
        instance=claim.instance if claim is not None else "",
        instance_type=pool[1],
        zone=pool[0],
        market=claim.market if claim is not None else "",
        claimed_at=claim.at if claim is not None else None,
        running_at=status.running_since if status is not None else None,
        noticed_at=noticed_at,
        left_at=left.left_at,
        saved_s=_between(noticed_at, handover.at if handover is not None else None),
        again_s=_between(noticed_at if handover is not None else left.heard_at, again_at),
        worked_s=left.worked_s,
        lost_s=least,
        lost_most_s=most,
        began_from=left.own.base.snapshot if left.own.base is not None else None,
        restored_bytes=status.restored_bytes if status is not None else None,
        saved_bytes=handover.saved_bytes if handover is not None else None,
        machine_s=machine_s,
        dollars=dollars,
        on_demand_dollars=None if pool not in hourly or machine_s is None else hourly[pool] * machine_s / 3600,
        free=_is_free(left.own, machine_s, dollars),
    )


def _bill(each: Attempt, before: Attempt | None) -> tuple[float | None, float | None]:
    """Machine seconds and dollars of this attempt alone."""
    start = records.Ledger() if each.number == 1 else (before.ledger if before is not None else None)
    if each.ledger is None or start is None:
        return None, None
    priced = each.ledger.unpriced_s <= start.unpriced_s
    return each.ledger.machine_s - start.machine_s, each.ledger.dollars - start.dollars if priced else None


def _is_free(each: Attempt, machine_s: float | None, dollars: float | None) -> bool:
    took = each.handover is not None and (each.handover.notice or "").startswith("spot ")
    return took and dollars == 0 and bool(machine_s) and each.claim is not None and each.claim.market == "spot"


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else max(0.0, end - start)


def _sum(figures: Iterable[float | None]) -> Sum:
    known = list(figures)
    return Sum(sum(figure for figure in known if figure is not None), sum(figure is None for figure in known))
