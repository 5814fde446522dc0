"""EC2 as the launcher needs it: one CreateFleet call for one instance, and the question whether an instance lives.

Facts this rests on (AWS documentation and reports of others, collected in the project's notes):

1. `instant` fleets answer 200 with Errors[] and no instance when nothing was launched, for lack of permission too.
2. A ClientToken returns the *old* instance, dead or alive, or IdempotentInstanceTerminated; with other parameters
   IdempotentParameterMismatch. Either says that the token is burnt: the next step has a token of its own.
3. InsufficientInstanceCapacity is HTTP 500, so the SDK would try again in the same pool: its retries are capped.
4. A new instance may be invisible to Describe for a while: absent is not dead.
5. In a fleet's errors UnfulfillableCapacity stands beside every pool that was not tried. It says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import boto3
import botocore.exceptions
from botocore.config import Config

CONFIG = Config(connect_timeout=3, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 2})

# What EC2's errors mean for the hunt. Whatever is not listed is `later`: waiting is never wrong, giving up is.
_ELSEWHERE = frozenset(
    {
        "InsufficientInstanceCapacity",
        "InsufficientCapacity",
        "InsufficientHostCapacity",
        "InsufficientReservedInstanceCapacity",
        "UnfulfillableCapacity",
        "SpotMaxPriceTooLow",
        "Unsupported",
        "InvalidFleetConfiguration",
    }
)
_FATAL = frozenset(
    {
        "UnauthorizedOperation",
        "AuthFailure",
        "OptInRequired",
        "InvalidLaunchTemplateName.NotFoundException",
        "InvalidLaunchTemplateId.NotFound",
        "InvalidLaunchTemplateId.VersionNotFound",
        "InvalidAMIID.NotFound",
        "InvalidParameterValue",
        "InvalidParameterCombination",
        "MissingParameter",
        "ValidationError",
    }
)
_THROTTLED = frozenset({"RequestLimitExceeded", "Throttling", "ThrottlingException", "RequestThrottled"})
_BURNT = frozenset({"IdempotentParameterMismatch", "IdempotentInstanceTerminated"})


class Kind(StrEnum):
    LAUNCHED = "launched"
    ELSEWHERE = "elsewhere"  # other pools may have what these have not
    LATER = "later"  # quota, or something unknown: the same again after a while
    FATAL = "fatal"  # a person has to change something; asked again at long intervals
    BURNT = "burnt"  # the token belongs to something that is over


class Life(StrEnum):
    ALIVE = "alive"
    ENDING = "ending"  # its operating system is being stopped; an agent on it is still saving
    DEAD = "dead"


_LIVES = {
    "shutting-down": Life.ENDING,
    "stopping": Life.ENDING,
    "terminated": Life.DEAD,
    "stopped": Life.DEAD,
}


class Unanswered(Exception):
    """EC2 gave no answer to the call (throttled, 5xx, connection lost): it may have launched. Same token again."""


@dataclass(frozen=True, slots=True)
class Launch:
    kind: Kind
    instance: str | None = None
    instance_type: str = ""
    zone: str = ""
    errors: tuple[str, ...] = ()


class Ec2:
    def __init__(self) -> None:
        self._client: Any = boto3.client("ec2", config=CONFIG)

    def create_fleet(self, request: dict[str, Any], token: str) -> Launch:
        """Raises Unanswered."""
        try:
            answer = self._client.create_fleet(**request, ClientToken=token)
        except botocore.exceptions.ClientError as error:
            return _refused(error)
        except botocore.exceptions.BotoCoreError as error:
            raise Unanswered(str(error)) from error
        return _read(answer)

    def life(self, instance: str) -> Life | None:
        """None: EC2 does not know it (yet, or any more). Raises Unanswered."""
        found = self._describe(instance)
        return None if found is None else _LIVES.get(found["State"]["Name"], Life.ALIVE)

    def tags(self, instance: str) -> dict[str, str]:
        """Raises Unanswered."""
        found = self._describe(instance)
        return {tag["Key"]: tag["Value"] for tag in (found or {}).get("Tags", [])}

    def _describe(self, instance: str) -> dict[str, Any] | None:
        try:
            answer = self._client.describe_instances(InstanceIds=[instance])
        except botocore.exceptions.ClientError as error:
            if error.response["Error"]["Code"] in ("InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed"):
                return None
            raise Unanswered(str(error)) from error
        except botocore.exceptions.BotoCoreError as error:
            raise Unanswered(str(error)) from error
        found = [each for reservation in answer["Reservations"] for each in reservation["Instances"]]
        return found[0] if found else None


def _refused(error: botocore.exceptions.ClientError) -> Launch:
    """A refusal is an answer: whatever its code, nothing was launched. Raises Unanswered for what is none."""
    code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    if code in _BURNT:
        return Launch(Kind.BURNT, errors=(str(error),))
    if code in _THROTTLED or (status >= 500 and code not in _ELSEWHERE):
        raise Unanswered(str(error)) from error
    return Launch(_kind([code]), errors=(str(error),))


def _read(answer: dict[str, Any]) -> Launch:
    errors = answer.get("Errors", [])
    texts = tuple(f"{e.get('ErrorCode')}: {e.get('ErrorMessage')}" for e in errors)
    for launched in answer.get("Instances", []):
        for instance in launched.get("InstanceIds", []):
            override = launched.get("LaunchTemplateAndOverrides", {}).get("Overrides", {})
            zone = override.get("AvailabilityZone", "")
            return Launch(Kind.LAUNCHED, instance, launched.get("InstanceType", ""), zone, texts)
    return Launch(_kind([e.get("ErrorCode", "") for e in errors]), errors=texts)


def _kind(codes: list[str]) -> Kind:
    """Of several pools' errors the most hopeful counts: one that is merely full will have room again."""
    telling = [code for code in codes if code != "UnfulfillableCapacity"]
    if not telling or any(code in _ELSEWHERE for code in telling):
        return Kind.ELSEWHERE
    return Kind.FATAL if all(code in _FATAL for code in telling) else Kind.LATER
