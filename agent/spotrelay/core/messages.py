"""What travels through the queue: resume requests and sweeps of ours, and EC2's own events by way of EventBridge.

A message is a doorbell. It is delivered late, twice, out of order or never, and anybody who may write to the queue may
write anything into it: so it carries names, never decisions, and everything acted on is read from the store.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from spotrelay.core import keys
from spotrelay.core.checks import shown

# Bodies are a few hundred bytes; a megabyte of JSON would only be somebody's mistake or mischief.
LARGEST_BODY = 64 * 1024
MOST_RINGS = 1_000_000
# Not yet while shutting down: an agent that was told so is still saving, and asks for its successor itself.
GONE_STATES = ("terminated", "stopped")
STATE_CHANGE = "EC2 Instance State-change Notification"
INTERRUPTION_WARNING = "EC2 Spot Instance Interruption Warning"
_EVENTS = (STATE_CHANGE, INTERRUPTION_WARNING)


class MessageInvalid(ValueError):
    """A body that is neither a resume request nor an event known here. The text names what is wrong."""


@dataclass(frozen=True, slots=True)
class ResumeRequest:
    """Run `run` needs attempt `attempt` (from 1). `rings` counts how often the launcher has sent it to itself again."""

    run: str
    attempt: int
    rings: int = 0

    def again(self) -> ResumeRequest:
        """The bell after this one. Counting ends at the largest number that is read: one more, and nobody would hear
        it, while every other bell would be taken for an older copy."""
        return replace(self, rings=min(self.rings + 1, MOST_RINGS))

    def encode(self) -> str:
        return json.dumps({"resume": {"run": self.run, "attempt": self.attempt, "rings": min(self.rings, MOST_RINGS)}})


@dataclass(frozen=True, slots=True)
class InstanceGone:
    """EC2 says that an instance ended (state-change notification)."""

    instance: str
    state: str


@dataclass(frozen=True, slots=True)
class InstanceEnding:
    """EC2 says that it will take an instance (spot interruption warning)."""

    instance: str


@dataclass(frozen=True, slots=True)
class Sweep:
    """The schedule's: look at everything once."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """A well-formed EC2 event that asks nothing of the launcher."""

    what: str


Message = ResumeRequest | InstanceGone | InstanceEnding | Sweep | Ignored


def decode(body: str) -> Message:
    """Raises MessageInvalid, and nothing else, whatever the body."""
    if len(body) > LARGEST_BODY:
        raise MessageInvalid(f"{len(body)} characters, more than {LARGEST_BODY}")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MessageInvalid(f"not JSON: {error}") from error
    if not isinstance(document, dict):
        raise MessageInvalid("not a JSON object")
    if "resume" in document:
        return _resume(document["resume"])
    if "sweep" in document:
        return Sweep()
    if document.get("source") == "aws.ec2":
        return _event(document)
    raise MessageInvalid("neither a resume request nor an EC2 event")


def _resume(fields: Any) -> ResumeRequest:
    if not isinstance(fields, dict):
        raise MessageInvalid("resume is not an object")
    run, attempt, rings = fields.get("run"), fields.get("attempt"), fields.get("rings", 0)
    if not isinstance(run, str) or not keys.RUN_NAME.fullmatch(run):
        raise MessageInvalid(f"resume.run is not a run's name: {shown(run)}")
    return ResumeRequest(run, _count(attempt, "attempt", 1, keys.LAST_ATTEMPT), _count(rings, "rings", 0, MOST_RINGS))


def _count(value: Any, name: str, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise MessageInvalid(f"resume.{name} is not a number from {low} to {high}: {shown(value)}")
    return value


def _event(document: dict[str, Any]) -> InstanceGone | InstanceEnding | Ignored:
    kind, detail = document.get("detail-type"), document.get("detail")
    if not isinstance(kind, str) or not isinstance(detail, dict):
        raise MessageInvalid("EC2 event without detail")
    if kind not in _EVENTS:
        return Ignored(kind)
    instance, state = detail.get("instance-id"), detail.get("state", "")
    if not isinstance(instance, str) or not keys.INSTANCE_ID.fullmatch(instance) or not isinstance(state, str):
        raise MessageInvalid(f"EC2 event without an instance: {shown(instance)} {shown(state)}")
    if kind == INTERRUPTION_WARNING:
        return InstanceEnding(instance)
    return InstanceGone(instance, state) if state in GONE_STATES else Ignored(f"{kind}: {state}")
