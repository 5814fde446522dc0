"""A command that writes more than anybody reads."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from spotrelay.core.ends import Exited
from support.processes import Start, program


def resident(pid: int | str) -> int:
    """Bytes of memory that it holds now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize("megabytes", [32, pytest.param(1024, marks=pytest.mark.slow)])
async def test_flood(start: Start, tmp_path: Path, output: Path, megabytes: int) -> None:
    """All that the command writes is in the file, and neither we nor the subreaper grow. Otherwise a progress bar in a
    loop takes the agent's memory, and the command with it."""
    block = bytes(range(256)) * 4096
    flood = program(
        tmp_path, "flood.py", f"for _ in range({megabytes}): os.write(1, bytes(range(256)) * 4096)\ntime.sleep(0.2)"
    )
    before = resident("self")
    child = await start(*flood.split())
    subreaper = resident(child._subreaper.pid)
    growth = 0
    while child.processes():
        growth = max(growth, resident(child._subreaper.pid) - subreaper)
        await asyncio.sleep(0.05)

    assert Exited(0) == await child.wait()
    assert megabytes * len(block) == output.stat().st_size
    expected, written = hashlib.sha256(), hashlib.sha256()
    with output.open("rb") as file:
        for _ in range(megabytes):
            expected.update(block)
            written.update(file.read(len(block)))
    output.unlink()
    assert expected.digest() == written.digest()
    assert growth < 8 << 20
    assert resident("self") - before < 32 << 20
