"""How fast EC2 may be asked: a guess at the token buckets that it keeps for the account.

EC2 throttles by buckets (EC2 API reference, "Request throttling"): each action has one for requests, and launching has
one for instances. They are shared by everything in the account, so nobody can know what is left; a launcher that asks
regardless is refused, and its refusals use up requests. So each environment keeps a copy that it believes in:

1. What it spends and what flows in by the documented rates, it counts.
2. A refusal empties the copy: whatever it believed, there was less.
3. Several environments each believe in a whole bucket. The refusals correct that, and while the rate of tries stays
   above the rate of refill nothing of the refill is lost: the bucket keeps what nobody takes.

Calls are shared by runs (`fleets.py`), so that it is instances that run out first: 1,000 at once, then 2 a second.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass

# SQS cannot delay longer.
LONGEST_DELAY_S = 900


@dataclass(frozen=True, slots=True)
class Limit:
    """`size` at once, then `refill` a second."""

    size: float
    refill: float


# CreateFleet: Service Quotas' default. Instances: RunInstances' resource bucket; that fleets draw from it is assumed,
# and an account that is granted more only meets fewer refusals.
CALLS = Limit(50, 5)
INSTANCES = Limit(1000, 2)


class Bucket:
    def __init__(self, limit: Limit, now: float) -> None:
        self._limit, self._left, self._at = limit, limit.size, now

    def left(self, now: float) -> float:
        self._left = min(self._limit.size, self._left + max(0.0, now - self._at) * self._limit.refill)
        self._at = now
        return self._left

    def take(self, count: float, now: float) -> None:
        self._left = self.left(now) - count

    def empty(self, now: float) -> None:
        self.left(now)
        self._left = min(self._left, 0.0)


class Pace:
    """One environment's belief. `waiting`: about how many requests are in the queue; it is asked after a refusal."""

    def __init__(
        self,
        now: Callable[[], float],
        waiting: Callable[[], int],
        *,
        calls: Limit = CALLS,
        instances: Limit = INSTANCES,
    ) -> None:
        self._now, self._waiting = now, waiting
        self._rates = (calls, instances)
        self._calls, self._instances = Bucket(calls, now()), Bucket(instances, now())
        self._refusals = 0
        self._lock = threading.Lock()

    def grant(self, wanted: int) -> int:
        """Of `wanted` instances, how many may be asked for in a call now. They are taken as spent."""
        with self._lock:
            now = self._now()
            if self._calls.left(now) < 1:
                return 0
            granted = min(wanted, int(self._instances.left(now)))
            if granted > 0:
                self._calls.take(1, now)
                self._instances.take(granted, now)
            return granted

    def accepted(self, unused: int) -> None:
        """EC2 took the call, and launched `unused` fewer than were granted. Whether those cost tokens nobody says."""
        with self._lock:
            self._refusals = 0
            self._instances.take(-unused, self._now())

    def refused(self) -> None:
        """EC2 does not say which bucket was empty. One refusal is rather that of calls; more in a row, of instances."""
        with self._lock:
            now = self._now()
            self._refusals += 1
            self._calls.empty(now)
            if self._refusals > 1:
                self._instances.empty(now)

    def delay_s(self) -> int:
        """When to come back: as late as it would take all that wait to be served at the rate that seems possible,
        each at a moment of its own."""
        with self._lock:
            calls, instances = self._rates
            rate = max(instances.refill, calls.refill * SHARED / 2**self._refusals)
        spread = self._waiting() / rate
        return max(1, min(LONGEST_DELAY_S, int(spread * random.uniform(0.5, 1.0) + random.uniform(1, 4))))  # noqa: S311


# Lambda hands over ten messages at a time: so many runs share a call.
SHARED = 10
