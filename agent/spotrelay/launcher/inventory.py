"""The instances of our stack, as EC2 counts them, and their end.

1. Only what carries our tag is ever seen here: the filter is in the request. `orphans` looks at the tag once more, and
   the launcher's role may terminate nothing without it.
2. Terminated instances are left out. One that is stopped is not: it pays for its disk.
3. TerminateInstances is all or nothing in a zone: one instance that EC2 does not show any more, or that somebody
   protected, would keep its whole batch alive. So a batch that is refused is tried one by one.
4. Ending what has ended is no error, so whoever got no answer says it again, at the next sweep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import boto3
import botocore.exceptions
from botocore.config import Config

from spotrelay.core.errors import SpotrelayError
from spotrelay.launcher.ec2 import Unanswered
from spotrelay.launcher.pools import STACK_TAG
from spotrelay.launcher.refusals import Action, Class, Refusal, refusal

CONFIG = Config(connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})
COUNTED = ("pending", "running", "stopping", "stopped")
# EC2 takes 1000 and recommends "smaller batches"; as many are unlucky together when one of them is refused.
MOST_AT_ONCE = 50


class Refused(SpotrelayError):
    """EC2 will not say which instances there are until a person changes something."""


@dataclass(frozen=True, slots=True)
class Instance:
    """`launched_at`: unix seconds; of one that was stopped and started, the last start."""

    id: str
    state: str
    launched_at: float
    tags: Mapping[str, str]
    spot: bool = False

    @property
    def up(self) -> bool:
        """Neither ending nor stopped: there may be an agent on it that works."""
        return self.state in ("pending", "running")


class Inventory:
    def __init__(self, stack: str) -> None:
        self._client: Any = boto3.client("ec2", config=CONFIG)
        self._stack = stack

    def instances(self) -> list[Instance]:
        """All of the stack's that are not gone or going. Raises Unanswered, Refused."""
        filters = [
            {"Name": f"tag:{STACK_TAG}", "Values": [self._stack]},
            {"Name": "instance-state-name", "Values": list(COUNTED)},
        ]
        # With a page size EC2 counts the call among the cheap ones; without one, a large answer is a timeout.
        pages = self._client.get_paginator("describe_instances").paginate(
            Filters=filters, PaginationConfig={"PageSize": 1000}
        )
        try:
            listed = [
                each for page in pages for reservation in page["Reservations"] for each in reservation["Instances"]
            ]
        except botocore.exceptions.ClientError as error:
            found = _refusal(error)
            if found.action is Action.PERSON:
                raise Refused(f"{found.code}: {found.why}", next_step=found.next_step) from error
            raise Unanswered(str(error)) from error
        except botocore.exceptions.BotoCoreError as error:
            raise Unanswered(str(error)) from error
        return [_instance(each) for each in listed]

    def terminate(self, instances: Sequence[str]) -> dict[str, str]:
        """At most MOST_AT_ONCE. Why some of them were not: a refusal is for a person. Raises Unanswered: any of them
        may have been."""
        try:
            self._client.terminate_instances(InstanceIds=list(instances))
        except botocore.exceptions.ClientError as error:
            return self._refused(instances, error)
        except botocore.exceptions.BotoCoreError as error:
            raise Unanswered(str(error)) from error
        return {}

    def _refused(self, instances: Sequence[str], error: botocore.exceptions.ClientError) -> dict[str, str]:
        found = _refusal(error)
        if found.action in (Action.UNANSWERED, Action.PACE):
            raise Unanswered(str(error)) from error
        if len(instances) > 1:
            return {identity: why for each in instances for identity, why in self.terminate([each]).items()}
        # One that EC2 does not show any more is gone.
        return {} if found.class_ is Class.ABSENT else {instances[0]: str(found)}


def _refusal(error: botocore.exceptions.ClientError) -> Refusal:
    return refusal(error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"])


def _instance(found: Mapping[str, Any]) -> Instance:
    return Instance(
        id=found["InstanceId"],
        state=found["State"]["Name"],
        launched_at=found["LaunchTime"].timestamp(),
        tags={tag["Key"]: tag["Value"] for tag in found.get("Tags", [])},
        spot=found.get("InstanceLifecycle") == "spot",
    )
