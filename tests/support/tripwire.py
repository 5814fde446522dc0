"""The agent with a wire across its path: it notes every step that it comes by, and dies at the one it is told to.

    python -m support.tripwire          on a machine of the local cloud, in place of spotrelay.daemon

A step is an effect of the lifecycle, or a call of an adapter: its method and the kind of object it is about. Nobody
keeps a list of them: the effects are what `Relay.perform` performs, the calls are the adapters' public methods. The
moments before and after each are noted in SPOTRELAY_STATE/moments, in the order in which the tasks come by.

To die is SIGKILL to itself: the machine ends with its agent, all processes of it at one moment, and nobody is told.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import os
import re
import signal
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

VARIABLE = "SPOTRELAY_TRIPWIRE"
BEFORE, AFTER = "before", "after"


@dataclass(frozen=True)
class Wire:
    """Die `moment` the first `step` that comes with or after the step `since` ("": ever)."""

    step: str
    moment: str
    since: str = ""

    def environment(self) -> dict[str, str]:
        return {VARIABLE: json.dumps(asdict(self))}

    def __str__(self) -> str:
        return f"{self.moment} {self.step}" + (f" (since {self.since})" if self.since else "")


def shape(name: str) -> str:
    """An object's kind: without the run's name, hashes, ids and numbers."""
    name = re.sub(r"^(runs|launches)/[^/]+/", "", name)
    return re.sub(r"\d+", "#", re.sub(r"[0-9a-f]{64}|i-[0-9a-f]{8,}", "*", name))


def steps_in(state: Path, moment: str = AFTER, since: str = "") -> list[str]:
    """Those of which this moment came on the machine with this state folder, from `since` on: each once, in order."""
    notes = (state / "moments").read_text().splitlines()
    notes = notes[notes.index(f"{BEFORE} {since}") :] if since else notes
    return list(dict.fromkeys(note.removeprefix(f"{moment} ") for note in notes if note.startswith(moment)))


def sprung(state: Path) -> bool:
    return (state / "sprung").exists()


class Tripwire:
    def __init__(self, state: Path, wire: Wire | None) -> None:
        self._state, self._wire = state, wire
        self._armed = wire is not None and not wire.since

    def across(self, owner: type, method: str, name: Callable[..., str]) -> None:
        original: Callable[..., Awaitable[Any]] = getattr(owner, method)

        @functools.wraps(original)
        async def crossed(this: Any, *args: Any, **named: Any) -> Any:
            step = name(*args, **named)
            self._come(step, BEFORE)
            try:
                return await original(this, *args, **named)
            except asyncio.CancelledError:
                step = ""  # it never came to its end
                raise
            finally:
                if step:
                    self._come(step, AFTER)

        setattr(owner, method, crossed)

    def _come(self, step: str, moment: str) -> None:
        wire = self._wire
        if wire is not None and wire.since == step:
            self._armed = True
        if self._armed and wire is not None and (wire.step, wire.moment) == (step, moment):
            (self._state / "sprung").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        with (self._state / "moments").open("a") as notes:
            notes.write(f"{moment} {step}\n")


def main() -> None:
    from spotrelay import daemon, predecessors, relay

    # All clocks here are one: who waits for a dead predecessor need not wait for it to be slow.
    predecessors.MARGIN_S = 1.0
    state = Path(os.environ["SPOTRELAY_STATE"])
    found = os.environ.get(VARIABLE)
    wire = Tripwire(state, Wire(**json.loads(found)) if found else None)
    wire.across(relay.Relay, "perform", lambda effect: f"effect: {effect}")
    for adapter, method in calls():
        wire.across(adapter, method, functools.partial(_call, method))
    daemon.main()


def calls() -> list[tuple[type, str]]:
    """Every call that the agent can make of its surroundings: adapter and method."""
    from spotrelay import daemon
    from spotrelay.aws.store import ObjectStore

    return [
        (adapter, method)
        for adapter in (ObjectStore, daemon.SqsQueue, daemon.InstanceMetadata)
        for method, _ in inspect.getmembers(adapter, inspect.iscoroutinefunction)
        if not method.startswith("_")
    ]


def _call(method: str, *args: Any, **_: Any) -> str:
    return f"{method} {shape(args[0])}" if args and isinstance(args[0], str) else method


if __name__ == "__main__":
    main()
