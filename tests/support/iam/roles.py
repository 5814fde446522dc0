"""What moto's IAM has of a role: its name in full, its id, its policies."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import boto3

from support.iam.policies import Policy


def read_role(endpoint: str, name: str) -> tuple[str, str, list[Policy]]:
    """ARN, id and policies, inline and attached."""
    with _iam(endpoint) as iam:
        role = iam.get_role(RoleName=name)["Role"]
        return role["Arn"], role["RoleId"], [*_inline(iam, name), *_attached(iam, name)]


def read_profile(endpoint: str, name: str) -> str:
    """The ARN of the role in this instance profile."""
    with _iam(endpoint) as iam:
        [role] = iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]["Roles"]
        return str(role["Arn"])


def _inline(iam: Any, name: str) -> Iterator[Policy]:
    for inline in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        yield Policy(inline, _parsed(iam.get_role_policy(RoleName=name, PolicyName=inline)["PolicyDocument"]))


def _attached(iam: Any, name: str) -> Iterator[Policy]:
    for attached in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
        arn = attached["PolicyArn"]
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        found = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
        yield Policy(attached["PolicyName"], _parsed(found))


def _parsed(document: Any) -> Mapping[str, Any]:
    found = document
    if isinstance(document, str):
        # What a stack's update changed comes out of moto as Python writes it.
        found = ast.literal_eval(document) if document.startswith("{'") else json.loads(document)
    assert isinstance(found, Mapping)
    return found


@contextmanager
def _iam(endpoint: str) -> Iterator[Any]:
    session = boto3.Session(aws_access_key_id="front", aws_secret_access_key="front", region_name="us-east-1")
    client = session.client("iam", endpoint_url=endpoint)
    try:
        yield client
    finally:
        client.close()
