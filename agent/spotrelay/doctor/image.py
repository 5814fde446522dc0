"""The image that instances boot: there, fit for the instance types, of this version, and with room on its disk."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

import spotrelay
from spotrelay.doctor.finding import Finding, ok, problem, unknown, warning
from spotrelay.doctor.ground import Ground
from spotrelay.doctor.versions import is_older
from spotrelay.stack.meanings import code_of

# Written on the image by whoever builds it. Tags are seen by the image's owner alone.
VERSION_TAG = "spotrelay:version"
_NO_IMAGE = frozenset({"InvalidAMIID.NotFound", "InvalidAMIID.Malformed", "InvalidAMIID.Unavailable"})
_NO_TEMPLATE = frozenset({"InvalidLaunchTemplateId.NotFound", "InvalidLaunchTemplateId.VersionNotFound"})
_NEW_IMAGE = "Deploy with one that is there."


def template(ground: Ground) -> Iterator[Finding]:
    outputs = ground.outputs.get()
    name = f"{outputs['LaunchTemplateId']}, version {outputs['LaunchTemplateVersion']}"
    try:
        data = ground.template.first_hand()
    except ClientError as error:
        if code_of(error) not in _NO_TEMPLATE:
            raise
        yield problem(
            f"the launch template {name} is not there: somebody deleted it by hand",
            remedy="Make the stack anew, with the bucket and what is in it.",
            command=ground.anew(),
        )
        return
    if data.get("InstanceInitiatedShutdownBehavior") != "terminate":
        yield problem(
            f"instances of {name} would stop at their end, not terminate, and their disks would be billed for ever",
            remedy="Deploy again.",
            command=ground.spotrelay("deploy"),
        )
    else:
        yield ok(name)


def image(ground: Ground) -> Iterator[Finding]:
    name = ground.template.get().get("ImageId", "none")
    try:
        found = ground.image.first_hand()
    except ClientError as error:
        if code_of(error) not in _NO_IMAGE:
            raise
        found = {}
    except ValueError:  # EC2 answered with an empty list
        found = {}
    if not found:
        yield problem(
            f"the image {name} is not there: deregistered, in another region, or not shared with this account",
            remedy=_NEW_IMAGE,
            command=_deploy(ground),
        )
    elif found["State"] != "available":
        yield problem(
            f"the image {name} cannot be used: it is {found['State']}",
            remedy=f"Wait if it is pending; else: {_NEW_IMAGE.lower()}",
            command=_deploy(ground),
            detail=found.get("StateReason", {}).get("Message", ""),
        )
    elif _is_deprecated(found):
        yield warning(
            f"the image {name} is deprecated since {found['DeprecationTime'][:10]}: it may go without notice",
            remedy=_NEW_IMAGE,
            command=_deploy(ground),
        )
    else:
        yield ok(f"{name} is available ({found.get('Name', 'without a name')})")


def architecture(ground: Ground) -> Iterator[Finding]:
    found = ground.image.get()
    needed = found.get("Architecture") or "x86_64"
    unfit = [
        name
        for name, kind in sorted(ground.kinds.get().items())
        if needed not in kind.get("ProcessorInfo", {}).get("SupportedArchitectures", [needed])
    ]
    if unfit:
        yield problem(
            f"the image is for {needed}, and {', '.join(unfit)} cannot boot it",
            remedy="Take them off the list of instance types, or deploy with an image for them.",
            command=ground.spotrelay("deploy") + " --types …",
        )
    else:
        yield ok(f"{needed}, which every type boots")


def agent_version(ground: Ground) -> Iterator[Finding]:
    found, ours = ground.image.get(), spotrelay.__version__
    name = found["ImageId"]
    theirs = {tag["Key"]: tag["Value"] for tag in found.get("Tags", [])}.get(VERSION_TAG)
    if theirs is None and found.get("OwnerId") != ground.caller.get().account:
        yield unknown(
            f"which agent is in {name} is not known: only its owner, account {found.get('OwnerId')}, sees its tags",
            remedy="Compare its name with this version, or copy the image into this account and tag the copy.",
            detail=f"its name: {found.get('Name', '')}; this version: {ours}",
        )
    elif theirs is None:
        yield warning(
            f"{name} does not say which agent is in it: it has no tag {VERSION_TAG}",
            remedy="If it has spotrelay's agent, say which; else build one that has.",
            command=ground.aws(f"ec2 create-tags --resources {name} --tags Key={VERSION_TAG},Value={ours}"),
        )
    elif is_older(theirs, ours):
        yield warning(
            f"the agent in {name} is {theirs}, this is {ours}",
            remedy="Build an image of this version and deploy with it; runs that are under way go on as they are.",
            command=_deploy(ground),
        )
    elif is_older(ours, theirs):
        yield warning(
            f"the agent in {name} is {theirs}, newer than this {ours}: it may write what this cannot read",
            remedy="Update this one.",
            command=f"pip install --upgrade 'spotrelay>={theirs}'",
        )
    else:
        yield ok(f"{theirs}, like this one")


def root_volume(ground: Ground) -> Iterator[Finding]:
    """Smaller than the image's snapshot, and every launch fails. Under another name, and it comes beside the root."""
    found, data = ground.image.get(), ground.template.get()
    root = found.get("RootDeviceName", "")
    needed = _sizes(found).get(root, 0)
    asked = _sizes(data)
    if asked and root not in asked:
        yield problem(
            f"the template's disk is {', '.join(asked)}, the image's root is {root}: runs would get {needed} GiB"
            " and an empty disk beside it",
            remedy="Deploy again with this image, which takes its root's name from it.",
            command=_deploy(ground, found["ImageId"]),
        )
    elif root in asked and asked[root] < needed:
        yield problem(
            f"the root disk has {asked[root]} GiB, the image needs {needed}: no launch can succeed",
            remedy=f"Deploy with at least {needed} GiB, and what the runs need on top.",
            command=f"{ground.spotrelay('deploy')} --volume-gib {needed + 20}",
        )
    else:
        yield ok(f"{asked.get(root, needed)} GiB, the image itself takes {needed}")


def _sizes(described: dict[str, Any]) -> dict[str, int]:
    """GiB by device, of an image or a launch template. 0: it does not say."""
    mappings = described.get("BlockDeviceMappings", [])
    return {m["DeviceName"]: m.get("Ebs", {}).get("VolumeSize") or 0 for m in mappings if "Ebs" in m}


def _is_deprecated(found: dict[str, Any]) -> bool:
    told = str(found.get("DeprecationTime", ""))
    return bool(told) and datetime.fromisoformat(told) < datetime.now(UTC)


def _deploy(ground: Ground, name: str = "ami-…") -> str:
    return f"{ground.spotrelay('deploy')} --image {name}"
