"""Would a notice be enough? From what was measured: how long the last save would take, and what would make it fit.

    needed = the command's own checkpoint + a look through the directory + bytes to send ÷ bytes a second

Pure arithmetic, and the words for a person.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from spotrelay.core import deadline

# Before anything is measured. A guess that a first checkpoint of some GiB at 2.5 Gbit/s fits in.
FIRST_SAVE_S = 20.0
# What EC2 gives to a spot instance, and what of it is left for command and save.
NOTICE_S = 120.0
USABLE_S = NOTICE_S - deadline.RESERVE_S


@dataclass(frozen=True, slots=True)
class Forecast:
    """Each None where it was never measured.

    `checkpoint_s`: from our signal to the command's end. `dirty`: bytes that a last save would send. `rate`: bytes a
    second that the store takes. `look_s`: what a save takes that has nothing to send.
    """

    checkpoint_s: float | None = None
    dirty: int | None = None
    rate: float | None = None
    look_s: float = 0.0

    @property
    def save_s(self) -> float:
        if self.dirty is None or not self.rate:
            return FIRST_SAVE_S
        return self.look_s + self.dirty / self.rate

    @property
    def needed_s(self) -> float:
        return (self.checkpoint_s or 0.0) + self.save_s

    @property
    def warning(self) -> str:
        """What a person must know; empty where it fits, or where a guess would say so."""
        if self.dirty is None or not self.rate or self.needed_s <= USABLE_S:
            return ""
        left = USABLE_S - (self.checkpoint_s or 0.0) - self.look_s
        takes = f"sending the {_bytes(self.dirty)} of a checkpoint at {_bytes(self.rate)}/s takes {self.save_s:.0f} s"
        if self.checkpoint_s:
            takes += f", after the {self.checkpoint_s:.0f} s that the command needs to end"
        why = f"a notice leaves {USABLE_S:.0f} s, and {takes}"
        return f"{why} — {self._remedies(left)}; until then an interruption goes back to the snapshot before it"

    def _remedies(self, left: float) -> str:
        if left <= 0:
            return "make the command end sooner after its signal: no network helps here"
        assert self.dirty is not None
        assert self.rate
        return (
            f"choose an instance type with {_bits(self.dirty / left * 8)}/s of network or more, or let a "
            f"checkpoint change at most {_bytes(left * self.rate)} (run.exclude, fewer or smaller files), or save more "
            "often (save.every_s) if it is several checkpoints"
        )


def _bytes(number: float) -> str:
    number, unit = _in(number, "bytes", "KB", "MB", "GB", "TB", "PB")
    return f"{number:.3g} {unit}"


def _bits(number: float) -> str:
    """Rounded up: what is said to be enough is enough."""
    number, unit = _in(number, "bit", "kbit", "Mbit", "Gbit", "Tbit")
    return f"{math.ceil(round(number * 10, 6)) / 10:g} {unit}"


def _in(number: float, *units: str) -> tuple[float, str]:
    """In the unit that leaves up to three digits before the point."""
    for unit in units[:-1]:
        if number < 1000:
            return number, unit
        number /= 1000
    return number, units[-1]
