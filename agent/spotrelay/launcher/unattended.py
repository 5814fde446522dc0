"""Does an open run need somebody? Which attempt is missing, decided from its traces: no I/O, one function.

The first line that fits is the answer, for the newest attempt that was ever claimed:

    none was                                                       attempt 1 is missing
    it handed over                                                 the next one is
    it was told to go, by a notice or by EC2's mark                the next one is
    its owner's instance is there                                  nobody is: it works (or is ended, and then asked for)
    its owner was heard of within three minutes                    nobody is: it may be newer than our list
    otherwise                                                      the next one is: its owner died without a word

An instance that is on its way to the missing attempt is waited for. All of this only asks: what is asked for twice, or
without need, `succession` settles from the same objects (P3). So it may err to the side of asking.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from spotrelay.core import records

# Twelve heartbeats, as `predecessors.SILENT_S` has it.
HEARD_S = 180.0


@dataclass(frozen=True, slots=True)
class Traces:
    """Of an open run. `newest`: its newest claimed attempt. `there`: that one's instance is up, as far as EC2 told.
    `marked`: EC2 has said that it takes it. `coming`: attempts that an instance was launched for and is young."""

    newest: int | None = None
    claim: records.Claim | None = None
    status: records.Status | None = None
    handover: records.Handover | None = None
    there: bool = False
    marked: bool = False
    coming: Collection[int] = ()


def missing(traces: Traces, now: float) -> int | None:
    """The attempt to ask for."""
    attempt = 1 if traces.newest is None else traces.newest + 1
    if attempt in traces.coming or (traces.newest is not None and _attended(traces, now)):
        return None
    return attempt


def _attended(traces: Traces, now: float) -> bool:
    if (
        traces.handover is not None
        or traces.marked
        or (traces.status is not None and traces.status.gone_at is not None)
    ):
        return False
    heard_at = max(each.at for each in (traces.claim, traces.status) if each is not None)
    return traces.there or now - heard_at < HEARD_S
