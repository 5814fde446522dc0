"""Instance store for the execution directory: the local NVMe disks that an instance type may bring, which EBS is slow
beside, and which are empty on each new machine.

1. One disk gets a file system, several become one by RAID 0: what is on them is gone with the machine anyway.
2. Only disks that nobody uses: without partitions, holders, mounts or a file system of somebody else's. One that we
   made, on this machine before a reboot, is mounted as it is.
3. Only below a directory that is not there or empty: a mount would hide what is in it.

`plan` says what to do, in commands that a person could type; it looks at what `found` read, and does nothing.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

MODEL = "Amazon EC2 NVMe Instance Storage"
LABEL = "spotrelay"
ARRAY = "/dev/md/spotrelay"

Command = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Disk:
    """`holds`: the label of the file system on it, "" if it has none that has a name, None if it is empty."""

    device: str
    holds: str | None = None


def found(system: Path = Path("/sys"), probe: Callable[[str], str | None] | None = None) -> list[Disk]:
    """Instance store that nobody has divided, mounted or gathered, and what we have gathered. Raises OSError."""
    probe, blocks = probe or probed, system / "block"
    disks = []
    for block in sorted(blocks.glob("nvme*")):
        partitions = any(part.name.startswith(block.name) for part in block.iterdir())
        if _is_instance_store(block) and not partitions and not any((block / "holders").iterdir()):
            disks.append(Disk(f"/dev/{block.name}", probe(f"/dev/{block.name}")))
    # After a reboot udev has gathered what we had gathered, under a name of its own. Of other people's arrays, none.
    for block in sorted(blocks.glob("md*")):
        members = [blocks / member.name for member in (block / "slaves").iterdir()]
        if members and all(map(_is_instance_store, members)) and probe(f"/dev/{block.name}") == LABEL:
            disks.append(Disk(f"/dev/{block.name}", LABEL))
    return disks


def _is_instance_store(block: Path) -> bool:
    model = block / "device" / "model"
    return model.exists() and model.read_text().strip() == MODEL


def probed(device: str) -> str | None:
    """What blkid, which ends with 2 for a disk that holds nothing, says of it."""
    said = subprocess.run(["blkid", "-p", "-s", "LABEL", "-o", "value", device], capture_output=True, text=True)  # noqa: PLW1510
    return None if said.returncode == 2 else said.stdout.strip()


def plan(disks: Sequence[Disk], directory: Path, *, occupied: bool) -> list[Command]:
    """The commands that put `directory` onto them; none where there is nothing to gain. `occupied`: it has content, or
    is a mount point."""
    ours = [disk.device for disk in disks if disk.holds == LABEL]
    empty = [disk.device for disk in disks if disk.holds is None]
    if occupied or not (ours or empty):
        return []
    mount = ("mount", "-o", "noatime,nodev")
    if ours:
        return [(*mount, ours[0], str(directory))]
    device, gather = empty[0], list[Command]()
    if len(empty) > 1:
        device = ARRAY
        gather = [("mdadm", "--create", ARRAY, "--run", "--level=0", f"--raid-devices={len(empty)}", *empty)]
    # No discard: the disks come empty, and discarding terabytes takes a minute. What is lazy is done while it is used.
    options = ("-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1", "-m", "0")
    return [
        *gather,
        ("mkfs.ext4", "-q", "-L", LABEL, *options, device),
        (*mount, device, str(directory)),
        # mkfs's own; otherwise the first snapshot would hold it.
        ("rmdir", str(directory / "lost+found")),
    ]
