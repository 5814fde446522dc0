"""What a launch stands on in this region: image, instance types, zones, a bucket, and EC2's own service role.

All of it is looked at before anything is made: CloudFormation would take an image of the wrong architecture or a type
that is not offered here, and every launch would fail.
"""

from __future__ import annotations

from dataclasses import dataclass

import botocore.exceptions

from spotrelay.core.errors import StackDenied, StackError, StackFailed, StackRegion, UsageError
from spotrelay.stack.account import Account
from spotrelay.stack.meanings import code_of
from spotrelay.stack.refusals import told

# Two cores and 8 GiB, of many generations: what a run gets that names no types. Those not offered here are left out.
TYPES = {
    "x86_64": (
        *("m5.large", "m5a.large", "m5d.large", "m5n.large", "m6a.large", "m6i.large", "m6id.large", "m6in.large"),
        *("m7a.large", "m7i.large", "m7i-flex.large", "m8i.large"),
    ),
    "arm64": ("m6g.large", "m6gd.large", "m7g.large", "m7gd.large", "m8g.large", "m8gd.large", "t4g.large"),
}
# Without it no spot instance is launched; the launcher's role may not make it. (There is one for fleets too, which
# those of type instant do not need.)
SPOT_ROLE, SPOT_SERVICE = "AWSServiceRoleForEC2Spot", "spot.amazonaws.com"


@dataclass(frozen=True, slots=True)
class Image:
    """`root_gib`: what its root volume takes at least; 0 when it does not say."""

    id: str
    architecture: str
    root_device: str
    root_gib: int


def image(account: Account, identity: str) -> Image:
    """Raises StackRegion when it is not here."""
    elsewhere = f"copy it there (`aws ec2 copy-image`), or give the --region that it is in (now: {account.region})"
    with told("look at the image", account.place):
        try:
            found = account.ec2.describe_images(ImageIds=[identity])["Images"]
        except botocore.exceptions.ClientError as error:
            if not code_of(error).startswith("InvalidAMIID"):
                raise
            found = []
    if not found:
        raise StackRegion(f"there is no image {identity} in {account.region}", next_step=elsewhere)
    if (state := found[0].get("State", "available")) != "available":
        raise StackFailed(f"the image {identity} is {state}", next_step="wait until it is available, then deploy")
    root = found[0].get("RootDeviceName", "/dev/xvda")
    disks = {each.get("DeviceName"): each.get("Ebs", {}) for each in found[0].get("BlockDeviceMappings", [])}
    size = disks.get(root, {}).get("VolumeSize", 0)
    return Image(identity, found[0].get("Architecture", "x86_64"), root, size)


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


def must_hold(volume_gib: int, image: Image) -> None:
    """EC2 would refuse each launch of a volume that is smaller than the snapshot it is made of."""
    if volume_gib < image.root_gib:
        raise UsageError(
            f"{image.id} takes {image.root_gib} GiB, and the root volume has {volume_gib}",
            next_step=f"give --volume-gib {image.root_gib + 20}, or what the runs need on top of the image",
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


def must_be_here(account: Account, bucket: str) -> None:
    """There, open to these credentials, and in the stack's region: Lambda fetches code from nowhere else, and each
    byte of a snapshot would be paid for."""
    with told(f"use the bucket {bucket}", account.place):
        try:
            answer = account.s3.head_bucket(Bucket=bucket)
        except botocore.exceptions.ClientError as error:
            if refused := _unusable(error, bucket):
                raise refused from error
            raise
    if (home := answer.get("BucketRegion") or account.region) != account.region:
        raise StackRegion(
            f"the bucket {bucket} is in {home}, the stack in {account.region}",
            next_step=f"deploy there (--region {home}), or take a bucket that is here",
        )


def _unusable(error: botocore.exceptions.ClientError, bucket: str) -> StackError | None:
    """S3 says hardly more than a number to a question about a bucket."""
    match code_of(error):
        case "404" | "NoSuchBucket":
            return StackFailed(
                f"there is no bucket {bucket}",
                next_step="see its name; if it was the stack's own and is lost, `spotrelay destroy` and deploy anew",
            )
        case "403":
            return StackDenied(
                f"the bucket {bucket} is closed to these credentials",
                next_step="see its name, which may be somebody else's: they are unique in the world; if it is yours, "
                "have s3:ListBucket allowed, or take another --profile",
            )
    return None


def make_service_role(account: Account) -> str:
    """Why it could not be made, for a person; most accounts have it already, and only a launch will tell."""
    try:
        with told(f"make the service role for {SPOT_SERVICE}", account.place):
            account.iam.create_service_linked_role(AWSServiceName=SPOT_SERVICE)
    except StackDenied:
        return (
            f"could not see to EC2's role for spot instances: unless {SPOT_ROLE} is there already, somebody who may "
            f"must run `aws iam create-service-linked-role --aws-service-name {SPOT_SERVICE}`"
        )
    except StackFailed as error:
        if "has been taken" not in error.what and "already exists" not in error.what:
            return str(error)
    return ""
