"""The stack: missing, half-made, under way, somebody else's, of another version, changed by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import spotrelay
from spotrelay.doctor.finding import Finding, State
from support.aws_account import Front

Only = Callable[..., Finding]
DEPLOY = "spotrelay deploy --stack-name relay"
FIRST = f"{DEPLOY} --image ami-…"


def event(resource: str, reason: str, token: str = "now") -> str:
    told = {
        "LogicalResourceId": resource,
        "ResourceStatus": "CREATE_FAILED",
        "ResourceStatusReason": reason,
        "ClientRequestToken": token,
    }
    return "<member>" + "".join(f"<{key}>{value}</{key}>" for key, value in told.items()) + "</member>"


def test_no_stack(front: Front, only: Only) -> None:
    """How to make it, and that it may be under another name or in another region."""
    finding = only("stack", region="eu-west-1")

    assert (State.PROBLEM, "there is no stack relay in eu-west-1") == (finding.state, finding.what)
    assert "--stack-name" in finding.remedy
    assert "--region" in finding.remedy
    assert f"{DEPLOY} --region eu-west-1 --image ami-…" == finding.command


STATES = {
    "ROLLBACK_COMPLETE": (State.PROBLEM, "was never made", FIRST),
    "CREATE_FAILED": (State.PROBLEM, "was never made", FIRST),
    "ROLLBACK_FAILED": (State.PROBLEM, "could not be cleaned up", FIRST),
    "REVIEW_IN_PROGRESS": (State.PROBLEM, "only a plan", FIRST),
    "DELETE_FAILED": (State.PROBLEM, "could not be deleted whole", "spotrelay destroy --stack-name relay"),
    "UPDATE_ROLLBACK_FAILED": (State.PROBLEM, "so did the way back", DEPLOY),
    "UPDATE_ROLLBACK_COMPLETE": (State.WARNING, "as it was before its last update", DEPLOY),
    "UPDATE_IN_PROGRESS": (State.WARNING, "being changed at this moment", "aws cloudformation describe-stack-events"),
    "DELETE_IN_PROGRESS": (State.WARNING, "being changed at this moment", "aws cloudformation describe-stack-events"),
    "IMPORT_ROLLBACK_COMPLETE": (State.WARNING, "does not bring about", "aws cloudformation describe-stack-events"),
    "CREATE_COMPLETE": (State.OK, "relay is there", ""),
}


@pytest.mark.parametrize("status", STATES)
def test_each_state_has_its_remedy(status: str, front: Front, outputs: dict[str, str], only: Only) -> None:
    """Otherwise a person meets ROLLBACK_COMPLETE, which CloudFormation will not update, and searches the web."""
    state, what, command = STATES[status]
    front.replace("DescribeStacks", "UPDATE_COMPLETE", status)
    finding = only("stack")

    assert state == finding.state
    assert what in finding.what
    assert finding.command.startswith(command)


def test_the_first_failure_is_the_cause(front: Front, outputs: dict[str, str], only: Only) -> None:
    """Of the last operation, and not what was cancelled for its sake. Otherwise the cause is looked for elsewhere."""
    front.replace("DescribeStacks", "UPDATE_COMPLETE", "ROLLBACK_COMPLETE")
    newest_first = [
        event("Requests", "Resource creation cancelled"),
        event("Later", "a second cause"),
        event("InstanceRole", "is not authorized to perform: iam:CreateRole"),
        event("Old", "of last year", token="then"),
    ]
    front.say("DescribeStackEvents", f"<StackEvents>{''.join(newest_first)}</StackEvents>")

    assert "InstanceRole: is not authorized to perform: iam:CreateRole" == only("stack").detail


def test_the_state_is_said_though_its_cause_is_denied(front: Front, outputs: dict[str, str], only: Only) -> None:
    front.replace("DescribeStacks", "UPDATE_COMPLETE", "ROLLBACK_COMPLETE")
    front.deny("DescribeStackEvents")

    assert State.PROBLEM == only("stack").state


def test_somebody_elses_stack_is_left_alone(front: Front, outputs: dict[str, str], only: Only) -> None:
    """Another name is the remedy, never a deployment over it."""
    front.replace("DescribeStacks", "spotrelay:stack", "team")
    finding = only("stack")

    assert (State.PROBLEM, "relay is a stack, but not one that spotrelay made") == (finding.state, finding.what)
    assert "spotrelay deploy --stack-name relay-relay --image ami-…" == finding.command


def test_a_first_deployment_that_was_interrupted(front: Front, outputs: dict[str, str], only: Only) -> None:
    """After its first step there is everything but the launcher; CloudFormation calls that complete."""
    front.replace("DescribeStacks", "<OutputKey>FunctionName", "<OutputKey>Other")
    finding = only("stack")

    assert (State.PROBLEM, "relay is not finished: it has no FunctionName") == (finding.state, finding.what)
    assert DEPLOY == finding.command
    assert "it needs a stack that is complete" == only("requests").what


@pytest.mark.parametrize(
    ("theirs", "state", "command"),
    [
        (spotrelay.__version__, State.OK, ""),
        ("0.0.9", State.WARNING, DEPLOY),
        ("9.10.0", State.WARNING, "pip install --upgrade 'spotrelay>=9.10.0'"),
    ],
)
def test_the_stacks_version(
    theirs: str, state: State, command: str, front: Front, outputs: dict[str, str], only: Only
) -> None:
    """Older: deploy. Newer: never take it back by deploying from here."""
    front.replace("DescribeStacks", f"<OutputValue>{spotrelay.__version__}<", f"<OutputValue>{theirs}<")
    finding = only("stack's version")

    assert (state, command) == (finding.state, finding.command)


def drifted(status: str) -> Callable[[str], str]:
    information = f"<DriftInformation><StackDriftStatus>{status}</StackDriftStatus>"
    information += "<LastCheckTimestamp>2026-11-01T10:00:00Z</LastCheckTimestamp></DriftInformation>"
    return lambda body: body.replace("<StackStatus>", f"{information}<StackStatus>")


def test_drift_that_was_seen_is_told(front: Front, outputs: dict[str, str], only: Only) -> None:
    """Which resources, and when it was seen; without being asked to compare anew."""
    front.rewrite("DescribeStacks", drifted("DRIFTED"))
    row = "<LogicalResourceId>Bucket</LogicalResourceId><StackResourceDriftStatus>MODIFIED</StackResourceDriftStatus>"
    front.say("DescribeStackResourceDrifts", f"<StackResourceDrifts><member>{row}</member></StackResourceDrifts>")
    finding = only("drift")

    assert State.WARNING == finding.state
    assert "(seen 2026-11-01): Bucket modified" in finding.what
    assert "aws cloudformation describe-stack-resource-drifts --stack-name relay --region us-east-1" == finding.command


def test_drift_is_not_looked_for_unless_asked(front: Front, outputs: dict[str, str], only: Only) -> None:
    """It takes CloudFormation half a minute; that there is a way is said."""
    assert (State.OK, "not looked for (--drift does)") == ((finding := only("drift")).state, finding.what)
    assert "DetectStackDrift" not in front.asked


@pytest.mark.parametrize(
    ("last", "state", "what"),
    [
        ("<DetectionStatus>DETECTION_COMPLETE</DetectionStatus><StackDriftStatus>IN_SYNC</StackDriftStatus>", "ok", ""),
        ("<DetectionStatus>DETECTION_FAILED</DetectionStatus>", "unknown", "DETECTION_FAILED"),
        ("<DetectionStatus>DETECTION_IN_PROGRESS</DetectionStatus>", "unknown", "it had not ended after 60 s"),
    ],
)
def test_drift_is_waited_for(
    last: str, state: str, what: str, front: Front, outputs: dict[str, str], only: Only
) -> None:
    """It is asked again until CloudFormation is done, and no longer than a minute."""
    front.say("DetectStackDrift", "<StackDriftDetectionId>d-1</StackDriftDetectionId>")
    front.say("DescribeStackDriftDetectionStatus", "<DetectionStatus>DETECTION_IN_PROGRESS</DetectionStatus>")
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            front.say("DescribeStackDriftDetectionStatus", last)

    finding = only("drift", drift=True, pause=pause)

    assert (state, what) == (finding.state, finding.detail)
    assert len(pauses) == (30 if "IN_PROGRESS" in last else 2)
