"""A local cloud that does not work is reported, not waited for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from spotrelay.cli import rehearsal
from spotrelay.cli.moments import Moment
from spotrelay.cli.plan import Plan
from spotrelay.core.errors import SpotrelayError


async def test_a_launcher_that_launches_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When no machine comes, the rehearsal ends with the launcher's last words and a way to see more. Otherwise a
    broken installation looks like a slow one, for an hour."""
    project, kept = tmp_path / "project", tmp_path / "kept"
    project.mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(rehearsal, "launcher_files", list)
    monkeypatch.setattr(rehearsal, "NO_MACHINE_S", 3.0)

    with pytest.raises(SpotrelayError, match=r"no machine took the run for 3 s; launcher\.log ends: ") as caught:
        async with asyncio.timeout(300):
            await rehearsal.hold(Plan(["true"], project, [Moment(1.0)], kept=kept), lambda scene: None)

    assert "--keep" in caught.value.next_step
    assert (kept / "launcher.log").exists()
    assert {"project", "kept"} == {path.name for path in tmp_path.iterdir()}
