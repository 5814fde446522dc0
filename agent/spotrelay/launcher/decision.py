"""What a resume request needs next, decided from where its run stands: no I/O, one function, read from top to bottom.

settled          it has its owner, or the run is over, or nobody knows it
look again       its predecessor is neither ending nor dead: a forged or stale message must not fence a healthy
                 attempt, and a true one is followed by evidence within seconds
theirs           another launcher is at this very step; it has `fleets.TAKEOVER_S` to come to its end
take over        that launcher is dead: its call is made again, with its token
wait             a bell is rung for the next step, and hangs
launched         an instance lives, and will claim
rest             two instances in a row died before they claimed: rather an image that cannot boot
hunt             make the next step, unless the run may not go on (`succession` looks at cancel and limits)
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto

from spotrelay.core import records
from spotrelay.launcher.ec2 import Life
from spotrelay.launcher.standing import Before, Standing

# Describe forgets an instance about an hour after its end.
FORGOTTEN_S = 3600.0
# Twelve heartbeats, as `predecessors.SILENT_S` has it. Shorter than the looks below last.
HEARD_S = 180.0
# The agent posts its request and writes its status side by side; a put takes 0.1–0.2 s, rarely seconds.
EVIDENCE_DELAY_S = 5
# After so many looks without evidence the message was not the agent's. The predecessor's own death brings the next.
MOST_LOOKS = 60
# How long a launcher may take from its intent to its answer before another one takes its fleet over. It makes no call
# after 25 s (`fleets.MAKER_S`), and a call ends within 13.
TAKEOVER_S = 40.0
# Bells come when they are due, give or take the queue. One that does not is made up for by the sweep.
LATE_BELL_S = 30.0
FIRST_REST_S, LONGEST_REST_S = 15.0, 900.0
# So many machines of one hunt, the last two in a row, are no bad luck any more.
SICK_STEPS = 4
DIES, REFUSED = "dies_before_it_claims", "refused"


class Do(Enum):
    NOTHING = auto()  # `why` says what is so
    LATER = auto()  # ring again after `delay_s`
    TAKE_OVER = auto()  # `fleet`, which `step` has its seat in
    HUNT = auto()  # `step`, `since`


class Predecessor(Enum):
    """Of the attempt that is asked for."""

    GONE = auto()  # dead, or there never was one: it adds nothing any more
    DONE = auto()  # handed over
    ENDING = auto()  # told to go; still saving, and it may yet end the run by itself
    HEALTHY = auto()  # as far as anybody can see


@dataclass(frozen=True, slots=True)
class Decision:
    do: Do
    why: str
    delay_s: int = 0
    fleet: str = ""
    step: int = 0
    since: float = 0.0
    predecessor: Predecessor = Predecessor.GONE  # whatever is to be done


@dataclass(frozen=True, slots=True)
class Lives:
    """What EC2 says of the instances that matter. `marked`: those it will take, though they run on."""

    known: Mapping[str, Life]
    marked: Collection[str] = ()

    def of(self, instance: str) -> Life | None:
        """None: EC2 does not know it, yet or any more."""
        life = self.known.get(instance)
        return Life.ENDING if life is Life.ALIVE and instance in self.marked else life


def decide(standing: Standing, lives: Lives, now: float) -> Decision:
    before = predecessor(standing.before, lives, now)
    return replace(_decide(standing, lives, now, before), predecessor=before)


def _decide(standing: Standing, lives: Lives, now: float, before: Predecessor) -> Decision:
    if standing.settled:
        return Decision(Do.NOTHING, standing.settled)
    if before is Predecessor.HEALTHY:
        if standing.request.rings >= MOST_LOOKS:
            return Decision(Do.NOTHING, REFUSED)
        return Decision(Do.LATER, "predecessor_healthy", EVIDENCE_DELAY_S)
    return _next(standing, lives, now)


def predecessor(before: Before | None, lives: Lives, now: float) -> Predecessor:
    if before is None:
        return Predecessor.GONE
    if before.claim is None:
        return Predecessor.HEALTHY  # not even begun
    if before.handover is not None:
        return Predecessor.DONE
    if before.death is not None:
        return Predecessor.GONE
    life = lives.of(before.claim.instance)
    if life is Life.DEAD or (life is None and _forgotten(before.claim, before.status, now)):
        return Predecessor.GONE
    told = before.status is not None and before.status.gone_at is not None
    return Predecessor.ENDING if told or life is Life.ENDING else Predecessor.HEALTHY


def _forgotten(claim: records.Claim, status: records.Status | None, now: float) -> bool:
    """One that EC2 does not show is long dead, unless it is new, or was heard of: no list of EC2's counts for more than
    its own word."""
    heard_at = max(claim.at, status.at if status is not None else 0.0)
    return now - claim.at > FORGOTTEN_S and now - heard_at > HEARD_S


def _next(standing: Standing, lives: Lives, now: float) -> Decision:
    search = standing.search
    if _waits(standing, now):
        return Decision(Do.NOTHING, "waiting")
    if search.seat is None:
        since = search.hunt.since if search.hunt is not None else now
        return Decision(Do.HUNT, "first_step", step=search.step + 1, since=since)
    if search.answer is None:
        left = search.seat.at + TAKEOVER_S - now
        if left > 0:
            return Decision(Do.LATER, "others_at_it", math.ceil(left))
        return Decision(Do.TAKE_OVER, "abandoned", fleet=search.seat.fleet, step=search.step, since=search.seat.since)
    return _after(search.answer, standing, lives, now)


def _waits(standing: Standing, now: float) -> bool:
    """A bell hangs that was rung after this one: so this is a copy, of a request or of a bell. Let on, each copy would
    ring bells of its own for as long as the hunt lasts."""
    answer, hunt = standing.search.answer, standing.search.hunt
    bells = [(answer.rung, answer.retry_at)] if answer is not None and answer.instance is None else []
    bells += [(hunt.rung, hunt.next_at)] if hunt is not None else []
    return any(standing.request.rings < rung and now < due + LATE_BELL_S for rung, due in bells)


def _after(answer: records.Answer, standing: Standing, lives: Lives, now: float) -> Decision:
    step = standing.search.step + 1
    if answer.instance is None:
        return Decision(Do.HUNT, "again", step=step, since=answer.since)
    if not died(answer, lives, now):
        return Decision(Do.NOTHING, "launched")
    rest = _rest(answer, standing.search.earlier, step, now)
    if rest > 0:
        return Decision(Do.LATER, DIES, rest)
    return Decision(Do.HUNT, "died_unclaimed", step=step, since=now)


def died(answer: records.Answer, lives: Lives, now: float) -> bool:
    """Launched, but dead by now. EC2's event may have come while there was no assignment: so it is asked here."""
    assert answer.instance is not None
    life = lives.of(answer.instance)
    return now - answer.at > FORGOTTEN_S if life is None else life is not Life.ALIVE


def _rest(answer: records.Answer, earlier: records.Answer | None, step: int, now: float) -> int:
    """Seconds until the next launch. A machine may be taken while it boots: then the next one comes at once. Two in a
    row must not launch and pay for ever."""
    if earlier is None or earlier.instance is None:
        return 0
    rest: float = min(FIRST_REST_S * 2 ** min(step - 1, 10), LONGEST_REST_S)
    return math.ceil(answer.at + rest - now)
