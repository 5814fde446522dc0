"""What is going on in a rehearsal, as far as it can be seen from outside: the display and the report draw on it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from spotrelay.cli.moments import Moment
from spotrelay.cli.plan import Plan
from spotrelay.core import records
from spotrelay.local.cloud import Computer


@dataclass(slots=True)
class Seen:
    """One attempt. `said_it`: what the moment of its interruption waits for. `taken`: its machine was told to go, as
    nothing but waiting was left."""

    number: int
    claim: records.Claim
    computer: Computer
    status: records.Status | None = None
    handover: records.Handover | None = None
    base: records.Base | None = None
    running_since: float | None = None
    working_since: float | None = None
    said_it: bool = False
    interrupted: Moment | None = None
    interrupted_at: float | None = None
    taken: bool = False

    @property
    def is_off(self) -> bool:
        return self.computer.off.is_set()


@dataclass(slots=True)
class Scene:
    """`what`: in a word or two. `stored`: bytes in the bucket. `line`: the newest of the command's output."""

    plan: Plan
    began: float
    what: str = "starting the local cloud"
    attempts: list[Seen] = field(default_factory=list)
    outcome: records.Outcome | None = None
    stored: int = 0
    line: str = ""

    @property
    def current(self) -> Seen | None:
        return self.attempts[-1] if self.attempts else None

    @property
    def seconds(self) -> float:
        return time.time() - self.began

    def observed(self) -> str:
        """What is going on, in a word or two."""
        seen = self.current
        if self.outcome is not None:
            return "over"
        if seen is None or seen.is_off:
            return "launching"
        return seen.status.phase if seen.status is not None else "booting"
