"""Which pools to ask for, and in which words: the CreateFleet request of one step of the hunt.

A pool is instance type × zone × market. EC2 really tries about three pools a call, whatever the request lists, so each
step rotates the list by three. The request is written into the intent and never computed twice: the same ClientToken
with other parameters is refused.
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
    pools = [
        {"InstanceType": instance_type, "AvailabilityZone": zone}
        for instance_type in (spec.instance.types or tuple(types))
        for zone in zones
    ]
    first = step * TRIED_A_CALL % len(pools) if pools else 0
    template_config: dict[str, Any] = {
        "LaunchTemplateSpecification": {"LaunchTemplateName": template, "Version": version},
    }
    if pools:
        template_config["Overrides"] = pools[first:] + pools[:first]
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
