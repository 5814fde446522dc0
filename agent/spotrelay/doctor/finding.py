"""One thing that was looked at, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """The most serious first: the order of the report."""

    PROBLEM = "problem"  # runs cannot be started or resumed, or a part of the promises does not hold
    WARNING = "warning"  # it works, and will not always
    UNKNOWN = "unknown"  # it could not be looked at
    SKIPPED = "skipped"  # what it stands on is missing, which is a finding of its own
    OK = "ok"


@dataclass(frozen=True, slots=True)
class Finding:
    """`remedy` says what to do, `command` does it; `detail` is AWS's own word, for whoever wants to look it up.
    `check` is filled in by the examination."""

    state: State
    what: str
    remedy: str = ""
    command: str = ""
    detail: str = ""
    check: str = ""

    def __post_init__(self) -> None:
        if self.state not in (State.OK, State.SKIPPED) and not self.remedy:
            raise ValueError(f"a finding without a remedy helps nobody: {self.what}")


def ok(what: str, *, detail: str = "") -> Finding:
    return Finding(State.OK, what, detail=detail)


def problem(what: str, *, remedy: str, command: str = "", detail: str = "") -> Finding:
    return Finding(State.PROBLEM, what, remedy, command, detail)


def warning(what: str, *, remedy: str, command: str = "", detail: str = "") -> Finding:
    return Finding(State.WARNING, what, remedy, command, detail)


def unknown(what: str, *, remedy: str, command: str = "", detail: str = "") -> Finding:
    return Finding(State.UNKNOWN, what, remedy, command, detail)


def skipped(because: str) -> Finding:
    return Finding(State.SKIPPED, because)
