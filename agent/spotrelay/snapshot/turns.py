"""Turns on the line to the store: how many requests at a time, and what it would take to send something smaller.

How many. On a machine beside the store 4 packs in flight fill the line, and more only cost memory and cache (1.14 s
with 4, 1.2 s with 16). S3 takes 100 to 200 ms for the first byte, and a connection 5 Gbit/s at best: there each
doubling doubles the rate, until the instance's own line is full. So it begins with 4 and doubles as long as that pays,
within the memory there is. Where a request for next to nothing has taken long, it begins with all that there may be: a
restore of 384 MiB from 100 ms away took 1.20 s, and 1.06 s so; of 1.5 GiB 3.5 s, and 2.8 s so (two busy cores).

Smaller. zstd needs 4.8 s of CPU for a GiB of text and spares 0.6 GiB: with two cores, that pays on a line of less than
2 Gbit/s; with sixteen, on one of 16. So the line's rate is measured, and a pack is compressed when that is faster than
sending the rest.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque

from spotrelay.snapshot.pack import Probe

AT_FIRST = 4
# Twice as many in flight have to bring a quarter more, or the line is full.
PAYS = 1.25
# Such an answer took 1 to 2 ms beside the store; S3 takes 100 and more.
FAR_S = 0.03
# A line that was full may have been somebody else's for a while: after so many rounds without gain, one more try.
ROUNDS = 8
# Before anything was measured: one connection to S3.
GUESS = 5e9 / 8
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Turns:
    def __init__(self, most: int) -> None:
        """`most`: requests in flight, whatever the line."""
        self._most = most
        self._limit = min(AT_FIRST, most)
        self._busy = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._rate = GUESS
        self._round: _Round | None = None
        self._best = 0.0
        self._idle_rounds = 0

    async def take(self) -> None:
        """Waits until one more may be in flight; first come, first served. `end` gives it back."""
        while self._busy >= self._limit:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._wake()
                raise
        self._busy += 1

    def end(self) -> None:
        self._busy -= 1
        if not self._busy:
            self._round = None  # a pause says nothing of the line
        self._wake()

    def _wake(self) -> None:
        while self._waiting and self._busy < self._limit:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                break

    def answered(self, seconds: float) -> None:
        """A request for next to nothing took so long."""
        if seconds > FAR_S:
            self._limit = self._most
            self._wake_all()

    def _wake_all(self) -> None:
        for _ in range(self._limit):
            self._wake()

    def moved(self, nbytes: int, seconds: float) -> None:
        """One request is done; it was one of those in flight."""
        self._rate += ((nbytes / max(seconds, 1e-6)) * max(self._busy, 1) - self._rate) / 4
        if self._round is None:
            self._round = _Round()
            return
        self._round.add(nbytes)
        if self._round.count >= 2 * self._limit:
            self._judge(self._round.rate())
            self._round = _Round()

    def _judge(self, rate: float) -> None:
        self._idle_rounds += 1
        if self._limit < self._most and (rate > self._best * PAYS or self._idle_rounds > ROUNDS):
            self._limit = min(self._limit * 2, self._most)
            self._idle_rounds = 0
            self._wake_all()
        self._best = max(self._best, rate)

    def pays(self, probe: Probe) -> bool:
        """Whether compressing takes less time than what it saves on the line."""
        return probe.cpu_s / CORES < probe.saved / self._rate


class _Round:
    """From one request that is done to others: what was read and hashed before the first would make it look slow, and
    twice as many in flight as if they paid."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._bytes = self.count = 0

    def add(self, nbytes: int) -> None:
        self._bytes += nbytes
        self.count += 1

    def rate(self) -> float:
        return self._bytes / max(time.monotonic() - self._began, 1e-6)
