"""EC2's request throttling: token buckets, per account and region.

1. Each call takes one token from its action's bucket. An empty bucket answers 503 RequestLimitExceeded before the
   service has seen the request: it leaves no trace, its ClientToken is free for any other.
2. Launches and terminations also take one token per instance from a *resource* bucket, all of them or none. Whether
   what did not start (no capacity) is given back is not documented; "resources used" reads like it, `refunds = False`
   is the harder case.
3. The launches of a CreateFleet take theirs from RunInstances' resource bucket. The documentation does not say so; AWS
   ParallelCluster met it at the size and refill of that bucket (aws/aws-parallelcluster-node#734), and it is the harder
   case. How the fleet tells is in `fleets`.

Sizes are the documented defaults; AWS raises them per account on request. Off unless asked for: with it, one
RunInstances per resume request is two launches a second, and a storm of a thousand takes eight minutes, which is a
thing to measure and not to sit through in every test.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spotrelay.local.clock import Clock
from spotrelay.local.wire import AwsError

# (size, refill per second), from "Request throttling for the Amazon EC2 API" of the EC2 developer guide; CreateFleet as
# Service Quotas reports it.
REQUESTS = {
    "CreateFleet": (50, 5),
    "CreateLaunchTemplateVersion": (100, 5),
    "CreateTags": (100, 10),
    "RunInstances": (5, 2),
    "TerminateInstances": (100, 5),
}
OTHER_MUTATING = (50, 5)
DESCRIBE = (100, 20)
# Describing everything, unfiltered and unpaginated, has a smaller bucket of its own.
DESCRIBE_ALL = (50, 10)
RESOURCES = {"RunInstances": (1000, 2), "TerminateInstances": (1000, 20)}


class Bucket:
    def __init__(self, size: float, refill_per_s: float, now: float) -> None:
        self.size, self._refill = size, refill_per_s
        self._left, self._at = float(size), now

    def left(self, now: float) -> float:
        return min(self.size, self._left + (now - self._at) * self._refill)

    def set(self, tokens: float, now: float) -> None:
        self._left, self._at = min(self.size, tokens), now

    def take(self, count: int, now: float) -> bool:
        left = self.left(now)
        if left < count:
            return False
        self.set(left - count, now)
        return True


class Throttle:
    """The buckets of one account in one region. `enabled` may be switched at any time; while off, nothing is taken.
    `refunds`: what did not start costs nothing."""

    def __init__(self, clock: Clock, *, enabled: bool) -> None:
        self.enabled = enabled
        self.refunds = True
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}

    # ---- what tests look at and set

    def requests_left(self, action: str) -> float:
        """Tokens for calls of this action; a Describe: as one that is filtered or paginated."""
        return self._bucket(*_bucket_of(action, {"Filters": []})).left(self._clock.now())

    def set_requests(self, action: str, tokens: float) -> None:
        self._bucket(*_bucket_of(action, {"Filters": []})).set(tokens, self._clock.now())

    def resources_left(self, action: str) -> float:
        """Tokens for instances that this action launches or ends."""
        return self._bucket(*_resources_of(action)).left(self._clock.now())

    def set_resources(self, action: str, tokens: float) -> None:
        self._bucket(*_resources_of(action)).set(tokens, self._clock.now())

    # ---- what the service does

    def request(self, action: str, params: Mapping[str, Any]) -> None:
        """Raises AwsError when the action's bucket is empty."""
        if self.enabled:
            self._take(self._bucket(*_bucket_of(action, params)), 1)

    def resources(self, action: str, count: int) -> None:
        """Raises AwsError when `count` instances are more than the resource bucket holds."""
        if self.enabled:
            self._take(self._bucket(*_resources_of(action)), count)

    def check_resources(self, action: str, count: int) -> None:
        """Raises AwsError as `resources` would, and takes nothing."""
        if self.enabled and self.resources_left(action) < count:
            raise _exceeded()

    def give_back(self, action: str, count: int) -> None:
        """So many of the instances were not launched in the end."""
        if self.enabled and self.refunds:
            bucket, now = self._bucket(*_resources_of(action)), self._clock.now()
            bucket.set(bucket.left(now) + count, now)

    def _take(self, bucket: Bucket, count: int) -> None:
        if not bucket.take(count, self._clock.now()):
            raise _exceeded()

    def _bucket(self, name: str, limits: tuple[int, int]) -> Bucket:
        if name not in self._buckets:
            self._buckets[name] = Bucket(*limits, self._clock.now())
        return self._buckets[name]


def _exceeded() -> AwsError:
    return AwsError("RequestLimitExceeded", "Request limit exceeded.", 503)


def _bucket_of(action: str, params: Mapping[str, Any]) -> tuple[str, tuple[int, int]]:
    if not action.startswith("Describe"):
        return action, REQUESTS.get(action, OTHER_MUTATING)
    narrowed = any(name in {"Filters", "MaxResults"} or name.endswith("Ids") for name in params)
    return (action, DESCRIBE) if narrowed else (f"{action} everything", DESCRIBE_ALL)


def _resources_of(action: str) -> tuple[str, tuple[int, int]]:
    return f"{action} resources", RESOURCES[action]
