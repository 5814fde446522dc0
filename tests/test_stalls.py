"""The loop's watch over blocking calls, on a busy computer: a stall is forgiven, a block is not.

Each test steps the loop of its own child: what it does must not fail itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

_WATCHED = """
import asyncio, hashlib, logging, os, signal, subprocess, sys, time
sys.path.insert(0, {tests!r})
from support.stalls import Witness
logging.basicConfig(stream=sys.stdout, format="%(message)s")
logging.getLogger("asyncio").addFilter(Witness(slow_s=0.5))
loop = asyncio.new_event_loop()
loop.set_debug(True)
loop.slow_callback_duration = 0.5

def step():
{step}

async def main():
    await asyncio.sleep(0.05)
    loop.call_soon(step)
    await asyncio.sleep(0.05)

loop.run_until_complete(main())
"""

_STOPPED = """
wake = "import os, signal, sys, time; time.sleep(0.8); os.kill(int(sys.argv[1]), signal.SIGCONT)"
subprocess.Popen([sys.executable, "-I", "-S", "-c", wake, str(os.getpid())])
os.kill(os.getpid(), signal.SIGSTOP)
"""
_COMPUTES = """
until = time.thread_time() + 0.8
while time.thread_time() < until:
    pass
"""
# One call into C that keeps the interpreter's lock: no other thread comes to its turn.
_COMPUTES_ALONE = """
until, numbers = time.thread_time() + 0.8, list(range(2_000_000, 0, -1)) * 2
while time.thread_time() < until:
    sorted(numbers, key=None)
"""


def complaints(step: str) -> list[str]:
    program = _WATCHED.format(tests=str(Path(__file__).parent), step=textwrap.indent(step, "    "))
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    return [line for line in ended.stdout.splitlines() if "took" in line]


def test_a_process_that_was_stopped_did_not_block() -> None:
    """Or every test would fail on a computer that stands still for a moment."""
    assert complaints(_STOPPED) == []


_BLOCKED = """
import asyncio, time
import conftest
conftest.SLOW_STEP_S = 0.5

async def blocks():
    time.sleep(0.8)

async def test_it():
    await asyncio.sleep(0)
    await asyncio.create_task(blocks())
"""


def test_a_test_whose_loop_was_blocked_fails(tmp_path: Path) -> None:
    """Whatever else it found. Otherwise nobody reads what the loop complains of."""
    (tmp_path / "test_blocked.py").write_text(_BLOCKED)
    words = [*("-m", "pytest", "-q", "-n0", "-p", "conftest", "-p", "no:cacheprovider"), f"--rootdir={tmp_path}"]
    words += ["-c", str(Path(__file__).parents[1] / "pyproject.toml"), str(tmp_path)]
    ended = subprocess.run(
        [sys.executable, *words],
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert "the event loop was blocked" in ended.stdout, ended.stdout + ended.stderr
    assert 0 != ended.returncode


@pytest.mark.parametrize("step", ["time.sleep(0.8)", _COMPUTES, _COMPUTES_ALONE], ids=["sleeps", "computes", "alone"])
def test_a_step_that_blocks_is_told(step: str) -> None:
    """Or the agent could stop to watch for notices while it waits for S3, and no test would say so."""
    assert len(complaints(step)) == 1
