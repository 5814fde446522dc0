"""EC2's request throttling: token buckets, as documented per account and region.

Two kinds: each call takes one from its action's bucket, and launches and terminations also take one per instance from
a resource bucket. Off unless asked for: with it, one RunInstances per resume request is two launches a second, and a
storm of a thousand takes eight minutes, which is a thing to measure and not to sit through in every test.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spotrelay.local.clock import Clock
from spotrelay.local.wire import AwsError

# (size, refill per second), from "Request throttling for the Amazon EC2 API" of the EC2 API reference; CreateFleet as
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
        self._size, self._refill = size, refill_per_s
        self._left, self._at = float(size), now

    def take(self, count: int, now: float) -> bool:
        self._left = min(self._size, self._left + (now - self._at) * self._refill)
        self._at = now
        if self._left < count:
            return False
        self._left -= count
        return True


class Throttle:
    """The buckets of one account in one region."""

    def __init__(self, clock: Clock, *, enabled: bool) -> None:
        self.enabled = enabled
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}

    def request(self, action: str, params: Mapping[str, Any]) -> None:
        """Raises AwsError when the action's bucket is empty."""
        name, limits = _bucket_of(action, params)
        self._take(name, limits, 1)

    def resources(self, action: str, count: int) -> None:
        """Raises AwsError when `count` instances are more than the resource bucket holds."""
        self._take(f"{action} resources", RESOURCES[action], count)

    def _take(self, name: str, limits: tuple[int, int], count: int) -> None:
        if not self.enabled:
            return
        now = self._clock.now()
        bucket = self._buckets.setdefault(name, Bucket(*limits, now))
        if not bucket.take(count, now):
            raise AwsError("RequestLimitExceeded", "Request limit exceeded.", 503)


def _bucket_of(action: str, params: Mapping[str, Any]) -> tuple[str, tuple[int, int]]:
    if not action.startswith("Describe"):
        return action, REQUESTS.get(action, OTHER_MUTATING)
    narrowed = any(name in {"Filters", "MaxResults"} or name.endswith("Ids") for name in params)
    return (action, DESCRIBE) if narrowed else (f"{action} everything", DESCRIBE_ALL)
