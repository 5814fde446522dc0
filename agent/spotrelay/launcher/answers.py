"""What is written of a step that is over, and when its run is rung for again.

    bell → answer → hunt.json

A step without an instance is rung for before it is answered: a step that is answered has been rung for, and whoever
dies in between leaves one bell too many, which finds its work done. The answer keeps the bell's number, and hunt.json
says to a person why the run waits. A step that another follows in the same wake needs no bell: the one that is ringing
already brings its message back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from spotrelay.core import keys, records
from spotrelay.core.errors import StoreUnavailable
from spotrelay.core.keys import Member
from spotrelay.core.messages import ResumeRequest
from spotrelay.launcher import rhythm
from spotrelay.launcher.crew import Crew
from spotrelay.launcher.ec2 import Launch, Started
from spotrelay.launcher.fleets import Fleets
from spotrelay.launcher.objects import Objects
from spotrelay.launcher.pace import Pace
from spotrelay.launcher.refusals import Action, Refusal, verdict

# When to ask again for what only a person can change.
PERSON_REST_S = 300
# When EC2 or the store is away.
AWAY_REST_S = 15
LAUNCHED = "launched"
WAITING = {
    "paced": "the account's launches a second are used up: it waits for its turn",
    "others_at_it": "another launcher is at it",
    "unanswered": "EC2 gave no answer: the same call is made again",
}

Rings = Sequence[tuple[ResumeRequest, int]]
Failed = dict[ResumeRequest, Exception]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the hunt for one attempt."""

    request: ResumeRequest
    number: int
    since: float
    market: str

    @property
    def member(self) -> Member:
        return Member(self.request.run, self.request.attempt, self.number)


@dataclass(frozen=True, slots=True)
class Result:
    """Of one step. Neither `started` nor `launch`: no call was made, or none was answered; `why` names it.
    `error`: a fault, of ours or of an object; its message comes back."""

    step: Step
    started: Started | None = None
    launch: Launch | None = None
    why: str = ""
    delay_s: int = 0
    error: Exception | None = None

    @property
    def refusal(self) -> Refusal:
        return (self.launch.refusal if self.launch else None) or verdict(())


class Ring(Protocol):
    def __call__(self, rings: Rings) -> Failed:
        """Each request again after so many seconds. Those that could not be sent, with the error."""
        ...


class Answers:
    """`readers` wait for the store."""

    def __init__(
        self,
        objects: Objects,
        fleets: Fleets,
        *,
        pace: Pace,
        ring: Ring,
        readers: Crew,
        log: Callable[..., None],
        now: Callable[[], float],
    ) -> None:
        self._objects, self._fleets, self._pace = objects, fleets, pace
        self._ring, self._readers, self._log, self._now = ring, readers, log, now

    def end(self, results: Sequence[Result]) -> Failed:
        """Those without an instance are rung for, and only then answered."""
        failed = {result.step.request: result.error for result in results if result.error is not None}
        sound = [result for result in results if result.error is None]
        rests = {result.step.request: self._rest(result) for result in sound if result.started is None}
        failed |= self._ring(list(rests.items()))
        kept = [result for result in sound if result.step.request not in failed]
        errors = self._readers.map(lambda result: self._settle(result, rests.get(result.step.request, 0)), kept)
        return failed | {r.step.request: e for r, e in zip(kept, errors, strict=True) if e is not None}

    def go_on(self, results: Iterable[Result]) -> None:
        """The answers to steps that others follow at once. Unwritten they miss nobody: the last step counts."""
        self._readers.map(self._go_on, list(results))

    def _go_on(self, result: Result) -> None:
        request = result.step.request
        try:
            self._answer(result, rung=request.rings, retry_at=self._now())
        except StoreUnavailable as error:
            self._unwritten(request, error)

    def _rest(self, result: Result) -> int:
        """Seconds until the next wake."""
        if result.launch is None:
            return result.delay_s
        rest = rhythm.rest_s(result.step.since, self._now())
        match result.refusal.action:
            case Action.PACE:
                return self._pace.delay_s()
            case Action.PERSON:
                return PERSON_REST_S
            case Action.ELSEWHERE | Action.BURNT:
                return rest
        return max(rest, AWAY_REST_S)

    def _settle(self, result: Result, delay_s: int) -> Exception | None:
        request, due = result.step.request, self._now() + delay_s
        try:
            if result.launch is not None:
                self._answer(result, rung=request.again().rings, retry_at=due)
            if result.started is None:
                self._tell(result, due)
            elif request.rings > 0:
                self._tell_end(result.step, result.started)
        except StoreUnavailable as error:
            # The instance is assigned, or the bell is rung: a step without an answer is taken over.
            self._unwritten(request, error)
        except Exception as error:
            return error
        return None

    def _unwritten(self, request: ResumeRequest, error: StoreUnavailable) -> None:
        self._log("answer.unwritten", run=request.run, attempt=request.attempt, error=str(error))

    def _answer(self, result: Result, *, rung: int, retry_at: float) -> None:
        step, started, launch = result.step, result.started or Started("", "", ""), result.launch or Launch()
        answer = records.Answer(
            kind=LAUNCHED if result.started else str(result.refusal.action),
            at=self._now(),
            instance=started.instance or None,
            instance_type=started.type,
            zone=started.zone,
            market=step.market,
            errors=[str(error) for error in launch.errors],
            since=step.since,
            retry_at=retry_at,
            rung=rung,
        )
        self._fleets.answer(step.member, answer)
        if result.started:
            told = {"run": step.request.run, "attempt": step.request.attempt, "hunted_s": self._now() - step.since}
            self._log("resume.launched", instance=started.instance, type=started.type, zone=started.zone, **told)

    def _tell(self, result: Result, due: float) -> None:
        """hunt.json: why the run waits, and for which bell: whoever else asks for it meanwhile is a copy."""
        step, request = result.step, result.step.request
        person = result.launch is not None and result.refusal.action is Action.PERSON
        why = WAITING.get(result.why) or str(result.refusal)
        if person:
            self._log("needs.person", run=request.run, attempt=request.attempt, why=why)
        errors = [str(error) for error in result.launch.errors] if result.launch else []
        rung = request.again().rings
        told = records.Hunt(
            request.attempt, step.number, step.since, self._now(), why, step.market, errors, due, person, rung
        )
        self._objects.put(keys.hunt(request.run), records.encode(told))

    def _tell_end(self, step: Step, started: Started) -> None:
        """Of a hunt whose wait was told: what it says last must not be that a person has to do something."""
        request, why = step.request, f"{started.instance} was launched: {started.type} in {started.zone}"
        told = records.Hunt(request.attempt, step.number, step.since, self._now(), why, step.market)
        self._objects.put(keys.hunt(request.run), records.encode(told))
