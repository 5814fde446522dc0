"""Row `agent`: what the agent itself takes beside a command that sleeps, at a poll a second.

The real agent, in the local cloud of a rehearsal, on a machine of its own where namespaces allow. Its memory and CPU
are the kernel's counts of its one process, the command's not among them, from when the command has begun.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from .measure import Measured, resident, tree
from .moves import empty
from .plan import Bench
from .sample import Role, Sample

ROW = "agent"
SETTLES_S = 5
# 0.2 % of a core over so long are four ticks of 10 ms: less could not be told from nothing.
WATCHED_S = 30
SLEEP = "86399"  # seconds; no other process here sleeps so long


def footprint(bench: Bench, folder: Path) -> Iterator[Sample]:
    with empty(folder):
        command = [str(Path(sys.executable).with_name("spotrelay")), "rehearse", "--interruptions", "0"]
        options = ["--directory", str(folder), "--save-every", "1h", "--", "sleep", SLEEP]
        with subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL) as rehearsal:
            try:
                agent = _parent_of_sleep(rehearsal.pid)
                time.sleep(SETTLES_S)
                for _ in range(bench.runs):
                    yield _watched(agent)
            finally:
                rehearsal.terminate()


def _watched(agent: int) -> Sample:
    cpu, began = _cpu_s(agent), time.monotonic()
    time.sleep(WATCHED_S)
    wall_s, cpu_s = time.monotonic() - began, _cpu_s(agent) - cpu
    rss, _ = resident(agent)
    figures = {"% of a core": 100 * cpu_s / wall_s, "resident MiB": rss / (1 << 20)}
    return Sample(ROW, "spotrelay", Role.OURS, Measured(wall_s, cpu_s, rss), figures=figures)


def _parent_of_sleep(root: int) -> int:
    """The agent is who started the command."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for pid in tree(root):
            if _command_line(pid) == ["sleep", SLEEP]:
                stat = Path(f"/proc/{pid}/stat").read_text()
                return int(stat.rpartition(")")[2].split()[1])
        time.sleep(0.2)
    raise RuntimeError("the rehearsal did not start its command")


def _command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
    except OSError:
        return []


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
