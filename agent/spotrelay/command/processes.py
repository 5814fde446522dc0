"""What the kernel says of processes (/proc), and how to signal one without hitting its pid's next owner.

Everything read here may be gone a microsecond later: a process that vanishes is no error, it is dead. A zombie counts
as dead as well; only its parent has not looked yet.

Children come from `/proc/<pid>/task/*/children`, not from a walk over all of /proc: it costs one read per thread of the
process asked about, where a large machine has two thousand kernel threads to skip. The kernel builds it with
CONFIG_PROC_CHILDREN, as Amazon Linux, Debian, Ubuntu and Fedora do (CRIU needs it too). It may miss a child while
others exit, so whoever needs all of them reads again until nothing new appears.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

DEAD = frozenset("ZXx")
STOPPED = frozenset("Tt")


def children(pid: int) -> list[int]:
    """Direct children, those of every thread; zombies too. Empty when it is gone."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 — a listing of names, a thousand times a second
    except OSError:
        return []
    return [int(child) for thread in threads for child in _read(f"/proc/{pid}/task/{thread}/children").split()]


def descendants(pid: int) -> list[int]:
    """Everything alive below it, parents before children."""
    found = dict.fromkeys(children(pid))
    for ancestor in (queue := list(found)):
        new = [child for child in children(ancestor) if child not in found]
        found.update(dict.fromkeys(new))
        queue.extend(new)
    return [process for process in found if is_alive(process)]


def state(pid: int) -> str:
    """One letter of proc(5): R S D T …; X when it is gone."""
    return (_stat(pid) or ["X"])[0]


def is_alive(pid: int) -> bool:
    return state(pid) not in DEAD


def name(pid: int) -> str:
    """The kernel's name: the file executed, without its folder, 15 bytes at most; a script's own, not its shell's."""
    return _read(f"/proc/{pid}/comm").rstrip("\n")


def arguments(pid: int) -> list[str]:
    """Its command line; empty when it is gone."""
    return _read(f"/proc/{pid}/cmdline").split("\0")[:-1]


def executable(pid: int) -> str:
    """The binary's name, without its folder: a script's interpreter."""
    try:
        path = os.readlink(f"/proc/{pid}/exe")  # noqa: PTH115 — " (deleted)" is not part of a path
    except OSError:
        return name(pid)  # another user's process, and no CAP_SYS_PTRACE
    return os.path.basename(path.removesuffix(" (deleted)"))  # noqa: PTH119


def catches(pid: int, sig: int) -> bool:
    return _in_mask(pid, "SigCgt", sig)


def ignores(pid: int, sig: int) -> bool:
    return _in_mask(pid, "SigIgn", sig)


def send(pid: int, sig: int, *, below: int) -> bool:
    """Signal the process if it is alive and a descendant of `below`. Says whether it was sent.

    A pidfd names one process for ever, where the pid may have found a new owner between our look and our kill().
    """
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if not is_alive(pid) or not _is_below(pid, below):
            return False
        signal.pidfd_send_signal(handle, sig)
    except OSError:
        return False  # gone meanwhile, or setuid to somebody we may not signal
    else:
        return True
    finally:
        os.close(handle)


def _is_below(pid: int, ancestor: int) -> bool:
    while pid > 1 and pid != ancestor:
        pid = int((_stat(pid)[1:2] or ["0"])[0])
    return pid == ancestor


def _stat(pid: int) -> list[str]:
    """State, parent and the rest; nothing when it is gone."""
    # The name in parentheses may itself hold parentheses and spaces: what is looked for follows the last one.
    return _read(f"/proc/{pid}/stat").rpartition(")")[2].split()


def _in_mask(pid: int, field: str, sig: int) -> bool:
    for line in _read(f"/proc/{pid}/status").splitlines():
        key, _, mask = line.partition(":")
        if key == field:
            return bool(int(mask, 16) >> (sig - 1) & 1)
    return False


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
