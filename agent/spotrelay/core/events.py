"""What can happen to an attempt. Each event is a fact that somebody observed; none of them asks for anything.

Moments are seconds on the agent's own monotonic clock, so that a wall clock that jumps moves no deadline.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from spotrelay.core.keys import SnapshotId


class Source(StrEnum):
    """Who says that the instance will go."""

    SPOT = "spot"  # spot/instance-action
    SCHEDULED = "scheduled"  # events/maintenance/scheduled
    SYSTEM = "system"  # the operating system stops us: poweroff, TerminateInstances, systemctl stop
    SUCCESSOR = "successor"  # it waits for us, so the launcher knows from EC2 what nobody told us here


class Action(StrEnum):
    """What will be done to it."""

    TERMINATE = "terminate"
    STOP = "stop"
    HIBERNATE = "hibernate"  # begins at once: EC2 gives no two minutes
    REBOOT = "reboot"
    RETIRE = "retire"


class Event:
    """Any of the below."""

    __slots__ = ()


# --- from the surroundings


@dataclass(frozen=True, slots=True)
class Notice(Event):
    """The instance will go at `deadline` (monotonic seconds)."""

    source: Source
    action: Action
    deadline: float


@dataclass(frozen=True, slots=True)
class Rebalance(Event):
    """EC2 sees an elevated risk. Nothing has to end; saving earlier is cheap insurance."""


@dataclass(frozen=True, slots=True)
class Withdrawn(Event):
    """A notice is no longer shown, or its time passed and the instance lives on."""

    source: Source


@dataclass(frozen=True, slots=True)
class Fenced(Event):
    """A later attempt has begun: whatever this one still does counts for nothing."""


@dataclass(frozen=True, slots=True)
class Stopped(Event):
    """The run shall end: a person cancelled it (`result` stopped), or it reached a limit (limit)."""

    result: str = "stopped"
    message: str = ""


@dataclass(frozen=True, slots=True)
class Halted(Stopped):
    """As that, and at once: nobody waits for the command's own checkpoint. What is on the disk is saved."""


# --- from the way in


@dataclass(frozen=True, slots=True)
class Booted(Event):
    """The agent is up."""


@dataclass(frozen=True, slots=True)
class Assigned(Event):
    """This instance knows its run and attempt."""


@dataclass(frozen=True, slots=True)
class TurnedAway(Event):
    """Nothing to do here: unassigned, a bad spec, the claim taken, the run over."""


@dataclass(frozen=True, slots=True)
class Claimed(Event):
    """The attempt is this instance's own."""


@dataclass(frozen=True, slots=True)
class PredecessorGone(Event):
    """It handed over, or can write nothing any more that would count."""


@dataclass(frozen=True, slots=True)
class Restored(Event):
    """The directory is what the snapshot says, every byte verified."""


@dataclass(frozen=True, slots=True)
class Spawned(Event):
    """The command runs."""


# --- from the command


@dataclass(frozen=True, slots=True)
class Succeeded(Event):
    """Every process of it is gone, and it ended with 0 without a signal of ours."""


@dataclass(frozen=True, slots=True)
class Drained(Event):
    """Every process of it is gone, after our signal."""


@dataclass(frozen=True, slots=True)
class Failed(Event):
    """An error (of the command, or on the way to it) that the limits allow another try for."""


@dataclass(frozen=True, slots=True)
class GaveUp(Event):
    """An error, and no try is left."""


# --- from the work that effects began


@dataclass(frozen=True, slots=True)
class Saved(Event):
    snapshot: SnapshotId


@dataclass(frozen=True, slots=True)
class SaveMissed(Event):
    """The last save did not come through in its time; the newest committed snapshot stands."""


@dataclass(frozen=True, slots=True)
class HandedOver(Event):
    """The hand-over is written, or could not be in its time."""


@dataclass(frozen=True, slots=True)
class Recorded(Event):
    """The outcome is written."""


@dataclass(frozen=True, slots=True)
class RecordMissed(Event):
    """The outcome could not be written."""


@dataclass(frozen=True, slots=True)
class Published(Event):
    """The artifacts are there, or could not be made; the snapshot has it all in either case."""


# --- from the clock


@dataclass(frozen=True, slots=True)
class GraceOver(Event):
    """The command had its share of the seconds."""


@dataclass(frozen=True, slots=True)
class DeadlinePassed(Event):
    """The machine should be gone by now."""


@dataclass(frozen=True, slots=True)
class NobodyCame(Event):
    """Nothing is left to wait for: the machine was not taken, or nobody was going to."""


KINDS: tuple[type[Event], ...] = (
    *(Notice, Rebalance, Withdrawn, Fenced, Stopped, Halted),
    *(Booted, Assigned, TurnedAway, Claimed, PredecessorGone, Restored, Spawned),
    *(Succeeded, Drained, Failed, GaveUp),
    *(Saved, SaveMissed, HandedOver, Recorded, RecordMissed, Published),
    *(GraceOver, DeadlinePassed, NobodyCame),
)
