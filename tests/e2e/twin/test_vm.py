"""What a container cannot show, on the image as a virtual machine: EC2's DMI, the ACPI button, a kernel's own limits of
memory, and RAID over instance store.

Minutes, emulated: only with SPOTRELAY_TWIN_VM=1.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from spotrelay.core import spec
from spotrelay.local import cloud as local_cloud
from spotrelay.local.cloud import Computer
from support.story import Story, until
from support.twin import vm
from support.twin.image import Built
from support.twin.stage import DIRECTORY, NO_LOCAL_STAGE, TwinStage, twin_stage

pytestmark = pytest.mark.vm
ASKED_FOR = "SPOTRELAY_TWIN_VM"
# cloud-init's stages are Python, of which an emulated processor makes a minute.
BOOTED_AND_RUN_S = 500.0
# EC2 grants minutes; an emulated shutdown takes a quarter of one.
SHUTDOWN_S = 120.0
STRICT = {"etc/cloud/cloud.cfg.d/99-vm.cfg": "datasource: {Ec2: {strict_id: true, max_wait: 20, timeout: 10}}\n"}
SAVES_WHEN_TOLD = """
if test -e state; then echo "found: $(cat state)"; exit 0; fi
trap 'echo saved when told >state; exit 0' TERM
echo waits
while :; do sleep 0.2; done
"""


class VmStage(TwinStage):
    """`stopped`: the machine that its instances go on from; without, they boot. `disks`: of instance store, of each."""

    stopped: Path | None = None
    disks = 0

    async def _boot(self, computer: Computer, imds: str) -> Any:
        told: dict[str, Any] = {
            "region": self.region,
            "imds": imds,
            "console": computer.state / "agent.log",
            "files": self.files(),
        }
        folder = self.folder / "machines" / computer.instance.id
        if self.stopped is None:
            return await vm.Vm.boot(folder, layers=self.built.layers, cloud_init=self.making.cloud_init, **told)
        return await vm.Vm.go_on(folder, stopped=self.stopped, disks=self.disks, **told)


@pytest.fixture(scope="module", autouse=True)
def _asked_for() -> None:
    """Before the image is built: that takes root and a minute as well."""
    if os.environ.get(ASKED_FOR) != "1":
        pytest.skip(f"no virtual machine of the image: it takes minutes, and {ASKED_FOR}=1 was not said")
    if reason := vm.why_not():
        pytest.skip(reason)


@pytest.fixture
async def cold(tmp_path: Path, image: Built) -> AsyncIterator[VmStage]:
    """Whose instances boot."""
    async with twin_stage(tmp_path, image, VmStage) as stage:
        yield stage


@pytest.fixture
async def cloud(tmp_path: Path, image: Built, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[VmStage]:
    """Whose instances have booted already."""
    monkeypatch.setattr(local_cloud, "SHUTDOWN_S", SHUTDOWN_S)
    stopped = await vm.stopped(image.layers)
    async with twin_stage(tmp_path, image, VmStage) as stage:
        stage.stopped = stopped
        yield stage


def run(cloud: VmStage, *command: str) -> tuple[str, Story]:
    """A person launches the image, with a run as its user data."""
    document = spec.parse(
        {"run": {"name": "by-hand", "command": list(command), "directory": str(DIRECTORY)}}, source="test"
    )
    instance = cloud.boot(cloud.user_data(document))
    return instance, Story(cloud, "by-hand", cloud.folder, document)


async def test_machine_that_boots_is_ec2_s_to_all_who_ask_its_dmi(cold: VmStage) -> None:
    """cloud-init, which is strict here, finds its data source by DMI alone; systemd names the hypervisor; the run in
    the user data ends well, and the machine with it. Otherwise the image works where something else says it is EC2."""
    cold.making.cloud_init, cold.making.files = True, STRICT | NO_LOCAL_STAGE
    asks = "systemd-detect-virt; cat /var/lib/cloud/instance/datasource; test ! -e /sys/hypervisor/uuid"
    instance, story = run(cold, "sh", "-c", asks)
    outcome = await until(story.history.outcome, what="the outcome", within=BOOTED_AND_RUN_S)
    await story.off()

    assert "succeeded" == outcome.result, cold.console(instance)
    virtual, source = (await story.output(1)).splitlines()
    assert "amazon" == virtual
    assert source.startswith("DataSourceEc2:")


async def test_acpi_power_button_saves_and_hands_over(cloud: VmStage) -> None:
    """EC2's way to end an instance: kernel, logind and systemd pass it on, the command saves, the snapshot leaves by a
    network that is still up; another machine goes on from it. Otherwise a Terminate costs the work since the last
    save."""
    story = await cloud.begin(command=["sh", "-c", SAVES_WHEN_TOLD], save={"every_s": 0})
    first = await story.until(lambda: [c for c in story.computers() if waits(cloud, c)], what="the command")
    cloud.plane.ec2.instances.terminate(first[0].instance.id)
    outcome = await story.outcome()
    await story.off()
    handover = await story.history.handover(1)

    assert handover is not None
    assert ("interrupted", "system terminate", True) == (handover.reason, handover.notice, handover.clean)
    assert ("succeeded", 2) == (outcome.result, outcome.attempt)
    assert "found: saved when told\n" == await story.output(2)


def waits(cloud: VmStage, computer: Computer) -> bool:
    return computer.machine is not None and "command.started" in cloud.console(computer.instance.id)


async def test_command_out_of_memory_is_the_one_to_go(cloud: VmStage) -> None:
    """Its own limit, by the kernel's own hand: the agent beside it lives, writes the outcome and ends the machine.
    Otherwise whoever takes all memory takes the agent along, and the run ends as a machine that vanished."""
    cloud.making.environment = {"SPOTRELAY_LIMITS": "memory.max=64M"}
    instance, story = run(cloud, "python3", "-c", "print('begins', flush=True); bytearray(256 << 20)")
    outcome = await story.outcome()
    await story.off()

    assert ("failed", 137) == (outcome.result, outcome.exit_code), cloud.console(instance)
    assert "Memory cgroup out of memory" in cloud.console(instance)
    assert "the kernel killed 1 process of it, memory.max is 64 MiB" in outcome.message
    assert 1 == cloud.console(instance).count("command.started")
    assert "begins\n" == await story.output(1)


async def test_two_disks_of_instance_store_become_one(cloud: VmStage) -> None:
    """RAID 0 by the machine's own kernel, formatted and mounted as the run's directory, before the command is there.
    Otherwise the fast disks that an instance type was chosen for lie idle."""
    cloud.disks = 2
    asks = "cat /sys/block/md*/md/level; ls /sys/block/md*/slaves; stat -f -c %T .; df -B1 --output=size . | tail -1"
    instance, story = run(cloud, "sh", "-c", asks)
    outcome = await story.outcome()
    await story.off()

    assert "succeeded" == outcome.result, cloud.console(instance)
    *lines, size = (await story.output(1)).split()
    assert ["raid0", "nvme0n1", "nvme1n1", "ext2/ext3"] == lines
    assert 400 << 20 < int(size) < 512 << 20
