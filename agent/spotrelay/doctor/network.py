"""Where instances get their network: the default VPC, with a default subnet in each zone, as no request names one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from spotrelay.doctor.finding import Finding, ok, problem, warning
from spotrelay.doctor.ground import Ground
from spotrelay.doctor.known import Missing


def network(ground: Ground) -> Iterator[Finding]:
    ground.caller.get()
    if _names_a_subnet(ground):
        yield ok("the launch template names its own subnet")
        return
    ec2 = ground.client("ec2")
    vpcs = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    if not vpcs:
        yield problem(
            "there is no default VPC, and so no subnet to launch in",
            remedy="Make it.",
            command=ground.aws("ec2 create-default-vpc"),
        )
        return
    zones = ground.zones.get()
    default = [{"Name": "default-for-az", "Values": ["true"]}]
    there = {subnet["AvailabilityZone"] for subnet in ec2.describe_subnets(Filters=default)["Subnets"]}
    bare = [zone for zone in zones if zone not in there]
    makes = "\n".join(ground.aws(f"ec2 create-default-subnet --availability-zone {zone}") for zone in bare)
    if len(bare) == len(zones):
        yield problem(f"no zone has a default subnet ({', '.join(zones)})", remedy="Make them.", command=makes)
    elif bare:
        yield warning(
            f"{', '.join(bare)} cannot be used: no default subnet there",
            remedy="Make one in each, which is free.",
            command=makes,
        )
    else:
        yield ok(f"a default subnet in each of {', '.join(zones)}")


def _names_a_subnet(ground: Ground) -> bool:
    try:
        data: dict[str, Any] = ground.template.get()
    except Missing:  # before the first deployment the question is as good
        return False
    return any("SubnetId" in interface for interface in data.get("NetworkInterfaces", []))
