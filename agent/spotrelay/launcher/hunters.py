"""Hunting: from attempts that need a machine to calls of EC2, and from what EC2 says to the next try, or the end.

One wake of a hunt, for all that a batch brought:

    who may have the same pools shares a call (`_calls`) → the account's pace grants it (`_try`) → fleet, seats, call
    (`_make`) → served, or the next try of this wake (`_following`), or a bell and a reason (answers.py)

A try that is followed by another in the same wake is answered with the bell that is ringing already: should this
launcher die, its message comes back and goes on from there.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from spotrelay.core.errors import StoreUnavailable
from spotrelay.core.messages import ResumeRequest
from spotrelay.core.spec import Spec
from spotrelay.launcher import notes, pools, rhythm
from spotrelay.launcher.answers import Answers, Failed, Result, Ring, Step
from spotrelay.launcher.crew import Crew
from spotrelay.launcher.decision import TAKEOVER_S
from spotrelay.launcher.ec2 import Launch, Unanswered
from spotrelay.launcher.fleets import Candidate, Come, Fleets, Seated
from spotrelay.launcher.market import market
from spotrelay.launcher.objects import Objects
from spotrelay.launcher.pace import Pace
from spotrelay.launcher.refusals import Action, refusal

# A call that was lost on the way is made again at once, and once more: then rather the service is away.
CALLS_A_FLEET = 3
CALL_PAUSE_S = 0.5
# EC2 has been seen to fail one token for hours, while others were served (karpenter #9616).
HOPELESS_S = 900.0


@dataclass(frozen=True, slots=True)
class Hunter:
    """An attempt that needs a machine, in this wake; `tries` it made in it."""

    step: Step
    spec: Spec
    worked_s: float = 0.0
    tries: int = 0


@dataclass
class Call:
    """Hunters that ask for the same pools."""

    places: Sequence[pools.Place]
    market: str
    hunters: list[Hunter] = field(default_factory=list)


class Hunters:
    """`readers` wait for the store, `callers` for EC2: two crews, since a caller waits for readers."""

    def __init__(
        self,
        objects: Objects,
        fleets: Fleets,
        ground: pools.Ground,
        *,
        pace: Pace,
        known: notes.Notes,
        ring: Ring,
        readers: Crew,
        callers: Crew,
        log: Callable[..., None],
        now: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._fleets, self._ground = fleets, ground
        self._pace, self._notes, self._ring = pace, known, ring
        self._answers = Answers(objects, fleets, pace=pace, ring=ring, readers=readers, log=log, now=now)
        self._callers = callers
        self._log, self._now, self._sleep = log, now, sleep

    def hunt(self, hunters: Iterable[Hunter]) -> Failed:
        """Try after try, as long as a wake may last. Then each has a machine, or a bell."""
        hunting = {hunter.step.request: hunter for hunter in hunters}
        until, failed = self._now() + rhythm.HOLD_S, Failed()
        while hunting:
            results = [each for some in self._callers.map(self._try, self._calls(hunting.values())) for each in some]
            pause = min(rhythm.pause_s(len(self._round(each))) for each in hunting.values())
            last = self._now() + pause >= until
            following = {r.step.request: None if last else self._following(hunting[r.step.request], r) for r in results}
            on = {request: hunter for request, hunter in following.items() if hunter is not None}
            failed |= self._answers.end([result for result in results if result.step.request not in on])
            self._answers.go_on(result for result in results if result.step.request in on)
            hunting = on
            if hunting:
                self._sleep(pause)
        return failed

    # --- what is asked for

    def _round(self, hunter: Hunter) -> pools.Round:
        places = self._ground.places(hunter.spec.instance.types)
        evicted = self._notes.places(notes.EVICTED) if hunter.step.market == "spot" else ()
        return pools.round_of(places, evicted, self._notes.places(notes.UNSUPPORTED[hunter.step.market]))

    def _calls(self, hunters: Iterable[Hunter]) -> list[Call]:
        """Those who may have the same pools share a call, and the try that the farthest of them is at."""
        alike = defaultdict[Any, list[Hunter]](list)
        for hunter in hunters:
            alike[(hunter.step.market, *self._ground.places(hunter.spec.instance.types))].append(hunter)
        calls = []
        for group in alike.values():
            group.sort(key=lambda each: each.step.since)  # who waits longest is served first
            tries = self._round(group[0])
            places = tries[max(each.step.number for each in group) % len(tries)]
            for first in range(0, len(group), pools.MOST_MEMBERS):
                calls.append(Call(places, group[0].step.market, group[first : first + pools.MOST_MEMBERS]))
        return calls

    def _try(self, call: Call) -> list[Result]:
        granted = self._pace.grant(len(call.hunters))
        ours, others = call.hunters[:granted], call.hunters[granted:]
        results = [Result(each.step, why="paced", delay_s=self._pace.delay_s()) for each in others]
        try:
            return results + (self._make(replace(call, hunters=ours)) if ours else [])
        except (Unanswered, StoreUnavailable) as error:
            self._log("fleet.unanswered", error=str(error))
            return results + [Result(h.step, why="unanswered", delay_s=math.ceil(TAKEOVER_S)) for h in ours]
        except Exception as error:  # one call's misfortune must not take the others with it
            return results + [Result(h.step, error=error) for h in ours]

    def _make(self, call: Call) -> list[Result]:
        seated = self._fleets.open(
            lambda identity: pools.request(self._ground, call.places, call.market, identity),
            [Candidate(h.step.member, h.step.since, h.step.request.rings) for h in call.hunters],
        )
        come = self._call(seated)
        self._learn(come)
        results = []
        for step in (hunter.step for hunter in call.hunters):
            if step.member in seated.seats:
                results.append(Result(step, come.served.get(step.member), come.launch))
            else:
                results.append(Result(step, why="others_at_it", delay_s=math.ceil(TAKEOVER_S)))
        return results

    def _call(self, seated: Seated) -> Come:
        lost = False
        for left in range(CALLS_A_FLEET - 1, -1, -1):
            if not self._fleets.young(seated):
                break
            try:
                come = self._fleets.call(seated)
            except Unanswered:
                lost = True
            else:
                # That this call was turned away does not say that the one before it was.
                if not come.launch.turned_away or (not left and not lost):
                    return come
            if left:
                self._sleep(CALL_PAUSE_S)
        raise Unanswered("no answer in the time that a fleet's maker has")

    def _learn(self, come: Come) -> None:
        if _paced(come):
            self._pace.refused(turned_away=come.launch.turned_away)
        else:
            self._pace.accepted(len(come.seated.seats) - len(come.served))
        for error in come.launch.errors:
            if error.drops_pool:
                self._notes.write(notes.UNSUPPORTED[_market(come.seated)], pools.Place(error.type, error.zone))

    def _following(self, hunter: Hunter, result: Result) -> Hunter | None:
        """The hunter at its next try of this wake, if there is one."""
        if result.started is not None or result.launch is None:
            return None
        quota = result.refusal.action is Action.ON_DEMAND
        on = market_of(hunter, self._now(), quota=quota)
        step, tries = replace(hunter.step, number=hunter.step.number + 1, market=on), hunter.tries + 1
        following = replace(hunter, step=step, tries=tries)
        match result.refusal.action:
            case Action.BURNT:
                return following
            case Action.ON_DEMAND:
                return following if on != hunter.step.market else None
            case Action.ELSEWHERE:
                fast = rhythm.fast(step.since, self._now())
                return following if fast or tries < len(self._round(hunter)) else None
        return None

    # --- what another launcher left

    def take_over(self, identity: str, askers: Sequence[Step]) -> Failed:
        """Bring a fleet whose maker died to its end, for all its members.

        Raises StoreError; StoreUnavailable also when EC2 gave no answer: then whoever asked is rung for again. The
        other members are not: each has a bell of its own, and rung for at each of these they would multiply.
        """
        seated = self._fleets.find(identity)
        if seated is None or not seated.seats:
            # Somebody tidied up: nobody knows its call any more, and these seats would never have an answer.
            self._log("fleet.gone", fleet=identity)
            burnt = Launch(refusal=refusal("IdempotentParameterMismatch"))
            return self._answers.end([Result(asker, launch=burnt) for asker in askers])
        return self._complete(seated)

    def _complete(self, seated: Seated) -> Failed:
        steps = [
            Step(ResumeRequest(member.run, member.attempt, seat.rings), member.step, seat.since, _market(seated))
            for member, seat in seated.seats.items()
        ]
        hopeless = self._now() - seated.fleet.at > HOPELESS_S
        try:
            come = self._fleets.give_up(seated) if hopeless else self._fleets.call(seated)
        except Unanswered as error:
            raise StoreUnavailable(str(error)) from error
        self._learn(come)
        if come.launch.turned_away:
            raise StoreUnavailable("EC2 turned this call away, which does not say that it did so with an earlier one")
        self._log("fleet.taken_over", fleet=seated.id, served=len(come.served), of=len(steps))
        failed = self._answers.end([Result(step, come.served.get(step.member), come.launch) for step in steps])
        # An old token may bring instances that are dead by now, and whose deaths were told before they were assigned.
        return failed | self._ring([(step.request, 0) for step in steps if step.member in come.served])


def market_of(hunter: Hunter, now: float, *, quota: bool) -> str:
    """`quota`: EC2 said that the account may have no more spot instances."""
    since, worked_s = hunter.step.since, hunter.worked_s
    return market(hunter.spec, since=since, now=now, worked_s=worked_s, spot_quota_refused=quota)


def _market(seated: Seated) -> str:
    return str(seated.fleet.request["TargetCapacitySpecification"]["DefaultTargetCapacityType"])


def _paced(come: Come) -> bool:
    return come.launch.refusal is not None and come.launch.refusal.action is Action.PACE
