"""How a stack stands. One question to CloudFormation, read once."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import botocore.exceptions

from spotrelay.stack.account import Account
from spotrelay.stack.meanings import words_of
from spotrelay.stack.refusals import told

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_cloudformation.type_defs import StackTypeDef

# On the stack, and so on everything in it; on instances it is what the launcher may terminate by.
TAG = "spotrelay:stack"

# Never came to life: nothing in it is anybody's, and CloudFormation can only delete it.
HALF_MADE = {"REVIEW_IN_PROGRESS", "CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED"}
# An update that failed, and whose undoing failed too.
STUCK = {"UPDATE_ROLLBACK_FAILED"}
GONE = "DELETE_COMPLETE"


@dataclass(frozen=True, slots=True)
class Standing:
    """`drift`: as CloudFormation saw it last, and when. `protected`: it refuses to delete the stack."""

    name: str
    id: str
    status: str
    reason: str = ""
    outputs: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    protected: bool = False
    drift: str = "NOT_CHECKED"
    drift_seen: datetime | None = None

    @property
    def under_way(self) -> bool:
        """Somebody's operation runs: a deployment that was interrupted, or another person's."""
        return self.status.endswith("_IN_PROGRESS") and self.status not in HALF_MADE

    @property
    def half_made(self) -> bool:
        return self.status in HALF_MADE

    @property
    def foreign(self) -> bool:
        """Not ours. A shell that awaits its first change set may have no tags yet, and there is nothing in it."""
        return self.tags.get(TAG) != self.name and self.status != "REVIEW_IN_PROGRESS"

    @property
    def bucket(self) -> str | None:
        return self.outputs.get("BucketName")


def look(account: Account, name: str) -> Standing | None:
    """As `find`. Raises StackError."""
    with told(f"look at the stack {name}", account.place):
        return find(account.cloudformation, name)


def find(cloudformation: CloudFormationClient, name: str) -> Standing | None:
    """By name or id. None: there is no such stack; a deleted one is found by its id alone. Raises as boto3 does."""
    try:
        found = cloudformation.describe_stacks(StackName=name)["Stacks"]
    except botocore.exceptions.ClientError as error:
        if "does not exist" in words_of(error):
            return None
        raise
    return _read(found[0]) if found else None


def _read(stack: StackTypeDef) -> Standing:
    drift: dict[str, Any] = {**stack.get("DriftInformation", {})}
    return Standing(
        name=stack["StackName"],
        id=stack["StackId"],
        status=stack["StackStatus"],
        reason=stack.get("StackStatusReason", ""),
        outputs={each["OutputKey"]: each["OutputValue"] for each in stack.get("Outputs", [])},
        parameters={each["ParameterKey"]: each.get("ParameterValue", "") for each in stack.get("Parameters", [])},
        tags={each["Key"]: each["Value"] for each in stack.get("Tags", [])},
        protected=stack.get("EnableTerminationProtection", False),
        drift=drift.get("StackDriftStatus", "NOT_CHECKED"),
        drift_seen=drift.get("LastCheckTimestamp"),
    )
