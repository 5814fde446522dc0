"""Exactly one successor (P3): make one attempt of one run have one new owner, however often it is asked for.

The queue delivers twice, late and out of order, and this code may die between any two lines. So it decides nothing
from a message: every call reads where the run stands and does the next thing that is missing, in an order in which
each thing found done implies all before it:

    intent (create-only: token and request) → CreateFleet → assignment (create-only) → answer (create-only) → claim

1. Two launchers at once: one creates the intent, the other reads it and makes the same call with the same token.
2. Died after the intent: whoever comes next makes the same call again, and gets the same instance.
3. No capacity: the bell for the next step is rung *before* the answer is written; a step that is answered has been
   rung for, so a duplicate may be dropped. Died in between: one bell too many, which finds its work done. The answer
   keeps the bell's number, so that the bell itself is known for what it is, whatever the clocks say.
4. Launched and died before it claimed: EC2's event comes back here, and the next step launches another.
5. No word from EC2 or the store: the bell is rung for the same again. A message that failed instead would come back
   later (visibility timeout) and, after a few times, never (dead letters).

A successor is refused while its predecessor is neither ending nor dead: a forged or stale message must not fence a
healthy attempt.
"""

from __future__ import annotations

import math
import random
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Protocol, TypeVar

from spotrelay.core import keys, records, spec
from spotrelay.core.errors import SpecError, StoreUnavailable
from spotrelay.core.messages import ResumeRequest
from spotrelay.launcher import pools
from spotrelay.launcher.ec2 import Kind, Launch, Life, Unanswered
from spotrelay.launcher.objects import Objects

R = TypeVar("R")

# SQS cannot delay longer than 900 s.
LONGEST_DELAY_S = 900
# The agent posts its request and writes its status side by side; a put takes 0.1–0.2 s, rarely seconds.
EVIDENCE_DELAY_S = 5
# After so many looks without evidence the message was not the agent's. The predecessor's own death brings the next.
MOST_LOOKS = 60
# Describe forgets an instance about an hour after its end.
FORGOTTEN_S = 3600.0
# Burnt tokens and dead instances are skipped at once; more of them in one call than this is something else.
STEPS_A_CALL = 5


class Predecessor(Enum):
    """Of the attempt that is asked for."""

    GONE = auto()  # dead, or there never was one: it adds nothing any more
    DONE = auto()  # handed over
    ENDING = auto()  # told to go; still saving, and it may yet end the run by itself
    HEALTHY = auto()  # as far as anybody can see


class Fleet(Protocol):
    def create_fleet(self, request: dict[str, Any], token: str) -> Launch: ...
    def life(self, instance: str) -> Life | None: ...
    def tags(self, instance: str) -> dict[str, str]: ...


class Bell(Protocol):
    def ring(self, request: ResumeRequest, delay_s: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Ground:
    """Where instances may be launched. `retry_s`: the first wait for capacity, doubled with each step."""

    template: str
    version: str
    zones: Sequence[str]
    types: Sequence[str]
    retry_s: float = 15.0


class Succession:
    def __init__(
        self,
        objects: Objects,
        fleet: Fleet,
        bell: Bell,
        ground: Ground,
        *,
        log: Callable[..., None],
        now: Callable[[], float],
    ) -> None:
        self._objects, self._fleet, self._bell, self._ground = objects, fleet, bell, ground
        self._log, self._now = log, now

    def instance_gone(self, instance: str) -> None:
        """The owner of an attempt died, or one who was to be its owner; or it is none of ours."""
        assigned = self._read(records.Assignment, keys.assignment(instance)) or self._tagged(instance)
        if assigned is None:
            return
        claim = self._read(records.Claim, keys.claim(assigned.run, assigned.attempt))
        if claim is None:
            self.ensure(ResumeRequest(assigned.run, assigned.attempt))
        elif claim.instance == instance:
            self.ensure(ResumeRequest(assigned.run, assigned.attempt + 1))

    def ensure(self, request: ResumeRequest) -> None:
        """Done, or rung for. Raises when not even the bell can be rung, or when an object is damaged."""
        try:
            self._ensure(request)
        except (Unanswered, StoreUnavailable) as error:
            self._log("resume.unanswered", run=request.run, attempt=request.attempt, error=str(error))
            self._ring(request, self._delay(min(request.rings, 3)))

    def _ensure(self, request: ResumeRequest) -> None:
        run, attempt = request.run, request.attempt
        specification = self._spec(run)
        if specification is None:
            return self._log("resume.unknown_run", run=run)
        if self._objects.get(keys.outcome(run)) is not None:
            return self._log("resume.run_over", run=run)
        if self._objects.get(keys.claim(run, attempt)) is not None:
            return self._log("resume.has_owner", run=run, attempt=attempt)
        predecessor = self._predecessor(run, attempt - 1)
        if predecessor is Predecessor.HEALTHY:
            return self._look_again(request)
        end = self._end(specification, attempt)
        if end is None:
            return self._hunt(specification, request, predecessor_gone=predecessor is Predecessor.GONE)
        # One that is still at it may succeed before it goes, and then that is the outcome.
        return self._look_again(request) if predecessor is Predecessor.ENDING else self._conclude(run, attempt, *end)

    # --- may it be

    def _predecessor(self, run: str, attempt: int) -> Predecessor:
        if attempt == 0:
            return Predecessor.GONE
        claim = self._read(records.Claim, keys.claim(run, attempt))
        if claim is None:
            return Predecessor.HEALTHY  # not even begun
        if self._objects.get(keys.handover(run, attempt)) is not None:
            return Predecessor.DONE
        life = self._fleet.life(claim.instance)
        if life is Life.DEAD or (life is None and self._now() - claim.at > FORGOTTEN_S):
            return Predecessor.GONE
        status = self._read(records.Status, keys.status(run, attempt))
        told = status is not None and status.gone_at is not None
        return Predecessor.ENDING if told or life is Life.ENDING else Predecessor.HEALTHY

    def _look_again(self, request: ResumeRequest) -> None:
        if request.rings >= MOST_LOOKS:
            return self._log(
                "resume.refused", run=request.run, attempt=request.attempt, why="predecessor is not ending"
            )
        return self._ring(request, EVIDENCE_DELAY_S)

    def _end(self, specification: spec.Spec, attempt: int) -> tuple[str, str] | None:
        """Result and reason, of a run that may not go on."""
        run, limits = specification.run.name, specification.limits
        if self._objects.get(keys.cancel(run)) is not None:
            return "stopped", "a person stopped the run while no attempt was running"
        if attempt > limits.attempts:
            return "limit", f"limits.attempts = {limits.attempts} is reached"
        if limits.hours and self._now() - self._begun(run) > limits.hours * 3600:
            return "limit", f"limits.hours = {limits.hours:g} is reached"
        return None

    def _begun(self, run: str) -> float:
        first = self._read(records.Claim, keys.claim(run, 1))
        return first.at if first else self._now()

    def _conclude(self, run: str, attempt: int, result: str, message: str) -> None:
        outcome = records.Outcome(result=result, attempt=attempt - 1, at=self._now(), message=message)
        self._objects.create(keys.outcome(run), records.encode(outcome))
        self._log("run.concluded", run=run, result=result, message=message)

    # --- make it so

    def _hunt(self, specification: spec.Spec, request: ResumeRequest, *, predecessor_gone: bool) -> None:
        run, attempt = request.run, request.attempt
        first = max(self._last_step(run, attempt), 0)
        for step in range(first, first + STEPS_A_CALL):
            answer = self._read(records.Answer, keys.answer(run, attempt, step))
            if answer is None:
                intent = self._intent(specification, attempt, step, predecessor_gone)
                answer = self._call(intent, request, step)
            if answer.instance is None:
                if request.rings < answer.rung and self._now() < answer.retry_at:
                    return self._log("resume.waiting", run=run, attempt=attempt, errors=answer.errors)
            elif not self._died(answer):
                return self._log("resume.launched", run=run, attempt=attempt, instance=answer.instance)
            elif (wait := self._breath(run, attempt, step, answer)) > 0:
                return self._ring(request, wait)
        return self._ring(request, math.ceil(self._ground.retry_s))

    def _last_step(self, run: str, attempt: int) -> int:
        steps = (keys.step_of(key) for key in self._objects.list(keys.launches(run, attempt)))
        return max((step for step in steps if step is not None), default=-1)

    def _intent(self, specification: spec.Spec, attempt: int, step: int, predecessor_gone: bool) -> records.Intent:
        run, ground = specification.run.name, self._ground
        request = pools.fleet_request(
            specification,
            attempt,
            step,
            template=ground.template,
            version=ground.version,
            zones=ground.zones,
            types=ground.types,
        )
        token = keys.client_token(run, attempt, step, secrets.token_hex(4))
        intent = records.Intent(token, run, attempt, request, self._now(), predecessor_gone)
        key = keys.intent(run, attempt, step)
        if self._objects.create(key, records.encode(intent)):
            return intent
        return self._read(records.Intent, key) or intent

    def _call(self, intent: records.Intent, request: ResumeRequest, step: int) -> records.Answer:
        """Make the call, and what follows from it, up to the answer. Raises Unanswered."""
        run, attempt = request.run, request.attempt
        launch = self._fleet.create_fleet(intent.request, intent.token)
        rung, retry_at = 0, 0.0
        if launch.instance is not None:
            assignment = records.Assignment(run, attempt, intent.predecessor_gone)
            self._objects.create(keys.assignment(launch.instance), records.encode(assignment))
        elif launch.kind is not Kind.BURNT:
            delay = LONGEST_DELAY_S if launch.kind is Kind.FATAL else self._delay(step)
            rung, retry_at = request.rings + 1, self._now() + delay
            self._ring(request, delay)
        answer = records.Answer(
            kind=launch.kind,
            at=self._now(),
            instance=launch.instance,
            instance_type=launch.instance_type,
            zone=launch.zone,
            errors=list(launch.errors),
            retry_at=retry_at,
            rung=rung,
        )
        self._objects.create(keys.answer(run, attempt, step), records.encode(answer))
        return answer

    def _died(self, answer: records.Answer) -> bool:
        """Launched, but dead by now. EC2's event may have come while there was no assignment: so it is asked here."""
        assert answer.instance is not None
        life = self._fleet.life(answer.instance)
        return self._now() - answer.at > FORGOTTEN_S if life is None else life is not Life.ALIVE

    def _breath(self, run: str, attempt: int, step: int, answer: records.Answer) -> int:
        """Seconds to wait before the next launch. A machine may be taken while it boots: then the next one comes at
        once. Two in a row are rather an image that cannot boot, and that must not launch and pay for ever."""
        before = self._read(records.Answer, keys.answer(run, attempt, step - 1)) if step else None
        if before is None or before.instance is None:
            return 0
        return math.ceil(answer.at + self._backoff(step) - self._now())

    def _backoff(self, step: int) -> float:
        """Doubled each step, up to SQS's longest delay."""
        return float(min(self._ground.retry_s * 2 ** min(step, 10), LONGEST_DELAY_S))

    def _delay(self, step: int) -> int:
        """Less up to a quarter: many runs must not come back together."""
        return max(1, int(self._backoff(step) * random.uniform(0.75, 1.0)))  # noqa: S311 - jitter

    def _ring(self, request: ResumeRequest, delay_s: int) -> None:
        again = ResumeRequest(request.run, request.attempt, request.rings + 1)
        self._bell.ring(again, min(delay_s, LONGEST_DELAY_S))

    # --- what is written

    def _tagged(self, instance: str) -> records.Assignment | None:
        """Ours by its tags, when it died before its assignment was written."""
        tags = self._fleet.tags(instance)
        run, attempt = tags.get(pools.RUN_TAG, ""), tags.get(pools.ATTEMPT_TAG, "")
        if keys.RUN_NAME.fullmatch(run) and re.fullmatch("[1-9][0-9]{0,4}", attempt):
            return records.Assignment(run, int(attempt))
        return None

    def _spec(self, run: str) -> spec.Spec | None:
        key = keys.spec(run)
        data = self._objects.get(key)
        found = None if data is None else spec.from_json(data, source=key)
        if found is not None and found.run.name != run:
            raise SpecError([f"{key}: [run] name is {found.run.name} — the object was copied or damaged; start anew"])
        return found

    def _read(self, cls: type[R], key: str) -> R | None:
        data = self._objects.get(key)
        return None if data is None else records.decode(cls, data, key=key)
