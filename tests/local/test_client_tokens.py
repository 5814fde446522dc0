"""ClientToken as EC2 keeps it: the second fence against two machines for one attempt, and its holes."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError

from support.cloud_plane import Client, Cloud, cloud, codes, fleet, refusal, spot, started


async def zone(here: Cloud, letter: str, **params: Any) -> list[dict[str, Any]]:
    return await here.run(Placement={"AvailabilityZone": f"us-east-1{letter}"}, **params)


async def test_the_same_request_again_gives_the_same_instance_as_it_is_now():
    """Otherwise a launcher that repeats its intent would start a second machine."""
    async with cloud() as here:
        [first] = await here.run(ClientToken="run.1.0")
        [again] = await here.run(ClientToken="run.1.0")

        assert first["InstanceId"] == again["InstanceId"]
        assert ("pending", "running") == (first["State"]["Name"], again["State"]["Name"])
        assert 1 == len(await here.states())


async def test_an_answer_lost_after_the_launch_does_not_launch_twice():
    """The connection breaks when the instance exists already, and boto3 repeats the call by itself. Otherwise one lost
    packet would cost two machines."""
    async with cloud() as here:
        here.plane.faults.lose_answer("RunInstances")
        patient = Client("ec2", here.plane.endpoint, Config(retries={"mode": "standard", "total_max_attempts": 3}))
        answer = await patient.run_instances(
            ImageId="ami-12345678", InstanceType="m5.large", MinCount=1, MaxCount=1, ClientToken="run.1.0"
        )
        patient.boto.close()

        assert 2 == here.plane.calls["RunInstances"]
        assert [answer["Instances"][0]["InstanceId"]] == list(await here.states())


async def test_without_a_token_an_answer_lost_is_a_machine_lost():
    """The fault is real: this is what the token saves from. Otherwise the test above would prove nothing."""
    async with cloud() as here:
        here.plane.faults.lose_answer("RunInstances")
        with pytest.raises(ConnectionClosedError):
            await here.run()
        await here.run()

        assert 2 == len(await here.states())


async def test_other_parameters_under_the_same_token_are_refused():
    """Even a tag that differs. Otherwise a launcher would take an instance that is not what it asked for."""
    async with cloud() as here:
        await here.run(ClientToken="t")

        assert "IdempotentParameterMismatch" == await refusal(here.run(ClientToken="t", InstanceType="c5.large"))


async def test_a_latest_template_that_moved_is_another_parameter():
    """`$Latest` means what it meant then. Otherwise a repeated intent would pass here and fail in EC2."""
    async with cloud() as here:
        template = await here.template()
        named = {"LaunchTemplateId": template, "Version": "$Latest"}
        await here.run(ClientToken="t", LaunchTemplate=named)
        await here.ec2.create_launch_template_version(
            LaunchTemplateId=template, LaunchTemplateData={"ImageId": "ami-12345678"}
        )

        assert "IdempotentParameterMismatch" == await refusal(here.run(ClientToken="t", LaunchTemplate=named))


async def test_a_token_is_kept_by_zone_when_the_request_names_one():
    """The same token in two zones launches two machines. Otherwise a launcher that walks zones with one token would
    look safe until its first interruption."""
    async with cloud() as here:
        [one] = await zone(here, "a", ClientToken="t")
        [other] = await zone(here, "b", ClientToken="t")
        [again] = await zone(here, "a", ClientToken="t")
        by_subnet = await here.run(SubnetId=here.plane.ec2.pools.subnet_of("us-east-1c").id, ClientToken="t")

        assert one["InstanceId"] == again["InstanceId"]
        assert 3 == len({one["InstanceId"], other["InstanceId"], by_subnet[0]["InstanceId"]})


async def test_a_launch_without_capacity_burns_its_token():
    """The same request may try again; another may not. Otherwise a launcher that widens its pools under one token would
    pass here and be refused by EC2."""
    async with cloud() as here:
        here.plane.ec2.pools.drain()
        asked = {"ClientToken": "t", "InstanceMarketOptions": spot()}
        empty = await refusal(here.run(**asked))
        other = await refusal(here.run(**asked, InstanceType="c5.large"))
        here.plane.ec2.pools.set_capacity("m5.large", "us-east-1d", 1)
        [instance] = await here.run(**asked)

        assert ("InsufficientInstanceCapacity", "IdempotentParameterMismatch") == (empty, other)
        assert "us-east-1d" == instance["Placement"]["AvailabilityZone"]


async def test_a_terminated_predecessor_is_refused():
    """As EC2 does since 2025. Otherwise a launcher that takes the answer for a live machine would wait for ever."""
    async with cloud() as here:
        [instance] = await here.run(ClientToken="t")
        await here.ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])

        assert "IdempotentInstanceTerminated" == await refusal(here.run(ClientToken="t"))


async def test_a_terminated_predecessor_can_also_be_the_answer():
    """As EC2 did before, and still does by some reports: both must be survived."""
    async with cloud() as here:
        here.plane.ec2.launches.dead_token = "instances"
        [instance] = await here.run(ClientToken="t")
        await here.ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
        [again] = await here.run(ClientToken="t")

        assert (instance["InstanceId"], "terminated") == (again["InstanceId"], again["State"]["Name"])


@pytest.mark.parametrize("token", ["t" * 65, "tökén"])
async def test_a_token_is_at_most_64_characters_of_ascii(token: str):
    """Otherwise a run with a long name would be launchable here only."""
    async with cloud() as here:
        assert "InvalidParameterValue" == await refusal(here.run(ClientToken=token))


async def test_a_request_that_is_wrong_leaves_its_token_free():
    """What never began cannot be inconsistent. Otherwise a corrected request would be refused for its first form."""
    async with cloud() as here:
        await refusal(here.run(ClientToken="t", ImageId="not-an-image"))

        assert 1 == len(await here.run(ClientToken="t"))


async def test_a_fleet_repeats_its_answer_word_for_word():
    """Also the answer that nothing could be had. Otherwise a repeated intent would take what the first did not get."""
    async with cloud() as here:
        template = await here.template()
        asked = fleet(template, ("m5.large", "a"), ClientToken="run.2.0")
        first = await here.ec2.create_fleet(**asked)
        again = await here.ec2.create_fleet(**asked)
        here.plane.ec2.pools.drain()
        empty = await here.ec2.create_fleet(**{**asked, "ClientToken": "run.2.1"})
        here.plane.ec2.pools.set_capacity("m5.large", "us-east-1a", None)
        still = await here.ec2.create_fleet(**{**asked, "ClientToken": "run.2.1"})

        assert (first["FleetId"], started(first)) == (again["FleetId"], started(again))
        assert ([], ["InsufficientInstanceCapacity"]) == (started(empty), codes(empty))
        assert (empty["FleetId"], []) == (still["FleetId"], started(still))
        assert 1 == len(await here.states())


async def test_a_fleet_is_refused_other_parameters_under_its_token():
    """Otherwise pools could be rotated under one token here, and not in EC2."""
    async with cloud() as here:
        template = await here.template()
        await here.ec2.create_fleet(**fleet(template, ("m5.large", "a"), ClientToken="t"))
        rotated = here.ec2.create_fleet(**fleet(template, ("c5.large", "a"), ClientToken="t"))

        assert "IdempotentParameterMismatch" == await refusal(rotated)


async def test_a_fleet_with_a_dead_instance_answers_with_it_or_refuses():
    """Which one EC2 does is not documented, so a launcher must live with both, and here it meets both."""
    async with cloud() as here:
        asked = fleet(await here.template(), ("m5.large", "a"), ClientToken="t")
        first = await here.ec2.create_fleet(**asked)
        await here.ec2.terminate_instances(InstanceIds=started(first))

        assert started(first) == started(await here.ec2.create_fleet(**asked))
        here.plane.ec2.fleets.dead_token = "refuse"
        assert "IdempotentInstanceTerminated" == await refusal(here.ec2.create_fleet(**asked))


async def test_a_lost_answer_of_a_fleet_is_asked_for_again():
    """The launcher's own story: it dies or loses the line in between, and repeats the intent. Otherwise a paid machine
    would run unassigned."""
    async with cloud() as here:
        asked = fleet(await here.template(), ("m5.large", "a"), ClientToken="t")
        here.plane.faults.lose_answer("CreateFleet")
        with pytest.raises(ConnectionClosedError):
            await here.ec2.create_fleet(**asked)

        assert list(await here.states()) == started(await here.ec2.create_fleet(**asked))
