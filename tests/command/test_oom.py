"""Whom the kernel killed for want of memory, on files laid out as the kernel does (its admin-guide/cgroup-v2.rst)."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from spotrelay.command import oom
from spotrelay.command.oom import OomKills
from spotrelay.core.ends import End, Exited, Killed

SIGKILL = Killed(signal.SIGKILL)


class Machine:
    """`cgroup`: the command's, below its service's."""

    def __init__(self, folder: Path) -> None:
        self.vmstat, self.cgroup = folder / "vmstat", folder / "service" / "command"
        self.cgroup.mkdir(parents=True)
        self.kill(3)

    def kill(self, number: int) -> None:
        """So many were killed on it."""
        self.vmstat.write_text(f"nr_free_pages 100\noom_kill {number}\ndrop_pagecache 0\n")

    @staticmethod
    def count(cgroup: Path, number: int) -> None:
        """So many were killed in the cgroup."""
        text = f"low 0\nhigh 0\nmax 40\noom {number}\noom_kill {number}\noom_group_kill 0\n"
        (cgroup / "memory.events").write_text(text)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(tmp_path)
    monkeypatch.setattr(oom, "MACHINE", machine.vmstat)
    return machine


@pytest.mark.parametrize("above", [False, True], ids=["its own limit", "the service's"])
@pytest.mark.parametrize(("end", "ours"), [(SIGKILL, False), (Exited(1), False), (SIGKILL, True)])
def test_what_its_cgroup_counts_was_the_command_s(end: End, ours: bool, above: bool, machine: Machine) -> None:
    """However its program ended: a worker that is gone is why it exits with 1. What another one on the machine had is
    nothing to it. Otherwise a data loader that starves is "exit code 1"."""
    counting = machine.cgroup.parent if above else machine.cgroup
    machine.count(counting, 5)
    kills = OomKills(machine.cgroup)
    machine.kill(9)
    assert 0 == kills.among(end, ours=ours)

    machine.count(counting, 7)

    assert 2 == kills.among(end, ours=ours)


@pytest.mark.parametrize(
    ("end", "ours", "expected"),
    [
        pytest.param(SIGKILL, False, 1, id="its program"),
        pytest.param(Exited(137), False, 1, id="a program of its shell"),
        pytest.param(SIGKILL, True, 0, id="we killed it"),
        pytest.param(Exited(1), False, 0, id="it ended otherwise"),
        pytest.param(Killed(signal.SIGTERM), False, 0, id="by another signal"),
    ],
)
def test_what_the_machine_counts_takes_an_end_that_fits(end: End, ours: bool, expected: int, machine: Machine) -> None:
    """It may have been anybody's. Otherwise every failure on a busy computer is called a want of memory."""
    kills = OomKills(None)
    machine.kill(4)

    assert expected == kills.among(end, ours=ours)


def test_machine_that_counts_nothing_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No such file, or no such line: kernels before 4.13. Otherwise whoever is killed there was starved."""
    monkeypatch.setattr(oom, "MACHINE", tmp_path / "none")
    before = OomKills(None).among(SIGKILL, ours=False)
    (tmp_path / "none").write_text("pgfault 12\n")

    assert (0, 0) == (before, OomKills(None).among(SIGKILL, ours=False))


def test_words_name_the_limit_and_where_to_raise_it(machine: Machine) -> None:
    """If it had one; else the machine was too small. Otherwise somebody pays for memory that a file denies."""
    unlimited = OomKills(None).told(1)
    machine.count(machine.cgroup, 0)
    (machine.cgroup / "memory.max").write_text("67108864\n")
    limited = OomKills(machine.cgroup).told(2)
    (machine.cgroup / "memory.max").write_text("max\n")
    open_ended = OomKills(machine.cgroup).told(1)

    assert "the kernel killed 2 processes of it, memory.max is 64 MiB — raise it (SPOTRELAY_LIMITS" in limited
    assert "memory.max" not in open_ended + unlimited
    assert "1 process of it — choose an instance type" in open_ended
    assert "1 process on this machine — choose an instance type" in unlimited
