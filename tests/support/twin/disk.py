"""What a virtual machine of the image starts from: Debian's kernel for clouds, and the image's layers as one ext4 disk.

The kernel is no part of `rootfs.base`, for a container has none: it is a layer of its own, made once and cached (a
minute and a half), and so is what makes the disk one to be tested: a shell on the second serial line.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from support.twin import rootfs

SIZE = "3G"
SHELL = """[Unit]
Description=A shell for tests, on the second serial line
DefaultDependencies=no
After=systemd-remount-fs.service systemd-tmpfiles-setup.service

[Service]
ExecStart=/bin/sh -c 'exec </dev/ttyS1 >/dev/ttyS1 2>/dev/null; stty raw -echo; echo ready; exec /bin/sh -s'
"""
WANTED = "[Unit]\nWants=twin-shell.service\n"
OWN = {
    "etc/systemd/system/twin-shell.service": SHELL,
    "etc/systemd/system/multi-user.target.d/twin-shell.conf": WANTED,
    "etc/machine-id": "",
}


@dataclass(frozen=True, slots=True)
class Kernel:
    """`layer`: its modules."""

    folder: Path

    @property
    def image(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.folder / "initrd.img"

    @property
    def layer(self) -> Path:
        return self.folder / "layer"


def kernel() -> Kernel:
    """Made if it is not there. Blocking."""
    made_of = Path(__file__).read_bytes() + time.strftime("%Y-%m").encode()
    target = rootfs.CACHE / f"kernel-{rootfs.SUITE}-{hashlib.sha256(made_of).hexdigest()[:16]}"
    with rootfs.locked(rootfs.CACHE):
        if not target.exists():
            rootfs.forget(f"kernel-{rootfs.SUITE}-*")
            with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=rootfs.CACHE) as name:
                _install(Path(name)).rename(target)
    target.touch()
    return Kernel(target)


def _install(work: Path) -> Path:
    """By Debian's own packages, in a root of their own: that is where an initramfs is made."""
    packages = "linux-image-cloud-amd64,initramfs-tools,zstd"
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}", rootfs.SUITE, str(work / "root")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"mmdebstrap: {done.stderr[-4000:]}"
    root, made = work / "root", work / "kernel"
    (made / "layer/usr/lib").mkdir(parents=True)
    shutil.move(root / "usr/lib/modules", made / "layer/usr/lib/modules")
    # What the kernel calls when it wants a module, and a container does without.
    for program in ("bin/kmod", "sbin/modprobe", "sbin/insmod"):
        (made / "layer/usr" / program).parent.mkdir(exist_ok=True)
        shutil.move(root / "usr" / program, made / "layer/usr" / program)
    for name in ("vmlinuz", "initrd.img"):
        (found,) = (root / "boot").glob(f"{name}-*")
        shutil.move(found, made / name)
    return made


def make(target: Path, layers: Sequence[Path], files: Mapping[str, str]) -> None:
    """A file system of `layers`, the uppermost first, with `files` written onto them. Blocking, five seconds."""
    with tempfile.TemporaryDirectory() as name:
        given, there = Path(name) / "given", Path(name) / "there"
        there.mkdir()
        for path, text in (OWN | dict(files)).items():
            (given / path).parent.mkdir(parents=True, exist_ok=True)
            (given / path).write_text(text)
        options = "lowerdir=" + ":".join(map(str, (given, *layers)))
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", f"{options},ro", str(there)], check=True)
        try:
            command = ["mke2fs", "-q", "-F", "-t", "ext4", "-d", str(there), "-L", "root", str(target), SIZE]
            subprocess.run(command, check=True)
        finally:
            subprocess.run(["umount", str(there)], check=True)
