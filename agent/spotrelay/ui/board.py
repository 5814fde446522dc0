"""The list of runs: a row each, and which of them changed since a page last heard.

Of ten thousand, all that a page is told when it comes is one message of 1.4 MB, 22 ms of CPU from rows to bytes; one
that changed is 190 bytes, 0.2 ms, and a look in which none did 2.4 ms (the best of seven on one core of a Xeon at
2.8 GHz, November 2026).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from spotrelay.person.glance import Glance, State


@dataclass(frozen=True, slots=True)
class Row:
    """`state`: empty as long as nobody has looked. `at`: when it was last heard of, in unix seconds. `where`: its
    newest machine. `note`: why it waits, or how it ended."""

    name: str
    state: str = ""
    attempt: int = 0
    at: float = 0.0
    where: str = ""
    note: str = ""

    @property
    def going(self) -> bool:
        """It may change by itself."""
        return self.state != "" and not State(self.state).over


def row(seen: Glance, now: float) -> Row:
    state = seen.state(now)
    claim = seen.claim
    where = " · ".join(filter(None, (claim.instance_type, claim.zone, claim.market))) if claim is not None else ""
    return Row(seen.name, str(state), seen.attempt, seen.at, where, _note(seen, state))


def _note(seen: Glance, state: State) -> str:
    if state is State.UNREADABLE:
        return seen.trouble
    if seen.outcome is not None:
        return seen.outcome.message
    return seen.wait.why if seen.wait is not None else ""


_FIELDS = tuple(field.name for field in fields(Row))


def _document(each: Row) -> dict[str, Any]:
    """dataclasses.asdict copies deeply: 0.2 s for ten thousand, on the loop."""
    return {name: getattr(each, name) for name in _FIELDS}


class Board:
    """Rows by name, and the version that last changed each; versions only grow."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self._changed: dict[str, int] = {}

    def put(self, rows: Iterable[Row], version: int) -> bool:
        """True if any of them is new or another: that is what `version` brings."""
        fresh = [each for each in rows if self.rows.get(each.name) != each]
        self.rows |= {each.name: each for each in fresh}
        self._changed |= dict.fromkeys((each.name for each in fresh), version)
        return bool(fresh)

    def drop(self, names: Iterable[str], version: int) -> bool:
        gone = [name for name in names if self.rows.pop(name, None) is not None]
        self._changed |= dict.fromkeys(gone, version)
        return bool(gone)

    def since(self, version: int) -> dict[str, Any]:
        """What changed after `version`; 0: everything. `whole`: the page forgets what it had."""
        names = [name for name, changed in self._changed.items() if changed > version]
        return {
            "whole": version == 0,
            "rows": [_document(self.rows[name]) for name in names if name in self.rows],
            "gone": [name for name in names if name not in self.rows] if version else [],
        }
