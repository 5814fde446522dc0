"""What can happen to an attempt. Each event is a fact that somebody observed; none of them asks for anything.

Moments are seconds on the agent's own monotonic clock, so that a wall clock that jumps moves no deadline.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Source(StrEnum):
    """Who says that the instance will go."""

    SPOT = "spot"  # spot/instance-action
    SCHEDULED = "scheduled"  # events/maintenance/scheduled
    SYSTEM = "system"  # the operating system stops us: poweroff, TerminateInstances, systemctl stop


class Action(StrEnum):
    """What will be done to it."""

    TERMINATE = "terminate"
    STOP = "stop"
    HIBERNATE = "hibernate"  # begins at once: EC2 gives no two minutes
    REBOOT = "reboot"
    RETIRE = "retire"


@dataclass(frozen=True, slots=True)
class Notice:
    """The instance will go at `deadline` (monotonic seconds)."""

    source: Source
    action: Action
    deadline: float


@dataclass(frozen=True, slots=True)
class Rebalance:
    """EC2 sees an elevated risk. Nothing has to end; saving earlier is cheap insurance."""


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A notice is no longer shown, or its time passed and the instance lives on."""

    source: Source
