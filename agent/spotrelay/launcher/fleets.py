"""One CreateFleet call for many attempts, which has its effect once however often, and by whomever, it is made.

EC2 admits 50 fleet calls at once and 5 a second, so a storm of a thousand interruptions cannot have a call each. A call
is shared by the runs that want the same pools, and stays idempotent by this order of small create-only objects:

    fleet (token, request, candidates) → a seat for each candidate → CreateFleet → assignments → answers

1. A seat belongs to one fleet for ever. Candidates whose seat another launcher took first are no members; so once the
   seats are tried, the members are fixed, and with them the capacity asked for and every word of the call.
2. Only its maker adds seats and calls, and only in its first `MAKER_S`. A fleet older than `decision.TAKEOVER_S` has
   nobody at work: whoever needs one of its members answered makes the same call with the same token.
3. Instances go to members in the order of both: who repeats it comes to the same, and an assignment that exists stays.
   Whatever nevertheless comes twice meets the create-only claim (P1), and ends itself.
4. An answer is written last, one for each member; before one without an instance, a bell is rung for its next step.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from spotrelay.core import keys, records
from spotrelay.core.keys import Member
from spotrelay.launcher import pools
from spotrelay.launcher.crew import Crew
from spotrelay.launcher.ec2 import Launch, Started
from spotrelay.launcher.objects import Objects
from spotrelay.launcher.refusals import Action, Refusal, refusal
from spotrelay.launcher.standing import Records

# From the intent on. Beyond it others may believe the maker dead, see `decision.TAKEOVER_S`.
MAKER_S = 25.0


class Caller(Protocol):
    """Each raises `ec2.Unanswered`."""

    def create_fleet(self, request: dict[str, Any], token: str) -> Launch: ...
    def started_by(self, fleet: str) -> Sequence[Started]: ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """Who wants a seat. `since`, `rings`: of its hunt, kept so that whoever takes over can ring for it."""

    member: Member
    since: float
    rings: int


@dataclass(frozen=True, slots=True)
class Seated:
    """A fleet and those who sit in it, by the order of its candidates."""

    id: str
    fleet: records.Fleet
    seats: dict[Member, records.Seat]


@dataclass(frozen=True, slots=True)
class Come:
    """What came of a call: who got which instance, and what EC2 said to the rest."""

    seated: Seated
    served: dict[Member, Started] = field(default_factory=dict)
    launch: Launch = field(default_factory=Launch)


class Fleets:
    """`crew`: for its small reads and writes."""

    def __init__(self, objects: Objects, caller: Caller, crew: Crew, now: Callable[[], float]) -> None:
        self._objects, self._caller, self._crew, self._now = objects, caller, crew, now
        self._records = Records(objects)

    def open(self, words: Callable[[str], dict[str, Any]], candidates: Sequence[Candidate]) -> Seated:
        """A new fleet for these; `words` makes the request for a fleet's id. Those who sit elsewhere are not in it."""
        identity, now = f"f-{secrets.token_hex(10)}", self._now()
        names = [str(each.member) for each in candidates]
        fleet = records.Fleet(f"spotrelay-{identity}", now, words(identity), names)
        self._objects.create(keys.fleet(identity), records.encode(fleet))
        seats = [records.Seat(identity, now, each.since, each.rings) for each in candidates]
        taken = self._crew.map(self._sit, zip(candidates, seats, strict=True))
        mine = {each.member: seat for each, seat, took in zip(candidates, seats, taken, strict=True) if took}
        return Seated(identity, fleet, mine)

    def _sit(self, who: tuple[Candidate, records.Seat]) -> bool:
        return self._objects.create(keys.seat(who[0].member), records.encode(who[1]))

    def find(self, identity: str) -> Seated | None:
        """One that another launcher opened. None when its intent is gone."""
        fleet = self._records.read(records.Fleet, keys.fleet(identity))
        if fleet is None:
            return None
        candidates = [Member.parse(text) for text in fleet.candidates]
        seats = self._crew.map(self._seat, candidates)
        mine = {m: s for m, s in zip(candidates, seats, strict=True) if s is not None and s.fleet == identity}
        return Seated(identity, fleet, mine)

    def _seat(self, member: Member) -> records.Seat | None:
        """None too for a damaged one: a person is told by its own run's messages, and the others shall not wait."""
        try:
            return self._records.read(records.Seat, keys.seat(member))
        except records.RecordInvalid:
            return None

    def young(self, seated: Seated) -> bool:
        """Whether its maker may still call."""
        return self._now() - seated.fleet.at < MAKER_S

    def call(self, seated: Seated) -> Come:
        """CreateFleet, and what is assigned by it. Raises Unanswered: the same again, with the same token."""
        members = list(seated.seats)
        if not members:
            return Come(seated)
        launch = self._caller.create_fleet(pools.for_members(seated.fleet.request, members), seated.fleet.token)
        if launch.refusal is not None and launch.refusal.action is Action.BURNT:
            return self._found(seated, launch.refusal)
        return Come(seated, self._assign(seated, launch.started), launch)

    def give_up(self, seated: Seated) -> Come:
        """A call that EC2 has not answered for long. Raises Unanswered."""
        return self._found(seated, refusal("IdempotentParameterMismatch"))

    def _found(self, seated: Seated, why: Refusal) -> Come:
        """The token says nothing more. What was nevertheless launched by it (a seat that came late has changed the
        words of the call) has the fleet's tag."""
        launch = Launch(self._caller.started_by(seated.id), refusal=why)
        return Come(seated, self._assign(seated, launch.started), launch)

    def answer(self, member: Member, answer: records.Answer) -> None:
        self._objects.create(keys.answer(member.run, member.attempt, member.step), records.encode(answer))

    def _assign(self, seated: Seated, started: Sequence[Started]) -> dict[Member, Started]:
        pairs = list(zip(seated.seats, sorted(started, key=lambda each: each.instance), strict=False))
        owners = self._crew.map(lambda pair: self._assign_one(seated.seats[pair[0]], *pair), pairs)
        served: dict[Member, Started] = {}
        for (_, instance), owner in zip(pairs, owners, strict=True):
            for member in seated.seats:
                if (member.run, member.attempt) == owner:
                    served.setdefault(member, instance)
        return served

    def _assign_one(self, seat: records.Seat, member: Member, started: Started) -> tuple[str, int] | None:
        """Whose it is now. None: nobody's, as the assignment that is there is damaged: its agent will not take it."""
        key = keys.assignment(started.instance)
        wanted = records.Assignment(member.run, member.attempt)
        if self._objects.create(key, records.encode(wanted)):
            return wanted.run, wanted.attempt
        try:
            there = self._records.read(records.Assignment, key)
        except records.RecordInvalid:
            return None
        return (there.run, there.attempt) if there else (wanted.run, wanted.attempt)
