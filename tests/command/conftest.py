"""`start`: the real `spawn` in a folder of the test's own; nothing it started survives the test."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from spotrelay.command.child import Child, spawn
from support.processes import Start


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "output.log"


@pytest.fixture
async def start(tmp_path: Path, output: Path) -> AsyncIterator[Start]:
    started: list[Child] = []

    async def start(*command: str, **options: Any) -> Child:
        defaults = {"directory": tmp_path, "output": output, "environment": {"PATH": os.environ["PATH"]}}
        started.append(await spawn(command, **(defaults | options)))
        return started[-1]

    yield start
    for child in started:
        await child.kill()
