"""One attempt of a run, in moments, seconds and dollars: what a receipt adds up, and what every timeline draws.

Only what was written down by those who were there (P8): a figure that nobody measured is None.

    seconds     the machine's claim, its command's start, the notice, the hand-over, as the agent wrote them. Between
                two machines they are good to a second: that is how exactly both know EC2's time.
    lost        what the command had worked and no snapshot keeps. After a hand-over exactly. Of a machine that died
                without a word there are bounds: its newest snapshot was committed, it was heard of once more, it was
                found dead. Nothing, where the command had not started; of a death, as far as was heard: an agent says
                when it starts, and one that was silent for long before it was found dead may have been cut off.
    dollars     the difference of two ledgers (launcher/ledger.py). As long as its own is not written, or has seconds
                without a price in it, it is not known.
    on demand   the same machine seconds at the list price, where the bucket has one for the type.
    free        EC2 does not charge for a spot machine that it takes in its first hour: the ledger has nothing for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from spotrelay.core import records
from spotrelay.person.glance import SILENT_S, STARTING
from spotrelay.person.history import Attempt, History

INTERRUPTED, DIED, ERROR, WORKS = "interrupted", "died", "error", "at work"


@dataclass(frozen=True, slots=True)
class Leg:
    """One attempt. `end`: interrupted (and handed over), died (without a word), error, at work, or the run's result.

    `claimed_at`, `running_at`, `noticed_at`, `left_at`: unix seconds; the last, where nobody saw it leave, is when it
    was last heard of. `saved_s`: from the notice to the hand-over, of which the last save took `save_s`. `again_s`:
    from the notice (without one, from `left_at`) to the command's start in the next leg, unless a person had ended the
    run in between. `kept_s`: of its work, what snapshots keep. `lost_most_s`: where `lost_s` is not exact but the
    least, the most that it can be, if that is known, too. `unstarted`: by the last word there is, its command had not
    started. `exit`: how the command ended. `free`: EC2 took it in its first hour.
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
    save_s: float | None = None
    again_s: float | None = None
    worked_s: float | None = None
    kept_s: float | None = None
    lost_s: float | None = None
    lost_most_s: float | None = None
    unstarted: bool = False
    exit: str | None = None
    began_from: str | None = None
    restored_bytes: int | None = None
    saved_bytes: int | None = None
    machine_s: float | None = None
    dollars: float | None = None
    on_demand_dollars: float | None = None
    free: bool = False

    @property
    def lost_exactly(self) -> bool:
        return self.end != DIED or self.lost_s == self.lost_most_s


def legs(history: History, hourly: Mapping[tuple[str, str], float]) -> Iterator[Leg]:
    """`hourly`: list prices by zone and type."""
    by_number = {each.number: each for each in history.attempts}
    committed: dict[int, float] = {}
    for snapshot, at in history.saves.items():
        committed[snapshot.attempt] = max(at, committed.get(snapshot.attempt, 0.0))
    for index, each in enumerate(history.attempts):
        left = _Traces(each, history.attempts[index + 1 :], _outcome_of(history, each), history, committed)
        yield _leg(left, by_number.get(each.number - 1), hourly)


def _outcome_of(history: History, each: Attempt) -> records.Outcome | None:
    """The run's end that was this attempt's, or was until a person took the run up again. One that handed over had its
    own end, and so had one that was found dead before a limit ended the run."""
    known = [*history.past, *filter(None, [history.glance.outcome])]
    found = next((outcome for outcome in known if outcome.attempt == each.number), None)
    if found is None or each.handover is not None:
        return None
    return found if each.death is None or found.at <= each.death.at else None


@dataclass(frozen=True, slots=True)
class _Traces:
    """What one attempt left. `outcome`: its own. `committed`: when each attempt's newest snapshot was."""

    own: Attempt
    later: tuple[Attempt, ...]
    outcome: records.Outcome | None
    history: History
    committed: Mapping[int, float]

    @property
    def end(self) -> str:
        """A later claim alone ends nobody: an attempt that was told to go saves while its successor waits for it."""
        if self.own.handover is not None:
            return ERROR if self.own.handover.reason == "error" else INTERRUPTED
        if self.outcome is not None:
            return self.outcome.result
        begun = any(each.base is not None for each in self.later)
        over = self.own.death is not None or begun or self.history.glance.outcome is not None
        return DIED if over else WORKS

    @property
    def saved_at(self) -> float | None:
        return self.committed.get(self.own.number)

    @property
    def heard_at(self) -> float | None:
        """When it gave its last sign of life."""
        status = self.own.status
        return max(filter(None, (status.at if status is not None else None, self.saved_at)), default=None)

    @property
    def left_at(self) -> float | None:
        """When it was done with the run; of one that died, or is at work, when it was last heard of."""
        if self.outcome is not None:
            return self.outcome.at
        return self.own.handover.at if self.own.handover is not None else self.heard_at

    @property
    def again_s(self) -> float | None:
        following = self.later[0].status if self.later else None
        if self.outcome is not None or following is None:
            return None
        noticed_at = self.own.handover.noticed_at if self.own.handover is not None else None
        return _between(self.left_at if noticed_at is None else noticed_at, following.running_since)

    @property
    def unstarted(self) -> bool:
        """A word that is damaged says nothing, and a snapshot that an earlier agent of this machine had started it."""
        handover, status = self.own.handover, self.own.status
        if self.own.trouble or self.saved_at is not None:
            return False
        if handover is not None and handover.worked_s is None:
            return handover.ended is None and self.own.base is None
        if handover is not None:
            return not handover.worked_s
        return status is None or (status.running_since is None and status.phase in STARTING)

    @property
    def kept_s(self) -> float | None:
        said = self.own.handover or self.own.status
        return said.kept_s if said is not None else 0.0 if self.unstarted else None

    @property
    def worked_s(self) -> float | None:
        """Of an attempt that ended the run, what its snapshot keeps: it ended by itself, and all of it counts."""
        if self.unstarted:
            return 0.0
        if self.own.handover is not None:
            return self.own.handover.worked_s
        if self.own.status is None:
            return None
        return self.own.status.kept_s if self.outcome else _between(self.own.status.running_since, self.heard_at)

    @property
    def lost(self) -> tuple[float | None, float | None]:
        """Exactly, or at least and at most."""
        if self.outcome is not None:
            return 0.0, None
        if self.unstarted and self.end != WORKS:
            return 0.0, None if self.own.handover is not None else self._unheard_s
        if self.own.handover is not None:
            worked = self.own.handover.worked_s
            return (None if worked is None else max(0.0, worked - self.own.handover.kept_s)), None
        status = self.own.status
        if self.end != DIED or status is None or status.running_since is None:
            return None, None
        # What a snapshot keeps ends when it was begun: not long before it was committed.
        kept_until = max(status.running_since + status.kept_s, (self.saved_at or 0.0) - (status.last_save_s or 0.0))
        return _between(max(kept_until, self.saved_at or 0.0), self.heard_at), _between(kept_until, self._dead_at)

    @property
    def _dead_at(self) -> float | None:
        return self.own.death.at if self.own.death is not None else None

    @property
    def _unheard_s(self) -> float | None:
        """How long its command can have worked, if it started after its last word; none does before there is a base."""
        if self.own.base is None:
            return 0.0
        silent_s = _between(self.heard_at or self.own.base.at, self._dead_at)
        return 0.0 if silent_s is not None and silent_s <= SILENT_S else silent_s


def _leg(left: _Traces, before: Attempt | None, hourly: Mapping[tuple[str, str], float]) -> Leg:
    claim, status, handover, base = left.own.claim, left.own.status, left.own.handover, left.own.base
    noticed_at = handover.noticed_at if handover is not None else None
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
        save_s=handover.timings.get("save_s") if handover is not None else None,
        again_s=left.again_s,
        worked_s=left.worked_s,
        kept_s=left.kept_s,
        lost_s=least,
        lost_most_s=most,
        unstarted=left.unstarted,
        exit=handover.ended if handover is not None else None,
        began_from=base.snapshot if base is not None else None,
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
