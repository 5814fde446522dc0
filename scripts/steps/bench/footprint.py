"""Row `agent`: what the agent itself takes beside a command that sleeps, at a poll a second.

The real agent, in the local cloud of a rehearsal, on a machine of its own where namespaces allow. Memory and CPU are
the kernel's counts of its two processes, the service and the subreaper that holds the command; the command is not among
them. What Python and the imports cost is measured in processes that do nothing else.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .measure import Measured, measure, resident, tree
from .moves import empty
from .plan import Bench
from .sample import Role, Sample

ROW = "agent"
PROCESSES = ("spotrelay.daemon", "spotrelay.command.subreaper")
SETTLES_S = 5
# Six of the looks that come every five seconds, and two heartbeats.
WATCHED_S = 30
BEGINS_S = 60
MIB = 1 << 20


def footprint(bench: Bench, folder: Path) -> Iterator[Sample]:
    python, imports = _idle(bench, "pass"), _idle(bench, f"import {PROCESSES[0]}")
    costs = {"of it Python": python / MIB, "imports": (imports - python) / MIB}
    with empty(folder), _rehearsed(folder) as rehearsal:
        agent = _agent(rehearsal)
        time.sleep(SETTLES_S)
        for _ in range(bench.runs):
            yield _watched(agent, costs)


def _idle(bench: Bench, statement: str) -> int:
    """Resident bytes of a Python that has done this."""
    command = [sys.executable, "-c", f"{statement}\nimport time\ntime.sleep(0.5)"]
    return measure(command, bench.site.environment).peak_rss


@contextmanager
def _rehearsed(folder: Path) -> Iterator[int]:
    spotrelay = str(Path(sys.executable).with_name("spotrelay"))
    command = [spotrelay, "rehearse", "--interruptions", "0", "--directory", str(folder), "--save-every", "1h"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen([*command, "--", "sleep", "1d"], stdout=quiet, stderr=quiet) as rehearsal:
        try:
            yield rehearsal.pid
        finally:
            rehearsal.terminate()


def _agent(rehearsal: int) -> list[int]:
    """Its processes, once the command has begun."""
    deadline = time.monotonic() + BEGINS_S
    while time.monotonic() < deadline:
        commands = {pid: _command_line(pid) for pid in tree(rehearsal)}
        if ["sleep", "1d"] in commands.values():
            return [pid for pid, words in commands.items() if set(PROCESSES) & set(words)]
        time.sleep(0.2)
    raise RuntimeError("the rehearsal did not start its command")


def _command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
    except OSError:
        return []


def _ran_s(pid: int) -> float:
    """Of its threads that live: to the nanosecond, where /proc/PID/stat counts ticks of 10 ms and 0.2 % are six."""
    tasks = [Path(task.path, "schedstat") for task in os.scandir(f"/proc/{pid}/task")]
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def _watched(agent: list[int], costs: dict[str, float]) -> Sample:
    before, began = sum(map(_ran_s, agent)), time.monotonic()
    time.sleep(WATCHED_S)
    wall_s, spent_s = time.monotonic() - began, sum(map(_ran_s, agent)) - before
    service, *subreaper = sorted((resident(pid)[0] for pid in agent), reverse=True)
    figures = {"% of a core": 100 * spent_s / wall_s, "MiB": service / MIB, **costs, "subreaper": sum(subreaper) / MIB}
    return Sample(ROW, "spotrelay", Role.OURS, Measured(wall_s, spent_s, service + sum(subreaper)), figures=figures)
