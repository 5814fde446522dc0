"""Real processes that say when they are ready, and a way to wait for what they do.

A program of a test prints `ready <pid>` once it can take a signal; a test reads that line before it sends one. Without
it every test would need a sleep, and each sleep would name a race.
"""

from __future__ import annotations

import asyncio
import sys
import textwrap
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from spotrelay.command import processes
from spotrelay.command.child import Child

Start = Callable[..., Awaitable[Child]]

# Isolated and without site: starts in a third of the time, and a test starts many.
PYTHON = [sys.executable, "-I", "-S"]

_PRELUDE = """
import os, signal, subprocess, sys, time

def say(*words):
    os.write(1, (" ".join(map(str, words)) + chr(10)).encode())

def ready():
    say("ready", os.getpid())

def on(sig, then):
    signal.signal(sig, lambda *_: then())

def forever():
    while True:
        signal.pause()
"""


def program(folder: Path, name: str, body: str) -> str:
    """Write a Python program with `say`, `ready`, `on` and `forever`; returns the shell's words to run it."""
    path = folder / name
    path.write_text(_PRELUDE + textwrap.dedent(body))
    return " ".join([*PYTHON, str(path)])


def trainer(folder: Path, *, code: int = 0) -> str:
    """A program that reacts to SIGTERM as it should: it says so and exits with `code`."""
    return program(
        folder,
        "trainer.py",
        f"""
        def stop():
            say("saved", os.getpid())
            os._exit({code})
        on(signal.SIGTERM, stop)
        ready()
        forever()
        """,
    )


async def eventually(check: Callable[[], None], *, within: float = 60.0) -> None:
    """Until `check` raises no AssertionError; its last one when it never does."""
    deadline = time.monotonic() + within
    while True:
        try:
            return check()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.005)


async def said(output: Path, word: str, *, times: int = 1) -> list[int]:
    """The pids in lines `<word> <pid>`, once there are that many."""
    pids: list[int] = []

    def enough() -> None:
        lines = output.read_text(errors="replace").splitlines() if output.exists() else []
        pids[:] = [int(line.split()[1]) for line in lines if line.split()[:1] == [word]]
        assert len(pids) >= times, lines

    await eventually(enough)
    return pids


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""  # it has gone meanwhile


async def gone(*pids: int) -> None:
    """When none of them is alive; a zombie is not."""

    def none_alive() -> None:
        assert [pid for pid in pids if processes.is_alive(pid)] == []

    await eventually(none_alive)
