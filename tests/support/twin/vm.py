"""An instance as a virtual machine: QEMU, its processor emulated (KVM is not to be had where this is made), with the
DMI strings of EC2. What `machine.Twin` is not: a kernel of its own, with its clock, controllers of memory, RAID, and a
power button that is ACPI's.

An emulated boot takes a minute or two. So all but one begin in its middle: `stopped` is the memory and disk of a
machine that has booted and whose agent is yet to start (QEMU's savevm). It is given the time, an address and its files,
and goes on from there, in some ten seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

from support.twin import disk, qmp, rootfs
from support.twin.machine import NETWORK, Said
from support.twin.network import GATEWAY, LOCALHOST, Region

PROGRAMS = ("qemu-system-x86_64", "qemu-img", "mke2fs")
MEMORY = "1024"
UNITS = "etc/systemd/system"
# Conditions, not masks: they go without a trace, and the units are the image's own.
HELD_UNITS = ("spotrelay-agent.service", "spotrelay-dead-man.timer")
HELD = {f"{UNITS}/{unit}.d/held.conf": "[Unit]\nConditionPathExists=/there/is/none\n" for unit in HELD_UNITS}
BARE = ("-display", "none", "-nodefaults", "-no-reboot", "-no-user-config")
# The name by which instance store is known; QEMU's disks have one of their own, and no option for it.
INSTANCE_STORE = "Amazon EC2 NVMe Instance Storage"
# Where nothing else is busy it takes a minute and a half.
BOOTED_S = 400.0
SLOTS = 2


def why_not() -> str:
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        return f"no virtual machine: {', '.join(missing)} not here (apt install qemu-system-x86 qemu-utils)"
    return rootfs.why_not()


async def stopped(layers: Sequence[Path]) -> Path:
    """The folder of a machine with these layers, stopped before its agent. Cached; the first time takes minutes."""
    made_of = b"".join(Path(module.__file__ or "").read_bytes() for module in (disk, qmp)) + Path(__file__).read_bytes()
    key = hashlib.sha256(made_of + str(layers).encode()).hexdigest()[:16]
    target = rootfs.CACHE / f"stopped-{rootfs.SUITE}-{key}"
    if not target.exists():
        rootfs.forget("stopped-*")
        with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=rootfs.CACHE) as name:
            await _stop(Path(name) / "made", layers)
            # The overlay names the disk below it; one that was made beside it at the same time is as good.
            with contextlib.suppress(FileExistsError):
                (Path(name) / "made").rename(target)
    target.touch()
    return target


async def _stop(folder: Path, layers: Sequence[Path]) -> None:
    async with Region() as region:
        folder.mkdir()
        vm = await Vm.boot(folder, layers=layers, region=region, imds="", console=folder / "console", files=HELD)
        try:
            async with asyncio.timeout(BOOTED_S):
                await vm.shell.there()
                await vm.up()
            await vm.qmp.monitor("savevm stopped")
            await vm.qmp("quit")
            await vm.off()
        finally:
            await vm.close(keep=True)


class Vm:
    """One that was switched on: by `boot`, from a disk made for it, or by `go_on`, from where another was stopped."""

    qmp: qmp.Qmp
    shell: qmp.Shell

    def __init__(self, folder: Path, region: Region, imds: str, console: Path) -> None:
        self._folder, self._region, self.console = folder, region, console
        self._tap, self._mac, self.address = region.join_by_tap(imds)
        # A socket's name is short, a test's folder is not.
        self._sockets = Path(tempfile.mkdtemp(prefix="vm-"))
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    @classmethod
    async def boot(
        cls,
        folder: Path,
        *,
        layers: Sequence[Path],
        region: Region,
        imds: str,
        console: Path,
        files: Mapping[str, str],
        cloud_init: bool = False,
    ) -> Vm:
        """From the firmware on."""
        folder.mkdir(parents=True, exist_ok=True)
        kernel = await asyncio.to_thread(disk.kernel)
        vm = await asyncio.to_thread(cls, folder, region, imds, console)
        try:
            own = (kernel.layer, *layers)
            await asyncio.to_thread(disk.make, folder / "disk.img", own, vm._settings() | dict(files))
            await asyncio.to_thread(_overlay, folder)
            await vm._start([] if cloud_init else ["cloud-init=disabled"], [])
        except BaseException:
            await vm.close()
            raise
        return vm

    @classmethod
    async def go_on(
        cls,
        folder: Path,
        *,
        stopped: Path,
        region: Region,
        imds: str,
        console: Path,
        files: Mapping[str, str],
        disks: int = 0,
    ) -> Vm:
        """From where `stopped` is. `disks`: of instance store, that are plugged in before the agent starts."""
        folder.mkdir(parents=True)
        vm = await asyncio.to_thread(cls, folder, region, imds, console)
        try:
            await asyncio.to_thread(_continued, stopped, folder)
            await vm._start(["cloud-init=disabled"], ["-loadvm", "stopped"])
            await vm._let_go(files, disks)
        except BaseException:
            await vm.close()
            raise
        return vm

    async def _start(self, kernel_words: Sequence[str], more: Sequence[str]) -> None:
        kernel, ec2 = await asyncio.to_thread(disk.kernel), f"ec2{str(uuid.uuid4())[3:]}"
        command = " ".join(["root=/dev/vda rw console=ttyS0 net.ifnames=0 quiet", *kernel_words])
        drive = f"file={self._folder}/disk.qcow2,if=virtio,cache=unsafe"
        words = [
            *("qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max"),
            *("-smp", "2", "-m", MEMORY, *BARE),
            *("-kernel", str(kernel.image), "-initrd", str(kernel.initrd), "-append", command, "-drive", drive),
            *("-device", "virtio-rng-pci", "-device", "vmgenid,guid=auto"),
            *("-netdev", f"tap,id=net,ifname={self._tap},script=no,downscript=no"),
            *("-device", f"virtio-net-pci,netdev=net,mac={self._mac}"),
            *(
                word
                for slot in range(SLOTS)
                for word in ("-device", f"pcie-root-port,id=slot{slot},chassis={slot + 1}")
            ),
            *("-chardev", f"file,id=console,path={self.console},append=on", "-serial", "chardev:console"),
            *("-serial", f"unix:{self._sockets}/shell,server=on,wait=off"),
            *("-qmp", f"unix:{self._sockets}/qmp,server=on,wait=off"),
            *("-smbios", "type=0,vendor=Amazon EC2,version=1.0"),
            *("-smbios", f"type=1,manufacturer=Amazon EC2,product=m6i.large,uuid={ec2},serial={ec2}"),
            *("-smbios", "type=3,manufacturer=Amazon EC2,asset=Amazon EC2"),
            *more,
        ]
        with (self._folder / "qemu.log").open("wb") as log:
            # Nice: it takes all that a processor has, and the region's servers are in this process.
            self._process = await asyncio.create_subprocess_exec(
                *("ip", "netns", "exec", self._region.name, "nice", "-n", "10", *words),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self.qmp = await qmp.Qmp.open(self._sockets / "qmp")
            self.shell = await qmp.Shell.open(self._sockets / "shell")
        except (OSError, TimeoutError) as error:
            raise RuntimeError((self._folder / "qemu.log").read_text(errors="replace")) from error

    def _settings(self) -> dict[str, str]:
        return {
            "etc/systemd/network/10-eth0.network": NETWORK.format(address=self.address, gateway=GATEWAY),
            "etc/hosts": f"{GATEWAY} {LOCALHOST}\n",
        }

    async def _let_go(self, files: Mapping[str, str], disks: int) -> None:
        """Make it a machine of its own, and start what was held."""
        for path, text in (self._settings() | dict(files)).items():
            await self.shell.write(f"/{path}", text)
        for slot in range(disks):
            await self._plug_in(slot)
        script = [
            "set -e",
            f"date -s @{time.time():.3f}",
            f"ip link set eth0 down; ip link set eth0 address {self._mac}; ip link set eth0 up",
            "networkctl reload; networkctl reconfigure eth0",
            *(f"rm /{path}" for path in HELD),
            "systemctl daemon-reload",
            f"systemctl start --no-block {' '.join(HELD_UNITS)}",
        ]
        await self._well("\n".join(script))

    async def _plug_in(self, slot: int) -> None:
        """An empty disk, under Amazon's name."""
        path = self._folder / f"nvme{slot}.img"
        with path.open("wb") as image:
            os.truncate(image.fileno(), 256 << 20)
        file = {"driver": "file", "filename": str(path)}
        await self.qmp("blockdev-add", **{"driver": "raw", "node-name": f"store{slot}", "file": file})
        await self.qmp("device_add", driver="nvme", drive=f"store{slot}", serial=f"store{slot}", bus=f"slot{slot}")
        model = f"/sys/block/nvme{slot}n1/device/model"
        await self._well(
            f"for _ in $(seq 300); do test -e {model} && break; sleep 0.1; done\n"
            f"echo '{INSTANCE_STORE}' >/run/model && mount --bind /run/model {model}"
        )

    # --- from outside

    def power_button(self) -> None:
        """ACPI's."""
        if self._process is not None and self._process.returncode is None:
            self._run(self._press())

    async def _press(self) -> None:
        with contextlib.suppress(ConnectionError):
            await self.qmp("system_powerdown")

    def vanish(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def off(self) -> int:
        assert self._process is not None
        return await self._process.wait()

    def outside_writes(self) -> None:
        """Nobody looks for them here."""

    async def close(self, *, keep: bool = False) -> None:
        """Off, and gone with its disk."""
        self.vanish()
        if self._process is not None:
            await self.off()
        for task in self._tasks:
            task.cancel()
        for line in ("qmp", "shell"):
            if hasattr(self, line):
                getattr(self, line).close()
        await asyncio.to_thread(self._region.leave_tap, self._tap, self.address)
        for folder in (self._sockets, *([] if keep else [self._folder])):
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- from within

    async def run(self, *command: str) -> Said:
        return Said(*await self.shell(shlex.join(command)))

    async def up(self) -> None:
        """When its systemd has nothing left to start."""
        said = await self.run("systemctl", "is-system-running", "--wait")
        assert said.output.strip() in ("running", "degraded"), said

    async def _well(self, script: str) -> None:
        status, said = await self.shell(script)
        assert status == 0, said


def _overlay(folder: Path) -> None:
    """What is written goes into a file of its own, of the kind that takes snapshots."""
    create = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", "disk.img", "-F", "raw", str(folder / "disk.qcow2")]
    subprocess.run(create, check=True)


def _continued(stopped: Path, folder: Path) -> None:
    """A copy of what `stopped` wrote, over the same disk."""
    (folder / "disk.img").symlink_to(stopped / "disk.img")
    shutil.copy(stopped / "disk.qcow2", folder / "disk.qcow2")
