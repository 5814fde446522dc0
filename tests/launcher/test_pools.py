"""The words of a CreateFleet request: every pool gets its turn, and the same step says the same."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from spotrelay.core.spec import Instance, Run, Spec
from spotrelay.launcher.pools import TRIED_A_CALL, fleet_request

ZONES = ("us-east-1a", "us-east-1b", "us-east-1c")


def request(types: tuple[str, ...], zones: tuple[str, ...], step: int = 0, market: str = "spot") -> dict[str, Any]:
    spec = Spec(Run("r", ("true",), "/job"), instance=Instance(types, market))
    return fleet_request(spec, 1, step, template="relay", version="7", zones=zones, types=("m5.large",))


def pools(types: tuple[str, ...], zones: tuple[str, ...], step: int = 0) -> list[dict[str, str]]:
    return request(types, zones, step)["LaunchTemplateConfigs"][0].get("Overrides", [])


def test_request_as_a_whole() -> None:
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
                    {"Key": "Name", "Value": "r #1"},
                    {"Key": "spotrelay:run", "Value": "r"},
                    {"Key": "spotrelay:attempt", "Value": "1"},
                ],
            }
        ],
        "SpotOptions": {"AllocationStrategy": "price-capacity-optimized"},
    }

    assert expected == request(("g5.xlarge",), ZONES[:1])


def test_on_demand_has_no_spot_options() -> None:
    """EC2 refuses spot options in a fleet without spot."""
    assert "SpotOptions" not in request((), ZONES, market="on-demand")


def test_types_of_the_spec_come_before_the_launcher_s() -> None:
    assert {"c5.large"} == {pool["InstanceType"] for pool in pools(("c5.large",), ZONES)}
    assert {"m5.large"} == {pool["InstanceType"] for pool in pools((), ZONES)}


def test_types_count_without_zones_too() -> None:
    """A deployment that names no zones leaves them to EC2. Forgotten with them, the run starts on another type."""
    assert [{"InstanceType": "c5.large"}] == pools(("c5.large",), ())


def test_pool_is_listed_once() -> None:
    """EC2 refuses a fleet with the same pool twice, each time."""
    assert pools(("c5.large",), ZONES) == pools(("c5.large", "c5.large"), ZONES + ZONES)


@given(st.integers(0, 12), st.integers(0, 4), st.integers(0, 1000))
def test_a_round_begins_with_all_pools_and_then_tries_each(kinds: int, zones: int, start: int) -> None:
    """EC2 really tries three of a request. In a round each pool is among three, wherever the round is entered."""
    types = tuple(f"m{number}.large" for number in range(1, kinds + 1))
    everything = pools(types, ZONES[:zones])
    windows = -(-len(everything) // TRIED_A_CALL)
    turns = [pools(types, ZONES[:zones], start + turn) for turn in range(windows + 1)]

    assert everything in turns
    assert all(any(pool in turn and len(turn) <= TRIED_A_CALL for turn in turns) for pool in everything)
    assert turns[0] == pools(types, ZONES[:zones], start)
