"""The judge himself: IAM's rules, one by one, as the stack's policies rely on them.

A judge that says yes too often makes every test of least privilege pass. So each rule is asked for both of its answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from support.iam.conditions import Unknown, hold
from support.iam.policies import Caller, Need, Policy, decide

BUCKET = "arn:aws:s3:::relay"
ROLE = "arn:aws:iam::123456789012:role/agent"


def policy(*statements: Mapping[str, Any]) -> Policy:
    return Policy("p", {"Statement": [{"Sid": str(number), **each} for number, each in enumerate(statements)]})


def allow(action: str, resource: str = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: str, resource: str = "*", **more: Any) -> dict[str, Any]:
    return {**allow(action, resource, **more), "Effect": "Deny"}


def allowed(given: Policy, action: str, resource: str = "*", **context: Any) -> bool:
    need = Need(action, resource, {key.replace("__", ":"): value for key, value in context.items()})
    return decide(need, need.context, identity=[given]).allowed


@pytest.mark.parametrize(
    ("statement", "action", "resource", "expected"),
    [
        (allow("s3:GetObject", f"{BUCKET}/runs/*"), "s3:GetObject", f"{BUCKET}/runs/a/run.json", True),
        (allow("s3:GetObject", f"{BUCKET}/runs/*"), "s3:GetObject", f"{BUCKET}/launches/a", False),
        (allow("s3:GetObject", f"{BUCKET}/runs/*"), "s3:PutObject", f"{BUCKET}/runs/a", False),
        (allow("s3:GetObject", f"{BUCKET}/*"), "s3:GetObject", "arn:aws:s3:::other/a", False),
        (allow("s3:GetObject", BUCKET), "s3:GetObject", f"{BUCKET}/a", False),
        (allow("s3:getobject", "*"), "s3:GetObject", f"{BUCKET}/a", True),
        (allow("s3:Get*", "*"), "s3:GetObject", f"{BUCKET}/a", True),
        (allow("*", "*"), "ec2:RunInstances", "*", True),
        (allow("s3:GetObject", f"{BUCKET}/RUNS/*"), "s3:GetObject", f"{BUCKET}/runs/a", False),
        (allow("s3:GetObject", f"{BUCKET}/?"), "s3:GetObject", f"{BUCKET}/ab", False),
        (allow("s3:GetObject", f"{BUCKET}/a.b"), "s3:GetObject", f"{BUCKET}/axb", False),
        ({"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"}, "sqs:SendMessage", "*", True),
        ({"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"}, "s3:GetObject", "*", False),
        ({"Effect": "Allow", "Action": "*", "NotResource": f"{BUCKET}/*"}, "s3:GetObject", f"{BUCKET}/a", False),
        ({"Effect": "Allow", "Action": "*", "NotResource": f"{BUCKET}/*"}, "s3:GetObject", "arn:aws:s3:::o/a", True),
    ],
)
def test_actions_and_resources(statement: dict[str, Any], action: str, resource: str, expected: bool) -> None:
    """What a statement covers is exactly what it says. Otherwise a role has a prefix too many, or lacks one."""
    assert expected == allowed(policy(statement), action, resource)


def test_nobody_allows_means_no() -> None:
    """Without a statement there is no right."""
    assert not allowed(policy(), "s3:GetObject")


@pytest.mark.parametrize("order", [1, -1])
def test_a_deny_beats_every_allow(order: int) -> None:
    """Wherever it stands. Otherwise TLS-only and the like are decoration."""
    both = [allow("s3:*"), deny("s3:DeleteObject")][::order]

    assert (True, False) == (allowed(policy(*both), "s3:GetObject"), allowed(policy(*both), "s3:DeleteObject"))


@pytest.mark.parametrize(
    ("block", "context", "expected"),
    [
        ({"StringEquals": {"k": "a"}}, {"k": "a"}, True),
        ({"StringEquals": {"k": ["b", "a"]}}, {"k": "a"}, True),
        ({"StringEquals": {"k": "a*"}}, {"k": "ab"}, False),
        ({"StringEquals": {"k": "a"}}, {}, False),
        ({"StringEquals": {"K": "a"}}, {"k": "a"}, True),
        ({"StringEqualsIfExists": {"k": "a"}}, {}, True),
        ({"StringEqualsIfExists": {"k": "a"}}, {"k": "b"}, False),
        ({"StringLike": {"k": "runs/*"}}, {"k": "runs/a"}, True),
        ({"StringLike": {"k": "runs/*"}}, {"k": "run"}, False),
        ({"StringNotEquals": {"k": "a"}}, {"k": "b"}, True),
        ({"StringNotEquals": {"k": ["a", "b"]}}, {"k": "b"}, False),
        ({"StringNotEquals": {"k": "a"}}, {}, True),
        ({"ArnLike": {"k": "arn:aws:ec2:*:1:launch-template/*"}}, {"k": "arn:aws:ec2:eu:1:launch-template/lt"}, True),
        ({"ArnLike": {"k": "arn:aws:*:launch-template/*"}}, {"k": "arn:aws:ec2:eu:1:launch-template/lt"}, False),
        ({"ArnEquals": {"k": "arn:aws:sqs:eu:1:q"}}, {"k": "arn:aws:sqs:eu:1:p"}, False),
        ({"Bool": {"k": False}}, {"k": "false"}, True),
        ({"Bool": {"k": "true"}}, {"k": "false"}, False),
        ({"Bool": {"k": "true"}}, {}, False),
        ({"Null": {"k": True}}, {}, True),
        ({"Null": {"k": "true"}}, {"k": "a"}, False),
        ({"Null": {"k": "false"}}, {"k": "a"}, True),
        ({"ForAllValues:StringEquals": {"k": ["a", "b"]}}, {"k": ["a"]}, True),
        ({"ForAllValues:StringEquals": {"k": ["a", "b"]}}, {"k": ["a", "c"]}, False),
        ({"ForAllValues:StringEquals": {"k": ["a"]}}, {}, True),
        ({"ForAnyValue:StringEquals": {"k": ["a"]}}, {"k": ["a", "c"]}, True),
        ({"ForAnyValue:StringEquals": {"k": ["a"]}}, {}, False),
        ({"NumericLessThanEquals": {"k": "10"}}, {"k": "9"}, True),
        ({"StringEquals": {"k": "a", "l": "b"}}, {"k": "a"}, False),
        ({"StringEquals": {"k": "a"}, "Bool": {"l": "true"}}, {"k": "a", "l": "true"}, True),
    ],
)
def test_conditions(block: dict[str, Any], context: dict[str, Any], expected: bool) -> None:
    """Each operator, each case of a missing key. moto answers all of these with yes."""
    assert expected == hold(block, context)


@pytest.mark.parametrize(
    "block",
    [
        {"DateLessThan": {"k": "2026-01-01T00:00:00Z"}},
        {"IpAddress": {"k": "10.0.0.0/8"}},
        {"ForSomeValues:StringEquals": {"k": "a"}},
        {"StringEquals": {"k": "a"}, "IpAddress": {"l": "10.0.0.0/8"}},
    ],
)
def test_an_operator_it_does_not_know_is_an_error(block: dict[str, Any]) -> None:
    """Neither yes nor no, also behind a condition that fails. Otherwise half a policy is believed."""
    with pytest.raises(Unknown):
        hold(block, {"k": "b", "l": "b"})


def test_several_values_without_a_quantifier_are_an_error() -> None:
    """IAM's answer is not defined. Otherwise a policy that AWS warns of looks right here."""
    with pytest.raises(Unknown):
        hold({"StringEquals": {"aws:TagKeys": "a"}}, {"aws:TagKeys": ["a"]})


@pytest.mark.parametrize(
    "document",
    [
        {"Statement": [{"Effect": "Permit", "Action": "*", "Resource": "*"}]},
        {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*", "Conditions": {}}]},
    ],
)
def test_a_policy_it_cannot_read_is_an_error(document: dict[str, Any]) -> None:
    """A misspelt key is no statement without that key. Otherwise a condition is lost by a letter."""
    with pytest.raises(Unknown):
        Policy("p", document)


def test_variables_stand_for_the_callers_values() -> None:
    """Literally, and for nothing when there is no value."""
    given = policy(allow("s3:GetObject", f"{BUCKET}/${{aws:userid}}/*"))

    assert allowed(given, "s3:GetObject", f"{BUCKET}/AROA:i-1/x", aws__userid="AROA:i-1")
    assert not allowed(given, "s3:GetObject", f"{BUCKET}/other/x", aws__userid="*")
    assert not allowed(given, "s3:GetObject", f"{BUCKET}/AROA:i-1/x")


def test_a_resource_policy_speaks_to_those_it_names() -> None:
    """A deny for everybody hits everybody; an allow for another role gives nothing to this one."""
    tls = deny("s3:*", Principal="*", Condition={"Bool": {"aws:SecureTransport": "false"}})
    other = allow("s3:*", Principal={"AWS": "arn:aws:iam::123456789012:role/other"})
    need, caller = Need("s3:GetObject", f"{BUCKET}/a"), Caller("arn:aws:sts::123456789012:assumed-role/agent/i-1", ROLE)

    def verdict(secure: str, identity: list[Policy]) -> bool:
        context = {"aws:SecureTransport": secure}
        return decide(need, context, identity=identity, resource=[policy(tls, other)], caller=caller).allowed

    everything = [policy(allow("*"))]
    assert [True, False, False] == [verdict("true", everything), verdict("false", everything), verdict("true", [])]


def test_a_service_is_a_caller_as_well() -> None:
    """EventBridge sends by the queue's policy alone, and only for the rule that it names."""
    rule = "arn:aws:events:us-east-1:123456789012:rule/gone"
    condition = {"ArnEquals": {"aws:SourceArn": rule}}
    events = {"Service": "events.amazonaws.com"}
    given = policy(allow("sqs:SendMessage", "q", Principal=events, Condition=condition))

    def verdict(service: str, source: str) -> bool:
        need = Need("sqs:SendMessage", "q", {"aws:SourceArn": source})
        return decide(need, need.context, resource=[given], caller=Caller(service, service=service)).allowed

    assert [True, False, False] == [
        verdict("events.amazonaws.com", rule),
        verdict("events.amazonaws.com", rule + "s"),
        verdict("sns.amazonaws.com", rule),
    ]


def test_the_verdict_names_its_statements() -> None:
    """So that what is granted and never used can be listed."""
    given = policy(allow("s3:Get*"), allow("s3:GetObject"), deny("s3:Delete*"))
    got = decide(Need("s3:GetObject", "*"), {}, identity=[given])
    refused = decide(Need("s3:DeleteObject", "*"), {}, identity=[given])

    assert (("p/0", "p/1"), ("p/2",), True) == (got.by, refused.by, refused.explicit)
