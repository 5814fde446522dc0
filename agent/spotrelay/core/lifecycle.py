"""One attempt as a table: phase and event give the next phase and what is to be done. Nothing is done here.

The rules, in the order in which they win:

1. An instance owns nothing before `Claimed`, and the command starts only after `Restored` (P1, P2).
2. A notice posts the resume request before anything else, and once: nothing later can prevent it (P3).
3. What ends after our signal is saved and handed over. What ends by itself is saved and concluded.
4. After `DeadlinePassed` nothing is asked for but to wait and to leave (P4).
5. Every path ends in LEAVING, whose one effect ends the instance (P5).
6. What comes at a moment when it cannot be acted on, but will matter soon, is kept for the next phase (DEFERRED):
   a notice between spawn and the first look at the child, or while the claim is on its way.
7. What may well come twice or late is a row that does nothing (IGNORED). A pair that is in none of these is a bug:
   `IllegalTransition` names it and changes nothing.

`step` is the only reader. The README's diagram is drawn from TABLE by scripts/steps/diagram.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from spotrelay.core import events as ev
from spotrelay.core.events import Event


class Phase(StrEnum):
    ARRIVING = "arriving"  # which run is mine?
    CLAIMING = "claiming"
    WAITING = "waiting"  # for the predecessor's hand-over
    RESTORING = "restoring"
    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"  # the command was told; a successor is asked for
    STOPPING = "stopping"  # the command was told; nobody comes after
    SAVING = "saving"  # the last save before a hand-over
    HANDING_OVER = "handing-over"
    CONCLUDING = "concluding"  # the last save before an outcome
    RECORDING = "recording"  # the outcome
    PUBLISHING = "publishing"
    STAYING = "staying"  # until EC2 takes the machine
    LEAVING = "leaving"


class Effect(StrEnum):
    """What is to be done. `relay.py` performs them in order; those marked * go on in the background and report."""

    FIND_RUN = "find run"  # *
    CLAIM = "claim"  # *
    AWAIT_PREDECESSOR = "await predecessor"  # *
    RESTORE = "restore"  # *
    SPAWN = "spawn"  # *
    BEGIN_SAVING = "begin saving"  # * now and then, while the command runs
    SAVE_EARLY = "save early"  # the next of these now
    POST_RESUME = "post resume"  # * under a time limit of its own
    DRAIN = "drain"  # plan the seconds, signal the command, start the clocks
    REPLAN = "replan"  # another notice: the nearer deadline counts
    KILL = "kill"  # what is left of the command
    ABANDON = "abandon"  # whatever is on its way
    SAVE = "save"  # * the last one
    HAND_OVER = "hand over"  # *
    RECORD = "record outcome"  # *
    PUBLISH = "publish artifacts"  # *
    STAY = "stay"  # *
    LEAVE = "leave"  # the instance ends


class Result(StrEnum):
    """How a run ends."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class State:
    phase: Phase = Phase.ARRIVING
    posted: bool = False
    result: Result | None = None
    errored: bool = False
    deferred: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    phase: Phase
    effects: tuple[Effect, ...] = ()
    result: Result | None = None
    errored: bool = False


class IllegalTransition(Exception):
    """An event out of place. Always a bug; the caller logs it and carries on in the phase it was in."""


P, E = Phase, Effect
_LEAVE = Row(P.LEAVING, (E.LEAVE,))
_ABANDON = Row(P.LEAVING, (E.ABANDON, E.LEAVE))
_PASS_ON = Row(P.HANDING_OVER, (E.POST_RESUME, E.ABANDON, E.HAND_OVER))
_PASS_ON_ERROR = Row(P.HANDING_OVER, (E.POST_RESUME, E.HAND_OVER), errored=True)
_STOP_BEFORE_START = Row(P.RECORDING, (E.ABANDON, E.RECORD), Result.STOPPED)
_LAST_SAVE = Row(P.SAVING, (E.SAVE,))
_LAST_SAVE_ERROR = Row(P.SAVING, (E.SAVE,), errored=True)
_SUCCESS = Row(P.CONCLUDING, (E.SAVE,), Result.SUCCEEDED)
_FAILURE = Row(P.CONCLUDING, (E.SAVE,), Result.FAILED)
_STAY = Row(P.STAYING, (E.STAY,))
_TOO_LATE = Row(P.STAYING, (E.ABANDON, E.STAY))

TABLE: dict[Phase, dict[type[Event], Row]] = {
    P.ARRIVING: {
        ev.Booted: Row(P.ARRIVING, (E.FIND_RUN,)),
        ev.Assigned: Row(P.CLAIMING, (E.CLAIM,)),
        ev.TurnedAway: _LEAVE,
        ev.Notice: _ABANDON,  # nothing is owned yet: the launcher sees this instance die and finds another
    },
    P.CLAIMING: {
        ev.Claimed: Row(P.WAITING, (E.AWAIT_PREDECESSOR,)),
        ev.TurnedAway: _LEAVE,
        # A claim that lands after all is an owner that died: EC2's state-change event finds the next.
        ev.DeadlinePassed: _ABANDON,
    },
    P.WAITING: {
        ev.PredecessorGone: Row(P.RESTORING, (E.RESTORE,)),
        ev.Notice: _PASS_ON,
        ev.Fenced: _ABANDON,
        ev.Stopped: _STOP_BEFORE_START,
        ev.Halted: _STOP_BEFORE_START,
        ev.TurnedAway: _LEAVE,
    },
    P.RESTORING: {
        ev.Restored: Row(P.STARTING, (E.SPAWN,)),
        ev.Failed: _PASS_ON_ERROR,
        ev.GaveUp: Row(P.RECORDING, (E.RECORD,), Result.FAILED),
        ev.Notice: _PASS_ON,
        ev.Fenced: _ABANDON,
        ev.Stopped: _STOP_BEFORE_START,
        ev.Halted: _STOP_BEFORE_START,
    },
    P.STARTING: {
        ev.Spawned: Row(P.RUNNING, (E.BEGIN_SAVING,)),
        ev.Failed: _PASS_ON_ERROR,
        ev.GaveUp: Row(P.RECORDING, (E.RECORD,), Result.FAILED),
    },
    P.RUNNING: {
        ev.Notice: Row(P.DRAINING, (E.POST_RESUME, E.DRAIN)),
        ev.Rebalance: Row(P.RUNNING, (E.SAVE_EARLY,)),
        ev.Succeeded: _SUCCESS,
        ev.Failed: _LAST_SAVE_ERROR,
        ev.GaveUp: _FAILURE,
        ev.Stopped: Row(P.STOPPING, (E.DRAIN,), Result.STOPPED),
        ev.Halted: Row(P.STOPPING, (E.KILL,), Result.STOPPED),
        ev.Fenced: Row(P.LEAVING, (E.ABANDON, E.KILL, E.LEAVE)),
    },
    P.DRAINING: {
        ev.Drained: _LAST_SAVE,
        ev.Succeeded: _SUCCESS,
        ev.Failed: Row(P.SAVING, (E.SAVE,), errored=True),
        ev.GaveUp: _FAILURE,
        ev.GraceOver: Row(P.DRAINING, (E.KILL,)),
        ev.Notice: Row(P.DRAINING, (E.REPLAN,)),
        ev.DeadlinePassed: Row(P.STAYING, (E.KILL, E.STAY)),
        ev.Fenced: Row(P.LEAVING, (E.ABANDON, E.KILL, E.LEAVE)),
    },
    P.STOPPING: {
        ev.Drained: Row(P.CONCLUDING, (E.SAVE,)),
        ev.Succeeded: _SUCCESS,
        ev.Failed: Row(P.CONCLUDING, (E.SAVE,)),
        ev.GaveUp: Row(P.CONCLUDING, (E.SAVE,)),
        ev.GraceOver: Row(P.STOPPING, (E.KILL,)),
        ev.Halted: Row(P.STOPPING, (E.KILL,)),  # whoever was patient at first
        ev.Notice: Row(P.STOPPING, (E.REPLAN,)),
        ev.DeadlinePassed: Row(P.STAYING, (E.KILL, E.STAY)),
        ev.Fenced: Row(P.LEAVING, (E.ABANDON, E.KILL, E.LEAVE)),
    },
    P.SAVING: {
        ev.Saved: Row(P.HANDING_OVER, (E.POST_RESUME, E.HAND_OVER)),
        ev.SaveMissed: Row(P.HANDING_OVER, (E.POST_RESUME, E.HAND_OVER)),
        ev.Notice: Row(P.SAVING, (E.POST_RESUME, E.REPLAN)),
        ev.DeadlinePassed: _TOO_LATE,
        ev.Fenced: _ABANDON,
    },
    P.HANDING_OVER: {
        ev.HandedOver: _STAY,
        ev.Notice: Row(P.HANDING_OVER, (E.REPLAN,)),
        ev.DeadlinePassed: _TOO_LATE,
        ev.Fenced: _ABANDON,
    },
    P.CONCLUDING: {
        ev.Saved: Row(P.RECORDING, (E.RECORD,)),
        # The work is done but not kept: somebody has to do its last stretch again.
        ev.SaveMissed: Row(P.HANDING_OVER, (E.POST_RESUME, E.HAND_OVER), errored=True),
        # An outcome, once written, makes the request void; without one it is needed.
        ev.Notice: Row(P.CONCLUDING, (E.POST_RESUME, E.REPLAN)),
        ev.DeadlinePassed: _TOO_LATE,
        ev.Fenced: _ABANDON,
    },
    P.RECORDING: {
        ev.Recorded: Row(P.PUBLISHING, (E.PUBLISH,)),
        ev.RecordMissed: Row(P.HANDING_OVER, (E.POST_RESUME, E.HAND_OVER), errored=True),
        ev.Notice: Row(P.RECORDING, (E.POST_RESUME, E.REPLAN)),
        ev.DeadlinePassed: _TOO_LATE,
        ev.Fenced: _ABANDON,
    },
    P.PUBLISHING: {
        ev.Published: _STAY,
        ev.Notice: Row(P.PUBLISHING, (E.REPLAN,)),
        ev.DeadlinePassed: _TOO_LATE,
    },
    P.STAYING: {
        ev.NobodyCame: _LEAVE,
        ev.Withdrawn: _LEAVE,  # the successor owns the run: nothing keeps this machine
        ev.Notice: Row(P.STAYING, (E.REPLAN,)),
        ev.Fenced: Row(P.STAYING),  # as it should be
    },
    P.LEAVING: {},
}

DEFERRED: dict[Phase, frozenset[type[Event]]] = {
    P.CLAIMING: frozenset({ev.Notice, ev.Stopped, ev.Halted, ev.Fenced}),
    P.STARTING: frozenset({ev.Notice, ev.Rebalance, ev.Stopped, ev.Halted, ev.Fenced, ev.DeadlinePassed}),
}

# Reported by work that an ABANDON was too late to stop, or by the command after its deadline.
_LATE = frozenset({ev.GraceOver, ev.Drained, ev.Succeeded, ev.Failed, ev.GaveUp, ev.PredecessorGone, ev.Restored})
_NEWS = frozenset({ev.Rebalance, ev.Withdrawn})
_ENDING = _NEWS | _LATE | {ev.Stopped, ev.Halted}
IGNORED: dict[Phase, frozenset[type[Event]]] = {
    P.ARRIVING: _NEWS,
    P.CLAIMING: _NEWS,
    P.WAITING: _NEWS,
    P.RESTORING: _NEWS,
    P.STARTING: frozenset({ev.Withdrawn}),
    P.RUNNING: frozenset({ev.Withdrawn}),
    P.DRAINING: _NEWS | {ev.Stopped, ev.Halted},
    P.STOPPING: _NEWS | {ev.Stopped},
    P.SAVING: _ENDING,
    P.HANDING_OVER: _ENDING | {ev.Saved, ev.SaveMissed},
    P.CONCLUDING: _ENDING,
    P.RECORDING: _ENDING,
    P.PUBLISHING: _ENDING | {ev.Fenced},
    P.STAYING: _ENDING
    | {ev.Saved, ev.SaveMissed, ev.HandedOver, ev.Recorded, ev.RecordMissed, ev.Published, ev.DeadlinePassed},
    P.LEAVING: frozenset(ev.KINDS),
}


def step(state: State, event: Event) -> tuple[State, tuple[Effect, ...]]:
    """The next state, and what is to be done, in order. Raises IllegalTransition and changes nothing."""
    kind = type(event)
    row = TABLE[state.phase].get(kind)
    if row is None:
        if kind in DEFERRED.get(state.phase, ()):
            return replace(state, deferred=(*state.deferred, event)), ()
        if kind in IGNORED[state.phase]:
            return state, ()
        raise IllegalTransition(f"{kind.__name__} while {state.phase.name}")
    # One request an attempt (P3): rows ask for it wherever one is needed, and the first of them is it.
    effects = tuple(e for e in row.effects if e is not Effect.POST_RESUME or not state.posted)
    after = State(
        phase=row.phase,
        posted=state.posted or Effect.POST_RESUME in effects,
        result=row.result or state.result,
        errored=row.errored or state.errored,
        deferred=state.deferred,
    )
    return _deliver(after, effects) if after.phase is not state.phase else (after, effects)


def _deliver(state: State, effects: tuple[Effect, ...]) -> tuple[State, tuple[Effect, ...]]:
    """What was kept for the next phase comes now, in its order; what must wait on is kept again."""
    kept, state = state.deferred, replace(state, deferred=())
    for event in kept:
        state, more = step(state, event)
        effects += more
    return state, effects
