"""moto's CloudFormation, with change sets that do what they say.

As it comes (5.2.5) a change set in moto leaves a stack without outputs, forgets its parameters, takes no notice of a
condition that changes, knows one deletion policy, keeps a role's policy as Python writes a dict, and an error while it
works is an HTTP 500. Here:

1. A template is pruned by its conditions first: what they exclude is not there, for creation, change and removal alike.
2. What changes is what differs, what names a parameter that differs, and what takes an attribute of what changes.
3. A role's own policies are documents that can be read again, and an update changes them.
4. A failure rolls back, and says so in events, in AWS's words for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from moto.cloudformation.models import Change, ChangeSet, CloudFormationBackend, Event, Stack
from moto.cloudformation.parsing import OutputMap, ResourceMap
from moto.iam.models import Role

NAMED = re.compile(r"\$\{(\w+)(\.\w+)?\}")


@contextmanager
def truthful_change_sets() -> Iterator[None]:
    with ExitStack() as patches:
        patches.enter_context(patch.object(ChangeSet, "_parse_template", _parse_template))
        patches.enter_context(patch.object(ChangeSet, "diff", _diff))
        patches.enter_context(patch.object(ResourceMap, "build_resource_diff", _resource_diff))
        patches.enter_context(patch.object(CloudFormationBackend, "execute_change_set", _execute))
        patches.enter_context(patch.object(Role, "put_policy", _put_policy))
        patches.enter_context(patch.object(Role, "update_from_cloudformation_json", _update_role))
        yield


def _parse_template(self: ChangeSet) -> None:
    self.template_dict = pruned(Stack.parse_template(self.template), self.parameters, self.stack)


def pruned(template: dict[str, Any], parameters: dict[str, Any], stack: Stack) -> dict[str, Any]:
    """Without what its conditions exclude; "retain except on create" is "retain" for what is there."""
    resources = ResourceMap(
        stack.stack_id, stack.name, parameters, {}, stack.account_id, stack.region_name, template, {}
    )
    resources.load_parameters()
    resources.load_conditions()

    def kept(part: str) -> dict[str, Any]:
        return {
            name: {**what, "DeletionPolicy": "Retain"} if "Retain" in what.get("DeletionPolicy", "") else what
            for name, what in template.get(part, {}).items()
            if "Condition" not in what or resources.lazy_condition_map[what["Condition"]]
        }

    return {**template, "Resources": kept("Resources"), "Outputs": kept("Outputs")}


def _diff(self: ChangeSet) -> list[Change]:
    new, old = self.template_dict["Resources"], self.stack.resource_map._resource_json_map
    found = self.stack.resource_map.build_resource_diff(self.template_dict, self.parameters)
    return [
        Change(action=action, logical_resource_id=name, resource_type=(new.get(name) or old[name])["Type"])
        for action, names in found.items()
        for name in names
    ]


def _resource_diff(
    self: ResourceMap, other_template: dict[str, Any], parameters: dict[str, Any] | None = None
) -> dict[str, list[str]]:
    old, new = self._resource_json_map, other_template["Resources"]
    before = {key: str(value) for key, value in self.resolved_parameters.items()}
    changed = {key for key, value in (parameters or {}).items() if before.get(key) != str(value)}
    both = [name for name in new if name in old]
    modified = [name for name in both if new[name] != old[name] or changed & {n for n, _ in _names(new[name])}]
    for _ in new:
        attributes = {name for name in both if any(n in modified and attribute for n, attribute in _names(new[name]))}
        modified += sorted(attributes - set(modified))
    return {
        "Add": [name for name in new if name not in old],
        "Modify": modified,
        "Remove": [name for name in old if name not in new],
    }


def _names(what: Any) -> Iterator[tuple[str, bool]]:
    """What is referred to, and whether by an attribute."""
    if isinstance(what, dict):
        for key, value in what.items():
            if key == "Ref":
                yield value, False
            elif key == "Fn::GetAtt":
                yield (value.split(".")[0] if isinstance(value, str) else value[0]), True
            elif key == "Fn::Sub":
                text = value if isinstance(value, str) else value[0]
                yield from ((match[1], bool(match[2])) for match in NAMED.finditer(text))
                yield from _names(value)
            else:
                yield from _names(value)
    elif isinstance(what, list):
        for each in what:
            yield from _names(each)


def _execute(self: CloudFormationBackend, change_set_name: str, stack_name: str | None = None) -> None:
    change_set = self.describe_change_set(change_set_name)
    assert change_set is not None
    stack, kind = self.stacks[change_set.stack_id], change_set.change_set_type
    stack._add_stack_event(f"{kind}_IN_PROGRESS", resource_status_reason="User Initiated")
    # Tags of the stack reach its resources by this.
    stack.resource_map.tags.update(change_set.tags or {})
    before = _remembered(stack.resource_map)
    try:
        change_set.apply()
    except Exception as error:
        _roll_back(stack, kind, str(error))
        if kind == "UPDATE":
            vars(stack.resource_map).update(before)
        return
    for change in change_set.changes:
        _resource_event(stack, change, "DELETE" if change.action == "Remove" else kind)
    stack.template, stack.template_dict = change_set.template, change_set.template_dict
    stack.parameters, stack.tags = change_set.parameters, change_set.tags or {}
    stack.output_map = OutputMap(stack.resource_map, stack.template_dict, stack.stack_id)
    stack.status = f"{kind}_COMPLETE"
    stack._add_stack_event(stack.status)
    change_set.execution_status = "EXECUTE_COMPLETE"


def _put_policy(self: Role, policy_name: str, policy_json: str | dict[str, Any]) -> None:
    self.policies[policy_name] = policy_json if isinstance(policy_json, str) else json.dumps(policy_json)


def _update_role(original_resource: Role, cloudformation_json: dict[str, Any], **_: Any) -> Role:
    for policy in cloudformation_json["Properties"].get("Policies", []):
        original_resource.put_policy(policy["PolicyName"], policy["PolicyDocument"])
    return original_resource


def _remembered(resources: ResourceMap) -> dict[str, Any]:
    parts = ("_template", "_resource_json_map", "_parsed_resources", "input_parameters", "resolved_parameters")
    return {name: dict(value) for name, value in vars(resources).items() if name in parts}


def _roll_back(stack: Stack, kind: str, reason: str) -> None:
    failed = f"{kind}_FAILED"
    stack.events.append(_event(stack, "Launcher", "AWS::Lambda::Function", failed, reason))
    stack.events.append(_event(stack, "Alarms", "AWS::SNS::Topic", failed, "Resource creation cancelled"))
    if kind == "CREATE":
        stack.resource_map.delete()
    stack.status = "ROLLBACK_COMPLETE" if kind == "CREATE" else "UPDATE_ROLLBACK_COMPLETE"
    stack._add_stack_event(stack.status)


def _resource_event(stack: Stack, change: Change, kind: str) -> None:
    stack.events.append(_event(stack, change.logical_resource_id, change.resource_type, f"{kind}_COMPLETE", None))


def _event(stack: Stack, resource: str, kind: str, status: str, reason: str | None) -> Event:
    return Event(
        stack_id=stack.stack_id,
        stack_name=stack.name,
        logical_resource_id=resource,
        physical_resource_id=resource,
        resource_type=kind,
        resource_status=status,
        resource_status_reason=reason,
        resource_properties=None,
    )
