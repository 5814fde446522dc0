"""How fast EC2 may be asked: a guess at the token buckets that it keeps for the account.

EC2 throttles by buckets (EC2 API reference, "Request throttling"): each action has one for requests, and launching has
one for instances. They are shared by everything in the account, so nobody can know what is left. Who asks regardless is
refused, and a refusal costs a call, seconds of the launcher, and three objects for each run that took part. So each
environment keeps a copy of both buckets that it believes in:

1. What it spends and what flows in, it counts.
2. A refusal empties its copy and halves the share of the refill that it takes for its own; a call that EC2 took lets
   the share grow again. So several environments, and whoever else launches in the account, come to share a refill that
   none of them sees (as TCP's senders share a line). What they leave over is not lost: the bucket keeps it, and their
   shares grow until it is gone.
3. Calls are shared by runs (`fleets`): as long as so many wait, nobody goes for fewer than SHARED instances. One that
   goes for each that flows in would need a call for each.
4. Who is not granted anything comes back when, by the rate at which such requests can be served, all that wait now
   would have been; each at a moment of its own, since ten thousand that come back together are refused together.

At first that is 1,000 instances at once, then 2 a second; for runs that share no call 50, then 5 a second. What
`tests/support/storm.py` measures: ten thousand runs are served in the time that the buckets need at best.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass

# SQS cannot delay longer.
LONGEST_DELAY_S = 900
# Lambda hands over ten messages at a time: so many runs can share a call.
SHARED = 10
# After a refusal, and after a call that EC2 took: one refusal in about six calls.
SHRINK, GROW = 0.5, 1.15
# When to come back, in parts of the time in which all that wait could be served. To come in vain costs a dozen reads;
# but what flows in must find somebody to take it, to the last run. Measured on ten thousand runs: with (0.1, 0.4) no
# run is served earlier, and there are twice as many calls.
SOON = (0.5, 1.0)
# Of the refill. Even alone and after a storm, a run then waits for eight seconds at most.
LEAST_SHARE = 1 / 16


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
    """`limit` as it is believed. `share`: how much of its refill is ours."""

    def __init__(self, limit: Limit, now: float) -> None:
        self.limit, self._left, self._at, self._share = limit, limit.size, now, 1.0

    def left(self, now: float) -> float:
        flown_in = max(0.0, now - self._at) * self.limit.refill * self._share
        self._left, self._at = min(self.limit.size, self._left + flown_in), now
        return self._left

    def take(self, count: float, now: float) -> None:
        self._left = self.left(now) - count

    def refused(self, now: float) -> None:
        """Whatever was believed, there was less."""
        self._left = min(self.left(now), 0.0)
        self._share = max(LEAST_SHARE, self._share * SHRINK)

    def accepted(self, now: float) -> None:
        self.left(now)
        self._share = min(1.0, self._share * GROW)


class Pace:
    """One environment's belief. `waiting`: about how many runs wait for their turn."""

    def __init__(
        self,
        now: Callable[[], float],
        waiting: Callable[[], int],
        *,
        calls: Limit = CALLS,
        instances: Limit = INSTANCES,
    ) -> None:
        self._now, self._waiting = now, waiting
        self._calls, self._instances = Bucket(calls, now()), Bucket(instances, now())
        self._short = self._calls
        self._turned_away = False
        self._lock = threading.Lock()

    def grant(self, wanted: int) -> int:
        """Of `wanted` instances, how many may be asked for in a call now. They are taken as spent."""
        with self._lock:
            now = self._now()
            if self._calls.left(now) < 1:
                self._short = self._calls
                return 0
            granted = min(wanted, int(self._instances.left(now)))
            if granted < min(wanted, SHARED):
                self._short = self._instances
                return 0
            self._calls.take(1, now)
            self._instances.take(granted, now)
            return granted

    def accepted(self, unused: int) -> None:
        """EC2 took the call, and launched `unused` fewer than were granted. Whether those cost tokens nobody says."""
        with self._lock:
            now = self._now()
            self._turned_away = False
            self._instances.take(-unused, now)
            for bucket in (self._calls, self._instances):
                bucket.accepted(now)

    def refused(self, *, turned_away: bool) -> None:
        """`turned_away`: at the door, before the call was looked at. That is rather the bucket of calls; but EC2 does
        not say so, and a second time in a row it is taken for both. Otherwise it was that of instances."""
        with self._lock:
            now = self._now()
            if turned_away:
                self._short = self._calls
                self._calls.refused(now)
            if not turned_away or self._turned_away:
                self._short = self._instances
                self._instances.refused(now)
            self._turned_away = turned_away

    def delay_s(self) -> int:
        """When to come back."""
        # Outside of the lock: it may be a call of SQS.
        spread = self._waiting() / self._short.limit.refill
        return max(1, min(LONGEST_DELAY_S, int(spread * random.uniform(*SOON) + random.uniform(1, 4))))  # noqa: S311
