"""The words of a CreateFleet request: every pool gets its turn, and the same members make the same call."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from spotrelay.core.keys import Member
from spotrelay.launcher.pools import TRIED_A_CALL, Ground, Place, for_members, request, round_of

ZONES = ("us-east-1a", "us-east-1b", "us-east-1c")
FLEET = "f-0123456789abcdef0123"
PLACES = st.lists(st.builds(Place, st.sampled_from([f"m{n}.large" for n in range(12)]), st.sampled_from(ZONES)))


def ground(types: tuple[str, ...] = ("m5.large",), zones: tuple[str, ...] = ZONES, template: str = "relay") -> Ground:
    return Ground(template, "7", zones, types, "my-stack")


def call(*members: Member, market: str = "spot") -> dict[str, Any]:
    return for_members(request(ground(), [Place("g5.xlarge", "us-east-1a")], market, FLEET), members)


def tags(of: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in of["TagSpecifications"][0]["Tags"]}


def test_call_as_a_whole() -> None:
    """Exactly what is sent. `instant` answers at once; without a strategy EC2 takes the pools that are about to go."""
    expected = {
        "Type": "instant",
        "LaunchTemplateConfigs": [
            {
                "LaunchTemplateSpecification": {"LaunchTemplateName": "relay", "Version": "7"},
                "Overrides": [{"InstanceType": "g5.xlarge", "AvailabilityZone": "us-east-1a"}],
            }
        ],
        "TargetCapacitySpecification": {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "spot"},
        "TagSpecifications": [
            {
                "ResourceType": "instance",
                "Tags": [
                    {"Key": "spotrelay:stack", "Value": "my-stack"},
                    {"Key": "spotrelay:fleet", "Value": FLEET},
                    {"Key": "Name", "Value": "r #1"},
                    {"Key": "spotrelay:run", "Value": "r"},
                    {"Key": "spotrelay:attempt", "Value": "1"},
                ],
            }
        ],
        "SpotOptions": {"AllocationStrategy": "price-capacity-optimized"},
    }

    assert expected == call(Member("r", 1, 0))


def test_shared_call_names_no_run() -> None:
    """All instances of a fleet get the same tags: naming one run would be a lie on the others."""
    shared = call(Member("a", 1, 0), Member("b", 3, 2))

    assert 2 == shared["TargetCapacitySpecification"]["TotalTargetCapacity"]
    assert {"spotrelay:stack": "my-stack", "spotrelay:fleet": FLEET, "Name": "spotrelay"} == tags(shared)


def test_template_by_its_id() -> None:
    """A stack knows the id; people know the name."""
    (config,) = request(ground(template="lt-0abc"), [], "spot", FLEET)["LaunchTemplateConfigs"]

    assert {"LaunchTemplateSpecification": {"LaunchTemplateId": "lt-0abc", "Version": "7"}} == config


def test_on_demand_has_no_spot_options() -> None:
    """EC2 refuses spot options in a fleet without spot."""
    assert "SpotOptions" not in call(Member("r", 1, 0), market="on-demand")


def test_types_of_the_spec_come_before_the_launcher_s() -> None:
    assert {"c5.large"} == {place.type for place in ground().places(("c5.large",))}
    assert {"m5.large"} == {place.type for place in ground().places(())}


def test_types_count_without_zones_too() -> None:
    """A deployment that names no zones leaves them to EC2. Forgotten with them, the run starts on another type."""
    assert [{"InstanceType": "c5.large"}] == [place.override() for place in ground(zones=()).places(("c5.large",))]


def test_pool_is_listed_once() -> None:
    """EC2 refuses a fleet with the same pool twice, each time."""
    assert ground().places(("c5.large",)) == ground(zones=ZONES * 2).places(("c5.large", "c5.large"))


@given(PLACES.map(lambda places: list(dict.fromkeys(places))), st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)))
def test_round_tries_each_pool(places: list[Place], evicted_at: set[int], unsupported_at: set[int]) -> None:
    """EC2 really tries three of a request. In a round each pool that may serve is among three; what evicted us is
    never tried before what did not; and there is always something to try."""
    evicted = {place for n, place in enumerate(places) if n in evicted_at}
    unsupported = {place for n, place in enumerate(places) if n in unsupported_at}
    tries = round_of(places, evicted, unsupported)
    useful = [place for place in places if place not in unsupported] or places

    assert all(any(place in each and len(each) <= TRIED_A_CALL for each in tries) for place in useful)
    assert {place for each in tries for place in each} == set(useful)
    calm = [place for place in useful if place not in evicted] or useful
    assert calm == tries[0]
    last_calm = max((n for n, each in enumerate(tries) if set(each) <= set(calm)), default=0)
    assert all(not set(each) & evicted for each in tries[: last_calm + 1]) or set(calm) & evicted
