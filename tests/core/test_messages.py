"""Whatever lies in the queue: a message, or MessageInvalid, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotrelay.core import keys
from spotrelay.core.messages import (
    GONE_STATES,
    LARGEST_BODY,
    MOST_RINGS,
    Ignored,
    InstanceEnding,
    InstanceGone,
    Message,
    MessageInvalid,
    ResumeRequest,
    Sweep,
    decode,
)

INSTANCE = "i-0123456789abcdef0"
# Field names that mean something, so that generated documents come close.
WORDS = [
    "resume",
    "sweep",
    "run",
    "attempt",
    "rings",
    "source",
    "aws.ec2",
    "detail-type",
    "detail",
    "instance-id",
    "state",
]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([*WORDS, INSTANCE]),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(WORDS) | st.text(), inner),
)


def event(kind: str = "EC2 Instance State-change Notification", **detail: Any) -> dict[str, Any]:
    """As EventBridge delivers it to a queue."""
    return {
        "version": "0",
        "id": "7bf73129-1428-4cd3-a780-95db273d1602",
        "detail-type": kind,
        "source": "aws.ec2",
        "account": "123456789012",
        "time": "2026-11-23T14:00:00Z",
        "region": "us-east-1",
        "resources": [f"arn:aws:ec2:us-east-1:123456789012:instance/{INSTANCE}"],
        "detail": {name.replace("_", "-"): value for name, value in detail.items()},
    }


@given(
    st.builds(
        ResumeRequest,
        st.from_regex(keys.RUN_NAME, fullmatch=True),
        st.integers(1, keys.LAST_ATTEMPT),
        st.integers(0, MOST_RINGS),
    )
)
def test_request_reads_back(request: ResumeRequest) -> None:
    assert request == decode(request.encode())


def test_counting_ends_where_it_is_still_read() -> None:
    """Who may write to the queue may send the largest number. The bell that follows it must still be heard."""
    last = ResumeRequest("r", 1, MOST_RINGS)

    assert ResumeRequest("r", 1, 8) == ResumeRequest("r", 1, 7).again()
    assert last == last.again()
    assert last == decode(ResumeRequest("r", 1, MOST_RINGS + 1).encode())


def test_request_of_an_older_agent_has_no_rings() -> None:
    assert ResumeRequest("r", 1) == decode('{"resume": {"run": "r", "attempt": 1}, "more": 7}')


@given(st.text() | ANYTHING.map(json.dumps) | st.fixed_dictionaries({"resume": ANYTHING}).map(json.dumps))
def test_any_body_is_a_message_or_invalid(body: str) -> None:
    """Anybody may write to the queue (P7). Another error would be a bug of ours that looks like a bad message."""
    try:
        message = decode(body)
    except MessageInvalid:
        return
    assert isinstance(message, Message)


@given(ANYTHING, ANYTHING, ANYTHING)
def test_no_field_gets_through_unchecked(run: Any, attempt: Any, rings: Any) -> None:
    """What a request names becomes keys and paths, so it is a name and a number, or it is nothing."""
    try:
        message = decode(json.dumps({"resume": {"run": run, "attempt": attempt, "rings": rings}}))
    except MessageInvalid:
        return
    assert isinstance(message, ResumeRequest)
    assert keys.RUN_NAME.fullmatch(message.run)
    assert 1 <= message.attempt <= keys.LAST_ATTEMPT


@pytest.mark.parametrize("depth", [1, 100, *range(900, 1010), 30_000])
def test_nested_as_deep_as_may_be(depth: int) -> None:
    """What Python can just read it may not be able to show, and an error is shown."""
    with pytest.raises(MessageInvalid):
        decode('{"resume": {"run": ' + "[" * depth + "]" * depth + "}}")


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("9" * 5000, "not JSON"),
        ("[]", "not a JSON object"),
        ("{}", "neither a resume request nor an EC2 event"),
        ('{"resume": 7}', "resume is not an object"),
        ('{"resume": {"attempt": 1}}', "resume.run"),
        ('{"resume": {"run": "../..", "attempt": 1}}', "resume.run"),
        ('{"resume": {"run": "r\\n", "attempt": 1}}', "resume.run"),
        ('{"resume": {"run": "r"}}', "resume.attempt"),
        ('{"resume": {"run": "r", "attempt": 0}}', "resume.attempt"),
        ('{"resume": {"run": "r", "attempt": 100000}}', "resume.attempt"),
        ('{"resume": {"run": "r", "attempt": true}}', "resume.attempt"),
        ('{"resume": {"run": "r", "attempt": 1.0}}', "resume.attempt"),
        ('{"resume": {"run": "r", "attempt": "1"}}', "resume.attempt"),
        ('{"resume": {"run": "r", "attempt": NaN}}', "resume.attempt"),
        ('{"resume": {"run": "r", "attempt": 1, "rings": -1}}', "resume.rings"),
        ('{"source": "aws.ec2"}', "without detail"),
        (json.dumps(event(state="terminated")), "without an instance"),
        (json.dumps(event(instance_id="i-../..", state="terminated")), "without an instance"),
        (json.dumps(event(instance_id=INSTANCE, state=["terminated"])), "without an instance"),
        (" " * (LARGEST_BODY + 1), "characters, more than"),
    ],
)
def test_invalid_body_names_what_is_wrong(body: str, named: str) -> None:
    """The text stands beside a dead letter, and somebody has to find out who wrote it."""
    with pytest.raises(MessageInvalid, match=named):
        decode(body)


@pytest.mark.parametrize("state", GONE_STATES)
def test_end_of_an_instance(state: str) -> None:
    assert InstanceGone(INSTANCE, state) == decode(json.dumps(event(instance_id=INSTANCE, state=state)))


def test_interruption_warning() -> None:
    told = event("EC2 Spot Instance Interruption Warning", instance_id=INSTANCE, instance_action="terminate")

    assert InstanceEnding(INSTANCE) == decode(json.dumps(told))


def test_sweep() -> None:
    """The schedule's constant input."""
    assert Sweep() == decode('{"sweep": {}}')


@pytest.mark.parametrize(
    "told",
    [
        event(instance_id=INSTANCE, state="running"),
        event(instance_id=INSTANCE, state="shutting-down"),
        event("EC2 Instance Rebalance Recommendation", instance_id=INSTANCE),
        event("EC2 Something New"),
    ],
)
def test_other_events_are_known_and_ignored(told: dict[str, Any]) -> None:
    """A rule that matches too much is no reason for dead letters."""
    assert isinstance(decode(json.dumps(told)), Ignored)
