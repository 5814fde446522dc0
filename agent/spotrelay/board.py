"""What the agent is doing, on the machine itself: one small file, for a person who has logged in (`spotrelay top`).

The store has the same in status.json, for everybody else; here it needs no credentials, and is there when the store is
away. Written whole at every step and every heartbeat, into memory (/run) where systemd gives a folder there. A board
that cannot be written is no reason for anything (P6). An agent that was restarted reads here what the one before it
said last, before it says something itself.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spotrelay.core import keys, records
from spotrelay.core.records import RecordInvalid

NAME = "now.json"
# Where an instance has it: systemd's RuntimeDirectory, or the agent's state.
PLACES = (Path("/run/spotrelay"), Path("/var/lib/spotrelay"))


@dataclass(frozen=True, slots=True)
class Posted:
    """`agent`: its pid; everything below it that is not itself is the command's. `run`: "" before there is one."""

    phase: str
    at: float
    agent: int
    run: str = ""
    attempt: int = 0
    status: records.Status | None = None


class Board:
    """In `folder`; None: nobody looks."""

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / NAME if folder is not None else None
        self._left: Posted | None = None
        if folder is not None:
            with contextlib.suppress(OSError, RecordInvalid):
                self._left = read(folder)

    def left(self, run: str, attempt: int) -> records.Status | None:
        """What an agent before this one had on it, of the same attempt."""
        left = self._left
        return left.status if left is not None and (left.run, left.attempt) == (run, attempt) else None

    def post(self, posted: Posted) -> None:
        if self._path is None:
            return
        fresh = self._path.with_suffix(".new")
        with contextlib.suppress(OSError):
            fresh.write_text(json.dumps(asdict(posted)))
            fresh.chmod(0o644)  # whoever may log in may look: the agent's umask is for the command's log
            fresh.replace(self._path)


def read(folder: Path) -> Posted:
    """Raises OSError where there is none, RecordInvalid where it is garbled."""
    path = folder / NAME
    data = path.read_bytes()
    posted = records.decode(_Outer, data, key=str(path))
    status = None
    if posted.status is not None:
        status = records.decode(records.Status, json.dumps(posted.status).encode(), key=str(path))
    if posted.run and not keys.RUN_NAME.fullmatch(posted.run):
        raise RecordInvalid(f"{path}: run is no run's name")
    return Posted(posted.phase, posted.at, posted.agent, posted.run, posted.attempt, status)


def places(environment: Mapping[str, str]) -> list[Path]:
    """Where to look for one, in this order."""
    state = environment.get("SPOTRELAY_STATE")
    return [*([Path(state)] if state else []), *PLACES]


def here() -> int:
    """The agent's pid, for what it posts."""
    return os.getpid()


@dataclass(frozen=True, slots=True)
class _Outer:
    phase: str
    at: float
    agent: int
    run: str = ""
    attempt: int = 0
    status: dict[str, Any] | None = None
