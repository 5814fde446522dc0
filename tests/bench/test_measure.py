"""What is measured is the whole of a command, and nothing of the bench."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bench.measure import measure

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


def test_memory_of_processes_that_live_together_is_added(tmp_path: Path) -> None:
    """Two that hold 64 MiB each at the same time hold 128. Each ends when the other has been seen holding."""
    meet = (
        "import os, sys, time\nmine, other = sys.argv[1:]\nheld = b'x' * (64 << 20)\nopen(mine, 'w').close()\n"
        "while not os.path.exists(other): time.sleep(0.01)\ntime.sleep(0.3)"
    )
    one, other = str(tmp_path / "one"), str(tmp_path / "other")
    code = (
        "import subprocess, sys\n"
        f"both = [subprocess.Popen([sys.executable, '-S', '-c', {meet!r}, *names])\n"
        f"        for names in ({[one, other]!r}, {[other, one]!r})]\n"
        "sys.exit(sum(each.wait() for each in both))"
    )
    measured = measure(python(code), os.environ)

    assert 0 == measured.status, measured.said
    assert 128 * MIB <= measured.peak_rss < 256 * MIB


def test_memory_of_the_bench_is_not_the_commands() -> None:
    """What forks from a large process begins small. Otherwise every contender has at least the bench's own memory, as
    ru_maxrss says it.
    """
    held = bytearray(os.urandom(MIB)) * 300
    measured = measure(python("import time; time.sleep(0.3)"), os.environ)

    assert len(held) == 300 * MIB
    assert 0 < measured.peak_rss < 100 * MIB


def test_a_command_that_fails_says_why() -> None:
    measured = measure(python("import sys; print('so it was'); sys.exit(3)"), os.environ)

    assert (3, True, "so it was\n") == (measured.status, measured.failed, measured.said)


def test_a_command_that_hangs_is_ended() -> None:
    """With its children: the whole group. Otherwise one peer that hangs is the end of the table."""
    measured = measure(["bash", "-c", "sleep 1000 | sleep 1000"], os.environ, limit_s=0.5)

    assert -9 == measured.status
