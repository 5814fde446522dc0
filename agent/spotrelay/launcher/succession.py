"""Exactly one successor (P3): make each attempt that is asked for have one new owner, however often it is asked for.

The queue delivers twice, late and out of order, and this code may die between any two lines. So it decides nothing
from a message. For every request it reads where the run stands (`standing`), decides what is next (`decision`), and
does that: ring again, take over what another launcher left, or hunt for a machine (`hunters`, `fleets`). The order of
what is written makes each thing found done imply all before it:

    fleet → seat → CreateFleet → assignment → answer → claim

1. Two launchers at once: each seat is one's; the other comes back later and finds its work done.
2. Died on the way: whoever comes next makes the same call with the same token, and gets the same instances.
3. No capacity: the bell for the next step is rung *before* the answer is written; a step that is answered has been
   rung for, so a duplicate may be dropped. Died in between: one bell too many, which finds its work done. The answer
   keeps the bell's number, so that the bell itself is known for what it is, whatever the clocks say.
4. Launched and died before it claimed: EC2's event comes back here, and the next step launches another.
5. No word from EC2 or the store: the bell is rung for the same again. A message that failed instead would come back
   later (visibility timeout) and, after a few times, never (dead letters).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol

from spotrelay.core import keys, records
from spotrelay.core.errors import StoreError, StoreUnavailable
from spotrelay.core.messages import ResumeRequest
from spotrelay.launcher import notes, pools
from spotrelay.launcher.answers import AWAY_REST_S, Failed, Rings, Step
from spotrelay.launcher.books import RunBooks
from spotrelay.launcher.crew import Crew
from spotrelay.launcher.decision import (
    DIES,
    EVIDENCE_DELAY_S,
    MOST_LOOKS,
    REFUSED,
    SICK_STEPS,
    Decision,
    Do,
    Lives,
    Predecessor,
    decide,
)
from spotrelay.launcher.ec2 import Launch, Life, Started, Unanswered
from spotrelay.launcher.fleets import Fleets
from spotrelay.launcher.hunters import Hunter, Hunters, market_of
from spotrelay.launcher.objects import Objects
from spotrelay.launcher.pace import Pace
from spotrelay.launcher.refusals import Action
from spotrelay.launcher.standing import Records, Standing


class Ec2(Protocol):
    """Each raises `ec2.Unanswered`."""

    def create_fleet(self, request: dict[str, Any], token: str) -> Launch: ...
    def started_by(self, fleet: str) -> Sequence[Started]: ...
    def lives(self, instances: Iterable[str]) -> dict[str, Life]: ...
    def marked(self, instances: Iterable[str]) -> set[str]: ...
    def tags(self, instance: str) -> dict[str, str]: ...


class Bell(Protocol):
    def ring(self, rings: Rings) -> Failed:
        """Send each request after so many seconds. Those that could not be sent, with the error."""
        ...


class Succession:
    """`readers` wait for the store, `callers` for EC2: two crews, since a caller waits for readers."""

    def __init__(
        self,
        objects: Objects,
        ec2: Ec2,
        bell: Bell,
        ground: pools.Ground,
        *,
        pace: Pace,
        books: RunBooks,
        readers: Crew,
        callers: Crew,
        log: Callable[..., None],
        now: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._objects, self._ec2, self._bell, self._books = objects, ec2, bell, books
        self._readers, self._callers, self._log, self._now = readers, callers, log, now
        self._records = Records(objects)
        self._fleets = Fleets(objects, ec2, readers, now)
        self._notes = notes.Notes(objects, now)
        self._hunters = Hunters(
            objects,
            self._fleets,
            ground,
            pace=pace,
            known=self._notes,
            ring=self._ring,
            readers=readers,
            callers=callers,
            log=log,
            now=now,
            sleep=sleep,
        )

    # --- who is meant

    def successors_of(self, instances: Sequence[str]) -> Sequence[list[ResumeRequest] | Exception]:
        """For each, what to ask for when it ends: nothing, when it is none of ours or owned nothing; or the error."""
        return self._callers.map(self._successors, instances)

    def _successors(self, instance: str) -> list[ResumeRequest] | Exception:
        try:
            found = [self._after(instance, run, attempt) for run, attempt in self._assigned(instance)]
        except Exception as error:  # one damaged object must not take the other events with it
            return error
        return [request for request in found if request is not None]

    def _after(self, instance: str, run: str, attempt: int) -> ResumeRequest | None:
        claim = self._records.read(records.Claim, keys.claim(run, attempt))
        if claim is None:
            return ResumeRequest(run, attempt)
        return ResumeRequest(run, attempt + 1) if claim.instance == instance else None

    def _assigned(self, instance: str) -> list[tuple[str, int]]:
        assignment = self._records.read(records.Assignment, keys.assignment(instance))
        if assignment is not None:
            return [(assignment.run, assignment.attempt)]
        # Its launcher died, or is still at it: then anybody of its fleet may be the one without a machine.
        fleet = self._ec2.tags(instance).get(pools.FLEET_TAG, "")
        seated = self._fleets.find(fleet) if keys.FLEET_ID.fullmatch(fleet) else None
        return [(member.run, member.attempt) for member in seated.seats] if seated else []

    # --- every request, whole

    def ensure(self, requests: Iterable[ResumeRequest]) -> Failed:
        """Done, or rung for. What could not even be rung for, or met a damaged object, is returned with its error."""
        failed, rings = Failed(), list[tuple[ResumeRequest, int]]()
        hunts, abandoned = list[tuple[Standing, Decision]](), dict[str, list[Step]]()
        asked = list(requests)
        for standing, decision in self._decided(self._standings(_newest(asked), rings, failed), rings):
            request = standing.request
            self._log(f"resume.{decision.why}", run=request.run, attempt=request.attempt)
            if decision.predecessor is Predecessor.GONE and standing.before is not None and standing.before.awaited:
                self._tell_of_death(standing, failed)
            if decision.do is Do.LATER:
                rings.append((request, decision.delay_s))
                if decision.why == DIES and standing.search.step >= SICK_STEPS:
                    self._tell_of_sickness(standing, decision.delay_s)
            elif decision.do is Do.TAKE_OVER:
                asker = Step(request, decision.step, decision.since, "")
                abandoned.setdefault(decision.fleet, []).append(asker)
            elif decision.why == REFUSED:
                # A stale or forged one; what was asked for just now is looked for as long as any other.
                fresh = min((r for r in asked if _same(r, request)), key=lambda each: each.rings)
                rings += [(fresh, EVIDENCE_DELAY_S)] if fresh.rings < MOST_LOOKS else []
            elif decision.do is Do.HUNT:
                hunts.append((standing, decision))
        hunters = self._hunters_of(hunts, rings, failed)
        failed |= self._ring(rings)
        for fleet, askers in sorted(abandoned.items()):
            failed |= self._take_over(fleet, askers)
        return failed | self._hunters.hunt(hunters)

    def _standings(
        self, asked: Sequence[ResumeRequest], rings: list[tuple[ResumeRequest, int]], failed: Failed
    ) -> list[Standing]:
        found = []
        for request, standing in zip(asked, self._readers.map(self._standing, asked), strict=True):
            if isinstance(standing, Standing):
                found.append(standing)
            elif isinstance(standing, StoreUnavailable):
                self._log("resume.unanswered", run=request.run, attempt=request.attempt, error=str(standing))
                rings.append((request, AWAY_REST_S))
            else:
                failed[request] = standing
        return found

    def _standing(self, request: ResumeRequest) -> Standing | Exception:
        try:
            return self._records.standing(request)
        except Exception as error:  # as in `ensure`
            return error

    def _decided(
        self, standings: list[Standing], rings: list[tuple[ResumeRequest, int]]
    ) -> Iterator[tuple[Standing, Decision]]:
        lives = Lives({})
        try:
            lives = self._lives(standings)
        except Unanswered as error:
            # What needs no word of EC2 is decided all the same.
            self._log("resume.unanswered", error=str(error))
            rings += [(standing.request, AWAY_REST_S) for standing in standings if any(standing.instances())]
            standings = [standing for standing in standings if not any(standing.instances())]
        for standing in standings:
            yield standing, decide(standing, lives, self._now())

    def _lives(self, standings: Sequence[Standing]) -> Lives:
        """The second question only for those about whom nobody else has said anything."""
        known = self._ec2.lives(instance for standing in standings for instance in standing.instances())
        unsure = [
            standing.before.claim.instance
            for standing in standings
            if decide(standing, Lives(known), self._now()).why == "predecessor_healthy"
            and standing.before is not None
            and standing.before.claim is not None
        ]
        return Lives(known, self._ec2.marked(unsure) if unsure else ())

    def _ring(self, rings: Rings) -> Failed:
        again = {r.again(): (r, delay_s) for r, delay_s in rings}
        try:
            failed = self._bell.ring([(request, delay_s) for request, (_, delay_s) in again.items()])
        except Exception as error:  # their messages come back, and find what the others had done
            return {request: error for request, _ in rings}
        return {again[request][0]: error for request, error in failed.items()}

    def _take_over(self, fleet: str, askers: Sequence[Step]) -> Failed:
        try:
            return self._hunters.take_over(fleet, askers)
        except StoreUnavailable as error:
            self._log("fleet.unanswered", fleet=fleet, error=str(error))
            return self._ring([(each.request, AWAY_REST_S) for each in askers])
        except Exception as error:  # as in `ensure`
            return dict.fromkeys((each.request for each in askers), error)

    # --- may it go on

    def _hunters_of(
        self, hunts: Sequence[tuple[Standing, Decision]], rings: list[tuple[ResumeRequest, int]], failed: Failed
    ) -> list[Hunter]:
        found = self._readers.map(lambda hunt: self._hunter(*hunt, rings, failed), hunts)
        return [hunter for hunter in found if hunter is not None]

    def _hunter(
        self, standing: Standing, decision: Decision, rings: list[tuple[ResumeRequest, int]], failed: Failed
    ) -> Hunter | None:
        try:
            return self._allowed(standing, decision, rings)
        except StoreUnavailable:
            rings.append((standing.request, AWAY_REST_S))
        except Exception as error:  # one damaged run must not take the others of its batch with it
            failed[standing.request] = error
        return None

    def _allowed(self, standing: Standing, decision: Decision, rings: list[tuple[ResumeRequest, int]]) -> Hunter | None:
        """None: then the run is concluded, or will be when its predecessor is."""
        request, answer = standing.request, standing.search.answer
        assert standing.spec is not None
        gone = decision.predecessor is Predecessor.GONE
        account = self._books.account(standing, died=gone)
        if account.end is not None:
            # One that is still at it may succeed before it goes, and then that is the outcome.
            if decision.predecessor is not Predecessor.ENDING:
                self._conclude(standing, account.end)
            elif request.rings < MOST_LOOKS:
                rings.append((request, AWAY_REST_S))
            return None
        self._note_eviction(standing)
        quota = answer is not None and answer.kind == Action.ON_DEMAND
        step = Step(request, decision.step, decision.since, standing.spec.instance.market)
        hunter = Hunter(step, standing.spec, account.worked_s)
        return replace(hunter, step=replace(step, market=market_of(hunter, self._now(), quota=quota)))

    def _conclude(self, standing: Standing, end: records.Cancel) -> None:
        request, last = standing.request, standing.request.attempt - 1
        # Not what the last attempt said of itself: it may have died before it said anything.
        snapshot = self._records.newest_allowed(request.run, last)
        outcome = records.Outcome(end.result, last, self._now(), snapshot=snapshot, message=end.message)
        self._objects.create(keys.outcome(request.run), records.encode(outcome))
        self._log("run.concluded", run=request.run, result=end.result, message=end.message)

    def _tell_of_sickness(self, standing: Standing, delay_s: int) -> None:
        """Each boot is paid for, and the next will end as they did: the image or the instance's role is at fault."""
        request, search = standing.request, standing.search
        why = f"{search.step + 1} launches, and the last machines died before they claimed: look at their console"
        self._log("needs.person", run=request.run, attempt=request.attempt, why=why)
        now = self._now()
        told = records.Hunt(request.attempt, search.step, now, now, why, next_at=now + delay_s, person=True)
        with contextlib.suppress(StoreError):
            self._objects.put(keys.hunt(request.run), records.encode(told))

    def _tell_of_death(self, standing: Standing, failed: Failed) -> None:
        """Whoever follows waits for a hand-over that will not come, and need not: it may be there already, or booting,
        or yet to be launched."""
        request, before = standing.request, standing.before
        assert before is not None
        assert before.claim is not None
        death = records.Death(before.claim.instance, self._now())
        try:
            self._objects.create(keys.death(request.run, request.attempt - 1), records.encode(death))
        except Exception as error:  # its message comes back
            failed[request] = error

    def _note_eviction(self, standing: Standing) -> None:
        before = standing.before
        if before is None or before.claim is None or before.claim.market != "spot" or standing.search.step >= 0:
            return
        if before.handover is None or before.handover.reason == "interrupted":
            self._notes.write(notes.EVICTED, pools.Place(before.claim.instance_type, before.claim.zone))


def _same(one: ResumeRequest, other: ResumeRequest) -> bool:
    return (one.run, one.attempt) == (other.run, other.attempt)


def _newest(requests: Iterable[ResumeRequest]) -> list[ResumeRequest]:
    """Each attempt once, as its last bell asked for it."""
    newest: dict[tuple[str, int], ResumeRequest] = {}
    for request in requests:
        known = newest.get((request.run, request.attempt))
        if known is None or known.rings < request.rings:
            newest[(request.run, request.attempt)] = request
    return list(newest.values())
