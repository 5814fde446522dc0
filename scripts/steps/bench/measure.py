"""One command, one measurement: wall time, CPU seconds and peak memory of its whole process tree.

1. The interpreter's or the loader's start is included, for peers and for us: a person waits for it, too.
2. CPU: user and system of the command and of all it waited for, as the kernel counts them (wait4).
3. Memory: every 50 ms the tree's resident memory is added up, and each process's own high-water mark is read; the
   larger is the peak. Not ru_maxrss: it begins with what the *parent* held when it forked.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

SAMPLE_S = 0.05
# Nothing here takes so long; what hangs must not hang the bench.
LIMIT_S = 1800


@dataclass(frozen=True, slots=True)
class Measured:
    wall_s: float
    cpu_s: float
    peak_rss: int
    status: int = 0
    said: str = ""

    @property
    def failed(self) -> bool:
        return self.status != 0


def measure(
    command: Sequence[str], environment: Mapping[str, str], *, cwd: Path | None = None, limit_s: float = LIMIT_S
) -> Measured:
    """Run it to its end. What it says goes to a file, and its last lines come back."""
    with _spoken() as (file, last_lines):
        began = time.monotonic()
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
        with sampled(process.pid) as memory, _killed_after(limit_s, process.pid):
            _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)  # it has been waited for
        cpu_s = usage.ru_utime + usage.ru_stime
        return Measured(wall_s, cpu_s, memory.peak, process.returncode, last_lines())


class Memory:
    def __init__(self) -> None:
        self.peak = 0

    def sample(self, root: int) -> None:
        found = [resident(pid) for pid in tree(root)]
        self.peak = max(self.peak, sum(now for now, _ in found), *(most for _, most in found), 0)


@contextmanager
def sampled(pid: int) -> Iterator[Memory]:
    memory, over = Memory(), threading.Event()

    def sample() -> None:
        while True:
            memory.sample(pid)
            if over.wait(SAMPLE_S):
                return

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield memory
    finally:
        over.set()
        thread.join()


def tree(root: int) -> Iterator[int]:
    """A process and its descendants."""
    yield root
    with suppress(OSError):
        for task in os.scandir(f"/proc/{root}/task"):
            for child in Path(task.path, "children").read_text().split():
                yield from tree(int(child))


def resident(pid: int) -> tuple[int, int]:
    """Resident bytes now, and at most so far."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0, 0
    now, most = (re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE) for name in ("VmRSS", "VmHWM"))
    return (int(now[1]) << 10, int(most[1]) << 10) if now and most else (0, 0)


def cpu_s(pid: int) -> float:
    """User and system, of all its threads, so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _killed_after(seconds: float, group: int) -> Iterator[None]:
    """Or when the bench itself is interrupted: a group of its own hears nothing of that."""
    timer = threading.Timer(seconds, lambda: os.killpg(group, signal.SIGKILL))
    timer.start()
    try:
        yield
    except BaseException:
        os.killpg(group, signal.SIGKILL)
        raise
    finally:
        timer.cancel()


@contextmanager
def _spoken() -> Iterator[tuple[int, Callable[[], str]]]:
    with tempfile.TemporaryFile() as file:

        def last_lines() -> str:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 2000))
            return file.read().decode(errors="replace")

        yield file.fileno(), last_lines
