"""Which pools to ask for, and in which words: the CreateFleet request of one step of the hunt.

A pool is instance type × zone × market. EC2 chooses among all pools of a request by price and what it believes is
left, and really tries about three of them; their order in the request means nothing to it. So a hunt goes in rounds: at
first all pools, since EC2 knows best, then three by three, so that each is tried whatever EC2 believes, then all again.

The request is written into the intent and never computed twice: the same ClientToken with other parameters is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spotrelay.core.spec import Spec

TRIED_A_CALL = 3
RUN_TAG, ATTEMPT_TAG = "spotrelay:run", "spotrelay:attempt"


def fleet_request(
    spec: Spec, attempt: int, step: int, *, template: str, version: str, zones: Sequence[str], types: Sequence[str]
) -> dict[str, Any]:
    """Everything but the ClientToken. `types` are the launcher's own, for a spec that names none."""
    pools = _of_step(_pools(spec.instance.types or types, zones), step)
    template_config: dict[str, Any] = {
        "LaunchTemplateSpecification": {"LaunchTemplateName": template, "Version": version},
    }
    if pools:
        template_config["Overrides"] = pools
    tags = {"Name": f"{spec.run.name} #{attempt}", RUN_TAG: spec.run.name, ATTEMPT_TAG: str(attempt)}
    return {
        "Type": "instant",
        "LaunchTemplateConfigs": [template_config],
        "TargetCapacitySpecification": {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": spec.instance.market},
        "TagSpecifications": [
            {"ResourceType": "instance", "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
        ],
        # The API's default, lowest-price, is the one AWS recommends against: it picks the pools that are about to go.
        **(
            {"SpotOptions": {"AllocationStrategy": "price-capacity-optimized"}}
            if spec.instance.market == "spot"
            else {}
        ),
    }


def _pools(types: Sequence[str], zones: Sequence[str]) -> list[dict[str, str]]:
    """Each once: EC2 refuses a fleet that lists a pool twice. Without zones EC2 takes any."""
    places = [{"AvailabilityZone": zone} for zone in dict.fromkeys(zones)] or [{}]
    return [{"InstanceType": instance_type, **place} for instance_type in dict.fromkeys(types) for place in places]


def _of_step(pools: list[dict[str, str]], step: int) -> list[dict[str, str]]:
    windows = [pools[first : first + TRIED_A_CALL] for first in range(0, len(pools), TRIED_A_CALL)]
    # Three pools or fewer are all tried each time.
    return [pools, *windows][step % (len(windows) + 1)] if len(windows) > 1 else pools
