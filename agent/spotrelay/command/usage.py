"""What processes use, from /proc: seconds of CPU since they began, bytes of memory, their command line."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Usage:
    """`memory`: resident bytes, shared ones included."""

    cpu_s: float
    memory: int
    command: str


def usage(pids: Iterable[int]) -> dict[int, Usage]:
    """Of those that are still there."""
    return {pid: found for pid in pids if (found := _of(pid)) is not None}


def _of(pid: int) -> Usage | None:
    try:
        # The name in parentheses may itself hold parentheses and spaces: what is looked for follows the last one.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except (OSError, IndexError, ValueError):
        return None
    ticks = int(fields[11]) + int(fields[12])
    command = b" ".join(words).decode(errors="replace")
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), resident * os.sysconf("SC_PAGE_SIZE"), command)
