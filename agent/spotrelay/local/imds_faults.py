"""Ways in which a metadata service fails, as values that a test or a rehearsal hands to it.

Each is something a client has met: a throttled 503, a connection reset in the middle of an answer, a service that
accepts and never answers, a body that is cut, empty, not JSON or endless. They hit whatever request comes next, the
token's PUT included, because the real ones do not choose either.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Fault:
    """After `latency` seconds: the true answer, or `status` with `body`, or no answer at all."""

    kind: Literal["answer", "status", "reset", "hang"] = "answer"
    status: int = 200
    body: bytes = b""
    latency: float = 0.0


# What goes wrong with a request for this path; None: nothing.
FaultSource = Callable[[str], Fault | None]

RESET = Fault("reset")
HANG = Fault("hang")
EMPTY = Fault("status")
GARBAGE = Fault("status", body=b'{"action": "termin\xff\x00')
WRONG_TYPES = Fault("status", body=b'[{"action": 7, "time": null, "noticeTime": {}}, [], "NotBefore"]')
HUGE = Fault("status", body=b"[" * 1_000_000)


def status(code: int) -> Fault:
    return Fault("status", status=code)


def late(seconds: float) -> Fault:
    """The true answer, but not at once."""
    return Fault(latency=seconds)


def random_faults(seed: int, *, rate: float, hang: bool = False) -> FaultSource:
    """A fault in `rate` of all requests, the same ones for the same seed. 404 is none of them: it is an answer.

    `hang` costs the client its whole timeout each time, so it is asked for.
    """
    chance = random.Random(seed)
    kinds = [status(401), status(403), status(500), status(503), RESET, EMPTY, GARBAGE, WRONG_TYPES, HUGE, late(0.005)]
    if hang:
        kinds.append(HANG)
    return lambda path: chance.choice(kinds) if chance.random() < rate else None
