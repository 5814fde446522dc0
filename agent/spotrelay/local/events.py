"""EC2's events, shaped as EventBridge delivers them, and the rules that take them to queues, or a constant at a rate.

EventBridge promises best effort: an event may come late, twice or never, and a queue that is gone swallows it without a
word. `loss`, `doubling` and `latency_s` make each of these happen. What was emitted stays in `history`, for assertions.

A pattern is the part of EventBridge's language that rules on EC2 events need: a tree of lists of literals, of
{"prefix": ...} and of {"anything-but": [...]}. Anything else is refused when the rule is made, not ignored.

A schedule is a rule with a rate and a constant input. EventBridge's rates are whole minutes; a rehearsal does not want
to wait for one, so any number of seconds goes here.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any

from spotrelay.local.clock import Clock, Timer
from spotrelay.local.sqs import Sqs
from spotrelay.local.wire import AwsError

Event = dict[str, Any]
Pattern = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rule:
    pattern: Pattern
    queue: str


class Schedule:
    """Sends `body` to the queue every `every_s` seconds, the first time after as many; until `cancel`."""

    def __init__(self, every_s: float, queue: str, body: Event, deliver: Callable[[str, Event], None], clock: Clock):
        if every_s <= 0:
            raise ValueError(f"a schedule's period is more than {every_s} seconds")
        self._every_s, self._queue, self._body = every_s, queue, body
        self._deliver, self._clock = deliver, clock
        self._due = clock.now()
        self._timer = self._next()

    def cancel(self) -> None:
        self._timer.cancel()

    def _next(self) -> Timer:
        # From due time to due time, so that a late loop does not move all that follow.
        self._due += self._every_s
        return self._clock.call_at(self._due, self._ring)

    def _ring(self) -> None:
        self._timer = self._next()
        self._deliver(self._queue, self._body)


class EventBus:
    """The account's default bus. `loss` and `doubling` are probabilities of each delivery."""

    def __init__(self, sqs: Sqs, clock: Clock, rng: Random, account: str, region: str) -> None:
        self.history: list[Event] = []
        self.undelivered: list[Event] = []
        self.loss = 0.0
        self.doubling = 0.0
        self.latency_s = 0.0
        self._sqs, self._clock, self._rng = sqs, clock, rng
        self._account, self._region = account, region
        self._rules: list[Rule] = []
        self._schedules: list[Schedule] = []

    def route(self, pattern: Pattern, queue: str) -> None:
        """From now on deliver matching events to the queue of this name. Raises ValueError on an unknown pattern."""
        check_pattern(pattern)
        self._rules.append(Rule(pattern, queue))

    def schedule(self, every_s: float, queue: str, body: Mapping[str, Any]) -> Schedule:
        """From now on send this to the queue of this name at that rate, until it is cancelled or the bus is closed."""
        schedule = Schedule(every_s, queue, dict(body), self._deliver, self._clock)
        self._schedules.append(schedule)
        return schedule

    def close(self) -> None:
        """Nothing is sent by the clock any more."""
        for schedule in self._schedules:
            schedule.cancel()
        self._schedules.clear()

    # ---- what EC2 says

    def state_change(self, instance: str, state: str) -> None:
        arn = f"arn:aws:ec2:{self._region}:{self._account}:instance/{instance}"
        self._emit("EC2 Instance State-change Notification", arn, {"instance-id": instance, "state": state})

    def interruption_warning(self, instance: str, zone: str, action: str) -> None:
        detail = {"instance-id": instance, "instance-action": action}
        self._emit("EC2 Spot Instance Interruption Warning", _zonal_arn(instance, zone), detail)

    def rebalance_recommendation(self, instance: str, zone: str) -> None:
        self._emit("EC2 Instance Rebalance Recommendation", _zonal_arn(instance, zone), {"instance-id": instance})

    # ---- how it travels

    def _emit(self, kind: str, resource: str, detail: Mapping[str, str]) -> None:
        event = {
            "version": "0",
            "id": str(uuid.UUID(int=self._rng.getrandbits(128), version=4)),
            "detail-type": kind,
            "source": "aws.ec2",
            "account": self._account,
            "time": datetime.fromtimestamp(self._clock.now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "region": self._region,
            "resources": [resource],
            "detail": dict(detail),
        }
        self.history.append(event)
        for rule in self._rules:
            if matches(rule.pattern, event):
                self._deliver(rule.queue, event)

    def _deliver(self, queue: str, event: Event) -> None:
        if self._rng.random() < self.loss:
            self.undelivered.append(event)
            return
        for _ in range(2 if self._rng.random() < self.doubling else 1):
            if self.latency_s:
                self._clock.call_at(self._clock.now() + self.latency_s, lambda: self._arrive(queue, event))
            else:
                self._arrive(queue, event)

    def _arrive(self, queue: str, event: Event) -> None:
        try:
            self._sqs.queue(queue).send(json.dumps(event))
        except AwsError:
            self.undelivered.append(event)


def _zonal_arn(instance: str, zone: str) -> str:
    # As these two events really have it: a zone where the region belongs, and no account.
    return f"arn:aws:ec2:{zone}:instance/{instance}"


def check_pattern(pattern: Any) -> None:
    """Raises ValueError."""
    for key, wanted in pattern.items():
        if isinstance(wanted, Mapping):
            check_pattern(wanted)
        elif not isinstance(wanted, list) or not wanted:
            raise ValueError(f"{key}: a pattern's leaf is a list that is not empty, not {wanted!r}")
        else:
            for matcher in wanted:
                if isinstance(matcher, Mapping) and matcher.keys() not in ({"prefix"}, {"anything-but"}):
                    raise ValueError(f"{key}: the local cloud knows prefix and anything-but, not {matcher!r}")


def matches(pattern: Pattern, event: Mapping[str, Any]) -> bool:
    """Every key of the pattern is in the event and has one of the values (of a list: any of them)."""
    return all(key in event and _matches_value(wanted, event[key]) for key, wanted in pattern.items())


def _matches_value(wanted: Any, value: Any) -> bool:
    if isinstance(wanted, Mapping):
        return isinstance(value, Mapping) and matches(wanted, value)
    values = value if isinstance(value, list) else [value]
    return any(_matches_one(matcher, each) for matcher in wanted for each in values)


def _matches_one(matcher: Any, value: Any) -> bool:
    if not isinstance(matcher, Mapping):
        return bool(matcher == value)
    if "prefix" in matcher:
        return isinstance(value, str) and value.startswith(matcher["prefix"])
    unwanted = matcher["anything-but"]
    return value not in (unwanted if isinstance(unwanted, list) else [unwanted])
