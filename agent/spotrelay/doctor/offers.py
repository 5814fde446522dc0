"""The instance types: do they exist here, and in how many pools (type × zone) can the launcher look.

The number of pools decides how long a run waits for capacity (in replayed traces 108 minutes on average in one zone, 9
over a region's zones, less than one over nine), so few pools are a finding although everything works.
"""

from __future__ import annotations

from collections.abc import Iterator

from spotrelay.doctor.finding import Finding, ok, problem, warning
from spotrelay.doctor.ground import Ground

_FEW = 4  # CreateFleet tries about three pools a call: with fewer there is nowhere to rotate to


def offers(ground: Ground) -> Iterator[Finding]:
    types, kinds, region = ground.types(), ground.kinds.get(), ground.region.get()
    if strange := [name for name in types if name not in kinds]:
        yield problem(
            f"there is no {', '.join(strange)} in {region}",
            remedy="Correct the list of instance types; this shows what there is.",
            command=ground.aws(
                "ec2 describe-instance-type-offerings --query 'InstanceTypeOfferings[].InstanceType' --output text"
            ),
        )
    zones = ground.zones.get()
    offered = _offered(tuple(kinds), ground)
    pools = {(name, zone) for name, zone in offered if zone in zones}
    for name in kinds:
        if all(name != pool[0] for pool in pools):
            elsewhere = ", ".join(sorted(zone for each, zone in offered if each == name)) or "no zone"
            yield warning(
                f"{name} is not offered in {', '.join(zones)}, but in {elsewhere}",
                remedy="Add the zone, or take the type off the list.",
                command=ground.spotrelay("deploy") + " --zones …",
            )
    if 0 < len(pools) < _FEW:
        yield warning(
            f"capacity can be looked for in only {len(pools)} pool{'s' * (len(pools) > 1)} (type × zone)",
            remedy="Name more instance types or zones: waiting for capacity is what costs a run most.",
            command=ground.spotrelay("deploy") + " --types …",
        )
    elif pools:
        yield ok(f"{len(kinds)} types in {len({zone for _, zone in pools})} zones: {len(pools)} pools")


def _offered(types: tuple[str, ...], ground: Ground) -> list[tuple[str, str]]:
    if not types:
        return []
    pages = ground.client("ec2").get_paginator("describe_instance_type_offerings")
    named = [{"Name": "instance-type", "Values": list(types)}]
    return [
        (offer["InstanceType"], offer["Location"])
        for page in pages.paginate(LocationType="availability-zone", Filters=named)
        for offer in page["InstanceTypeOfferings"]
    ]
