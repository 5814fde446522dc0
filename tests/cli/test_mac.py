"""The laptop may be a Mac: whatever a person asks for works without what only Linux has, and what cannot says so."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from spotrelay.core import keys
from spotrelay.snapshot import Snapshots
from support.asking import Desk, desk
from support.mac import WITHOUT_LINUX
from support.rehearsals import Said, ended, environment

_ENTRY = WITHOUT_LINUX + "from spotrelay.cli.main import main; sys.argv[0] = 'spotrelay'; main()"


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk(tmp_path) as made:
        yield made


async def types(at: Desk, *words: str) -> Said:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _ENTRY, *words),
        cwd=at.folder,
        env={**environment(), **at.environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    return await ended(process)


async def test_a_run_is_begun_stopped_and_removed(at: Desk, tmp_path: Path) -> None:
    """And what it saved is what lay there, holes and links and all. Otherwise half of those who would use it cannot."""
    (at.folder / "data").mkdir()
    (at.folder / "data" / "link").symlink_to("../train.py")
    with (at.folder / "data" / "holes").open("wb") as file:
        file.seek(1 << 20)
        file.write(b"end")
    begun = await types(at, "run", "--", "python", "train.py")
    assert (0, "digits\n") == (begun.status, begun.out), begun.err
    await Snapshots(at.store, "digits", tmp_path / "restored").restore(keys.SnapshotId(0, 0))

    assert (at.folder / "data" / "holes").read_bytes() == (tmp_path / "restored" / "data" / "holes").read_bytes()
    assert (tmp_path / "restored" / "data" / "link").is_symlink()
    for words in (("stop", "digits"), ("resume", "digits"), ("rm", "--yes", "--force", "digits")):
        said = await types(at, *words)
        assert (73 if words[0] == "resume" else 0) == said.status, said.err


async def test_what_only_linux_can_do_says_so(at: Desk) -> None:
    """A rehearsal's machines are made of namespaces."""
    said = await types(at, "rehearse", "--", "true")

    assert 2 == said.status, said.err
    assert "Linux" in said.err
    assert "Traceback" not in said.err
