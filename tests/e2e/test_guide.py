"""The guide, followed literally: its commands are what is executed here, from an account with nothing in it.

`spotrelay` is a process of its own each time, and speaks to the emulated account by the address that its environment
names. What EC2 does by itself is done by the local cloud: it launches what the deployed launcher asks for, and takes
what an experiment of AWS FIS names. Waiting is a person's part: for a machine, before it is interrupted.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from moto.fis.models import fis_backends

from spotrelay import daemon
from spotrelay.core import spec
from spotrelay.core.lifecycle import Phase
from spotrelay.history import History
from spotrelay.local.machine import isolation
from support import deployed
from support.deployed import ACCOUNT, REGION, Relay, account, name_of, running
from support.rehearsals import ROOT, Said, ended, environment, spotrelay
from support.story import until

GUIDE = ROOT / "scripts" / "examples" / "guide.md"
TRAIN = ROOT / "scripts" / "examples" / "pi" / "train.py"
# What two minutes are to EC2: the agent hands over within a second of these, and stays until they are over.
NOTICE_S = 15.0
RUN = "pi"


def commands() -> list[str]:
    """Those behind `$ ` in the guide's console blocks."""
    blocks = re.findall(r"(?ms)^```console\n(.*?)^```$", GUIDE.read_text())
    return [line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line.startswith("$ ")]


@dataclass
class Terminal:
    """A person's: one directory at a time. `said`: what each command did."""

    cwd: Path
    path: Path
    said: dict[str, Said] = field(default_factory=dict)

    async def types(self, command: str) -> Said:
        if command.startswith("cd "):
            self.cwd = self.cwd / command.removeprefix("cd ")
            return Said(0, "", "")
        process = await asyncio.create_subprocess_exec(
            *("bash", "-c", command),
            cwd=self.cwd,
            env=environment(PATH=f"{self.path}:{os.environ['PATH']}"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        self.said[command] = await ended(process)
        return self.said[command]


def installed(folder: Path) -> Path:
    """A folder for PATH with `spotrelay` in it, and the Python that has it."""
    folder.mkdir()
    (folder / "spotrelay").symlink_to(Path(sys.executable).with_name("spotrelay"))
    (folder / "python3").symlink_to(sys.executable)
    return folder


def experiments() -> Iterator[tuple[str, str, str]]:
    """Of AWS FIS: its id, its role, and the instance it names."""
    for identity, found in list(fis_backends[ACCOUNT][REGION].experiments.items()):
        for target in found.targets.values():
            for arn in target["resourceArns"]:
                yield identity, found.role_arn, arn.rpartition("/")[2]


@asynccontextmanager
async def taking(relay: Relay) -> AsyncIterator[None]:
    """EC2's part in experiments."""
    task = asyncio.create_task(take(relay))
    try:
        yield
    finally:
        task.cancel()


async def take(relay: Relay) -> None:
    done = set[str]()
    while True:
        for identity, role, instance in experiments():
            if identity not in done:
                done.add(identity)
                assert relay.outputs["InterruptRoleArn"] == role
                relay.cloud.interrupt(instance, in_s=NOTICE_S)
        await asyncio.sleep(0.1)


async def running_anew(relay: Relay) -> None:
    """On a machine that nobody has interrupted yet: what a person sees in `spotrelay status`."""
    history = History(relay.cloud.store, RUN)

    async def there() -> bool:
        known, number = {instance for _, _, instance in experiments()}, 1
        while (claim := await history.claim(number)) is not None:
            status = await history.status(number)
            if claim.instance not in known and status is not None and status.phase == Phase.RUNNING:
                return True
            number += 1
        return False

    await until(there, what="it is running, on a machine of its own")


@pytest.mark.slow
async def test_the_guide_leads_to_a_finished_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From nothing to a run that was interrupted twice and whose result is on the laptop, by the commands as they are
    printed. Otherwise the first thing a person tries is something that we never did."""
    if not (await isolation()).full:
        pytest.skip("its machines need a disk of their own: the guide's directory is /srv/pi")
    monkeypatch.setattr(deployed, "STACK", "spotrelay")
    shutil.copytree(TRAIN.parent, tmp_path / "checkout" / "scripts" / "examples" / "pi")
    terminal = Terminal(tmp_path / "checkout", installed(tmp_path / "bin"))
    wanted = commands()
    assert 2 == wanted.count(f"spotrelay interrupt {RUN}"), "the guide has changed, and this test has not"
    async with account(tmp_path) as relay:
        first, *rest = wanted
        said = await terminal.types(first)
        assert first.startswith("spotrelay deploy")
        assert 0 == said.status, said.err
        await relay.learn()
        async with running(relay, tmp_path), taking(relay):
            for command in rest:
                if command.startswith("spotrelay interrupt"):
                    await running_anew(relay)
                if command.startswith("spotrelay destroy"):
                    await until(lambda: all(c.off.is_set() for c in relay.cloud.computers.values()), what="all off")
                said = await terminal.types(command)
                assert 0 == said.status, f"{command}: {said.err}\n{relay.cloud.launcher_log()[-4000:]}"
            claims = len(relay.cloud.computers)
        undisturbed = await alone(tmp_path / "alone")

        assert 3 == claims
        assert undisturbed == terminal.said["cat here/result"].out
        assert [] == [str(entry) for entry in relay.front.audit if not entry.verdict.allowed]
        assert [] == relay.front.problems


async def alone(folder: Path) -> str:
    """What the program comes to where nobody interrupts it, nor lets it rest."""
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN.read_text().replace("STEP_S = 240, 10_000, 0.25", "STEP_S = 240, 10_000, 0"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "train.py", cwd=folder, stdout=asyncio.subprocess.DEVNULL
    )
    assert 0 == await process.wait()
    return (folder / "result").read_text()


async def test_what_is_printed_is_user_data(tmp_path: Path) -> None:
    """With the stack's two lines in front of it, as the guide has them: an instance that gets it is a first attempt."""
    printf = re.search(r"printf '(.*?)' \| cat", GUIDE.read_text())
    assert printf is not None
    printed = await spotrelay("run", "--print", "--name", "pi-2", "--user", "admin", "--", "true", cwd=tmp_path)
    read = daemon.read_user_data((printf[1].replace("\\n", "\n") + printed.out).encode())

    assert read.spec == spec.from_toml(printed.out, source="printed")
    assert name_of(read.queue) == "QUEUE"
