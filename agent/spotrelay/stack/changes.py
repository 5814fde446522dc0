"""A change set: what CloudFormation would do, said before it is done, and done as it was said."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import botocore.exceptions

from spotrelay.stack import template
from spotrelay.stack.account import Account
from spotrelay.stack.refusals import of_reason, told
from spotrelay.stack.standing import TAG, Standing

if TYPE_CHECKING:
    from types_boto3_cloudformation.type_defs import (
        DescribeChangeSetOutputTypeDef,
        ParameterTypeDef,
        ResourceChangeTypeDef,
    )

POLL_S = 1.0
# What CloudFormation says of a change set without changes: a failure of the set or, in its imitations, of the call.
_NOTHING = ("didn't contain changes", "No updates are to be performed")


@dataclass(frozen=True, slots=True)
class Change:
    """`properties`: what about it changes. `replaced`: a new one is made, and the old one goes."""

    action: str
    resource: str
    kind: str
    properties: tuple[str, ...] = ()
    replaced: bool = False
    kept: bool = False

    @property
    def loses(self) -> bool:
        """Something that is there will not be there: a person is asked first."""
        return (self.action == "Remove" and not self.kept) or self.replaced


@dataclass(frozen=True, slots=True)
class Plan:
    """`change_set` None: nothing to change."""

    stack_id: str
    change_set: str | None
    changes: tuple[Change, ...] = ()

    @property
    def losses(self) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.loses)


def propose(account: Account, name: str, values: dict[str, str], standing: Standing | None) -> Plan:
    """`values`: parameters that are given; the others stay as they are, or get their defaults. Raises StackError."""
    with told("have the changes planned", account.place):
        try:
            made = account.cloudformation.create_change_set(
                StackName=name,
                ChangeSetName=f"spotrelay-{uuid.uuid4()}",
                ChangeSetType="CREATE" if standing is None else "UPDATE",
                TemplateBody=template.text(),
                Parameters=_parameters(values, standing),
                # The template has roles in it: CloudFormation wants that said.
                Capabilities=["CAPABILITY_IAM"],
                Tags=[{"Key": TAG, "Value": name}],
            )
        except botocore.exceptions.ClientError as error:
            if standing is None or not _is_nothing(error.response["Error"].get("Message", "")):
                raise
            return Plan(standing.id, None)
    return _planned(account, made["StackId"], made["Id"])


def discard(account: Account, plan: Plan) -> None:
    if plan.change_set is not None:
        with told("discard the plan", account.place):
            account.cloudformation.delete_change_set(StackName=plan.stack_id, ChangeSetName=plan.change_set)


def begin(account: Account, plan: Plan) -> None:
    if plan.change_set is not None:
        with told("begin the changes", account.place):
            account.cloudformation.execute_change_set(StackName=plan.stack_id, ChangeSetName=plan.change_set)


def _is_nothing(reason: str) -> bool:
    return any(words in reason for words in _NOTHING)


def _parameters(values: dict[str, str], standing: Standing | None) -> list[ParameterTypeDef]:
    given: list[ParameterTypeDef] = [{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()]
    before = set() if standing is None else standing.parameters.keys() & set(template.PARAMETERS)
    kept: list[ParameterTypeDef] = [
        {"ParameterKey": key, "UsePreviousValue": True} for key in sorted(before - values.keys())
    ]
    return given + kept


def _planned(account: Account, stack_id: str, change_set: str) -> Plan:
    """Waits for CloudFormation to have thought."""
    while True:
        with told("read the plan", account.place):
            pages = list(_pages(account, stack_id, change_set))
        found = (each["ResourceChange"] for page in pages for each in page["Changes"] if "ResourceChange" in each)
        plan = Plan(stack_id, change_set, tuple(_read(change) for change in found))
        match pages[-1]["Status"]:
            case "CREATE_COMPLETE":
                return plan
            case "FAILED":
                discard(account, plan)
                reason = pages[-1].get("StatusReason", "")
                if _is_nothing(reason):
                    return Plan(stack_id, None)
                raise of_reason("the plan", reason or "CloudFormation gave no reason", account.place)
        time.sleep(POLL_S)


def _pages(account: Account, stack_id: str, change_set: str) -> Iterator[DescribeChangeSetOutputTypeDef]:
    pages = account.cloudformation.get_paginator("describe_change_set")
    yield from pages.paginate(StackName=stack_id, ChangeSetName=change_set)


def _read(change: ResourceChangeTypeDef) -> Change:
    targets = (detail.get("Target", {}) for detail in change.get("Details", []))
    named = {target.get("Name") or target.get("Attribute", "") for target in targets}
    return Change(
        action=change.get("Action", "Modify"),
        resource=change.get("LogicalResourceId", ""),
        kind=change.get("ResourceType", ""),
        properties=tuple(sorted(filter(None, named))),
        replaced=change.get("Replacement") == "True",
        kept=change.get("PolicyAction") == "Retain",
    )
