"""The root file system of a stock base: Debian, as its own packages make it. Made once, kept in the user's cache.

It holds what Debian's cloud image holds of all this, and settings for a network without DHCP. Half a minute to make,
360 MB to keep; the key is this file and the month, so that it does not grow old.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Who logs in to Debian's image on EC2.
USER = "admin"
SUITE = os.environ.get("SPOTRELAY_TWIN_SUITE", "bookworm")
PACKAGES = [
    "systemd",
    "systemd-sysv",
    "dbus",
    "udev",
    "libpam-systemd",
    "python3",
    "python3-venv",
    "cloud-init",
    "ca-certificates",
    "iproute2",
    "procps",
    "curl",
    "sudo",
    "netbase",
    "openssh-server",
    "mdadm",
    "e2fsprogs",
    "chrony",
]
PROGRAMS = ("mmdebstrap", "systemd-nspawn", "packer", "ssh-keygen", "ip", "nsenter", "unshare")
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path(os.environ.get("HOME") or "/root") / ".cache") / "spotrelay/twin"

# What a cloud's own set-up would do by DHCP and DNS. Names that are in no file do not exist, at once: the resolver
# would wait, cloud-init for minutes.
NSSWITCH = "passwd: files\ngroup: files\nshadow: files\nhosts: files\nnetworks: files\nprotocols: files\n"
CLOUD_INIT = """datasource_list: [ Ec2, None ]
datasource: {Ec2: {strict_id: false}}
locale: false
network: {config: disabled}
"""


@functools.cache
def why_not() -> str:
    """Why no twin can be booted here; empty where it can."""
    if os.geteuid() != 0:
        return "no twin of the image: booting one takes root"
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        return f"no twin of the image: {', '.join(missing)} not here (scripts/test installs it on Debian and Ubuntu)"
    return _refused()


def _refused() -> str:
    """By trying: network namespaces, overlay on overlay and cgroups are each refused somewhere."""
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name) / part for part in ("lower", "upper", "work", "there")]
        for folder in folders:
            folder.mkdir()
        lower, upper, work, there = folders
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        script = f"mount -t overlay overlay -o {options} {there} && mount -t cgroup2 cgroup2 {lower}"
        tried = subprocess.run(
            ["unshare", "--net", "--mount", "--pid", "--fork", "sh", "-c", script],
            capture_output=True,
            text=True,
            check=False,
        )
    return f"no twin of the image: {tried.stderr.strip()}" if tried.returncode else ""


def base() -> Path:
    """The root file system, to be read only. Made if it is not there; of two who want it, one makes it."""
    made_of = Path(__file__).read_bytes() + time.strftime("%Y-%m").encode()
    target = CACHE / f"{SUITE}-{hashlib.sha256(made_of).hexdigest()[:16]}"
    with locked(CACHE):
        if not target.exists():
            forget(f"{SUITE}-*")
            _make(target)
    target.touch()
    return target


def _make(target: Path) -> None:
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=CACHE))
    try:
        root = unfinished / "root"
        lean = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale", "info")]
        command = ["mmdebstrap", "--quiet", "--variant=minbase", *lean, f"--include={','.join(PACKAGES)}", SUITE]
        command.append(str(root))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"mmdebstrap: {done.stderr[-4000:]}"
        _settle(root)
        root.rename(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _settle(root: Path) -> None:
    (root / "etc/nsswitch.conf").write_text(NSSWITCH)
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    (root / "etc/cloud/cloud.cfg.d/90-twin.cfg").write_text(CLOUD_INIT)
    (root / "etc/machine-id").write_text("")
    (root / "etc/hostname").unlink(missing_ok=True)
    # Each instance has keys of its own, which cloud-init makes; where that is switched off, there is no sshd.
    dropin = root / "etc/systemd/system/ssh.service.d/twin.conf"
    dropin.parent.mkdir()
    dropin.write_text("[Unit]\nConditionPathExists=/etc/ssh/ssh_host_ed25519_key\n")
    subprocess.run(["systemctl", f"--root={root}", "-q", "enable", "systemd-networkd"], check=True)
    # On a container's console systemd puts a login prompt, and that empties the line as it starts and as it is stopped:
    # of 3,000 lines of a journal twelve were lost in 119 restarts, none without one. EC2 has it on a serial line, for
    # which there is systemd/serial-getty@.service.d.
    subprocess.run(["systemctl", f"--root={root}", "-q", "mask", "console-getty.service"], check=True)
    # As a cloud image has it: there is no password to log in with.
    subprocess.run(["useradd", "-R", str(root), "-m", "-s", "/bin/bash", USER], check=True)
    (root / "etc/sudoers.d/90-twin").write_text(f"{USER} ALL=(ALL) NOPASSWD:ALL\n")


def forget(pattern: str) -> None:
    """What nobody has used for a day. What is younger may be another checkout's, whose tests run just now."""
    for old in CACHE.glob(pattern):
        if time.time() - old.stat().st_mtime > 86_400:
            shutil.rmtree(old)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time; the lock is on the folder itself, and goes with its owner."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
