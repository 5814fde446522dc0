"""The roles as they come out of a deployment: linted, and held to what they must not hold."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spotrelay.stack.account import Account
from spotrelay.stack.deploying import Deployed

FINDINGS = Path(__file__).parents[1] / "support" / "parliament_findings.py"
MISSPELT = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "sqs:SendMesage", "Resource": "arn:aws:sqs:us-east-1:123456789012:q"}],
}
# What parliament says that is meant so: the issue, what of its detail shows that it is the one meant, and why.
MEANT = (
    ("RESOURCE_MISMATCH", "'ec2:RunInstances'", "its kinds of resource stand in four statements, by their conditions"),
)


@pytest.fixture
def policies(aws: Account, deploy: Callable[..., Deployed]) -> dict[str, dict[str, Any]]:
    """By name; no intrinsic function is left in them."""
    outputs = deploy().standing.outputs
    found = {}
    roles = {"agent": "InstanceRoleArn", "launcher": "LauncherRoleArn", "interrupt": "InterruptRoleArn"}
    for policy, output in roles.items():
        role = outputs[output]
        answer = aws.iam.get_role_policy(RoleName=role.rpartition("/")[2], PolicyName=policy)
        found[policy] = answer["PolicyDocument"]
    return found  # type: ignore[return-value]


def findings(policy: dict[str, Any]) -> list[list[str]]:
    done = subprocess.run(
        [sys.executable, FINDINGS], input=json.dumps(policy), capture_output=True, text=True, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def statement(policy: dict[str, Any], sid: str) -> dict[str, Any]:
    return next(each for each in policy["Statement"] if each["Sid"] == sid)


def allowed(policy: dict[str, Any]) -> set[str]:
    words = (each["Action"] for each in policy["Statement"])
    return {action for each in words for action in ([each] if isinstance(each, str) else each)}


def test_parliament(policies: dict[str, dict[str, Any]]) -> None:
    """No unknown action or condition, no resource of another kind, no way to more. A misspelt permission denies, and
    only at three in the morning.
    """
    found = [
        (name, *finding)
        for name, policy in policies.items()
        for finding in findings(policy)
        if not any(finding[0] == issue and sign in finding[1] for issue, sign, _ in MEANT)
    ]

    assert [] == found
    assert ["UNKNOWN_ACTION"] == [issue for issue, *_ in findings(MISSPELT)], "it finds nothing at all"


def test_only_what_only_reads_goes_everywhere(policies: dict[str, dict[str, Any]]) -> None:
    """A bare * stands for calls that read and know no resources. Otherwise the role reaches into the whole account."""
    everywhere = [
        each["Sid"] for policy in policies.values() for each in policy["Statement"] if each["Resource"] == "*"
    ]

    assert ["Look", "Look"] == everywhere
    assert all(
        action.split(":")[1].startswith(("Describe", "Get"))
        for action in statement(policies["launcher"], "Look")["Action"]
    )
    assert "ec2:DescribeInstances" == statement(policies["interrupt"], "Look")["Action"]


def test_a_rehearsal_interrupts_only_ours(policies: dict[str, dict[str, Any]]) -> None:
    """FIS gets a notice to the stack's own machines, and nothing else. Otherwise whoever may begin an experiment takes
    anybody's."""
    notices = statement(policies["interrupt"], "Notices")

    assert {"ec2:SendSpotInstanceInterruptions", "ec2:DescribeInstances"} == allowed(policies["interrupt"])
    assert {"StringEquals": {"aws:ResourceTag/spotrelay:stack": "spotrelay"}} == notices["Condition"]


def test_the_agent_holds_little(policies: dict[str, dict[str, Any]]) -> None:
    """An instance reads and writes runs and its assignment, asks for its successor, reads secrets that were put there
    for runs, and clears away old snapshots and packs. Whoever takes it over can neither delete what was recorded, nor
    decide for the launcher, nor become somebody.
    """
    agent = policies["agent"]
    written, deleted = (
        {resource.split(":::")[1].split("/", 1)[1] for resource in statement(agent, sid)["Resource"]}
        for sid in ("Runs", "Housekeeping")
    )

    assert {
        "s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListBucket",
        "sqs:SendMessage", "ssm:GetParameter",
    } == allowed(agent)  # fmt: skip
    assert {"runs/*", "instances/*", "open/*"} == written
    assert {"runs/*/packs/*", "runs/*/snapshots/*"} == deleted
    assert statement(agent, "Secrets")["Resource"].endswith(":parameter/spotrelay/*")


def test_the_launcher_launches_only_ours(policies: dict[str, dict[str, Any]], deploy: Callable[..., Deployed]) -> None:
    """Instances come of this launch template, with the stack's tag, this image and this role; and only those with the
    tag are ended. Otherwise a mistake, or a thief, has the account's whole EC2.
    """
    outputs = deploy().standing.outputs
    launcher, template = policies["launcher"], outputs["LaunchTemplateId"]
    launched = statement(launcher, "Instances")

    assert {"aws:RequestTag/spotrelay:stack": "spotrelay"} == launched["Condition"]["StringEquals"]
    for sid in ("Instances", "WithThem", "Image"):
        arn = statement(launcher, sid)["Condition"]["ArnEquals"]["ec2:LaunchTemplate"]
        assert f"launch-template/{template}" == arn.rpartition(":")[2]
    assert {"ec2:IsLaunchTemplateResource": "true"} == statement(launcher, "Image")["Condition"]["Bool"]
    assert {"aws:ResourceTag/spotrelay:stack": "spotrelay"} == statement(launcher, "Orphans")["Condition"][
        "StringEquals"
    ]
    assert outputs["InstanceRoleArn"] == statement(launcher, "InstanceRole")["Resource"]
    assert {"iam:PassedToService": "ec2.amazonaws.com"} == statement(launcher, "InstanceRole")["Condition"][
        "StringEquals"
    ]
    assert statement(launcher, "Close")["Resource"].endswith("/open/*")
    assert "ec2:CreateLaunchTemplateVersion" not in allowed(launcher)


@pytest.mark.parametrize(
    ("where", "topic"),
    [
        (None, None),
        ("https://hooks.example.com/s3cret", None),
        ("me@example.com", "its own"),
        ("arn:aws:sns:us-east-1:123456789012:there", "arn:aws:sns:us-east-1:123456789012:there"),
    ],
)
def test_a_person_is_told_by_one_topic(
    aws: Account, deploy: Callable[..., Deployed], where: str | None, topic: str | None
) -> None:
    """The launcher publishes to the topic that was asked for, and to no other; where none was, to none. Otherwise a
    thief writes to everybody whom the account's topics reach."""
    role = deploy(notify=where).standing.outputs["LauncherRoleArn"].rpartition("/")[2]
    names = aws.iam.list_role_policies(RoleName=role)["PolicyNames"]
    found = [aws.iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names]
    told = [each for policy in found for each in policy["Statement"] if "sns" in json.dumps(each)]  # type: ignore[index]

    assert (["launcher", "notifications"] if topic else ["launcher"]) == sorted(names)
    assert ([("sns:Publish", False)] if topic else []) == [(each["Action"], "*" in each["Resource"]) for each in told]
    assert topic in (None, "its own") or [topic] == [each["Resource"] for each in told]
    assert [] == [each for policy in found for each in findings(policy) if each[0] != "RESOURCE_MISMATCH"]  # type: ignore[arg-type]
