"""Tells a story about machines as this user, or as an ordinary one."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from spotrelay.local.machine import isolation
from support import machine_stories

ROOT = Path(__file__).parents[2]
NOBODY = 65534
# A story takes a fraction of a second; one that waits for what never comes is to fail, not to hang.
LIMIT_S = 60
PATHS = os.pathsep.join([str(ROOT / "agent"), str(ROOT / "tests")])


@functools.cache
def interpreter_for_anyone() -> str:
    """One that user nobody can execute: ours, or the system's; skips the test where there is none."""
    candidates = [sys.executable, *(f"/usr/bin/python3.{minor}" for minor in (14, 13, 12, 11))]
    for python in candidates:
        check = [python, "-I", "-S", "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
        try:
            if subprocess.run(check, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/", check=False).returncode == 0:
                return python
        except OSError:
            continue
    pytest.skip("no Python that an ordinary user can execute")


def ordinary() -> dict[str, Any]:
    """Options for a subprocess that has no rights; none are needed by who has none."""
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


@asynccontextmanager
async def playing(story: str, folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process of an ordinary user that tells `story`; killed at the end."""
    python = interpreter_for_anyone() if os.geteuid() == 0 else sys.executable
    process = await asyncio.create_subprocess_exec(
        *(python, "-S", "-m", "support.machine_stories", story, str(folder)),
        env={"PATH": os.environ["PATH"], "PYTHONPATH": PATHS, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd="/",
        **ordinary(),
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def play(story: str, *, ordinary_user: bool) -> Any:
    """What the story returns, as JSON has it. In a folder of /tmp: pytest's own are closed to other users."""
    folder = Path(tempfile.mkdtemp(prefix="spotrelay-test-")).resolve()
    try:
        if not ordinary_user:
            async with asyncio.timeout(LIMIT_S):
                return json.loads(json.dumps(await getattr(machine_stories, story)(folder)))
        if user := ordinary():
            os.chown(folder, user["user"], user["group"])
        async with asyncio.timeout(LIMIT_S), playing(story, folder) as process:
            output, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
        return json.loads(output)
    finally:
        shutil.rmtree(folder)


async def needs_isolation() -> None:
    """Skips the test where the kernel refuses what it is about; CI has a machine where it does not."""
    found = await isolation()
    if not found.full:
        pytest.skip(found.reason)
