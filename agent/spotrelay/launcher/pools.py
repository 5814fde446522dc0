"""Which pools to ask for, and in which words: the CreateFleet request of one step of a hunt.

A pool is instance type × zone × market. EC2 chooses among all pools of a request by price and what it believes is
left, and really tries about three of them; their order in the request means nothing to it. So a hunt goes in rounds: at
first all pools, since EC2 knows best, then three by three, so that each is tried whatever EC2 believes.

What evicted us in the last half hour is about to evict again: such pools come in a second round, when the others had
their turn. What a zone does not offer is left out, unless nothing else is left.

The request is written into the fleet's intent and never computed twice: the same ClientToken with other parameters is
refused.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from spotrelay.core.keys import Member

TRIED_A_CALL = 3
# Most runs that share one call: so many are unlucky together when it goes wrong.
MOST_MEMBERS = 50
RUN_TAG, ATTEMPT_TAG, FLEET_TAG, STACK_TAG = (
    f"spotrelay:{what}" for what in ("run", "attempt", "fleet", "stack")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """A pool less its market. An empty zone: any."""

    type: str
    zone: str

    def override(self) -> dict[str, str]:
        return {"InstanceType": self.type, **({"AvailabilityZone": self.zone} if self.zone else {})}


@dataclass(frozen=True, slots=True)
class Ground:
    """Where instances may be launched. `types`: for a spec that names none. `stack`: the tag that makes them ours."""

    template: str
    version: str
    zones: Sequence[str]
    types: Sequence[str]
    stack: str = "spotrelay"

    def places(self, types: Sequence[str]) -> list[Place]:
        """Each once: EC2 refuses a fleet that lists a pool twice."""
        zones = list(dict.fromkeys(self.zones)) or [""]
        return [Place(each, zone) for each in dict.fromkeys(types or self.types) for zone in zones]


Round = Sequence[Sequence[Place]]


def round_of(places: Sequence[Place], evicted: Collection[Place], unsupported: Collection[Place]) -> Round:
    """All tries of one round, in order: step k of a hunt makes try k modulo their number. At least one."""
    places = [place for place in places if place not in unsupported] or places
    calm = [place for place in places if place not in evicted]
    if not calm or len(calm) == len(places):
        return _tries(places)
    return [*_tries(calm), *_tries([place for place in places if place in evicted])]


def _tries(places: Sequence[Place]) -> list[Sequence[Place]]:
    # Three pools or fewer are all tried each time.
    windows = [places[first : first + TRIED_A_CALL] for first in range(0, len(places), TRIED_A_CALL)]
    return [places, *windows] if len(windows) > 1 else [places]


def request(ground: Ground, places: Sequence[Place], market: str, fleet: str) -> dict[str, Any]:
    """Everything but the ClientToken and what depends on the members."""
    named = "LaunchTemplateId" if ground.template.startswith("lt-") else "LaunchTemplateName"
    config: dict[str, Any] = {"LaunchTemplateSpecification": {named: ground.template, "Version": ground.version}}
    if places:
        config["Overrides"] = [place.override() for place in places]
    return {
        "Type": "instant",
        "LaunchTemplateConfigs": [config],
        "TargetCapacitySpecification": {"DefaultTargetCapacityType": market},
        "TagSpecifications": [_tagged({STACK_TAG: ground.stack, FLEET_TAG: fleet})],
        # The API's default, lowest-price, is the one AWS recommends against: it picks the pools that are about to go.
        **({"SpotOptions": {"AllocationStrategy": "price-capacity-optimized"}} if market == "spot" else {}),
    }


def for_members(written: dict[str, Any], members: Sequence[Member]) -> dict[str, Any]:
    """The call itself. One run alone is named in its instance's tags, for people: many cannot be, as all instances of
    a fleet get the same."""
    capacity = {**written["TargetCapacitySpecification"], "TotalTargetCapacity": len(members)}
    (ours,) = written["TagSpecifications"]
    tags = {tag["Key"]: tag["Value"] for tag in ours["Tags"]}
    if len(members) == 1:
        run, attempt = members[0].run, members[0].attempt
        tags |= {"Name": f"{run} #{attempt}", RUN_TAG: run, ATTEMPT_TAG: str(attempt)}
    else:
        tags |= {"Name": "spotrelay"}
    return {**written, "TargetCapacitySpecification": capacity, "TagSpecifications": [_tagged(tags)]}


def _tagged(tags: dict[str, str]) -> dict[str, Any]:
    return {"ResourceType": "instance", "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
