"""How long the loop's thread was not run at all, so that a test blames the code only for what the code did.

A computer shared with other work stops a process for a second at any line of it; clocks read before and after cannot
tell that from a call that blocks. The kernel can, for a wait for a core: it counts them. For a process or a machine
that stood still, a second thread can: it asks for nothing but its turn, and came late as well. What the loop's thread
computed meanwhile is never forgiven, though a computation that keeps the interpreter to itself makes the witness late.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from pathlib import Path

# How often the witness looks: below what counts, far above what a look costs (20 µs).
TICK_S = 0.02


class Witness(logging.Filter):
    """Lets pass, of what asyncio says about slow steps, what stays true without the time in which nobody ran.

    Made on the thread of the loop. It reads the loop's debug log, whose last argument are the step's seconds.
    """

    def __init__(self, slow_s: float) -> None:
        super().__init__()
        self._slow_s = slow_s
        # Seconds on a core and in wait for one, in ns: https://docs.kernel.org/scheduler/sched-stats.html
        self._schedstat = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")
        self._lost: deque[tuple[float, float, float]] = deque(maxlen=3000)  # from, to, seconds lost in between
        self._looked = threading.Condition()
        threading.Thread(target=self._look, name="witness", daemon=True).start()

    def _ran_and_waited(self) -> tuple[float, float]:
        try:
            ran, waited, _ = map(int, self._schedstat.read_text().split())
        except OSError:
            return 0.0, 0.0  # a kernel that does not count
        return ran / 1e9, waited / 1e9

    def _look(self) -> None:
        before, (ran_before, waited_before) = time.monotonic(), self._ran_and_waited()
        while True:
            time.sleep(TICK_S)
            now, (ran, waited) = time.monotonic(), self._ran_and_waited()
            late = now - before - TICK_S
            lost = min(max(late, waited - waited_before), now - before - (ran - ran_before))
            with self._looked:
                self._lost.append((before, now, max(0.0, lost)))
                self._looked.notify_all()
            before, ran_before, waited_before = now, ran, waited

    def stalled(self, begin: float, end: float) -> float:
        """Seconds between two moments of `time.monotonic()` in which the loop's thread was not run."""
        with self._looked:
            self._looked.wait(timeout=10)  # it was stopped with us, and has to say so first
            return sum(min(lost, min(to, end) - max(since, begin)) for since, to, lost in self._lost if to > begin)

    def filter(self, record: logging.LogRecord) -> bool:
        if not (record.name == "asyncio" and "took" in record.msg and isinstance(record.args, tuple)):
            return True
        took, now = float(str(record.args[-1])), time.monotonic()
        return took - self.stalled(now - took, now) >= self._slow_s
