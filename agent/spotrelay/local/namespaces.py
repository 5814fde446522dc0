"""The few system calls that turn a process into a machine, by ctypes.

`os.unshare` exists from Python 3.12 on and `os` has no `mount` at all; the programs unshare(1) and mount(8) would do,
but each is a process more, and mount(8) refuses ordinary users before the kernel is asked. Linux only; imported by the
machine's own processes and by nothing that must run elsewhere.
"""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path

# <linux/sched.h>
NEW_MOUNTS, NEW_IPC, NEW_USERS, NEW_PIDS = 0x00020000, 0x08000000, 0x10000000, 0x20000000
# <linux/mount.h>
READ_ONLY, NO_SUID, NO_DEVICES, NO_EXEC = 1, 2, 4, 8
REMOUNT, BIND, RECURSIVE, PRIVATE = 32, 4096, 16384, 1 << 18
# What a bind mount has to keep in a user namespace, as statvfs shows it (man mount_namespaces, "locked").
_KEPT = ((os.ST_NOSUID, NO_SUID), (os.ST_NODEV, NO_DEVICES), (os.ST_NOEXEC, NO_EXEC))
_DETACH = 2
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def unshare(flags: int) -> None:
    """Leave the namespaces in `flags`; process ids change for children only. Raises OSError."""
    _check(_libc.unshare(flags), "unshare")


def own_user_namespace(flags: int) -> None:
    """As `unshare`, in a user namespace that knows this user alone, under the same number.

    Within it this process may mount; a program that it executes may not, just as on a real machine.
    """
    user, group = os.getuid(), os.getgid()
    unshare(flags | NEW_USERS)
    # The kernel wants setgroups given up before an ordinary user may map a group (man user_namespaces).
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def mount(source: str, target: Path, kind: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2). Raises OSError that names the target."""
    words = [word.encode() or None for word in (kind, options)]
    result = _libc.mount(os.fsencode(source), os.fsencode(target), words[0], ctypes.c_ulong(flags), words[1])
    _check(result, str(target))


def bind(source: Path, target: Path, *, recursive: bool = False, read_only: bool = False) -> None:
    """Show `source` at `target` too. `read_only` is for it alone, not for mounts below it."""
    mount(str(source), target, flags=BIND | (RECURSIVE if recursive else 0))
    if read_only:
        shown = os.statvfs(target).f_flag
        kept = sum(flag for sign, flag in _KEPT if shown & sign)
        mount("", target, flags=REMOUNT | BIND | READ_ONLY | kept)


def unmount(target: Path) -> None:
    _check(_libc.umount2(os.fsencode(target), _DETACH), str(target))


def change_root(root: Path) -> None:
    """Make `root`, a mount point, the root of this mount namespace, and let go of the old one."""
    os.chdir(root)
    # Both at ".": the old root is stacked over the new one and taken off again, so no place for it is needed
    # (man pivot_root, "pivot_root(".", ".")").
    _check(_libc.pivot_root(b".", b"."), str(root))
    unmount(Path())
    os.chdir("/")


def die_with_parent() -> None:
    """SIGKILL for this process when the *thread* that made it ends; for parents of one thread only."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")


def adopt_orphans() -> None:
    """Descendants whose parents die become children of this process, as they do with process 1."""
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")
