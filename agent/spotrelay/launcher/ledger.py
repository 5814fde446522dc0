"""What a run has used up, attempt by attempt: seconds, dollars, and attempts that led to nothing.

The ledger through attempt n is the ledger through n - 1 and n's own part, which is taken from what the attempt left:

    seconds     from its claim to its end: the hand-over's; where EC2 was to take the machine, the moment that it gave;
                of a machine that died without a word, or is at work, until it was last heard of
    dollars     of these seconds, at the prices of the pool it ran in (`prices.py`)
    work        `kept_s`, as the agent measured it: what the newest snapshot keeps
    fruitless   +1 where it ended without notice and left no snapshot; 0 where it left one. An attempt that EC2 took
                before it had anything to save leaves the count as it was: it shows neither a crash nor progress

Once the attempt is over its ledger is written, create-only: each decision then costs one read, however old the run, and
of two launchers at once the first one's word is both's. Until then, what is given is the state of now. It is also not
written while a price is merely not to be had at the moment: a guess would stand for ever.

What is left out: the half minute from EC2's launch to the claim, machines that never claimed, disks, traffic.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from spotrelay.core import keys, records
from spotrelay.launcher.objects import Objects

R = TypeVar("R")

# A machine that died without a word was last heard of at its last heartbeat, of which there are four a minute.
HEARD_S = 60.0
# A price that cannot be had is waited for so long after the attempt's end; then the ledger is written without it.
PRICES_WITHIN_S = 3600.0
# EC2 does not charge for a spot instance that it interrupts in its first hour, and charges for at least a minute of any
# other. Its hour begins at the launch, ours at the claim: a machine takes less than five minutes from one to the other.
FREE_S = 3600.0 - 300.0
LEAST_CHARGED_S = 60.0


@dataclass(frozen=True, slots=True)
class Bill:
    """`dollars`: None where nobody knows a price. `final`: asked again later, the answer would be the same."""

    dollars: float | None
    final: bool = True


class Prices(Protocol):
    def bill(self, market: str, instance_type: str, zone: str, start: float, end: float) -> Bill:
        """Of one instance, from `start` to `end`. Never raises for the price list's sake."""
        ...

    def listed(self, instance_type: str) -> float | None:
        """Dollars an hour on demand, kept in the bucket from then on. Likewise."""
        ...


class Traces(Protocol):
    """What an attempt left, where a caller has read it already."""

    @property
    def claim(self) -> records.Claim | None: ...
    @property
    def handover(self) -> records.Handover | None: ...
    @property
    def status(self) -> records.Status | None: ...


@dataclass(frozen=True, slots=True)
class _Read:
    claim: records.Claim | None
    handover: records.Handover | None
    status: records.Status | None


class Ledgers:
    def __init__(self, objects: Objects, prices: Prices, now: Callable[[], float]) -> None:
        self._objects, self._prices, self._now = objects, prices, now

    def through(
        self, run: str, attempt: int, *, died_at: float | None = None, traces: Traces | None = None
    ) -> records.Ledger:
        """`died_at`: when EC2 said that the machine is gone, or when it was found so; None: it handed over, or lives.
        Raises RecordInvalid, StoreError."""
        missing, ledger = list[int](), records.Ledger()
        for number in range(attempt, 0, -1):
            written = self._read(records.Ledger, keys.ledger(run, number))
            if written is not None:
                ledger = written
                break
            missing.append(number)
        write = True
        for number in reversed(missing):
            if number == attempt:
                own = self._own(run, number, ledger, traces or self._traces(run, number), died_at)
            else:  # somebody was asked to follow it: whatever it left, it is over
                own = self._own(run, number, ledger, self._traces(run, number), math.inf)
            ledger, over = own
            write = write and over
            if write:
                ledger = self._write(run, ledger)
        return ledger

    def look_up_list_prices(self, run: str, attempt: int) -> None:
        """Of the types that attempts 1 to `attempt` ran on, so that what they cost can be held against them."""
        claims = [self._read(records.Claim, keys.claim(run, number)) for number in range(1, attempt + 1)]
        for instance_type in sorted({claim.instance_type for claim in claims if claim is not None}):
            self._prices.listed(instance_type)

    def _own(
        self, run: str, attempt: int, before: records.Ledger, left: Traces, died_at: float | None
    ) -> tuple[records.Ledger, bool]:
        """`before` and this attempt; and whether nothing of that can change any more."""
        if left.claim is None:
            return before, False
        over = left.handover is not None or died_at is not None
        end = max(left.claim.at, _end(left, self._now() if died_at is None else died_at))
        machine_s = end - left.claim.at
        bill = self._bill(left, end)
        after = replace(
            before,
            attempt=attempt,
            at=end,
            began=before.began or left.claim.at,
            worked_s=before.worked_s + _kept_s(left),
            machine_s=before.machine_s + machine_s,
            dollars=before.dollars + (bill.dollars or 0.0),
            unpriced_s=before.unpriced_s + (machine_s if bill.dollars is None else 0.0),
        )
        if not over:
            return after, False
        after = replace(
            after,
            fruitless=self._fruitless(run, attempt, before.fruitless, left),
            errors=left.handover.errors if left.handover is not None else 0,
        )
        return after, bill.final or self._now() > end + PRICES_WITHIN_S

    def _bill(self, left: Traces, end: float) -> Bill:
        claim, notice = left.claim, left.handover.notice if left.handover is not None else None
        assert claim is not None
        if claim.market == "spot" and (notice or "").startswith("spot ") and end - claim.at < FREE_S:
            return Bill(0.0)
        until = max(end, claim.at + LEAST_CHARGED_S)
        return self._prices.bill(claim.market, claim.instance_type, claim.zone, claim.at, until)

    def _fruitless(self, run: str, attempt: int, so_far: int, left: Traces) -> int:
        if self._left_a_snapshot(run, attempt, left):
            return 0
        told = left.handover is not None and left.handover.notice is not None
        told = told or (left.status is not None and left.status.gone_at is not None)
        return so_far if told else so_far + 1

    def _left_a_snapshot(self, run: str, attempt: int, left: Traces) -> bool:
        for said in (left.handover, left.status):
            if said is not None and (said.snapshot or "").startswith(f"{attempt}-"):
                return True  # most attempts say so themselves, and a listing costs as much as ten reads
        return bool(keys.snapshots_among(self._objects.list(keys.snapshots(run, attempt))))

    def _write(self, run: str, ledger: records.Ledger) -> records.Ledger:
        """Create-only; the one that stands afterwards."""
        key = keys.ledger(run, ledger.attempt)
        if self._objects.create(key, records.encode(ledger)):
            return ledger
        return self._read(records.Ledger, key) or ledger

    def _traces(self, run: str, attempt: int) -> Traces:
        return _Read(
            self._read(records.Claim, keys.claim(run, attempt)),
            self._read(records.Handover, keys.handover(run, attempt)),
            self._read(records.Status, keys.status(run, attempt)),
        )

    def _read(self, cls: type[R], key: str) -> R | None:
        data = self._objects.get(key)
        return None if data is None else records.decode(cls, data, key=key)


def _end(left: Traces, until: float) -> float:
    """Of what is paid. `until`: when the machine is gone, or now."""
    assert left.claim is not None
    gone_at = left.status.gone_at if left.status is not None else None
    if left.handover is not None:
        # The agent stays until EC2 takes the machine, but not where the operating system is being stopped already.
        stays = left.handover.notice is not None and not left.handover.notice.startswith("system ")
        return max(left.handover.at, gone_at) if stays and gone_at is not None else left.handover.at
    # Not longer than it was heard of: a death that is noticed late costs nothing.
    heard = max(left.claim.at, left.status.at if left.status is not None else 0.0, gone_at or 0.0)
    return min(until, heard + HEARD_S)


def _kept_s(left: Traces) -> float:
    told = left.handover or left.status
    return max(0.0, told.kept_s) if told is not None else 0.0
