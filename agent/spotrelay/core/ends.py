"""How a process ended: by itself with a code, or by a signal. A shell's single number hides which; we keep both."""

from __future__ import annotations

import signal
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Exited:
    """It called exit(code); 0..255."""

    code: int

    @property
    def status(self) -> int:
        return self.code

    def __str__(self) -> str:
        return f"exit code {self.code}"


@dataclass(frozen=True, slots=True)
class Killed:
    """A signal ended it."""

    signal: int

    @property
    def status(self) -> int:
        """The shell's number for it: a command that itself exits 143 has the same status and is not the same end."""
        return 128 + self.signal

    def __str__(self) -> str:
        try:
            return signal.Signals(self.signal).name
        except ValueError:
            return f"signal {self.signal}"  # a real-time signal between SIGRTMIN and SIGRTMAX has no name


End = Exited | Killed


def end_of(returncode: int) -> End:
    """From `subprocess`'s convention, where -n means signal n."""
    return Exited(returncode) if returncode >= 0 else Killed(-returncode)
