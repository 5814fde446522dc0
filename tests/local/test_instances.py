"""The life of an instance as its owner, the hypervisor and EventBridge see it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from spotrelay.local.events import check_pattern, matches
from spotrelay.local.instances import Instance, Reason
from spotrelay.local.pools import Market
from support.cloud_plane import Cloud, cloud, eventually, refusal, spot, tagged

GONE = {
    "source": ["aws.ec2"],
    "detail-type": ["EC2 Instance State-change Notification"],
    "detail": {"state": ["shutting-down", "terminated"]},
}


class Hypervisor:
    """Writes down what it is told."""

    def __init__(self, here: Cloud) -> None:
        self.launched: list[Instance] = []
        self.terminated: list[str] = []
        here.plane.ec2.instances.on_launch = self.launched.append
        here.plane.ec2.instances.on_terminate = self.terminated.append


def story(here: Cloud) -> list[str]:
    """The states that were announced, in order."""
    return [event["detail"]["state"] for event in here.plane.events.history if "state" in event["detail"]]


async def described(here: Cloud, identity: str) -> dict[str, Any]:
    answer = await here.ec2.describe_instances(InstanceIds=[identity])
    return answer["Reservations"][0]["Instances"][0]


async def test_a_machine_boots_when_the_hypervisor_says_so():
    """It is handed the instance as it was asked for, and until it reports, the instance is pending. Otherwise the
    rehearsal would show machines running that are not there."""
    async with cloud() as here:
        hypervisor = Hypervisor(here)
        [instance] = await here.run(UserData="spec", InstanceMarketOptions=spot(), TagSpecifications=tagged(run="r"))
        identity = instance["InstanceId"]

        assert {identity: "pending"} == await here.states()
        [launched] = hypervisor.launched
        assert (identity, b"spec", "spot", "us-east-1a", {"run": "r"}) == (
            launched.id,
            launched.user_data,
            launched.market,
            launched.zone,
            launched.tags,
        )
        here.plane.ec2.instance_running(identity)
        assert {identity: "running"} == await here.states()


async def test_terminating_tells_the_hypervisor_once():
    """The instance is shutting down until its machine is gone; a second call changes nothing. Otherwise a machine would
    be killed before it could save."""
    async with cloud() as here:
        hypervisor = Hypervisor(here)
        [instance] = await here.run()
        identity = instance["InstanceId"]
        here.plane.ec2.instance_running(identity)
        answer = await here.ec2.terminate_instances(InstanceIds=[identity])
        again = await here.ec2.terminate_instances(InstanceIds=[identity])
        dying = await here.states()
        here.plane.ec2.instance_gone(identity, Reason.ITSELF)

        [change], [nothing] = answer["TerminatingInstances"], again["TerminatingInstances"]
        assert ("running", "shutting-down") == (change["PreviousState"]["Name"], change["CurrentState"]["Name"])
        assert "shutting-down" == nothing["PreviousState"]["Name"]
        assert ([identity], {identity: "shutting-down"}) == (hypervisor.terminated, dying)
        assert "Client.UserInitiatedShutdown" == (await described(here, identity))["StateReason"]["Code"]
        assert ["pending", "running", "shutting-down", "terminated"] == story(here)


async def test_terminating_is_all_or_nothing_and_may_be_repeated():
    """With an id that is not known none is ended; what has ended already is no error, and named once. Otherwise one
    forgotten orphan would keep all the others alive."""
    async with cloud() as here:
        ids = [each["InstanceId"] for each in await here.run(MinCount=3, MaxCount=3)]
        unknown = await refusal(here.ec2.terminate_instances(InstanceIds=[*ids, "i-00000000000000000"]))
        untouched = set((await here.states()).values())
        await here.ec2.terminate_instances(InstanceIds=ids[:1])
        answer = await here.ec2.terminate_instances(InstanceIds=[*ids, ids[0]])
        too_many = here.ec2.terminate_instances(InstanceIds=[f"i-{number:017x}" for number in range(1001)])

        assert ("InvalidInstanceID.NotFound", {"running"}) == (unknown, untouched)
        assert [
            (ids[0], "terminated", "terminated"),
            (ids[1], "running", "shutting-down"),
            (ids[2], "running", "shutting-down"),
        ] == [
            (each["InstanceId"], each["PreviousState"]["Name"], each["CurrentState"]["Name"])
            for each in answer["TerminatingInstances"]
        ]
        assert "InvalidParameterValue" == await refusal(too_many)


async def test_an_instance_that_is_forgotten_is_not_known_to_terminate():
    """An hour after its end. Otherwise a late repetition would work here and be refused there."""
    async with cloud() as here:
        [instance] = await here.run()
        await here.ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
        here.clock.advance(3600)

        assert "InvalidInstanceID.NotFound" == await refusal(
            here.ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
        )


async def test_without_a_hypervisor_instances_live_and_die_by_themselves():
    """After `boot_s` and `shutdown_s` of the clock. Otherwise tests of the launcher would need machines."""
    async with cloud() as here:
        here.plane.ec2.instances.boot_s = here.plane.ec2.instances.shutdown_s = 30.0
        [instance] = await here.run()
        identity = instance["InstanceId"]
        here.clock.advance(30)
        running = await here.states()
        await here.ec2.terminate_instances(InstanceIds=[identity])
        ending = await here.states()
        here.clock.advance(30)

        assert ["running", "shutting-down", "terminated"] == [
            states[identity] for states in (running, ending, await here.states())
        ]


@pytest.mark.parametrize(
    ("asked", "reason", "state", "status"),
    [
        (spot(), Reason.SPOT_INTERRUPTION, "terminated", "instance-terminated-no-capacity"),
        (spot(), Reason.ITSELF, "terminated", "instance-terminated-by-user"),
        (None, Reason.ITSELF, "stopped", None),
    ],
)
async def test_the_reason_of_an_end_is_told(
    asked: dict[str, Any] | None, reason: Reason, state: str, status: str | None
):
    """By code, in the instance and its spot request; an on-demand instance that shuts itself down only *stops*, and
    goes on costing its disk. Otherwise `nothing left burning` would hold here and not there."""
    async with cloud() as here:
        [instance] = await here.run(**({"InstanceMarketOptions": asked} if asked else {}))
        identity = instance["InstanceId"]
        here.plane.ec2.instance_gone(identity, reason)
        shown = await described(here, identity)
        requests = (await here.ec2.describe_spot_instance_requests())["SpotInstanceRequests"]

        assert (state, reason.value[0]) == (shown["State"]["Name"], shown["StateReason"]["Code"])
        assert ([(status, "closed")] if status else []) == [
            (request["Status"]["Code"], request["State"]) for request in requests
        ]


async def test_an_instance_told_to_terminate_its_shutdown_terminates():
    """The launch's `terminate` makes a shutdown of its own the end. Otherwise finished on-demand runs would stay."""
    async with cloud() as here:
        [instance] = await here.run(InstanceInitiatedShutdownBehavior="terminate")
        here.plane.ec2.instance_gone(instance["InstanceId"], Reason.ITSELF)

        assert {instance["InstanceId"]: "terminated"} == await here.states()


async def test_a_stopped_instance_can_be_terminated_and_frees_its_place_once():
    """Otherwise a pool would grow by each instance that stops first."""
    async with cloud() as here:
        here.plane.ec2.pools.set_capacity("m5.large", "us-east-1a", 1, Market.ON_DEMAND)
        asked = {"Placement": {"AvailabilityZone": "us-east-1a"}}
        [instance] = await here.run(**asked)
        here.plane.ec2.instance_gone(instance["InstanceId"], Reason.ITSELF)
        await here.ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
        await eventually({instance["InstanceId"]: "terminated"}, here.states)
        await here.run(**asked)

        assert "InsufficientInstanceCapacity" == await refusal(here.run(**asked))


async def test_a_new_instance_is_invisible_for_a_while():
    """Eventual consistency: neither Describe nor CreateTags know it at first. Otherwise a launcher that reads what it
    just wrote would work here only."""
    async with cloud() as here:
        here.plane.ec2.instances.describe_lag_s = 5.0
        [instance] = await here.run()
        identity = [instance["InstanceId"]]
        unseen = await here.states()
        by_id = await refusal(here.ec2.describe_instances(InstanceIds=identity))
        by_tag = await refusal(here.ec2.create_tags(Resources=identity, Tags=[{"Key": "run", "Value": "r"}]))
        here.clock.advance(5)

        assert ({}, "InvalidInstanceID.NotFound", "InvalidInstanceID.NotFound") == (unseen, by_id, by_tag)
        assert identity == list(await here.states())


async def test_a_terminated_instance_is_forgotten_after_an_hour():
    """Otherwise a launcher that asks EC2 about old attempts would get answers that it will not get there."""
    async with cloud() as here:
        [instance] = await here.run()
        here.plane.ec2.instance_gone(instance["InstanceId"], Reason.USER)
        here.clock.advance(3600)

        assert "InvalidInstanceID.NotFound" == await refusal(
            here.ec2.describe_instances(InstanceIds=[instance["InstanceId"]])
        )


async def test_terminating_is_all_or_nothing():
    """One unknown id, and none ends. Otherwise a clean-up with one stale id would look half done."""
    async with cloud() as here:
        [instance] = await here.run()
        unknown = "i-00000000000000000"

        assert "InvalidInstanceID.NotFound" == await refusal(
            here.ec2.terminate_instances(InstanceIds=[instance["InstanceId"], unknown])
        )
        assert "InvalidInstanceID.Malformed" == await refusal(here.ec2.terminate_instances(InstanceIds=["i-nonsense"]))
        assert {instance["InstanceId"]: "running"} == await here.states()


async def test_events_ring_the_queue_they_are_routed_to():
    """A death reaches the queue in EventBridge's shape; a boot does not. Otherwise a machine that dies without
    a notice would never be missed."""
    async with cloud() as here:
        url = await here.queue()
        here.plane.events.route(GONE, "requests")
        [instance] = await here.run(InstanceMarketOptions=spot())
        identity = instance["InstanceId"]
        here.plane.ec2.instance_gone(identity, Reason.SPOT_INTERRUPTION)
        answer = await here.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
        events = [json.loads(message["Body"]) for message in answer["Messages"]]

        assert ["shutting-down", "terminated"] == [event["detail"]["state"] for event in events]
        first = events[0]
        assert first == {
            "version": "0",
            "id": first["id"],
            "detail-type": "EC2 Instance State-change Notification",
            "source": "aws.ec2",
            "account": "123456789012",
            "time": "2027-01-15T08:00:00Z",
            "region": "us-east-1",
            "resources": [f"arn:aws:ec2:us-east-1:123456789012:instance/{identity}"],
            "detail": {"instance-id": identity, "state": "shutting-down"},
        }


async def test_a_warning_and_a_recommendation_are_announced():
    """With the odd ARN that these two have, a zone where the region belongs. The spot request says so too."""
    async with cloud() as here:
        Hypervisor(here)
        [instance] = await here.run(InstanceMarketOptions=spot())
        identity = instance["InstanceId"]
        here.plane.ec2.rebalance(identity)
        here.plane.ec2.interrupt_warning(identity, "terminate", at=here.clock.now() + 120)
        [request] = (await here.ec2.describe_spot_instance_requests())["SpotInstanceRequests"]

        arn = f"arn:aws:ec2:us-east-1a:instance/{identity}"
        assert [
            ("EC2 Instance Rebalance Recommendation", [arn], {"instance-id": identity}),
            (
                "EC2 Spot Instance Interruption Warning",
                [arn],
                {"instance-id": identity, "instance-action": "terminate"},
            ),
        ] == [(event["detail-type"], event["resources"], event["detail"]) for event in here.plane.events.history[1:]]
        assert ("instance-terminated-no-capacity", "closed") == (request["Status"]["Code"], request["State"])
        assert {identity: "pending"} == await here.states()


@pytest.mark.parametrize(("loss", "doubling", "expected"), [(1.0, 0.0, 0), (0.0, 1.0, 4), (0.0, 0.0, 2)])
async def test_events_are_lost_and_doubled_on_request(loss: float, doubling: float, expected: int):
    """EventBridge promises best effort. Otherwise nobody would see what happens when it fails."""
    async with cloud() as here:
        await here.queue()
        here.plane.events.route(GONE, "requests")
        here.plane.events.loss, here.plane.events.doubling = loss, doubling
        [instance] = await here.run()
        here.plane.ec2.instance_gone(instance["InstanceId"], Reason.USER)

        assert expected == len(here.plane.sqs.queue("requests").messages)


async def test_events_take_their_time():
    """Seconds, when asked for. Otherwise the successor would always know at once."""
    async with cloud() as here:
        await here.queue()
        here.plane.events.route(GONE, "requests")
        here.plane.events.latency_s = 3.0
        [instance] = await here.run()
        here.plane.ec2.instance_gone(instance["InstanceId"], Reason.USER)
        early = len(here.plane.sqs.queue("requests").messages)
        here.clock.advance(3)

        assert (0, 2) == (early, len(here.plane.sqs.queue("requests").messages))


async def test_an_event_for_a_queue_that_is_gone_is_swallowed():
    """As EventBridge does without a dead-letter queue. Otherwise a launch would fail for its announcement."""
    async with cloud() as here:
        here.plane.events.route(GONE, "nowhere")
        [instance] = await here.run()
        here.plane.ec2.instance_gone(instance["InstanceId"], Reason.USER)

        assert 2 == len(here.plane.events.undelivered)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ({"source": ["aws.ec2"]}, True),
        ({"source": ["aws.s3", "aws.ec2"], "detail": {"state": ["terminated"]}}, True),
        ({"detail": {"state": ["running"]}}, False),
        ({"detail": {"colour": ["red"]}}, False),
        ({"resources": [{"prefix": "arn:aws:ec2"}]}, True),
        ({"detail": {"state": [{"anything-but": ["terminated"]}]}}, False),
        ({"detail": {"state": [{"anything-but": "pending"}]}}, True),
        ({"source": {"state": ["x"]}}, False),
    ],
)
def test_a_pattern_matches_as_eventbridge_would(pattern: dict[str, Any], expected: bool):
    """The deployed rule can be tried here. Otherwise a typing error in it would silence every death."""
    event = {"source": "aws.ec2", "resources": ["arn:aws:ec2:x"], "detail": {"state": "terminated"}}

    assert expected == matches(pattern, event)


@pytest.mark.parametrize("pattern", [{"source": "aws.ec2"}, {"source": []}, {"detail": {"state": [{"suffix": "ed"}]}}])
def test_a_pattern_not_known_here_is_refused(pattern: dict[str, Any]):
    """When it is made. Otherwise it would match nothing, and the test would be about something else."""
    with pytest.raises(ValueError):
        check_pattern(pattern)
