"""This computer's clock against AWS's, as the first answer brought it. AWS refuses what is signed five minutes off."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from spotrelay.doctor.finding import Finding, ok, problem, warning
from spotrelay.doctor.ground import Ground
from spotrelay.doctor.known import Missing

# The answer's header has whole seconds, and an answer may take some. Half a minute is neither: the clock drifts, and
# heartbeats and deadlines that this computer writes or reads are off by as much.
_DRIFTS_S = 30
# Signature version 4 is valid for five minutes around its time (S3 allows fifteen).
_REFUSED_S = 300


def clock(ground: Ground) -> Iterator[Finding]:
    with contextlib.suppress(Missing):  # a refusal has a date too; what it means is said by `credentials`
        ground.caller.get()
    if ground.client.heard is None:
        ground.caller.get()
        raise Missing("an answer that has a date")
    theirs, ours = ground.client.heard
    ahead = ours - theirs.timestamp()
    if abs(ahead) <= _DRIFTS_S:
        yield ok("agrees with AWS's")
        return
    what = f"this computer's clock is {_length(abs(ahead))} {'ahead' if ahead > 0 else 'behind'}"
    setting = "sudo sntp -sS time.apple.com" if sys.platform == "darwin" else "sudo timedatectl set-ntp true"
    if abs(ahead) > _REFUSED_S:
        yield problem(f"{what}: AWS refuses what it signs", remedy="Let it be set by the network.", command=setting)
    else:
        yield warning(what, remedy="Let it be set by the network.", command=setting)


def _length(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
