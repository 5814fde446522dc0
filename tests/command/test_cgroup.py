"""The command's own cgroup, on the kernel's real ones."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from spotrelay.command import cgroup
from support.processes import Start

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="makes cgroups, which takes root")]
SOURCE = Path(cgroup.__file__).parents[2]


def mounted() -> Path:
    """Where this computer has cgroups of version 2."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, options, *_ = line.split()
        if kind == "cgroup2" and "rw" in options.split(","):
            return Path(place)
    pytest.skip("no cgroups of version 2 to write to")


@pytest.fixture
def service() -> Iterator[Path]:
    """A cgroup as systemd gives one to a service."""
    folder = mounted() / f"spotrelay-test-{secrets.token_hex(4)}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    yield folder
    for below in (*folder.iterdir(), folder):
        if below.is_dir():
            below.rmdir()


def prepared(service: Path, limits: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A process of the service that prepares, and says where it is afterwards."""
    enter = f"import os, pathlib; pathlib.Path({str(service)!r}, 'cgroup.procs').write_text(str(os.getpid()))"
    prepare = f"from spotrelay.command import cgroup; cgroup.prepare(pathlib.Path({str(service)!r}), {limits!r})"
    say = "print(pathlib.Path('/proc/self/cgroup').read_text())"
    return subprocess.run(
        [sys.executable, "-c", "\n".join([enter, prepare, say])],
        env={"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )


async def test_command_begins_in_a_cgroup_of_its_own(start: Start, output: Path, service: Path) -> None:
    """And the agent leaves the service's for its own, beside it. Otherwise nothing of the command's can be limited."""
    done = prepared(service, {})
    child = await start("cat", "/proc/self/cgroup", cgroup=service / "command")
    await child.wait()

    assert f"/{service.name}/agent\n" in done.stdout, done.stderr
    assert f"/{service.name}/command\n" in output.read_text()


async def test_limit_that_cannot_be_had_is_an_error(service: Path) -> None:
    """A file that no kernel has. Otherwise a run believes that it is limited."""
    assert "Error" in prepared(service, {"nonsense.max": "1"}).stderr


async def test_limit_holds(start: Start, output: Path, service: Path) -> None:
    """The kernel shows what was asked for, where it has the controller. Otherwise one run takes the machine down."""
    if "pids" not in (mounted() / "cgroup.controllers").read_text().split():
        pytest.skip("the controllers of this computer are bound to version 1")
    prepared(service, {"pids.max": "7"})

    assert "7" == (service / "command" / "pids.max").read_text().strip()


@pytest.mark.parametrize(("agents", "commands"), [("-500", "0"), ("300", "300")])
async def test_command_is_not_spared_when_memory_runs_out(
    agents: str, commands: str, start: Start, output: Path
) -> None:
    """The agent's protection ends with the agent. Otherwise the kernel looks for somebody else to kill."""
    before = Path("/proc/self/oom_score_adj").read_text()
    try:
        Path("/proc/self/oom_score_adj").write_text(agents)
    except PermissionError:
        pytest.skip("nobody may be spared here (CAP_SYS_RESOURCE is missing)")
    try:
        child = await start("cat", "/proc/self/oom_score_adj")
        await child.wait()
    finally:
        Path("/proc/self/oom_score_adj").write_text(before)

    assert commands == output.read_text().strip()
