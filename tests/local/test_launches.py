"""RunInstances and launch templates: what is asked for, by the request or by the template, is what starts."""

from __future__ import annotations

from typing import Any

import pytest

from spotrelay.local.instances import Reason
from spotrelay.local.pools import Market
from support.cloud_plane import Cloud, base64_text, cloud, refusal, spot, status_of, tagged

PROFILE = "arn:aws:iam::123456789012:instance-profile/spotrelay"


def only(here: Cloud) -> Any:
    """The one instance there is, as the hypervisor gets it."""
    [instance] = here.plane.ec2.instances
    return instance


async def test_a_template_brings_everything_it_says():
    """Market, profile, metadata options, user data, shutdown behaviour and tags. Otherwise the instance would be
    on-demand, without credentials, and nobody would see it before the bill."""
    async with cloud() as here:
        template = await here.template(
            UserData=base64_text("spec"),
            InstanceMarketOptions=spot(),
            IamInstanceProfile={"Name": "spotrelay"},
            MetadataOptions={"HttpTokens": "required", "InstanceMetadataTags": "enabled"},
            InstanceInitiatedShutdownBehavior="terminate",
            TagSpecifications=tagged(project="relay"),
        )
        answer = await here.ec2.run_instances(LaunchTemplate={"LaunchTemplateId": template}, MinCount=1, MaxCount=1)
        [instance] = answer["Instances"]

        assert ("m5.large", "spot", PROFILE) == (
            instance["InstanceType"],
            instance["InstanceLifecycle"],
            instance["IamInstanceProfile"]["Arn"],
        )
        assert ("required", "enabled", 1) == tuple(
            instance["MetadataOptions"][name]
            for name in ("HttpTokens", "InstanceMetadataTags", "HttpPutResponseHopLimit")
        )
        launched = only(here)
        assert (b"spec", Market.SPOT, "terminate") == (
            launched.user_data,
            launched.market,
            launched.shutdown_behavior,
        )
        assert {
            "project": "relay",
            "aws:ec2launchtemplate:id": template,
            "aws:ec2launchtemplate:version": "1",
        } == launched.tags


async def test_a_request_wins_over_its_template_and_tags_are_united():
    """Whole parameters are replaced; tags are merged by key. Otherwise an instance would carry the template's run."""
    async with cloud() as here:
        template = await here.template(
            UserData=base64_text("template"),
            MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 2},
            TagSpecifications=tagged(project="relay", run="none"),
        )
        await here.ec2.run_instances(
            LaunchTemplate={"LaunchTemplateName": "relay"},
            MinCount=1,
            MaxCount=1,
            InstanceType="c5.large",
            UserData="request",
            MetadataOptions={"HttpTokens": "required"},
            TagSpecifications=tagged(run="digits"),
        )
        launched = only(here)

        assert ("c5.large", b"request", 1) == (
            launched.type,
            launched.user_data,
            launched.metadata_options["HttpPutResponseHopLimit"],
        )
        assert {"project": "relay", "run": "digits"} == {
            key: value for key, value in launched.tags.items() if not key.startswith("aws:")
        }
        assert template == launched.tags["aws:ec2launchtemplate:id"]


async def test_versions_of_a_template_stay_what_they_are():
    """By number, `$Latest` and `$Default`; a new one inherits from its source. Otherwise a deploy would change runs
    that are under way."""
    async with cloud() as here:
        await here.template(InstanceMarketOptions=spot())
        version = await here.ec2.create_launch_template_version(
            LaunchTemplateName="relay", SourceVersion="1", LaunchTemplateData={"InstanceType": "c5.large"}
        )
        types = {}
        for name in ("1", "2", "$Latest", "$Default"):
            answer = await here.ec2.run_instances(
                LaunchTemplate={"LaunchTemplateName": "relay", "Version": name}, MinCount=1, MaxCount=1
            )
            types[name] = (answer["Instances"][0]["InstanceType"], answer["Instances"][0]["InstanceLifecycle"])

        assert 2 == version["LaunchTemplateVersion"]["VersionNumber"]
        assert {
            "1": ("m5.large", "spot"),
            "2": ("c5.large", "spot"),
            "$Latest": ("c5.large", "spot"),
            "$Default": ("m5.large", "spot"),
        } == types


@pytest.mark.parametrize(
    ("named", "code"),
    [
        ({"LaunchTemplateId": "lt-0000000000000000f"}, "InvalidLaunchTemplateId.NotFound"),
        ({"LaunchTemplateName": "other"}, "InvalidLaunchTemplateName.NotFoundException"),
        ({"LaunchTemplateName": "relay", "Version": "9"}, "InvalidLaunchTemplateId.VersionNotFound"),
    ],
)
async def test_a_template_that_is_not_there_is_named(named: dict[str, str], code: str):
    """With EC2's code, by which a doctor can tell what to do. Otherwise it would read like want of capacity."""
    async with cloud() as here:
        await here.template()

        assert code == await refusal(here.run(LaunchTemplate=named))


async def test_a_template_is_made_once():
    """A second one of the same name is refused, unless it is the same request again."""
    async with cloud() as here:
        asked = {"LaunchTemplateName": "relay", "LaunchTemplateData": {"InstanceType": "m5.large"}, "ClientToken": "t"}
        first = await here.ec2.create_launch_template(**asked)
        again = await here.ec2.create_launch_template(**asked)

        assert first["LaunchTemplate"]["LaunchTemplateId"] == again["LaunchTemplate"]["LaunchTemplateId"]
        assert "InvalidLaunchTemplateName.AlreadyExistsException" == await refusal(here.template())


async def test_no_capacity_is_a_500_that_says_so():
    """The status that makes SDKs try again: a launcher with default retries loses seconds to it, and must see that here
    first. The message differs when the request left the zone open."""
    async with cloud() as here:
        here.plane.ec2.pools.drain()
        at_large = here.run(InstanceMarketOptions=spot())
        in_zone = here.run(Placement={"AvailabilityZone": "us-east-1a"})

        assert ("InsufficientInstanceCapacity", 500) == await status_of(at_large)
        assert ("InsufficientInstanceCapacity", 500) == await status_of(in_zone)


async def test_capacity_is_of_a_pool_and_comes_back_unless_reclaimed():
    """Type, zone and market each count by themselves; what EC2 reclaims somebody else has. Otherwise an interrupted run
    would always find its old place free."""
    async with cloud() as here:
        here.plane.ec2.pools.set_capacity("m5.large", "us-east-1a", 1)
        asked = {"InstanceMarketOptions": spot(), "Placement": {"AvailabilityZone": "us-east-1a"}}
        [first] = await here.run(**asked)
        full = await refusal(here.run(**asked))
        on_demand = await here.run(Placement=asked["Placement"])
        await here.ec2.terminate_instances(InstanceIds=[first["InstanceId"]])
        [second] = await here.run(**asked)
        here.plane.ec2.instance_gone(second["InstanceId"], Reason.SPOT_INTERRUPTION)

        assert ("InsufficientInstanceCapacity", 1) == (full, len(on_demand))
        assert "InsufficientInstanceCapacity" == await refusal(here.run(**asked))


async def test_as_many_start_as_there_is_room_for():
    """Between MinCount and MaxCount. Otherwise a batch would be all or nothing."""
    async with cloud() as here:
        here.plane.ec2.pools.set_capacity("m5.large", "us-east-1a", 3, Market.ON_DEMAND)
        some = await here.run(MinCount=1, MaxCount=5, Placement={"AvailabilityZone": "us-east-1a"})

        assert 3 == len(some)
        assert [0, 1, 2] == [instance["AmiLaunchIndex"] for instance in some]


async def test_a_dead_spot_instance_counts_against_the_quota_for_a_minute():
    """As EC2 is known to do. Otherwise a relaunch right after an interruption would work in tests only."""
    async with cloud() as here:
        here.plane.ec2.pools.quota[Market.SPOT] = 2
        [first] = await here.run(InstanceMarketOptions=spot())
        here.plane.ec2.instance_gone(first["InstanceId"], Reason.SPOT_INTERRUPTION)
        here.clock.advance(59)
        early = await refusal(here.run(InstanceMarketOptions=spot()))
        here.clock.advance(1)

        assert "MaxSpotInstanceCountExceeded" == early
        assert 1 == len(await here.run(InstanceMarketOptions=spot()))


async def test_the_on_demand_quota_counts_vcpus():
    """Under a name of its own. Otherwise a launcher could not tell which of the two quotas to report."""
    async with cloud() as here:
        here.plane.ec2.pools.quota[Market.ON_DEMAND] = 3

        assert 1 == len(await here.run(MaxCount=2))
        assert ("VcpuLimitExceeded", 400) == await status_of(here.run())


async def test_a_price_below_the_markets_is_refused():
    """Otherwise a maximum price would never be tested to do anything."""
    async with cloud() as here:
        here.plane.ec2.pools.set_spot_price("m5.large", "us-east-1a", 0.04)
        asked = {"Placement": {"AvailabilityZone": "us-east-1a"}}

        assert "SpotMaxPriceTooLow" == await refusal(here.run(**asked, InstanceMarketOptions=spot(MaxPrice="0.039")))
        assert 1 == len(await here.run(**asked, InstanceMarketOptions=spot(MaxPrice="0.04")))


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"InstanceType": "m99.huge"}, "InvalidParameterValue"),
        ({"Placement": {"AvailabilityZone": "us-east-1e"}}, "Unsupported"),
        ({"Placement": {"AvailabilityZone": "eu-west-1a"}}, "InvalidParameterValue"),
        ({"SubnetId": "subnet-0123456789abcdef0"}, "InvalidSubnetID.NotFound"),
        ({"ImageId": "my-image"}, "InvalidAMIID.Malformed"),
        ({"UserData": "x" * 16_385}, "InvalidParameterValue"),
        ({"MinCount": 3, "MaxCount": 2}, "InvalidParameterValue"),
        ({"TagSpecifications": tagged("spot-instances-request", run="r")}, "InvalidParameterValue"),
        ({"TagSpecifications": tagged(**{"aws:mine": "r"})}, "InvalidParameterValue"),
        ({"TagSpecifications": tagged(run="r" * 257)}, "InvalidParameterValue"),
        ({"TagSpecifications": tagged(**{f"k{n}": "v" for n in range(51)})}, "TagLimitExceeded"),
        ({"DryRun": True}, "DryRunOperation"),
        ({"HibernationOptions": {"Configured": True}}, "UnsupportedOperation"),
        (
            {"MetadataOptions": {"InstanceMetadataTags": "enabled"}, "TagSpecifications": tagged(**{"my/run": "r"})},
            "InvalidParameterValue",
        ),
    ],
)
async def test_what_ec2_refuses_is_refused(params: dict[str, Any], code: str):
    """With its code, before anything starts; and what is not simulated is refused by name, not ignored. Otherwise tests
    would pass on launches that EC2 would not make."""
    async with cloud() as here:
        assert code == await refusal(here.run(**params))
        assert {} == await here.states()
