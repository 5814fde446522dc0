"""EC2 as the launcher needs it: one CreateFleet call for several runs, and the question which instances live.

Facts this rests on (AWS documentation and reports of others, collected in the project's notes):

1. `instant` fleets answer 200 with Errors[] and fewer instances than asked for, or none: for lack of permission too.
2. A ClientToken returns the *old* instances, dead or alive, or IdempotentInstanceTerminated; with other parameters
   IdempotentParameterMismatch. Either says that the token is burnt: the next step has a token of its own.
3. InsufficientInstanceCapacity is HTTP 500, so the SDK would try again in the same pool: it makes one attempt only.
   That also makes a throttled call a definite refusal, since no earlier attempt hides behind it.
   A call over the limit of *instances* comes as a 200 with RequestLimitExceeded in Errors[] (parallelcluster-node
   #734), one over the limit of calls as a 503.
4. A new instance may be invisible to Describe for a while: absent is not dead.

What each error means is in `refusals`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any

import boto3
import botocore.exceptions
from botocore.config import Config

from spotrelay.launcher.pools import FLEET_TAG
from spotrelay.launcher.refusals import Action, Refusal, refusal, verdict

# A call ends within 13 s, one way or the other: others wait that long before they take over (`decision.TAKEOVER_S`).
CALL = Config(connect_timeout=3, read_timeout=10, retries={"total_max_attempts": 1}, max_pool_connections=16)
LOOK = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})
# EC2 refuses a call whose filters have more values, all together.
FILTER_VALUES = 200
# In each of these EC2 has said that it takes the instance, which may run on for two minutes.
MARKED = (
    "marked-for-termination",
    "marked-for-stop",
    "instance-terminated-by-price",
    "instance-terminated-by-service",
    "instance-terminated-no-capacity",
    "instance-terminated-capacity-oversubscribed",
    "instance-terminated-launch-group-constraint",
    "instance-terminated-by-experiment",
)


class Life(StrEnum):
    ALIVE = "alive"
    ENDING = "ending"  # its operating system is being stopped, or EC2 has said that it will be
    DEAD = "dead"


_LIVES = {
    "shutting-down": Life.ENDING,
    "stopping": Life.ENDING,
    "terminated": Life.DEAD,
    "stopped": Life.DEAD,
}


class Unanswered(Exception):
    """EC2 gave no answer to the call (5xx, connection lost): it may have launched. Same token again."""


@dataclass(frozen=True, slots=True)
class Started:
    instance: str
    type: str
    zone: str


@dataclass(frozen=True, slots=True)
class PoolError:
    """Of one pool that was tried, or not tried (UnfulfillableCapacity)."""

    type: str
    zone: str
    code: str
    message: str

    @property
    def drops_pool(self) -> bool:
        return refusal(self.code).drops_pool

    def __str__(self) -> str:
        return f"{self.type} in {self.zone}: {self.code}" if self.type else f"{self.code}: {self.message}"


@dataclass(frozen=True, slots=True)
class Launch:
    """What came of a call. `refusal`: why there are fewer instances than were asked for; None when there are not.

    `spent`: EC2 has used the token up on this answer (it said 200), and would repeat it for ever.
    """

    started: Sequence[Started] = ()
    errors: Sequence[PoolError] = ()
    refusal: Refusal | None = None
    spent: bool = False

    @property
    def turned_away(self) -> bool:
        """Throttled at the door: the same call with the same token may be let in later."""
        return self.refusal is not None and self.refusal.action is Action.PACE and not self.spent


class Ec2:
    def __init__(self) -> None:
        self._caller: Any = boto3.client("ec2", config=CALL)
        self._looker: Any = boto3.client("ec2", config=LOOK)

    def create_fleet(self, request: dict[str, Any], token: str) -> Launch:
        """Raises Unanswered."""
        try:
            answer = self._caller.create_fleet(**request, ClientToken=token)
        except botocore.exceptions.ClientError as error:
            return _refused(error)
        except botocore.exceptions.BotoCoreError as error:
            raise Unanswered(str(error)) from error
        return _read(answer)

    def lives(self, instances: Iterable[str]) -> dict[str, Life]:
        """Of those that EC2 knows. Raises Unanswered."""
        found = (each for ids in _in_parts(instances) for each in self._described("instance-id", ids))
        return {each["InstanceId"]: _LIVES.get(each["State"]["Name"], Life.ALIVE) for each in found}

    def marked(self, instances: Iterable[str]) -> set[str]:
        """Spot instances that EC2 will take. A second witness, beside the notice on the instance. Raises Unanswered."""
        return {
            each["InstanceId"]
            for ids in _in_parts(instances, FILTER_VALUES - len(MARKED))
            for each in self._pages(
                "describe_spot_instance_requests",
                "SpotInstanceRequests",
                [{"Name": "instance-id", "Values": ids}, {"Name": "status-code", "Values": list(MARKED)}],
            )
        }

    def started_by(self, fleet: str) -> list[Started]:
        """Living instances of a fleet of ours, by its tag. Raises Unanswered."""
        return [
            Started(each["InstanceId"], each["InstanceType"], each["Placement"]["AvailabilityZone"])
            for each in self._described(f"tag:{FLEET_TAG}", [fleet])
            if each["State"]["Name"] not in _LIVES
        ]

    def tags(self, instance: str) -> dict[str, str]:
        """Raises Unanswered."""
        found = next(self._described("instance-id", [instance]), {})
        return {tag["Key"]: tag["Value"] for tag in found.get("Tags", [])}

    def _described(self, name: str, values: list[str]) -> Iterator[dict[str, Any]]:
        # A filter and not InstanceIds: one id that EC2 does not show yet would be an error for all.
        for reservation in self._pages("describe_instances", "Reservations", [{"Name": name, "Values": values}]):
            yield from reservation["Instances"]

    def _pages(self, operation: str, part: str, filters: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        try:
            for page in self._looker.get_paginator(operation).paginate(Filters=filters):
                yield from page.get(part, [])
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
            raise Unanswered(str(error)) from error


def _in_parts(instances: Iterable[str], most: int = FILTER_VALUES) -> Iterator[list[str]]:
    left = iter(dict.fromkeys(instances))
    while part := list(islice(left, most)):
        yield part


def _refused(error: botocore.exceptions.ClientError) -> Launch:
    """A refusal is an answer: whatever its code, nothing was launched. Raises Unanswered for what is none."""
    code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    found = refusal(code, status)
    if found.action is Action.UNANSWERED:
        raise Unanswered(str(error)) from error
    return Launch(errors=(PoolError("", "", code, error.response["Error"].get("Message", "")),), refusal=found)


def _read(answer: dict[str, Any]) -> Launch:
    errors = tuple(_pool_error(each) for each in answer.get("Errors", []))
    started = tuple(
        Started(instance, each.get("InstanceType", ""), _override(each).get("AvailabilityZone", ""))
        for each in answer.get("Instances", [])
        for instance in each.get("InstanceIds", [])
    )
    told = verdict(each.code for each in errors) if errors or not started else None
    return Launch(started, errors, told, spent=True)


def _pool_error(error: dict[str, Any]) -> PoolError:
    pool = _override(error)
    return PoolError(
        pool.get("InstanceType", ""),
        pool.get("AvailabilityZone", ""),
        error.get("ErrorCode", ""),
        error.get("ErrorMessage", ""),
    )


def _override(each: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = each.get("LaunchTemplateAndOverrides", {}).get("Overrides", {})
    return found
