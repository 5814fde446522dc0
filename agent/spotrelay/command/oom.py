"""Was it killed for want of memory? SIGKILL has no sender, but the kernel counts whom it killed.

1. `memory.events` counts for one cgroup and those below it: in the command's own where that has a limit of memory, else
   in the service's, where the agent beside it is spared. What it counts were processes of the command, and that is said
   however the program itself ended: a worker that is gone is why it exits with 1.
2. Where there is no such file (a rehearsal, cgroups of version 1), /proc/vmstat counts for the whole machine. Then it
   also takes an end by SIGKILL that nobody here has sent.

The kernel counts before it sends the signal (mm/oom_kill.c, __oom_kill_process): whoever has seen the end finds it
counted.
"""

from __future__ import annotations

import signal
from pathlib import Path

from spotrelay.core.ends import End, Exited, Killed

MACHINE = Path("/proc/vmstat")
# By itself, or in the words of the shell that waited for it.
KILLED = (Killed(signal.SIGKILL), Exited(128 + signal.SIGKILL))
MORE = "choose an instance type with more memory (instance.types), or let the command use less"
RAISE = "raise it (SPOTRELAY_LIMITS, in a drop-in of the unit), or " + MORE


class OomKills:
    """Counts from now on. `cgroup`: the command's own, if there is one."""

    def __init__(self, cgroup: Path | None) -> None:
        counting = [folder / "memory.events" for folder in (cgroup, cgroup.parent)] if cgroup is not None else []
        self._file = next((file for file in counting if file.is_file()), MACHINE)
        self._own = self._file != MACHINE
        self._cgroup = cgroup
        self._before = _count(self._file)

    def among(self, end: End, *, ours: bool) -> int:
        """How many processes of a command that ended so. `ours`: we have sent SIGKILL."""
        if self._own or (end in KILLED and not ours):
            return max(0, _count(self._file) - self._before)
        return 0

    def told(self, kills: int) -> str:
        """In words, and what to do."""
        processes = f"{kills} process{'es' * (kills != 1)}"
        if not self._own:
            return f"out of memory: the kernel killed {processes} on this machine — {MORE}"
        limit = _limit(self._cgroup)
        if limit is None:
            return f"out of memory: the kernel killed {processes} of it — {MORE}"
        return f"out of memory: the kernel killed {processes} of it, memory.max is {limit >> 20} MiB — {RAISE}"


def _count(file: Path) -> int:
    try:
        lines = dict(line.split() for line in file.read_text().splitlines())
        return int(lines.get("oom_kill", 0))
    except (OSError, ValueError):
        return 0


def _limit(cgroup: Path | None) -> int | None:
    """Bytes. "max" is none."""
    try:
        return int((cgroup / "memory.max").read_text()) if cgroup is not None else None
    except (OSError, ValueError):
        return None
