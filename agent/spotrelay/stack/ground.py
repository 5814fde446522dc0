"""What a launch stands on in this region: an image, instance types, zones, and EC2's own service roles.

All of it is looked at before anything is made: CloudFormation would take an image of the wrong architecture or a type
that is not offered here, and every launch would fail.
"""

from __future__ import annotations

from dataclasses import dataclass

import botocore.exceptions

from spotrelay.core.errors import StackDenied, StackFailed, StackRegion, UsageError
from spotrelay.stack.account import Account
from spotrelay.stack.refusals import told

# Two cores and 8 GiB, of many generations: what a run gets that names no types. Those not offered here are left out.
TYPES = {
    "x86_64": (
        *("m5.large", "m5a.large", "m5d.large", "m5n.large", "m6a.large", "m6i.large", "m6id.large", "m6in.large"),
        *("m7a.large", "m7i.large", "m7i-flex.large", "m8i.large"),
    ),
    "arm64": ("m6g.large", "m6gd.large", "m7g.large", "m7gd.large", "m8g.large", "m8gd.large", "t4g.large"),
}
# Without them no fleet and no spot instance is launched; the launcher's role may not make them.
SERVICE_ROLES = ("spot.amazonaws.com", "ec2fleet.amazonaws.com")


@dataclass(frozen=True, slots=True)
class Image:
    id: str
    architecture: str
    root_device: str


def image(account: Account, identity: str) -> Image:
    """Raises StackRegion when it is not here."""
    elsewhere = f"copy it there (`aws ec2 copy-image`), or give the --region that it is in (now: {account.region})"
    with told("look at the image", account.place):
        try:
            found = account.ec2.describe_images(ImageIds=[identity])["Images"]
        except botocore.exceptions.ClientError as error:
            if not error.response["Error"]["Code"].startswith("InvalidAMIID"):
                raise
            found = []
    if not found:
        raise StackRegion(f"there is no image {identity} in {account.region}", next_step=elsewhere)
    if (state := found[0].get("State", "available")) != "available":
        raise StackFailed(f"the image {identity} is {state}", next_step="wait until it is available, then deploy")
    return Image(identity, found[0].get("Architecture", "x86_64"), found[0].get("RootDeviceName", "/dev/xvda"))


def types(account: Account, wanted: list[str], architecture: str) -> list[str]:
    """Those that are offered here; of `wanted`, all must be. Empty: a choice of ours."""
    asked = wanted or list(TYPES.get(architecture, TYPES["x86_64"]))
    with told("see which instance types are offered", account.place):
        pages = account.ec2.get_paginator("describe_instance_type_offerings").paginate(
            LocationType="region", Filters=[{"Name": "instance-type", "Values": asked}]
        )
        offered = {each.get("InstanceType", "") for page in pages for each in page["InstanceTypeOfferings"]}
    if missing := [each for each in wanted if each not in offered]:
        raise UsageError(
            f"--types: {', '.join(missing)} not offered in {account.region}", next_step="leave it out, or see its name"
        )
    if not (found := [each for each in asked if each in offered]):
        raise StackFailed(
            f"none of {', '.join(asked)} is offered in {account.region}", next_step="name some by --types"
        )
    return found


def must_fit(account: Account, types: list[str], image: Image) -> None:
    """EC2 would refuse each launch of a type whose processor is of another kind than the image."""
    with told("see which processors the instance types have", account.place):
        pages = account.ec2.get_paginator("describe_instance_types").paginate(
            Filters=[{"Name": "instance-type", "Values": types}]
        )
        kinds = {
            each.get("InstanceType", ""): each.get("ProcessorInfo", {}).get("SupportedArchitectures", [])
            for page in pages
            for each in page["InstanceTypes"]
        }
    if wrong := [each for each in types if image.architecture not in kinds.get(each, [image.architecture])]:
        raise UsageError(
            f"{', '.join(wrong)} cannot run {image.id}, which is for {image.architecture}",
            next_step="give --types of that architecture, or another --image",
        )


def zones(account: Account, wanted: list[str]) -> list[str]:
    """Those with a default subnet: the launcher names zones, and EC2 takes the zone's default subnet."""
    with told("see which zones there are", account.place):
        found = account.ec2.describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])["Subnets"]
    there = sorted({subnet.get("AvailabilityZone", "") for subnet in found})
    if not there:
        raise StackFailed(
            f"{account.region} has no default VPC with subnets", next_step="`aws ec2 create-default-vpc` makes one"
        )
    if missing := [zone for zone in wanted if zone not in there]:
        raise UsageError(f"--zones: {', '.join(missing)} not among {', '.join(there)}", next_step="take some of those")
    return wanted or there


def make_service_roles(account: Account) -> list[str]:
    """What could not be made, in words for a person: most accounts have them already, and only a launch will tell."""
    return [problem for service in SERVICE_ROLES if (problem := _made(account, service))]


def _made(account: Account, service: str) -> str:
    try:
        with told(f"make the service role for {service}", account.place):
            account.iam.create_service_linked_role(AWSServiceName=service)
    except StackDenied:
        return (
            f"could not see to the service role of {service}: unless it is there already, somebody who may must run "
            f"`aws iam create-service-linked-role --aws-service-name {service}`"
        )
    except StackFailed as error:
        if "has been taken" not in error.what and "already exists" not in error.what:
            return str(error)
    return ""
