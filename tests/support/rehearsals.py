"""The person's command as a person runs it: a process of its own, in a project of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spotrelay.command import processes

ROOT = Path(__file__).parents[2]
MISBEHAVING = ROOT / "scripts" / "examples" / "misbehaving"
# A rehearsal takes five seconds; on two busy cores, thirty.
LIMIT_S = 300.0
_ENTRY = "import sys; from spotrelay.cli.main import main; sys.argv[0] = 'spotrelay'; main()"
# As a hardened kernel has it: a user namespace in which no other may be made, and no right to mount (CAP_SYS_ADMIN is
# 21, PR_CAPBSET_DROP 24). An ordinary user has lost that right with exec anyway, root keeps it.
REFUSING = """
import ctypes, os, sys
from pathlib import Path
from spotrelay.local import namespaces
namespaces.own_user_namespace(0)
Path("/proc/sys/user/max_user_namespaces").write_text("0")
ctypes.CDLL(None).prctl(24, 21, 0, 0, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@dataclass(frozen=True, slots=True)
class Said:
    """How the command ended and what it said."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """Of `--json`: standard output is that and nothing else."""
        return dict(json.loads(self.out))


def environment(**changes: str) -> dict[str, str]:
    """This one, without what a test runner or a person's shell adds to colour and width."""
    dropped = ("COLUMNS", "FORCE_COLOR", "TERMINAL_WIDTH", "PYTHONPATH")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, "PYTHONPATH": str(ROOT / "agent"), "PYTHONDONTWRITEBYTECODE": "1", **changes}


async def start(
    *words: str, cwd: Path, env: Mapping[str, str] | None = None, wrapper: str = "", python: str = sys.executable
) -> asyncio.subprocess.Process:
    """`spotrelay WORDS`. `wrapper`: code for `python` that execs it with the arguments it is given."""
    before = [python, "-c", wrapper] if wrapper else [python]
    return await asyncio.create_subprocess_exec(
        *(*before, "-c", _ENTRY, *words),
        cwd=cwd,
        env={**environment(), **(env or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def spotrelay(*words: str, limit_s: float = LIMIT_S, **how: Any) -> Said:
    """Run it to its end; `how` as for `start`."""
    return await ended(await start(*words, **how), limit_s)


async def ended(process: asyncio.subprocess.Process, limit_s: float = LIMIT_S) -> Said:
    try:
        async with asyncio.timeout(limit_s):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Said(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))


def mentioning(word: str) -> list[int]:
    """Pids of processes whose command line or environment names `word`: a test's own folder names its own."""
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and int(path.name) != os.getpid() and processes.is_alive(int(path.name)):
            try:
                text = (path / "cmdline").read_bytes() + (path / "environ").read_bytes()
            except OSError:
                continue
            if word.encode() in text:
                found.append(int(path.name))
    return found
