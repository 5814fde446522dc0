"""The examples, rehearsed: each in a fresh folder, by the command of its run.toml, beside a run nobody disturbs."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from spotrelay.core import spec
from support.rehearsals import ROOT, spotrelay

EXAMPLES = ROOT / "scripts" / "examples"
# An environment of frameworks is fetched in one minute where the net is near; hours would be another fault.
INSTALL_S = 900.0
LIMIT_S = 400.0


@dataclass(frozen=True, slots=True)
class Example:
    """`paced`: what makes it last some fifteen seconds. `stop_at`: the file whose writing the second interruption falls
    into, at the `stop_count`-th time in that attempt. `window`: between these seconds of an attempt falls a random one.
    """

    name: str
    stop_at: str
    paced: Mapping[str, str]
    progress: str
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_count: int = 2
    window: tuple[float, float] = (1.0, 3.0)
    notice: str = "60s"
    verdict: str = "resumable"
    built: Sequence[str] = ()

    @property
    def folder(self) -> Path:
        return EXAMPLES / self.name

    def command(self, programs: Path) -> list[str]:
        """As run.toml has it; what is in the folder `programs` is taken from there."""
        program, *arguments = spec.from_toml((self.folder / "run.toml").read_text(), source=self.name).run.command
        own = programs / program.replace("python3", "python")
        return [str(own) if own.exists() else program, *arguments]


@dataclass(frozen=True, slots=True)
class Survived:
    """`result`: the last line of the run that was interrupted; `undisturbed`: of the one that was not."""

    report: dict[str, Any]
    result: str
    undisturbed: str


async def survive(example: Example, programs: Path, folder: Path, *, stop: Path, seed: int) -> Survived:
    """Three interruptions, at moments drawn from `seed`: a notice, a sudden death within a write, a sudden death."""
    chance = random.Random(f"{example.name} {seed}")
    first, third = (f"{chance.uniform(*example.window):.2f}s" for _ in range(2))
    moments = [first, "/stopped in a write/:no-notice", f"{third}:no-notice"]
    job = fresh(example, folder / "job")
    environment = [
        f"LD_PRELOAD={stop}",
        *(f"STOP_AT={example.stop_at}", "STOP_ATTEMPT=2", f"STOP_COUNT={example.stop_count}"),
        *(f"{name}={value}" for name, value in {**example.environment, **example.paced}.items()),
    ]
    said = await spotrelay(
        *("rehearse", "--json", "--save-every", "1s", "--notice", example.notice, "--progress", example.progress),
        *(f"--interrupt-after={moment}" for moment in moments),
        *("--", "env", *environment, *example.command(programs)),
        cwd=job,
        limit_s=LIMIT_S,
    )
    assert said.out, said.err
    lines = [line for line in said.document["attempts"][-1]["output_tail"] if line.startswith("result ")]
    return Survived(said.document, *lines[-1:] or [""], await undisturbed(example, programs, folder / "undisturbed"))


async def undisturbed(example: Example, programs: Path, folder: Path) -> str:
    """The result of a run that nobody interrupts."""
    process = await asyncio.create_subprocess_exec(
        *example.command(programs),
        cwd=fresh(example, folder),
        env={**os.environ, **example.environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(LIMIT_S):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert 0 == process.returncode, out.decode(errors="replace")
    return next(line for line in reversed(out.decode().splitlines()) if line.startswith("result "))


def fresh(example: Example, folder: Path) -> Path:
    """A folder with the example in it, built where it must be."""
    shutil.copytree(example.folder, folder)
    if example.built:
        subprocess.run(example.built, cwd=folder, check=True, capture_output=True)
    return folder


def stop_in_write(folder: Path) -> Path:
    """The library that stops a program within a write. Skips where nothing compiles it."""
    if shutil.which("cc") is None:
        pytest.skip("NOT TESTED: an interruption within a write is made by a library, and there is no cc to compile it")
    library = folder / "stop_in_write.so"
    source = Path(__file__).with_name("stop_in_write.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source)], check=True)
    return library


def frameworks() -> Path:
    """The folder of the programs of the environment of frameworks, made by the first who asks. Skips without a net."""
    try:
        made = subprocess.run(
            [str(EXAMPLES / "environment")], capture_output=True, text=True, timeout=INSTALL_S, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"NOT TESTED: the frameworks were not installed within {INSTALL_S:g} s")
    if made.returncode:
        pytest.skip(f"NOT TESTED: the frameworks cannot be installed here: {made.stderr[-500:]}")
    return Path(made.stdout.strip()).parent


def note(example: Example, survived: Survived) -> None:
    """For the README's table (scripts/frameworks): what was seen at the notice, and of the result."""
    folder = os.environ.get("SPOTRELAY_SURVIVAL")
    if not folder:
        return
    first, second = survived.report["attempts"][:2]
    row = {
        "end": first["end"],
        "meaning": first["meaning"],
        "seconds": first["term_to_exit_s"],
        "counter": example.progress.partition(" ")[0],
        "last": first["last"],
        "next": second["first"],
        "unfinished": any(attempt["unfinished"] for attempt in survived.report["attempts"]),
        "equal": survived.result == survived.undisturbed,
    }
    Path(folder, f"{example.name}.json").write_text(json.dumps(row))


OWN = Path(sys.executable).parent
