"""When a rehearsal interrupts: one moment for each interruption, counted from where an attempt is at work.

Or from what the program says: the worst moment is one that it knows, in the midst of a checkpoint, and seconds do not
find it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from spotrelay.core.errors import UsageError

_SAID = re.compile(r"/(.+)/(?::(notice|no-notice))?", re.DOTALL)
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
# Random moments lie in a span in which most programs are past their imports and not yet at their end.
EARLIEST_S, LATEST_S = 2.0, 12.0


@dataclass(frozen=True, slots=True)
class Moment:
    """Interrupt after so many seconds at work, or once the attempt has `said` what matches; without notice the machine
    simply dies."""

    after_s: float
    notice: bool = True
    said: re.Pattern[str] | None = None


def seconds(text: str) -> float:
    """`10`, `10s`, `500ms`, `2m`, `1h`. Raises UsageError."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"not a time: {text!r}", next_step="write 10s, 500ms, 2m or 1h")
    return float(match[1]) * _UNITS[match[2] or "s"]


def moments(after: Sequence[str], count: int | None, *, notice: bool, seed: int | None) -> list[Moment]:
    """From the options: given moments first, random ones up to `count`. `10s:no-notice` is a sudden death, `/saving/`
    waits for the output to match.

    Raises UsageError.
    """
    given = [_moment(text, notice) for text in after]
    wanted = max(1, len(given)) if count is None else count
    if wanted < len(given):
        raise UsageError(
            f"{len(given)} moments for {wanted} interruptions", next_step="leave --interruptions out, or raise it"
        )
    chance = random.Random(seed)  # noqa: S311 - a moment, not a key
    drawn = [Moment(chance.uniform(EARLIEST_S, LATEST_S), notice) for _ in range(wanted - len(given))]
    return given + drawn


def _moment(text: str, notice: bool) -> Moment:
    if match := _SAID.fullmatch(text):
        return Moment(0.0, match[2] == "notice" if match[2] else notice, _expression(match[1], text))
    time, _, kind = text.partition(":")
    if kind not in ("", "no-notice", "notice"):
        raise UsageError(f"not a moment: {text!r}", next_step="write 10s, 10s:no-notice or /saving/")
    return Moment(seconds(time), notice if not kind else kind == "notice")


def _expression(pattern: str, text: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UsageError(f"not a moment: {text!r}: {error}", next_step="write one like /saving epoch/") from error
