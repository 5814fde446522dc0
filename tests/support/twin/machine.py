"""An instance: a disk of layers, booted by systemd-nspawn with systemd as its first process.

What an EC2 instance is to its agent, as far as a container can be: its own processes, hostname, cgroups, network and
boot id; the power button (SIGTERM to nspawn is what ACPI's is) and the sudden death (SIGKILL of its first process).
Not its own: the kernel, and so the clock and what modules there are.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import subprocess
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from support.twin.network import GATEWAY, LOCALHOST, Region

# cgroups of version 2 alone, whatever this computer mounts. /run must be a tmpfs below nspawn's own folder. With a
# file system on /sys, nspawn keeps it and fills in the rest: so EC2's mark can be there, by which cloud-init knows it.
BOOT = r"""
set -e
root=$1 cgroup=$2; shift 2
echo $$ > "$cgroup/cgroup.procs"
umount -R /sys/fs/cgroup 2>/dev/null || umount -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /run/systemd/nspawn
mount -t tmpfs -o mode=755 tmpfs /run/systemd/nspawn
mount -t tmpfs -o mode=755 tmpfs "$root/sys"
mkdir "$root/sys/hypervisor"
echo "ec2$(cut -c4- /proc/sys/kernel/random/uuid)" > "$root/sys/hypervisor/uuid"
exec systemd-nspawn --quiet --directory="$root" --boot --register=no --keep-unit --kill-signal=SIGRTMIN+4 \
    --console=read-only --resolv-conf=off --link-journal=no --timezone=off "$@"
"""
NETWORK = """[Match]
Name=eth0

[Network]
Address={address}/24
Gateway={gateway}
LinkLocalAddressing=no
"""
# What a machine would wait for that is killed while a test ends.
GONE_S = 20.0


@dataclass(frozen=True, slots=True)
class Said:
    """What a command on the machine ended with."""

    status: int
    output: str


class Twin:
    """One that was switched on. Made by `boot`."""

    def __init__(self, folder: Path, region: Region, namespace: str, address: str, cgroup: Path, console: Path) -> None:
        self.root, self.address = folder / "root", address
        self._folder, self._region, self._namespace, self._cgroup = folder, region, namespace, cgroup
        self.console = console
        self._process: asyncio.subprocess.Process | None = None
        self._off: asyncio.Task[int] | None = None

    @classmethod
    async def boot(
        cls,
        folder: Path,
        *,
        layers: Sequence[Path],
        region: Region,
        imds: str,
        console: Path,
        files: dict[str, str] | None = None,
        visible: Sequence[Path] = (),
        cloud_init: bool = False,
        plugged: bool = True,
    ) -> Twin:
        """`layers`: of its disk, the uppermost first. `files`: what is written onto that before it starts. `visible`:
        folders of this computer that it sees under the same path. `plugged`: whether its network cable is."""
        twin = await asyncio.to_thread(cls._prepare, folder, layers, region, imds, console, files or {})
        try:
            if not plugged:
                await asyncio.to_thread(region.plug, twin.address, into=False)
            await twin._start(visible, cloud_init)
        except BaseException:
            await twin.close()
            raise
        return twin

    @classmethod
    def _prepare(
        cls, folder: Path, layers: Sequence[Path], region: Region, imds: str, console: Path, files: dict[str, str]
    ) -> Twin:
        for name in ("given", "upper", "work", "root"):
            (folder / name).mkdir(parents=True)
        cgroup = _cgroups() / f"spotrelay-twin-{secrets.token_hex(4)}"
        cgroup.mkdir()
        namespace, address = region.join(imds)
        twin = cls(folder, region, namespace, address, cgroup, console)
        network = NETWORK.format(address=address, gateway=GATEWAY)
        # In a layer of their own: the upper one holds what the machine itself writes.
        # The agent speaks plain HTTP to loopback alone. So loopback's name is the region's, which eth0 leads to.
        names = f"{GATEWAY} {LOCALHOST}\n{address} {_hostname(address)}\n"
        own = {"etc/systemd/network/10-eth0.network": network, "etc/machine-id": "", "etc/hosts": names}
        for path, text in (own | files).items():
            given = folder / "given" / path
            given.parent.mkdir(parents=True, exist_ok=True)
            given.write_text(text)
        lower = ":".join(str(layer) for layer in (folder / "given", *layers))
        options = f"lowerdir={lower},upperdir={folder}/upper,workdir={folder}/work,volatile"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(twin.root)], check=True)
        return twin

    async def _start(self, visible: Sequence[Path], cloud_init: bool) -> None:
        words = [
            f"--machine=twin-{secrets.token_hex(4)}",
            f"--hostname={_hostname(self.address)}",
            f"--uuid={uuid.uuid4().hex}",
            f"--network-namespace-path=/run/netns/{self._namespace}",
            "--capability=CAP_NET_ADMIN",
            *(f"--bind={folder}" for folder in visible),
            *([] if cloud_init else ["cloud-init=disabled"]),
        ]
        with self.console.open("ab") as console:
            self._process = await asyncio.create_subprocess_exec(
                *("unshare", "--mount", "--propagation", "private", "bash", "-c", BOOT, "boot"),
                *(str(self.root), str(self._cgroup), *words),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        self._off = asyncio.ensure_future(self._process.wait())

    # --- from outside

    def power_button(self) -> None:
        """What a person's Terminate does, and EC2 at the time of a notice. Nothing once it is off."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()

    def vanish(self) -> None:
        """The hardware fails."""
        if (first := self._first()) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(first, 9)
        elif self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def plug(self, *, into: bool) -> None:
        """Its network cable: into the region's bridge, or out of it."""
        await asyncio.to_thread(self._region.plug, self.address, into=into)

    async def off(self) -> int:
        assert self._off is not None
        return await asyncio.shield(self._off)

    def outside_writes(self) -> None:
        """Nobody looks for them here."""

    async def close(self) -> None:
        """Off, at once if need be, and gone with its disk."""
        if self._process is not None and self._process.returncode is None:
            self.vanish()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GONE_S):
                    await self.off()
            if self._process.returncode is None:
                self._process.kill()
                await self.off()
        await asyncio.to_thread(self._remove)

    def _remove(self) -> None:
        _empty_cgroup(self._cgroup)
        subprocess.run(["umount", "-l", str(self.root)], check=False, capture_output=True)
        self._region.leave(self._namespace, self.address)
        shutil.rmtree(self._folder, ignore_errors=True)

    def keep(self, layer: Path) -> None:
        """What it wrote becomes a layer for others (EC2's CreateImage). It is off."""
        subprocess.run(["umount", str(self.root)], check=True)
        shutil.move(self._folder / "upper", layer)
        (self._folder / "upper").mkdir()

    # --- from within

    async def run(self, *command: str) -> Said:
        """A command on the machine, as a service of its systemd: with the machine's rights, not this process's."""
        return await self._enter("systemd-run", "-q", "--pipe", "--wait", "--collect", "--", *command)

    async def up(self) -> None:
        """When its systemd has nothing left to start."""
        while (await self._enter("systemctl", "is-system-running", "--wait")).output.strip() not in (
            "running",
            "degraded",
        ):
            assert self._process is not None
            assert self._process.returncode is None, self.console.read_text(errors="replace")[-4000:]
            await asyncio.sleep(0.05)

    async def show(self, unit: str, *properties: str) -> dict[str, str]:
        """What systemd says of a unit."""
        words = [f"--property={name}" for name in properties]
        said = await self._enter("systemctl", "show", unit, *words)
        return dict(line.split("=", 1) for line in said.output.splitlines() if "=" in line)

    async def _enter(self, *command: str) -> Said:
        """With all rights of this computer: for looks at its systemd alone."""
        if (first := self._first()) is None:
            return Said(255, "")
        entered = await asyncio.create_subprocess_exec(
            *("nsenter", "-t", str(first), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--", *command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        output, _ = await entered.communicate()
        assert entered.returncode is not None
        return Said(entered.returncode, output.decode(errors="replace"))

    def _first(self) -> int | None:
        """Its first process, as this computer numbers it."""
        if self._process is None or self._process.returncode is not None:
            return None
        pid = self._process.pid
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            if children and Path(f"/proc/{pid}/comm").read_text().strip() == "systemd-nspawn":
                return int(children[0])
        return None


def _hostname(address: str) -> str:
    """As EC2 has it."""
    return f"ip-{address.replace('.', '-')}"


def _cgroups() -> Path:
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(place)
    raise FileNotFoundError("no cgroups of version 2 are mounted")


def _empty_cgroup(cgroup: Path) -> None:
    """From the innermost out; the kernel takes a moment to notice that the last process is gone."""
    for folder, _, _ in sorted(os.walk(cgroup), key=lambda entry: -len(entry[0])):
        for _ in range(100):
            try:
                Path(folder).rmdir()
                break
            except FileNotFoundError:
                break
            except OSError:
                time.sleep(0.02)
