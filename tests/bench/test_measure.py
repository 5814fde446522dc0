"""What is measured is the whole of a command, and nothing of the bench."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from bench.measure import Memory, measure

# Burns its own CPU time, however busy the machine is.
BURN = "import time\nwhile time.process_time() < {}: pass"
MIB = 1 << 20


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", code]


def test_cpu_of_children_counts() -> None:
    """A pipeline's seconds are its members'. Otherwise `tar | zstd | aws` costs what the shell costs: nothing."""
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', {BURN.format(0.3)!r}], check=True)"
    measured = measure(python(code), os.environ)

    assert 0 == measured.status
    assert measured.cpu_s >= 0.3
    assert measured.wall_s >= 0.3


def test_memory_of_processes_that_live_together_is_added() -> None:
    """Two that hold 64 MiB each at the same time hold 128, and the one that waits for them no more than itself."""
    hold = "held = b'x' * (64 << 20); print(flush=True); input()"
    code = (
        "import subprocess, sys\n"
        f"command, pipe = [sys.executable, '-S', '-c', {hold!r}], subprocess.PIPE\n"
        "both = [subprocess.Popen(command, stdin=pipe, stdout=pipe) for _ in range(2)]\n"
        "for each in both: each.stdout.readline()\n"
        "print(flush=True)\n"
        "input()\n"
    )
    with standing(code) as process:
        memory = Memory()
        memory.sample(process.pid)

    assert 128 * MIB <= memory.peak < 256 * MIB


def test_memory_that_was_given_back_counts() -> None:
    """What a process held for a moment between two looks. Otherwise a peak is what luck makes it."""
    with standing("held = bytes(64 << 20).replace(b'\\0', b'x'); del held; print(flush=True); input()") as process:
        memory = Memory()
        memory.sample(process.pid)

    assert 64 * MIB <= memory.peak


def test_memory_of_the_bench_is_not_the_commands() -> None:
    """What forks from a large process begins small. Otherwise every contender has at least the bench's own memory, as
    ru_maxrss says it.
    """
    held = bytes(300 * MIB).replace(b"\0", b"x")
    with standing("print(flush=True); input()") as process:
        memory = Memory()
        memory.sample(process.pid)

    assert 300 * MIB == len(held)
    assert 0 < memory.peak < 100 * MIB


@contextmanager
def standing(code: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has said it is where it shall be."""
    with subprocess.Popen(python(code), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert b"\n" == process.stdout.readline()
        yield process


def test_a_command_that_fails_says_why() -> None:
    measured = measure(python("import sys; print('so it was'); sys.exit(3)"), os.environ)

    assert (3, True, "so it was\n") == (measured.status, measured.failed, measured.said)


def test_a_command_that_hangs_is_ended() -> None:
    """With its children: the whole group. Otherwise one peer that hangs is the end of the table."""
    measured = measure(["bash", "-c", "sleep 1000 | sleep 1000"], os.environ, limit_s=0.5)

    assert -9 == measured.status
