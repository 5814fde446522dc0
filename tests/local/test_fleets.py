"""CreateFleet of type instant: what a launcher meets when it asks several pools at once."""

from __future__ import annotations

from typing import Any

import pytest

from spotrelay.local.pools import Market
from support.cloud_plane import base64_text, cloud, codes, fleet, refusal, spot, started, tagged

SIX = [(kind, letter) for kind in ("c5.large", "m5.large", "r5.large") for letter in "ab"]


async def test_nothing_launched_is_a_200_with_errors():
    """No exception, no instances. Otherwise a launcher that only catches errors would take it for success."""
    async with cloud() as here:
        here.plane.ec2.pools.drain()
        answer = await here.ec2.create_fleet(**fleet(await here.template(), ("m5.large", "a")))

        assert ([], ["InsufficientInstanceCapacity"]) == (answer["Instances"], codes(answer))
        [error] = answer["Errors"]
        assert ("spot", {"InstanceType": "m5.large", "AvailabilityZone": "us-east-1a"}) == (
            error["Lifecycle"],
            error["LaunchTemplateAndOverrides"]["Overrides"],
        )


async def test_three_pools_are_tried_and_the_rest_are_not():
    """Though the last has room. Otherwise a launcher that never rotates its pools would starve in EC2 only."""
    async with cloud() as here:
        here.plane.ec2.pools.drain()
        here.plane.ec2.pools.set_capacity("r5.large", "us-east-1b", 10)
        template = await here.template()
        answer = await here.ec2.create_fleet(**fleet(template, *SIX))

        assert ["InsufficientInstanceCapacity"] * 3 + ["UnfulfillableCapacity"] * 3 == codes(answer)
        rotated = await here.ec2.create_fleet(**fleet(template, *SIX[3:]))
        assert 1 == len(started(rotated))


async def test_the_cheapest_pool_comes_first():
    """By the price of now. Otherwise a test of cost would see prices that no launch pays."""
    async with cloud() as here:
        here.plane.ec2.pools.set_spot_price("r5.large", "us-east-1b", 0.001)
        answer = await here.ec2.create_fleet(**fleet(await here.template(), *SIX))

        [instance] = answer["Instances"]
        assert "r5.large" == instance["InstanceType"]
        assert 0.001 == here.plane.ec2.instances.known(started(answer)[0]).price


async def test_priorities_order_the_pools_when_asked_to():
    """Lowest number first, also for on-demand. Otherwise the order in a spec would be a wish."""
    async with cloud() as here:
        asked = fleet(await here.template(), ("c5.large", "a"), ("r5.large", "a"))
        overrides = asked["LaunchTemplateConfigs"][0]["Overrides"]
        overrides[0]["Priority"], overrides[1]["Priority"] = 2.0, 1.0
        asked["TargetCapacitySpecification"]["DefaultTargetCapacityType"] = "on-demand"
        asked["OnDemandOptions"] = {"AllocationStrategy": "prioritized"}
        answer = await here.ec2.create_fleet(**asked)

        assert [("r5.large", "on-demand")] == [
            (each["InstanceType"], each["Lifecycle"]) for each in answer["Instances"]
        ]


async def test_one_call_serves_several_requests_over_several_pools():
    """What one pool cannot give, the next gives. Otherwise requests that share a call would have to fear for each
    other."""
    async with cloud() as here:
        pools = here.plane.ec2.pools
        pools.drain()
        pools.set_capacity("c5.large", "us-east-1a", 2)
        pools.set_capacity("m5.large", "us-east-1a", 2)
        answer = await here.ec2.create_fleet(
            **fleet(await here.template(), ("c5.large", "a"), ("m5.large", "a"), count=5)
        )

        assert {"c5.large": 2, "m5.large": 2} == {
            each["InstanceType"]: len(each["InstanceIds"]) for each in answer["Instances"]
        }
        assert 4 == len(set(started(answer)))


async def test_a_fleet_that_is_partly_fulfilled_has_instances_and_errors():
    """In one answer: each pool gives what it has and says that it had no more. Otherwise a launcher that reads either
    list alone would lose machines, or take eleven members for served where seven are."""
    async with cloud() as here:
        pools = here.plane.ec2.pools
        pools.drain()
        for kind, room in (("c5.large", 4), ("m5.large", 3), ("r5.large", 0)):
            pools.set_capacity(kind, "us-east-1a", room)
        asked = [(kind, "a") for kind in ("c5.large", "m5.large", "r5.large", "c6i.large")]
        answer = await here.ec2.create_fleet(**fleet(await here.template(), *asked, count=11))

        assert {"c5.large": 4, "m5.large": 3} == {
            each["InstanceType"]: len(each["InstanceIds"]) for each in answer["Instances"]
        }
        assert {
            "c5.large": "InsufficientInstanceCapacity",
            "m5.large": "InsufficientInstanceCapacity",
            "c6i.large": "InsufficientInstanceCapacity",
            "r5.large": "UnfulfillableCapacity",
        } == {
            error["LaunchTemplateAndOverrides"]["Overrides"]["InstanceType"]: error["ErrorCode"]
            for error in answer["Errors"]
        }
        assert 7 == len(await here.states())


async def test_a_quota_can_cut_a_fleet_short():
    """It starts what the quota admits, and the rest is refused by its own code. Otherwise `some started` would be taken
    for want of capacity, and other pools be asked for ever."""
    async with cloud() as here:
        here.plane.ec2.pools.quota[Market.SPOT] = 6
        asked = fleet(await here.template(), ("c5.large", "a"), ("m5.large", "a"), count=5)
        answer = await here.ec2.create_fleet(**asked)

        assert (3, ["MaxSpotInstanceCountExceeded"] * 2) == (len(started(answer)), codes(answer))


async def test_a_type_that_the_zone_does_not_offer_costs_a_try():
    """It has a code of its own, and appears beside the instance that did start. Otherwise a launcher that reads errors
    before instances would not be found out."""
    async with cloud() as here:
        answer = await here.ec2.create_fleet(**fleet(await here.template(), ("m5.large", "e"), ("m5.large", "a")))

        assert (["InvalidFleetConfiguration"], 1) == (codes(answer), len(started(answer)))


async def test_quota_and_price_have_their_own_codes_per_pool():
    """Otherwise a launcher would rotate pools for ever against a quota that no pool can help."""
    async with cloud() as here:
        here.plane.ec2.pools.quota[Market.SPOT] = 0
        template = await here.template()
        quota = await here.ec2.create_fleet(**fleet(template, ("m5.large", "a")))
        asked = fleet(template, ("m5.large", "a"))
        asked["LaunchTemplateConfigs"][0]["Overrides"][0]["MaxPrice"] = "0.0001"
        price = await here.ec2.create_fleet(**asked)

        assert (["MaxSpotInstanceCountExceeded"], ["SpotMaxPriceTooLow"]) == (codes(quota), codes(price))


async def test_tags_of_the_call_reach_the_instances():
    """Beside the template's and EC2's own; the run travels in them. Otherwise an instance would not know its run."""
    async with cloud() as here:
        template = await here.template(
            MetadataOptions={"InstanceMetadataTags": "enabled"}, TagSpecifications=tagged(project="relay")
        )
        answer = await here.ec2.create_fleet(
            **fleet(template, ("m5.large", "a"), TagSpecifications=tagged(run="digits"))
        )

        assert {
            "project": "relay",
            "run": "digits",
            "aws:ec2:fleet-id": answer["FleetId"],
            "aws:ec2launchtemplate:id": template,
            "aws:ec2launchtemplate:version": "1",
        } == here.plane.ec2.instances.known(started(answer)[0]).tags


async def test_a_fleets_instances_do_not_carry_its_token():
    """EC2 gives them one of its own. Otherwise a launcher could find its lost instances by a filter that in EC2 finds
    nothing."""
    async with cloud() as here:
        await here.ec2.create_fleet(**fleet(await here.template(), ("m5.large", "a"), ClientToken="run.1.0"))
        found = await here.ec2.describe_instances(Filters=[{"Name": "client-token", "Values": ["run.1.0"]}])

        assert [] == found["Reservations"]


async def test_user_data_comes_from_the_template_or_the_call():
    """By the template's version, or by the newer field of an instant fleet."""
    async with cloud() as here:
        template = await here.template(UserData=base64_text("template"))
        plain = await here.ec2.create_fleet(**fleet(template, ("m5.large", "a")))
        asked = fleet(template, ("m5.large", "a"))
        named = asked["LaunchTemplateConfigs"][0]["LaunchTemplateSpecification"]
        named["LaunchTemplateSpecificationUserData"] = base64_text("call")
        own = await here.ec2.create_fleet(**asked)

        known = here.plane.ec2.instances.known
        assert (b"template", b"call") == tuple(known(started(answer)[0]).user_data for answer in (plain, own))


async def test_a_mixed_fleet_counts_each_market():
    """Otherwise `one on demand, the rest spot` would come out as something else."""
    async with cloud() as here:
        capacity = {"TotalTargetCapacity": 3, "OnDemandTargetCapacity": 1, "DefaultTargetCapacityType": "spot"}
        asked = fleet(await here.template(), ("m5.large", "a"), TargetCapacitySpecification=capacity)
        answer = await here.ec2.create_fleet(**asked)

        assert {"on-demand": 1, "spot": 2} == {
            each["Lifecycle"]: len(each["InstanceIds"]) for each in answer["Instances"]
        }


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"Type": "maintain"}, "UnsupportedOperation"),
        ({"SpotOptions": {"AllocationStrategy": "diversified"}}, "UnsupportedOperation"),
        ({"SpotOptions": {"InstanceInterruptionBehavior": "stop"}}, "InvalidParameterValue"),
        ({"TargetCapacitySpecification": {"TotalTargetCapacity": 0}}, "InvalidTargetCapacitySpecification"),
        ({"TagSpecifications": tagged("spot-instances-request", run="r")}, "InvalidParameterValue"),
        ({"ReplaceUnhealthyInstances": True}, "UnsupportedOperation"),
    ],
)
async def test_a_fleet_that_cannot_be_is_refused(params: dict[str, Any], code: str):
    """As a whole, with nothing started; what is not simulated by name."""
    async with cloud() as here:
        asked = {**fleet(await here.template(), ("m5.large", "a")), **params}

        assert code == await refusal(here.ec2.create_fleet(**asked))
        assert {} == await here.states()


async def test_a_fleet_refuses_templates_that_choose_the_market():
    """A fleet chooses it. Otherwise the template of RunInstances would seem to do for both."""
    async with cloud() as here:
        template = await here.template(InstanceMarketOptions=spot())

        assert "InvalidParameterCombination" == await refusal(
            here.ec2.create_fleet(**fleet(template, ("m5.large", "a")))
        )
