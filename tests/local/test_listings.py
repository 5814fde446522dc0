"""The Describe calls: filters, pages, and the small true world that there is to launch in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from support.cloud_plane import Cloud, cloud, refusal, spot, tagged


async def found(here: Cloud, **filters: list[str]) -> list[str]:
    """The types of the instances that pass; `_` for `-` in names."""
    wanted = [{"Name": name.replace("_", "-"), "Values": values} for name, values in filters.items()]
    answer = await here.ec2.describe_instances(Filters=wanted)
    return [each["InstanceType"] for reservation in answer["Reservations"] for each in reservation["Instances"]]


async def test_instances_are_found_by_what_they_are():
    """Every filter that a launcher or a person uses, alone and together. Otherwise clean-up would miss an instance, or
    end somebody else's."""
    async with cloud() as here:
        await here.run(ClientToken="t", TagSpecifications=tagged(run="digits"))
        await here.run(InstanceType="c5.large", InstanceMarketOptions=spot(), TagSpecifications=tagged(run="other"))
        ended = await here.run(InstanceType="r5.large", Placement={"AvailabilityZone": "us-east-1b"})
        await here.ec2.terminate_instances(InstanceIds=[ended[0]["InstanceId"]])

        assert ["m5.large"] == await found(here, client_token=["t"])
        assert ["m5.large"] == await found(here, **{"tag:run": ["dig*"]})
        assert ["m5.large", "c5.large"] == await found(here, **{"tag:run": ["digits", "othe?"]})
        assert ["m5.large", "c5.large"] == await found(here, tag_key=["run"])
        assert ["m5.large", "c5.large"] == await found(here, instance_state_name=["pending", "running"])
        assert ["c5.large"] == await found(here, instance_lifecycle=["spot"])
        assert ["r5.large"] == await found(here, availability_zone=["us-east-1b"])
        assert ["c5.large", "r5.large"] == await found(here, instance_type=["[cr]5.large", "c5.*", "r5.*"])
        assert [] == await found(here, instance_type=["c5.large"], availability_zone=["us-east-1b"])


async def test_a_filter_that_is_not_known_is_refused():
    """Otherwise it would filter nothing, and a clean-up by it would end everything."""
    async with cloud() as here:
        assert "InvalidParameterValue" == await refusal(
            here.ec2.describe_instances(Filters=[{"Name": "colour", "Values": ["red"]}])
        )


async def test_filters_by_id_ask_for_what_may_not_be_there():
    """Unknown ids find nothing and are no error, unlike `InstanceIds`; too new an instance is as good as unknown.
    Otherwise a reconciler that asks after a hundred could not survive one that is gone."""
    async with cloud() as here:
        [known] = await here.run(TagSpecifications=tagged(run="digits"))
        here.plane.ec2.instances.describe_lag_s = 5.0
        here.clock.advance(5)
        [new] = await here.run(TagSpecifications=tagged(run="digits"))
        ids = ["i-0123456789abcdef0", known["InstanceId"], new["InstanceId"]]

        assert [known["InstanceId"]] == [each["InstanceId"] for each in await here.find(instance_id=ids)]
        assert [known["InstanceId"]] == [each["InstanceId"] for each in await here.find(**{"tag:run": ["digits"]})]
        assert [] == await here.find(instance_id=ids, instance_state_name=["terminated"])
        here.clock.advance(5)
        assert ids[1:] == [each["InstanceId"] for each in await here.find(instance_id=ids)]


async def test_filters_follow_a_tag_and_a_state_that_change():
    """What has been retagged or has ended is no longer found by what it was. Otherwise a sweep would look after the
    machines of yesterday."""
    async with cloud() as here:
        ids = [each["InstanceId"] for each in await here.run(MinCount=2, MaxCount=2, TagSpecifications=tagged(run="a"))]
        await here.ec2.create_tags(Resources=ids[:1], Tags=[{"Key": "run", "Value": "b"}])
        await here.ec2.terminate_instances(InstanceIds=ids[1:])

        async def found(**filters: list[str]) -> list[str]:
            return [each["InstanceId"] for each in await here.find(**filters)]

        assert (ids[1:], ids[:1]) == (await found(**{"tag:run": ["a"]}), await found(**{"tag:run": ["b"]}))
        assert ids[:1] == await found(**{"tag:run": ["a", "b"]}, instance_state_name=["pending", "running"])
        assert ids == await found(**{"tag:run": ["?"]})
        assert ids == await found(tag_key=["run"], instance_id=ids)
        here.clock.advance(3600)
        assert ids[:1] == await found(tag_key=["run"], instance_id=ids)


async def test_a_wildcard_can_be_meant_literally():
    """After a backslash. Otherwise a name with a star in it would find its neighbours."""
    async with cloud() as here:
        for value in ("a*c", "abc", r"a\c"):
            await here.run(TagSpecifications=tagged(run=value))

        async def runs(pattern: str) -> list[str]:
            return [each["Tags"][0]["Value"] for each in await here.find(**{"tag:run": [pattern]})]

        assert ["a*c"] == await runs(r"a\*c")
        assert [r"a\c"] == await runs(r"a\\c")
        assert ["a*c", "abc", r"a\c"] == await runs("a?c")


@pytest.mark.parametrize(
    ("filters", "refused"),
    [
        ([("instance-id", [f"i-{number:017x}" for number in range(200)])], False),
        ([("instance-id", [f"i-{number:017x}" for number in range(201)])], True),
        ([("instance-id", [f"i-{number:017x}" for number in range(199)]), ("tag:run", ["a", "b"])], True),
        ([("tag:run", ["a" * 255])], False),
        ([("tag:run", ["a" * 256])], True),
    ],
)
async def test_a_call_has_at_most_two_hundred_filter_values(filters: list[tuple[str, list[str]]], refused: bool):
    """Of all filters together, of 255 characters each. Otherwise a reconciler would work with two hundred runs, and
    fail in EC2 with the next."""
    async with cloud() as here:
        asked = here.ec2.describe_instances(Filters=[{"Name": name, "Values": values} for name, values in filters])

        if refused:
            assert "FilterLimitExceeded" == await refusal(asked)
        else:
            assert [] == (await asked)["Reservations"]


async def test_pages_show_what_stays_though_others_go():
    """A page begins after the last instance shown, not at a number of rows. Otherwise each instance forgotten between
    two pages would hide another one from the sweep."""
    async with cloud() as here:
        ids = [each["InstanceId"] for each in await here.run(MinCount=12, MaxCount=12)]
        await here.ec2.terminate_instances(InstanceIds=ids[:5])
        first = await here.ec2.describe_instances(MaxResults=6)
        here.clock.advance(3600)
        rest = await here.ec2.describe_instances(MaxResults=6, NextToken=first["NextToken"])
        seen = [each["InstanceId"] for page in (first, rest) for r in page["Reservations"] for each in r["Instances"]]

        assert ids == seen
        assert ids[5:] == [each["InstanceId"] for each in await here.find()]


async def test_pages_show_every_instance_once():
    """Otherwise the sixth instance of a storm would never be looked at."""
    async with cloud() as here:
        launched = {instance["InstanceId"] for instance in await here.run(MinCount=12, MaxCount=12)}
        seen, token, sizes = [], {}, []
        while True:
            answer = await here.ec2.describe_instances(MaxResults=5, **token)
            page = [each["InstanceId"] for reservation in answer["Reservations"] for each in reservation["Instances"]]
            seen += page
            sizes.append(len(page))
            if "NextToken" not in answer:
                break
            token = {"NextToken": answer["NextToken"]}

        assert ([5, 5, 2], launched, 12) == (sizes, set(seen), len(seen))


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"MaxResults": 4}, "InvalidParameterValue"),
        ({"NextToken": "???"}, "InvalidNextToken"),
        ({"InstanceIds": ["i-0123456789abcdef0"], "MaxResults": 5}, "InvalidParameterCombination"),
    ],
)
async def test_a_page_that_cannot_be_is_refused(params: dict[str, Any], code: str):
    """As EC2 refuses it."""
    async with cloud() as here:
        assert code == await refusal(here.ec2.describe_instances(**params))


async def test_tags_are_set_and_replaced():
    """By key, all resources or none; and keys that metadata could not show are refused. Otherwise the tag that says
    whose instance it is could be missing without a word."""
    async with cloud() as here:
        options = {"InstanceMetadataTags": "enabled"}
        [instance] = await here.run(TagSpecifications=tagged(run="a"), MetadataOptions=options)
        one = [instance["InstanceId"]]
        await here.ec2.create_tags(Resources=one, Tags=[{"Key": "run", "Value": "b"}, {"Key": "n", "Value": "1"}])
        refused = await refusal(here.ec2.create_tags(Resources=one, Tags=[{"Key": "a/b", "Value": ""}]))
        unknown = here.ec2.create_tags(Resources=[*one, "i-00000000000000000"], Tags=[{"Key": "x", "Value": "y"}])

        assert "InvalidParameterValue" == refused
        assert "InvalidInstanceID.NotFound" == await refusal(unknown)
        assert {"run": "b", "n": "1"} == here.plane.ec2.instances.known(one[0]).tags


async def test_spot_prices_have_a_history():
    """Each change, newest first, and the price that held when the window opened. Otherwise costs would be computed from
    the wrong hour."""
    async with cloud() as here:
        start = here.clock.now()
        for dollars in (0.05, 0.06, 0.07):
            here.clock.advance(3600)
            here.plane.ec2.pools.set_spot_price("m5.large", "us-east-1a", dollars)
        pool = {"InstanceTypes": ["m5.large"], "AvailabilityZone": "us-east-1a"}
        recent = await here.ec2.describe_spot_price_history(
            **pool, StartTime=datetime.fromtimestamp(start + 7200 + 60, UTC), ProductDescriptions=["Linux/UNIX"]
        )
        everything = await here.ec2.describe_spot_price_history(**pool)
        elsewhere = await here.ec2.describe_spot_price_history(**pool, ProductDescriptions=["Windows"])

        assert ["0.070000", "0.060000"] == [row["SpotPrice"] for row in recent["SpotPriceHistory"]]
        assert ["0.070000", "0.060000", "0.050000", "0.028800"] == [
            row["SpotPrice"] for row in everything["SpotPriceHistory"]
        ]
        assert [] == elsewhere["SpotPriceHistory"]


async def test_spot_prices_are_those_of_their_time():
    """A series is set at once, past and to come; what is to come is not shown, and holds when its time is there; and a
    window has the price that held at its start. Otherwise a cost over hours of moving prices could not be checked."""
    async with cloud() as here:
        now, pool = here.clock.now(), {"InstanceTypes": ["m5.large"], "AvailabilityZone": "us-east-1a"}
        hours = [(now + 3600 * hour, dollars) for hour, dollars in ((-3, 0.01), (-1, 0.02), (1, 0.03), (2, 0.04))]
        here.plane.ec2.pools.set_spot_prices("m5.large", "us-east-1a", hours)

        async def prices(start: float, end: float) -> list[str]:
            window = {
                "StartTime": datetime.fromtimestamp(now + 3600 * start, UTC),
                "EndTime": datetime.fromtimestamp(now + 3600 * end, UTC),
            }
            return [
                row["SpotPrice"]
                for row in (await here.ec2.describe_spot_price_history(**pool, **window))["SpotPriceHistory"]
            ]

        async def paid() -> float:
            [instance] = await here.run(InstanceMarketOptions=spot(), Placement={"AvailabilityZone": "us-east-1a"})
            return here.plane.ec2.instances.known(instance["InstanceId"]).price

        early, first = await prices(-2, 3), await paid()
        here.clock.advance(2 * 3600)

        assert (["0.020000", "0.010000"], 0.02) == (early, first)
        assert ["0.040000", "0.030000", "0.020000", "0.010000"] == await prices(-2, 3)
        assert ["0.030000"] == await prices(1.2, 1.8)
        assert ["0.020000", "0.010000"] == await prices(-3, -1)
        assert 0.04 == await paid()


async def test_spot_prices_come_in_pages():
    """One row at a time, if asked for. Otherwise the older half of a long run's prices would never be read."""
    async with cloud() as here:
        series = [(here.clock.now() - 60 * number, 0.01 * number) for number in range(1, 8)]
        here.plane.ec2.pools.set_spot_prices("m5.large", "us-east-1a", series)
        pool = {"InstanceTypes": ["m5.large"], "AvailabilityZone": "us-east-1a"}
        pages: list[int] = []
        seen, token = [], {}
        while not pages or token:
            answer = await here.ec2.describe_spot_price_history(**pool, MaxResults=3, **token)
            pages.append(len(answer["SpotPriceHistory"]))
            seen += [row["SpotPrice"] for row in answer["SpotPriceHistory"]]
            token = {"NextToken": answer["NextToken"]} if answer.get("NextToken") else {}

        assert ([3, 3, 1], [f"{0.01 * number:.6f}" for number in range(1, 8)]) == (pages, seen)


async def test_the_world_has_zones_subnets_and_offerings():
    """One default subnet a zone, and a zone that offers no current type. Otherwise `InvalidFleetConfiguration` would
    come as a surprise in us-east-1."""
    async with cloud() as here:
        zones = (await here.ec2.describe_availability_zones())["AvailabilityZones"]
        subnets = await here.ec2.describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])
        offerings = await here.ec2.describe_instance_type_offerings(
            LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": ["m5.large"]}]
        )
        regional = await here.ec2.describe_instance_type_offerings(
            Filters=[{"Name": "instance-type", "Values": ["m5.large", "m99.huge"]}]
        )

        names = [f"us-east-1{letter}" for letter in "abcdef"]
        assert names == [zone["ZoneName"] for zone in zones]
        assert names == [subnet["AvailabilityZone"] for subnet in subnets["Subnets"]]
        assert set(names) - {"us-east-1e"} == {offer["Location"] for offer in offerings["InstanceTypeOfferings"]}
        assert [("m5.large", "us-east-1")] == [
            (offer["InstanceType"], offer["Location"]) for offer in regional["InstanceTypeOfferings"]
        ]


async def test_places_that_are_not_there_are_refused():
    """By id. Otherwise a spec with a typing error would wait for capacity."""
    async with cloud() as here:
        assert "InvalidSubnetID.NotFound" == await refusal(here.ec2.describe_subnets(SubnetIds=["subnet-1"]))
        assert "InvalidParameterValue" == await refusal(here.ec2.describe_availability_zones(ZoneNames=["us-east-1z"]))
        assert "InvalidSpotInstanceRequestID.NotFound" == await refusal(
            here.ec2.describe_spot_instance_requests(SpotInstanceRequestIds=["sir-00000000"])
        )
