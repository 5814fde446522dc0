"""Instance store: which disks may be used, and what is done to them. A tree of files stands in for the kernel's."""

from __future__ import annotations

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


def test_disks_of_instance_store_are_found(tmp_path: Path) -> None:
    """And no others: not EBS, which is named alike, and none in use. Otherwise somebody's volume is formatted."""
    system = System(tmp_path).disk("nvme0n1", model="Amazon Elastic Block Store").disk("nvme1n1").disk("nvme2n1")
    system.disk("nvme3n1", partition=True).disk("nvme4n1", holder=True)

    assert [ONE, TWO] == disks.found(tmp_path, lambda _: None)


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


def test_disk_that_cannot_be_used_does_not_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mkfs that fails is said, and the root volume serves. Otherwise one bad disk costs every instance of a type."""
    run = {"name": "demo", "command": ["true"], "directory": str(tmp_path / "job")}
    monkeypatch.setattr(disks, "found", lambda: [Disk(str(tmp_path / "no-device"))])
    host.prepare(spec.parse({"run": run}, source="test"))

    assert [] == list((tmp_path / "job").iterdir())
