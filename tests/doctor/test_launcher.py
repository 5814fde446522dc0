"""The Lambda, what feeds it, the queues, the alarms: what stops a request from being worked off."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from spotrelay.doctor.finding import Finding, State
from support.aws_account import Front
from support.examined_stack import ALARM

Look = Callable[..., list[Finding]]
Only = Callable[..., Finding]
Ask = Callable[[str], Any]
DEPLOY = "spotrelay deploy --stack-name relay"


def anew(outputs: dict[str, str], ask: Ask) -> str:
    [stack] = ask("cloudformation").describe_stacks(StackName="relay")["Stacks"]
    [image] = [each["ParameterValue"] for each in stack["Parameters"] if each["ParameterKey"] == "ImageId"]
    return f"spotrelay destroy --stack-name relay && {DEPLOY} --image {image} --bucket {outputs['BucketName']}"


def test_a_function_that_was_deleted(front: Front, outputs: dict[str, str], only: Only, ask: Ask) -> None:
    """CloudFormation believes in it, so deploying again would do nothing: the stack is made anew around its bucket."""
    ask("lambda").delete_function(FunctionName=outputs["FunctionName"])
    finding = only("launcher")

    assert State.PROBLEM == finding.state
    assert "somebody deleted it by hand" in finding.what
    assert anew(outputs, ask) == finding.command


@pytest.mark.parametrize(
    ("change", "state", "what", "command"),
    [
        ({"State": "Failed", "StateReason": "why"}, State.PROBLEM, "is failed", DEPLOY),
        ({"State": "Inactive"}, State.PROBLEM, "is inactive", DEPLOY),
        ({"LastUpdateStatus": "Failed", "LastUpdateStatusReason": "why"}, State.PROBLEM, "runs the code from", DEPLOY),
        ({"State": "Pending"}, State.WARNING, "at this moment", "aws lambda wait function-updated-v2"),
        ({"LastUpdateStatus": "InProgress"}, State.WARNING, "at this moment", "aws lambda wait function-updated-v2"),
    ],
)
def test_the_functions_state(
    change: dict[str, str],
    state: State,
    what: str,
    command: str,
    front: Front,
    outputs: dict[str, str],
    only: Only,
) -> None:
    """A failed update leaves old code running, which nothing else shows."""
    front.rewrite("GET /2015-03-31/functions/", lambda body: json.dumps({**json.loads(body), **change}))
    finding = only("launcher")

    assert state == finding.state
    assert what in finding.what
    assert finding.command.startswith(command)
    assert "Reason" not in str(change) or "why" == finding.detail


def test_a_function_throttled_to_nothing(front: Front, outputs: dict[str, str], look: Look, ask: Ask) -> None:
    """The console has a button for it, and the function is called active still."""
    name = outputs["FunctionName"]
    ask("lambda").put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    found = look("launcher")

    assert [State.OK, State.PROBLEM] == [each.state for each in found]
    assert f"aws lambda delete-function-concurrency --function-name {name} --region us-east-1" == found[1].command


def the_mapping(ask: Ask) -> dict[str, Any]:
    [mapping] = ask("lambda").list_event_source_mappings()["EventSourceMappings"]
    return dict(mapping)


def test_an_event_source_that_is_off(front: Front, outputs: dict[str, str], only: Only, ask: Ask) -> None:
    """Requests pile up and nobody takes them: the command that switches it on."""
    identity = the_mapping(ask)["UUID"]
    ask("lambda").update_event_source_mapping(UUID=identity, Enabled=False)
    finding = only("event source")

    assert State.PROBLEM == finding.state
    assert "is disabled" in finding.what
    assert f"aws lambda update-event-source-mapping --uuid {identity} --enabled --region us-east-1" == finding.command


def test_an_event_source_that_was_deleted(front: Front, outputs: dict[str, str], only: Only, ask: Ask) -> None:
    ask("lambda").delete_event_source_mapping(UUID=the_mapping(ask)["UUID"])
    finding = only("event source")

    assert State.PROBLEM == finding.state
    assert "somebody deleted the event source mapping" in finding.what
    assert anew(outputs, ask) == finding.command


@pytest.mark.parametrize(
    ("change", "what", "command"),
    [
        ({"LastProcessingResult": "PROBLEM: Lambda cannot read"}, "Lambda cannot read the queue", DEPLOY),
        ({"FunctionResponseTypes": []}, "takes all of its batch with it", "aws lambda update-event-source-mapping"),
    ],
)
def test_an_event_source_that_does_not_do(
    change: dict[str, Any], what: str, command: str, front: Front, outputs: dict[str, str], only: Only
) -> None:
    """It is enabled, and yet requests are lost or stay: said by a field that no console shows in red."""

    def changed(body: str) -> str:
        document = json.loads(body)
        document["EventSourceMappings"][0].update(change)
        return json.dumps(document)

    front.rewrite("GET /2015-03-31/event-source-mappings", changed)
    finding = only("event source")

    assert State.PROBLEM == finding.state
    assert what in finding.what
    assert finding.command.startswith(command)


def measured(front: Front, age_s: float) -> None:
    point = {"Timestamp": datetime.now(UTC).timestamp(), "Maximum": age_s, "Unit": "Seconds"}
    front.say("GetMetricStatistics", {"Label": "age", "Datapoints": [point]})


@pytest.mark.parametrize(("age_s", "state"), [(60, State.OK), (7200, State.PROBLEM)])
def test_requests_that_nobody_takes(
    age_s: float, state: State, front: Front, outputs: dict[str, str], only: Only, ask: Ask
) -> None:
    """By the age of the oldest, as waiting for capacity is no fault; with the launcher's log as the next step."""
    # moto would give it to the function at once.
    ask("lambda").update_event_source_mapping(UUID=the_mapping(ask)["UUID"], Enabled=False)
    ask("sqs").send_message(QueueUrl=outputs["QueueUrl"], MessageBody="{}")
    measured(front, age_s)
    finding = only("requests")

    assert state == finding.state
    assert "1 waiting" in finding.what or "waited for 120 min" in finding.what
    log = f"aws logs tail {outputs['LauncherLogGroup']} --since 1h --region us-east-1"
    assert (log if state is State.PROBLEM else "") == finding.command


def test_dead_letters(front: Front, outputs: dict[str, str], only: Only, ask: Ask) -> None:
    """How many, how to read them, and how to have them worked off again."""
    for number in range(2):
        ask("sqs").send_message(QueueUrl=outputs["DeadLetterQueueUrl"], MessageBody=str(number))
    finding = only("dead letters")
    look, redrive = finding.command.splitlines()

    assert State.PROBLEM == finding.state
    assert finding.what.startswith("2 requests were given up")
    assert look.startswith(f"aws sqs receive-message --queue-url {outputs['DeadLetterQueueUrl']} ")
    name = outputs["DeadLetterQueueUrl"].rsplit("/", 1)[-1]
    arn = f"arn:aws:sqs:us-east-1:123456789012:{name}"
    assert f"aws sqs start-message-move-task --source-arn {arn} --region us-east-1" == redrive


@pytest.mark.parametrize(("check", "output"), [("requests", "QueueUrl"), ("dead letters", "DeadLetterQueueUrl")])
def test_a_queue_that_was_deleted(
    check: str, output: str, front: Front, outputs: dict[str, str], only: Only, ask: Ask
) -> None:
    command = anew(outputs, ask)
    ask("sqs").delete_queue(QueueUrl=outputs[output])
    finding = only(check)

    assert State.PROBLEM == finding.state
    assert "somebody deleted it by hand" in finding.what
    assert command == finding.command


def test_an_alarm_that_rings(front: Front, outputs: dict[str, str], only: Only, ask: Ask) -> None:
    """With what the alarm itself says to do, and why it rings."""
    ask("cloudwatch").set_alarm_state(AlarmName=ALARM, StateValue="ALARM", StateReason="2 > 0")
    finding = only("alarms")

    assert (State.PROBLEM, f"{ALARM} rings", "2 > 0") == (finding.state, finding.what, finding.detail)
    assert "Look at the launcher's log, then at the dead-letter queue." in finding.remedy
    assert ALARM in finding.command


def test_alarms_that_nobody_would_hear(front: Front, outputs: dict[str, str], only: Only, ask: Ask) -> None:
    ask("cloudwatch").disable_alarm_actions(AlarmNames=[ALARM])
    finding = only("alarms")

    assert State.WARNING == finding.state
    assert f"aws cloudwatch enable-alarm-actions --alarm-names {ALARM} --region us-east-1" == finding.command


def test_an_alarm_that_was_deleted(front: Front, outputs: dict[str, str], only: Only, ask: Ask) -> None:
    """CloudFormation believes that it is there. Otherwise "none rings" is true, and nobody will ever be told."""
    ask("cloudwatch").delete_alarms(AlarmNames=[ALARM])
    finding = only("alarms")

    assert State.WARNING == finding.state
    assert f"somebody deleted {ALARM}" in finding.what
    assert finding.command.startswith("spotrelay destroy --stack-name relay && ")


def test_no_alarms(front: Front, outputs: dict[str, str], only: Only) -> None:
    front.say("ListStackResources", "<StackResourceSummaries/>")

    assert (State.WARNING, DEPLOY) == ((finding := only("alarms")).state, finding.command)
