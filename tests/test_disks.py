"""Instance store: which disks may be used, and what is done to them. A tree of files stands in for the kernel's."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spotrelay import disks, host
from spotrelay.core import spec
from spotrelay.disks import LABEL, Disk

JOB = Path("/job")
ONE, TWO = Disk("/dev/nvme1n1"), Disk("/dev/nvme2n1")


class System:
    """/sys with disks in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def disk(self, name: str, *, model: str = disks.MODEL, partition: bool = False, holder: bool = False) -> System:
        block = self.folder / "block" / name
        (block / "device").mkdir(parents=True)
        (block / "device" / "model").write_text(f"{model}      \n")
        (block / "holders").mkdir()
        if partition:
            (block / f"{name}p1").mkdir()
        if holder:
            (block / "holders" / "md0").mkdir()
        return self

    def array(self, name: str, *members: str) -> System:
        for member in members:
            (self.folder / "block" / name / "slaves" / member).mkdir(parents=True)
        return self


def test_disks_of_instance_store_are_found(tmp_path: Path) -> None:
    """And no others: not EBS, which is named alike, and none in use. Otherwise somebody's volume is formatted."""
    system = System(tmp_path).disk("nvme0n1", model="Amazon Elastic Block Store").disk("nvme1n1").disk("nvme2n1")
    system.disk("nvme3n1", partition=True).disk("nvme4n1", holder=True)

    assert [ONE, TWO] == disks.found(tmp_path, lambda _: None)


@pytest.mark.parametrize(
    ("members", "holds", "expected"),
    [
        pytest.param(("nvme1n1", "nvme2n1"), LABEL, [Disk("/dev/md127", LABEL)], id="ours"),
        pytest.param(("nvme1n1", "nvme2n1"), "data", [], id="of somebody else"),
        pytest.param(("nvme0n1", "nvme1n1"), LABEL, [], id="of other disks"),
    ],
)
def test_array_of_ours_is_found_again(
    members: tuple[str, ...], holds: str, expected: list[Disk], tmp_path: Path
) -> None:
    """As udev gathers it after a reboot. Otherwise the directory moves to the root volume, which is small and slow."""
    system = System(tmp_path).disk("nvme0n1", model="Amazon Elastic Block Store", holder=True)
    system.disk("nvme1n1", holder=True).disk("nvme2n1", holder=True).array("md127", *members)

    assert expected == disks.found(tmp_path, lambda _: holds)


def test_machine_without_nvme_has_none(tmp_path: Path) -> None:
    """Xen instances, containers. Otherwise the agent does not start there."""
    assert [] == disks.found(tmp_path / "nothing")


def test_one_disk_becomes_the_directory() -> None:
    """With no trace of mkfs in it. Otherwise each snapshot holds a lost+found."""
    made, mounted, cleaned = disks.plan([ONE], JOB, occupied=False)

    assert ("mkfs.ext4", "/dev/nvme1n1") == (made[0], made[-1])
    assert ("mount", "/dev/nvme1n1", "/job") == (mounted[0], *mounted[-2:])
    assert ("rmdir", "/job/lost+found") == cleaned


def test_several_disks_are_one() -> None:
    """RAID 0: all their room, all their speed. Otherwise a job that needs the second disk's room has no use of it."""
    gathered, made, *_ = disks.plan([ONE, TWO], JOB, occupied=False)

    assert ("--level=0", "--raid-devices=2", "/dev/nvme1n1", "/dev/nvme2n1") == gathered[-4:]
    assert disks.ARRAY == made[-1]


@pytest.mark.parametrize("holds", ["data", ""])
def test_disk_with_somebody_s_file_system_is_left_alone(holds: str) -> None:
    """With a name or without. Otherwise what a person put there is gone."""
    assert [] == disks.plan([Disk("/dev/nvme1n1", holds)], JOB, occupied=False)


def test_directory_with_content_is_left_where_it_is() -> None:
    """A mount would hide it. Otherwise a restarted agent, or a person's own files, find an empty directory."""
    assert [] == disks.plan([ONE], JOB, occupied=True)


def test_our_own_file_system_is_mounted_again() -> None:
    """After a reboot, which instance store survives. Otherwise the directory moves to the root volume."""
    (command,) = disks.plan([Disk("/dev/md127", LABEL)], JOB, occupied=False)

    assert ("mount", "/dev/md127", "/job") == (command[0], *command[-2:])


@pytest.fixture
def devices(tmp_path: Path) -> Iterator[Callable[[int], list[str]]]:
    """Block devices of this computer, which hold nothing."""
    made: list[str] = []

    def make(count: int) -> list[str]:
        for number in range(count):
            backing = tmp_path / f"disk-{number}"
            with backing.open("wb") as file:
                file.truncate(64 << 20)
            command = ["losetup", "--find", "--show", backing]
            attached = subprocess.run(command, capture_output=True, text=True, check=False)
            if attached.returncode:
                pytest.skip(f"NO REAL DISKS: {attached.stderr.strip()}")
            made.append(attached.stdout.strip())
        return made

    yield make
    for place in (tmp_path / "job", tmp_path / "again"):
        subprocess.run(["umount", place], capture_output=True, check=False)
    if Path(disks.ARRAY).exists():
        subprocess.run(["mdadm", "--stop", disks.ARRAY], capture_output=True, check=False)
    for device in made:
        subprocess.run(["losetup", "--detach", device], check=True)


def ready(spec_directory: Path, found: list[Disk], monkeypatch: pytest.MonkeyPatch) -> None:
    run = {"name": "demo", "command": ["true"], "directory": str(spec_directory)}
    monkeypatch.setattr(disks, "found", lambda: found)
    host.prepare(spec.parse({"run": run}, source="test"))


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes file systems")
@pytest.mark.parametrize(
    "count",
    [
        1,
        pytest.param(
            2,
            marks=pytest.mark.skipif(
                not Path("/proc/mdstat").exists() or shutil.which("mdadm") is None,
                reason="RAID IS NOT TRIED: this kernel has no md, or mdadm is not here",
            ),
        ),
    ],
)
def test_real_disks_become_the_directory_and_are_found_again(
    count: int, devices: Callable[[int], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Formatted, mounted, empty; and, as after a reboot, mounted again with what was in it. Otherwise the commands are
    right in a test alone."""
    made = devices(count)
    ready(tmp_path / "job", [Disk(device, disks.probed(device)) for device in made], monkeypatch)

    assert (tmp_path / "job").is_mount()
    assert [] == list((tmp_path / "job").iterdir())

    (tmp_path / "job" / "state").write_text("1")
    subprocess.run(["umount", tmp_path / "job"], check=True)
    whole = made[0] if count == 1 else disks.ARRAY
    ready(tmp_path / "again", [Disk(whole, disks.probed(whole))], monkeypatch)

    assert "1" == (tmp_path / "again" / "state").read_text()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes file systems")
def test_real_disk_of_somebody_else_stays_as_it_is(
    devices: Callable[[int], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system without a name is one. Otherwise a person's data is formatted away."""
    (device,) = devices(1)
    subprocess.run(["mkfs.ext4", "-q", device], check=True)
    ready(tmp_path / "job", [Disk(device, disks.probed(device))], monkeypatch)

    assert "" == disks.probed(device)
    assert not (tmp_path / "job").exists()


def test_disk_that_cannot_be_used_does_not_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mkfs that fails is said, and the root volume serves. Otherwise one bad disk costs every instance of a type."""
    run = {"name": "demo", "command": ["true"], "directory": str(tmp_path / "job")}
    monkeypatch.setattr(disks, "found", lambda: [Disk(str(tmp_path / "no-device"))])
    host.prepare(spec.parse({"run": run}, source="test"))

    assert [] == list((tmp_path / "job").iterdir())
