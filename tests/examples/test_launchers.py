"""The rows of core/frameworks.py, each held against the real launcher."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from spotrelay.command.child import Child, spawn
from spotrelay.core.ends import Exited
from spotrelay.core.frameworks import FRAMEWORKS
from support.processes import eventually

pytestmark = [pytest.mark.slow, pytest.mark.frameworks]
# Saves for SAVING seconds once it is told. No torch in it: the launchers do not mind, and it starts at once.
PROGRAM = """
import os, signal, sys, time
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(1))
print("ready", flush=True)
while not told:
    time.sleep(0.02)
time.sleep(float(os.environ["SAVING"]))
print("saved", flush=True)
"""
IMPORTS_S = 60.0
ROW = {framework.name: framework for framework in FRAMEWORKS}
Start = Callable[..., Awaitable[Child]]


@pytest.fixture
async def start(tmp_path: Path, frameworks: Path) -> AsyncIterator[Start]:
    (tmp_path / "train.py").write_text(PROGRAM)
    started: list[Child] = []

    async def start(program: str, *words: str, ready: int = 1, **environment: str) -> Child:
        started.append(
            await spawn(
                [str(frameworks / program), *words, "train.py"],
                directory=tmp_path,
                output=tmp_path / "output.log",
                environment={**os.environ, "SAVING": "0.5", **environment},
            )
        )
        await eventually(lambda: check(said(tmp_path).count("ready") == ready), within=IMPORTS_S)
        return started[-1]

    yield start
    for child in started:
        await child.kill()


def check(it_holds: bool) -> None:
    assert it_holds


def said(folder: Path) -> list[str]:
    return [line for line in (folder / "output.log").read_text().splitlines() if line in ("ready", "saved")]


async def test_torchrun_exits_1_though_its_workers_saved(start: Start, tmp_path: Path) -> None:
    """Each worker gets the signal from it, saves, and exits 0. Otherwise the row is out of date."""
    child = await start("torchrun", "--standalone", "--nproc-per-node", "2", ready=2)
    await child.signal(signal.SIGTERM)
    async with asyncio.timeout(IMPORTS_S):
        end = await child.wait()

    assert (["saved"] * 2, Exited(1)) == (said(tmp_path)[2:], end)
    assert 1 in ROW["torchrun"].clean_exit_codes


@pytest.mark.parametrize(("limit", "saved"), [("1", 0), (None, 1)])
async def test_torchrun_kills_workers_that_take_longer_than_it_is_told(
    start: Start, tmp_path: Path, limit: str | None, saved: int
) -> None:
    """After the seconds of the variable that the row sets, and not before. Otherwise a checkpoint of a minute is cut
    off after 30 s, with a minute left."""
    variable, ours = next(iter(ROW["torchrun"].environment.items()))
    child = await start("torchrun", "--standalone", SAVING="4", **{variable: limit or ours})
    await child.signal(signal.SIGTERM)
    async with asyncio.timeout(IMPORTS_S):
        await child.wait()

    assert saved == said(tmp_path).count("saved")
    assert float(ours) > 30


async def test_accelerate_is_seen_through(start: Start, tmp_path: Path) -> None:
    """The program behind it gets the signal and saves, and its own end counts. Otherwise the launcher dies, and the
    program is killed as something that was left behind."""
    child = await start("accelerate", "launch", "--cpu", "--num_processes", "1", "--num_machines", "1", "--quiet")
    delivery = await child.signal(signal.SIGTERM)
    async with asyncio.timeout(IMPORTS_S):
        end = await child.wait()

    assert ([child.pid], Exited(0)) == (list(delivery.shells), end)
    assert ["ready", "saved"] == said(tmp_path)
