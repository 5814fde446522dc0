"""`spotrelay top`: what the machine itself says, without the bucket."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

import pytest

from spotrelay.board import NAME, Board, Posted
from spotrelay.cli.top import rows
from spotrelay.command.usage import Usage, usage
from spotrelay.core import records
from support.rehearsals import spotrelay

BUSY = "import os, sys; print('ready', os.getpid(), flush=True)\nwhile True: pass"


async def test_what_the_agent_and_the_command_do(tmp_path: Path) -> None:
    """The run, how long ago it was saved, and a process that works: its pid, its share of a core."""
    starting = (sys.executable, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BUSY!r}])")
    agent = await asyncio.create_subprocess_exec(*starting, stdout=asyncio.subprocess.PIPE)
    try:
        assert agent.stdout is not None
        worker = (await agent.stdout.readline()).split()[1].decode()
        now = time.time()
        status = records.Status(
            "i-1", "running", now, running_since=now - 10 * 3600, kept_s=7 * 3600.0, dirty_bytes=5_000_000
        )
        Board(tmp_path).post(Posted("running", now, agent.pid, "demo", 3, status))

        table, document = await asyncio.gather(
            spotrelay("top", "--state", str(tmp_path), cwd=tmp_path),
            spotrelay("top", "--json", "--state", str(tmp_path), cwd=tmp_path),
        )
    finally:
        os.kill(int(worker), 9)
        await agent.wait()

    facts = dict(line.split("\t") for line in table.out.splitlines() if line.count("\t") == 1)
    assert ("demo", "3", "about 5.0 MB") == (facts["run"], facts["attempt"], facts["to be saved"])
    assert facts["if it dies now"].startswith("you would lose 3 h")
    (busy,) = [line.split("\t") for line in table.out.splitlines() if line.startswith(worker)]
    assert busy[1].removesuffix(" %").isdecimal(), "how much is left for it is not ours to say"
    assert [int(worker)] == [each["pid"] for each in document.document["processes"]]
    assert "running" == document.document["status"]["phase"]


@pytest.mark.parametrize("data", [None, b"", b"{", b"[]", b'{"phase": "running", "at": 1, "agent": 1, "status": {}}'])
async def test_where_there_is_no_agent_that_is_said(tmp_path: Path, data: bytes | None) -> None:
    """A laptop, a board that is garbled: a line, no traceback."""
    if data is not None:
        (tmp_path / NAME).write_bytes(data)
    answer = await spotrelay("top", "--state", str(tmp_path), cwd=tmp_path)

    assert answer.status == (14 if data is None else 10)
    assert "Traceback" not in answer.err
    assert ("spotrelay status" if data is None else NAME) in answer.err


async def test_an_agent_that_has_gone_is_said(tmp_path: Path) -> None:
    """What it posted last stays: so who died is told as such."""
    gone = await asyncio.create_subprocess_exec("true")
    await gone.wait()
    Board(tmp_path).post(Posted("arriving", time.time(), gone.pid))

    answer = await spotrelay("top", "--state", str(tmp_path), cwd=tmp_path)

    assert "agent\tis gone" in answer.out


def test_a_board_that_cannot_be_written_is_no_matter(tmp_path: Path) -> None:
    """P6."""
    Board(tmp_path / "nowhere").post(Posted("running", 1.0, 1))
    Board(None).post(Posted("running", 1.0, 1))

    assert [] == list(tmp_path.iterdir())


def test_the_busiest_come_first() -> None:
    """By what they did between two looks; one that has just begun by all it did."""
    before = {1: Usage(100.0, 5, "old"), 2: Usage(10.0, 5, "works")}
    now = {1: Usage(100.0, 5, "old"), 2: Usage(10.5, 5, "works"), 3: Usage(0.2, 5, "new")}

    assert [("2", "50 %"), ("3", "20 %"), ("1", "0 %")] == [row[:2] for row in rows(before, now, 1.0)]


def test_usage_is_of_those_that_are_there() -> None:
    found = usage([os.getpid(), 2**22 + 1])

    assert [os.getpid()] == list(found)
    assert found[os.getpid()].memory > 1 << 20
    assert json.dumps(found[os.getpid()].command)
