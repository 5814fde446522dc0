"""How fast a save may go beside a running command. Without a pace it goes as fast as it can.

A background save costs the command three things, and has a budget for each:

1. CPU. All of this process's, the sending included, is held to a share of the machine. A share that is small is small
   whatever the command does: one that uses every core loses half a percent, and one that uses one hyper-thread of two
   loses what its sibling is busy for, at most the same again.
2. Disk and network. So many bytes a second, read and sent.
3. Its turn. Threads that work for the save are nicer than the command, and its disk comes first.

Both budgets are paid afterwards: a piece begins when what was used before it is paid for. The first pieces begin
together, which is how the line is measured at its full width.

A save that would take longer than it may (`within_s`) goes faster and faster in its second half: what a machine loses
that dies without notice is bounded first, and the command's comfort after that.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import math
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Pace(Protocol):
    async def spend(self, nbytes: int) -> None:
        """Wait until so many bytes may be read, hashed and sent. Called before each slice and each pack."""
        ...

    async def rest(self, seconds: float) -> None:
        """Wait so long for the directory to come to rest."""
        ...

    def lower(self) -> None:
        """Lower the calling thread's priority. Called once in each thread that works for the save."""
        ...


@dataclass(frozen=True, slots=True)
class Gait:
    """`cpu`: share of all the machine's cores. `bytes_s`: bytes a second."""

    cpu: float
    bytes_s: float


# 0.5 % of 2 cores reads, hashes and sends some 20 MB/s of noise and 2 MB/s of text; of 8 cores 80 and 8. A quarter of
# a line of 1 Gbit/s, which the smallest instances have.
GENTLE = Gait(0.005, 32e6)
# After a recommendation: the machine will probably go, and a quarter of it for a minute is cheaper than the last hour.
BRISK = Gait(0.25, 250e6)
FULL = Gait(math.inf, math.inf)
# Four slices, as many as there are threads to read them.
BURST = 4 * (16 << 20)
# In the second half, double in each of so many parts: 256 times at the end, which is no limit any more.
DOUBLINGS = 8
# A quarter of the command's weight. Not 19 and not SCHED_IDLE: such a thread, preempted while it holds the
# interpreter's lock, stops the whole agent until the command lets it run; on two busy cores that was 0.3 to 2.5 s, and
# a notice is seen so much later. At 5 it was what it is at 0: 0.1 to 0.2 s, with nothing but Python in all threads.
NICE = 5
# Who owes less goes on, and pays later. To wake up and count has to be paid for, too, 0.1 to 0.3 ms of CPU: at 0.5 % of
# two cores that is a debt of 10 to 30 ms, and without this nobody would ever be out of it.
SLACK_S = 0.1
IOPRIO_SET = {"x86_64": 251, "aarch64": 30}
IOPRIO_IDLE = 3 << 13
IOPRIO_WHO_PROCESS = 1


class Budget:
    """A pace that can be raised while the save is under way. `within_s`: what the save may take."""

    def __init__(
        self,
        gait: Gait,
        *,
        within_s: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.process_time,
        cores: int | None = None,
    ) -> None:
        self.waited_s = 0.0
        self._gait, self._within_s, self._clock, self._cpu = gait, within_s, clock, cpu
        self._cores = cores or os.cpu_count() or 1
        self._began = self._at = clock()
        self._cpu_at = cpu()
        self._cpu_owed, self._bytes_owed = 0.0, -float(BURST)
        self._raised = asyncio.Event()
        self._first = asyncio.Lock()

    def hurry(self, gait: Gait) -> None:
        self._gait = gait
        self._raised.set()  # whoever waits counts again
        self._raised = asyncio.Event()

    async def spend(self, nbytes: int) -> None:
        async with self._first:  # the others need not wake up to see that it is not their turn
            while (wait := self._owed_s()) > SLACK_S:
                began = self._clock()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._raised.wait()
                self.waited_s += self._clock() - began
            self._bytes_owed += nbytes

    async def rest(self, seconds: float) -> None:
        began = self._clock()
        await asyncio.sleep(seconds)
        self.waited_s += self._clock() - began

    def lower(self) -> None:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, NICE)  # 0: this thread, on Linux
        number = IOPRIO_SET.get(platform.machine())
        if number is not None:
            # Heeded by the schedulers that know priorities (mq-deadline, bfq); NVMe's "none" knows no order at all.
            ctypes.CDLL(None).syscall(number, IOPRIO_WHO_PROCESS, 0, IOPRIO_IDLE)

    def _owed_s(self) -> float:
        """Seconds until what was used is paid for."""
        if self._gait == FULL:
            return 0.0
        now, cpu = self._clock(), self._cpu()
        lift = self._lift(now)
        cpu_s, bytes_s = self._gait.cpu * self._cores * lift, self._gait.bytes_s * lift
        passed = now - self._at
        # What is not used for a while is not saved up, but for a burst.
        self._cpu_owed = max(-cpu_s, self._cpu_owed + cpu - self._cpu_at - cpu_s * passed)
        self._bytes_owed = max(-BURST, self._bytes_owed - bytes_s * passed)
        self._at, self._cpu_at = now, cpu
        return max(self._cpu_owed / cpu_s, self._bytes_owed / bytes_s)

    def _lift(self, now: float) -> float:
        late = (now - self._began) / self._within_s - 0.5 if self._within_s > 0 else 0.5
        return float(2 ** (DOUBLINGS * min(1.0, max(0.0, 2 * late))))
