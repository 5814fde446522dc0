"""All checks together: a stack that is well, faults that many checks stand on, and what none may look at."""

from __future__ import annotations

import re
import socket
from collections import Counter
from collections.abc import Callable

import pytest
from botocore.config import Config

from spotrelay.doctor import ground
from spotrelay.doctor.examination import CHECKS, examine
from spotrelay.doctor.finding import Finding, State
from spotrelay.doctor.ground import Asked, Ground
from spotrelay.stack.meanings import PERMISSIONS
from support.aws_account import Front
from support.examined_stack import STACK


@pytest.fixture
def examined(front: Front) -> Callable[..., list[Finding]]:
    def examined(**asked: str) -> list[Finding]:
        ground = Ground(Asked(**{"stack": STACK, **asked}))
        try:
            return examine(ground)
        finally:
            ground.close()

    return examined


def states(found: list[Finding]) -> dict[str, int]:
    return dict(Counter(finding.state.value for finding in found))


def test_a_stack_in_order_is_well(outputs: dict[str, str], examined: Callable[..., list[Finding]]) -> None:
    """Every check finds its subject, and nothing to say. Otherwise people learn to overlook what it says."""
    found = examined()

    assert {"ok": len(CHECKS)} == states(found), [each for each in found if each.state is not State.OK]
    assert list(CHECKS) == [each.check for each in found]


def test_it_only_looks(front: Front, outputs: dict[str, str], examined: Callable[..., list[Finding]]) -> None:
    """No call makes, changes or starts anything, and the permission for each is known. Otherwise nobody dares to ask
    while runs are under way."""
    examined()

    reads = re.compile(r"(Describe|Get|List)\w+|(GET|HEAD) /.*")
    assert front.asked
    assert [] == [action for action in front.asked if not reads.fullmatch(action)]
    assert set() == {action for action in front.asked if " " not in action} - PERMISSIONS.keys()


def test_without_a_stack_that_alone_is_the_finding(front: Front, examined: Callable[..., list[Finding]]) -> None:
    """One problem, and one line for what stands on it. What does not stand on it is still looked at."""
    found = examined()

    assert ["stack", "service role"] == [each.check for each in found if each.state is State.PROBLEM]
    assert {"it needs the stack"} == {each.what for each in found if each.state is State.SKIPPED}
    assert "network" in [each.check for each in found if each.state is State.OK]


def test_without_credentials_that_alone_is_the_finding(
    front: Front, examined: Callable[..., list[Finding]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty checks do not repeat that there are no credentials, and AWS is not asked."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    found = examined()

    assert ["credentials"] == [each.check for each in found if each.state is State.PROBLEM]
    assert {"it needs credentials"} == {each.what for each in found if each.state is State.SKIPPED}
    assert [] == front.asked


def test_the_most_serious_comes_first(
    front: Front, outputs: dict[str, str], examined: Callable[..., list[Finding]]
) -> None:
    """Otherwise the problem scrolls away above twenty things that are well."""
    front.quota("L-34B43A08", "All Standard Spot Instance Requests", 0)
    front.deny("ListStackResources")
    front.ahead_s = 60
    found = examined()

    assert ["spot quota", "clock", "alarms"] == [each.check for each in found[:3]]
    assert [State.PROBLEM, State.WARNING, State.UNKNOWN, State.OK] == list(dict.fromkeys(each.state for each in found))


# The check that makes the call, and the call as the front sees it.
CALLS = {
    "DescribeStacks": ("stack", "DescribeStacks"),
    "ListStackResources": ("alarms", "ListStackResources"),
    "DetectStackDrift": ("drift", "DetectStackDrift"),
    "GetFunctionConfiguration": ("launcher", "GET /2015-03-31/functions/"),
    "GetFunctionConcurrency": ("launcher", "GET /2019-09-30/functions/"),
    "ListEventSourceMappings": ("event source", "GET /2015-03-31/event-source-mappings"),
    "GetQueueAttributes": ("requests", "GetQueueAttributes"),
    "DescribeAlarms": ("alarms", "DescribeAlarms"),
    "HeadBucket": ("bucket", "HEAD /"),
    "GetPublicAccessBlock": ("public access", "GET /relay-bucket"),
    "GetBucketPolicy": ("bucket policy", "GET /relay-bucket"),
    "GetServiceQuota": ("spot quota", "GetServiceQuota"),
    "DescribeRegions": ("region", "DescribeRegions"),
    "DescribeInstanceTypeOfferings": ("instance types", "DescribeInstanceTypeOfferings"),
    "DescribeLaunchTemplateVersions": ("launch template", "DescribeLaunchTemplateVersions"),
    "DescribeImages": ("image", "DescribeImages"),
    "DescribeVpcs": ("network", "DescribeVpcs"),
    "DescribeSubnets": ("network", "DescribeSubnets"),
    "GetRole": ("service role", "GetRole"),
    "GetInstanceProfile": ("instance role", "GetInstanceProfile"),
}


@pytest.mark.parametrize("operation", CALLS)
def test_what_it_may_not_look_at_names_the_permission(
    operation: str, front: Front, outputs: dict[str, str], look: Callable[..., list[Finding]]
) -> None:
    """Not a problem, not well: not known, with the one permission to add and to whom. Otherwise a person with few
    rights reads of faults that are none."""
    check, action = CALLS[operation]
    front.deny(action)
    finding = look(check, drift=True)[-1]

    permission = PERMISSIONS[operation]
    assert (State.UNKNOWN, f"may not look: {permission} is not allowed") == (finding.state, finding.what)
    assert f"Add {permission} to the policies of arn:aws:sts::123456789012:user/moto." == finding.remedy


def test_what_was_found_before_a_refusal_stands(
    front: Front, outputs: dict[str, str], look: Callable[..., list[Finding]]
) -> None:
    """The launcher's state, though its concurrency may not be seen. Otherwise one denied call hides the rest."""
    front.deny("GET /2019-09-30/functions/")

    assert [State.OK, State.UNKNOWN] == [each.state for each in look("launcher")]


@pytest.mark.parametrize(
    ("code", "status", "remedy"),
    [
        ("ExpiredToken", 400, "Renew them and look again."),
        ("ThrottlingException", 400, "Look again in a minute."),
        ("InternalFailure", 500, "Look again in a minute."),
        ("SomethingNew", 400, "What AWS says below names the cause; if it does not, please report it."),
    ],
)
def test_other_refusals_say_what_to_do(
    code: str, status: int, remedy: str, front: Front, outputs: dict[str, str], only: Callable[..., Finding]
) -> None:
    """Expired meanwhile, throttled, failed, never seen: each is a finding, none an exception."""
    front.refuse("DescribeVpcs", code, "as AWS says", status=status)
    finding = only("network")

    assert (State.UNKNOWN, remedy, "as AWS says") == (finding.state, finding.remedy, finding.detail)


def test_no_answer_is_a_finding(
    front: Front, outputs: dict[str, str], only: Callable[..., Finding], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One service that nobody answers for (a network without a way there) is one unknown."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL_IAM", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        finding = only("service role")

    assert (State.UNKNOWN, "AWS gave no answer") == (finding.state, finding.what)
    assert "HTTPS_PROXY" in finding.remedy


def test_a_service_that_hangs_is_a_finding(
    front: Front, outputs: dict[str, str], only: Callable[..., Finding], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes the connection and says nothing: the examination goes on after its patience, and ends."""
    impatient = ground.PATIENCE.merge(Config(read_timeout=2, retries={"total_max_attempts": 1}))
    monkeypatch.setattr(ground, "PATIENCE", impatient)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL_IAM", f"http://127.0.0.1:{silent.getsockname()[1]}")
        finding = only("service role")

    assert (State.UNKNOWN, "AWS gave no answer") == (finding.state, finding.what)
    assert "Read timeout" in finding.detail


def test_a_fault_of_ours_is_a_finding(front: Front, outputs: dict[str, str], only: Callable[..., Finding]) -> None:
    """An answer that the check cannot read does not end the examination: the others stand."""
    front.replace("GET /2015-03-31/event-source-mappings", "EventSourceMappings", "Renamed")
    finding = only("event source")

    assert (State.UNKNOWN, "the check itself failed") == (finding.state, finding.what)
    assert "KeyError" in finding.detail


def test_a_finding_has_a_remedy() -> None:
    """There is no way to make one without. Otherwise it would be said some day that something is wrong, and no more."""
    with pytest.raises(ValueError, match="without a remedy"):
        Finding(State.PROBLEM, "it is broken")
