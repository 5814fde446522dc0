"""What a request to EC2 needs. Launching is where it is long: one call, a need for each kind of resource it touches.

    CreateFleet     on the fleet, the instances and the launch template that it names (IAM's service reference demands
                    the first two; that the third is asked is known from refusals people met)
    RunInstances    for a fleet too, and there as the caller: on instance, volume, network interface, image, subnet,
                    security groups, launch template, and on the spot request if it is one
    CreateTags      for each kind of resource that gets tags, with `ec2:CreateAction`
    iam:PassRole    of the role behind the instance profile

Context that policies rest on: the tags to be set (`aws:RequestTag/...`, the template's as well), those that an existing
resource has (`aws:ResourceTag/...`, `ec2:ResourceTag/...`), `ec2:LaunchTemplate`, and `ec2:IsLaunchTemplateResource`:
false for what the request names itself though the template could have said it.

Which CreateAction EC2 gives for the instances of a fleet is not documented: both readings must be allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from spotrelay.local.instances import Instance
from spotrelay.local.launch_templates import Version
from spotrelay.local.server import ControlPlane
from spotrelay.local.tags import tags_for
from spotrelay.local.wire import AwsError
from support.iam.conditions import Context, Unknown
from support.iam.policies import Need

Params = Mapping[str, Any]
TAGGED = ("instance", "volume", "network-interface", "spot-instances-request")
ON_INSTANCES = ("TerminateInstances", "StopInstances", "StartInstances", "RebootInstances")
ON_TEMPLATES = ("CreateLaunchTemplateVersion", "ModifyLaunchTemplate", "DeleteLaunchTemplate")
ANYWHERE = ("CreateLaunchTemplate", "RequestSpotInstances", "RequestSpotFleet")


@dataclass(frozen=True, slots=True)
class Account:
    """The cloud that the needs are about, and `roles`: the role behind an instance profile's ARN."""

    plane: ControlPlane
    roles: Callable[[str], str]

    def arn(self, resource: str, *, owned: bool = True) -> str:
        return f"arn:aws:ec2:{self.plane.region}:{self.plane.account if owned else ''}:{resource}"


@dataclass(frozen=True, slots=True)
class Launch:
    """One attempt to start an instance: what the template and the request say together. `fleet`: it is a fleet's."""

    version: Version | None
    own: Params
    tags: Mapping[str, Mapping[str, str]]
    spot: bool
    fleet: bool = False
    data: Params = field(default_factory=dict)


def ec2_needs(action: str, params: Params, account: Account) -> list[Need]:
    """Of every action but CreateFleet, whose launches fail each for itself. Raises Unknown."""
    if action == "RunInstances":
        return list(_of_launch(_run(params, account), account))
    if action == "CreateTags":
        return [_of_tagging(identity, params, account) for identity in params["Resources"]]
    if action in ON_INSTANCES:
        return [_on_instance(f"ec2:{action}", identity, account) for identity in params["InstanceIds"]]
    if action in ON_TEMPLATES:
        return [Need(f"ec2:{action}", account.arn(f"launch-template/{_template_id(params, account)}"))]
    if action.startswith(("Describe", "Get")) or action in ANYWHERE:
        return [Need(f"ec2:{action}", "*")]
    raise Unknown(f"ec2:{action}")


# --- existing resources


def _on_instance(action: str, identity: str, account: Account) -> Need:
    return Need(action, account.arn(f"instance/{identity}"), _resource_tags(identity, account))


def _resource_tags(identity: str, account: Account) -> dict[str, str]:
    instance: Instance | None = next((each for each in account.plane.ec2.instances if each.id == identity), None)
    tags = instance.tags if instance is not None else {}
    return {f"{service}:ResourceTag/{key}": value for key, value in tags.items() for service in ("aws", "ec2")}


def _of_tagging(identity: str, params: Params, account: Account) -> Need:
    kind = {"i": "instance", "vol": "volume", "eni": "network-interface", "lt": "launch-template", "fleet": "fleet"}
    prefix = identity.partition("-")[0]
    if prefix not in kind:
        raise Unknown(f"tags on {identity}")
    wanted = {tag["Key"]: tag.get("Value", "") for tag in params["Tags"]}
    context: Context = {**_resource_tags(identity, account), **_request_tags(wanted)}
    return Need("ec2:CreateTags", account.arn(f"{kind[prefix]}/{identity}"), context)


def _request_tags(tags: Mapping[str, str]) -> dict[str, Any]:
    if not tags:
        return {}
    return {f"aws:RequestTag/{key}": value for key, value in tags.items()} | {"aws:TagKeys": sorted(tags)}


# --- launches


def fleet_needs(params: Params, account: Account) -> list[Need]:
    """Of CreateFleet itself: without these it is refused as a whole."""
    needs = []
    for kind in ("fleet", "instance"):
        tags = tags_for(kind, params.get("TagSpecifications", ()))
        needs.append(Need("ec2:CreateFleet", account.arn(f"{kind}/*"), _request_tags(tags)))
        if tags:
            context: Context = {**_request_tags(tags), "ec2:CreateAction": "CreateFleet"}
            needs.append(Need("ec2:CreateTags", account.arn(f"{kind}/*"), context))
    for config in params["LaunchTemplateConfigs"]:
        identity = _template_id(config["LaunchTemplateSpecification"], account)
        needs.append(Need("ec2:CreateFleet", account.arn(f"launch-template/{identity}")))
    return needs


def fleet_launch_needs(params: Params, account: Account) -> Iterator[tuple[Params, Params, list[Need]]]:
    """Of each launch that the fleet may try: its template's specification, its override, and what it needs."""
    capacity = params["TargetCapacitySpecification"]
    spot = capacity.get("DefaultTargetCapacityType") == "spot" or bool(capacity.get("SpotTargetCapacity"))
    for config in params["LaunchTemplateConfigs"]:
        named = config["LaunchTemplateSpecification"]
        version = _resolve(named, account)
        for override in config.get("Overrides") or [{}]:
            tags = _launch_tags(version, params)
            launch = Launch(version, override, tags, spot, fleet=True, data={**_data(version), **override})
            yield named, override, list(_of_launch(launch, account))


def _run(params: Params, account: Account) -> Launch:
    version = _resolve(params["LaunchTemplate"], account) if "LaunchTemplate" in params else None
    spot = "InstanceMarketOptions" in {**_data(version), **params}
    return Launch(version, params, _launch_tags(version, params), spot, data={**_data(version), **params})


def _data(version: Version | None) -> Params:
    return version.data if version is not None else {}


def _launch_tags(version: Version | None, params: Params) -> dict[str, dict[str, str]]:
    both = (_data(version), params)
    merged = {}
    for kind in TAGGED:
        for each in both:
            merged[kind] = merged.get(kind, {}) | tags_for(kind, each.get("TagSpecifications", ()))
    return merged


def _of_launch(launch: Launch, account: Account) -> Iterator[Need]:
    for resource, own in _resources(launch, account):
        kind = resource.partition("/")[0]
        context = {**_launch_context(launch, account, own=own), **_request_tags(launch.tags.get(kind, {}))}
        if kind == "spot-instances-request":
            # The one kind of resource that IAM's reference lists no launch template for.
            context = {key: value for key, value in context.items() if "LaunchTemplate" not in key}
        yield Need("ec2:RunInstances", account.arn(resource, owned=kind != "image"), context)
    yield from _of_tags_at_launch(launch, account)
    profile = launch.data.get("IamInstanceProfile", {})
    if profile:
        arn = profile.get("Arn") or f"arn:aws:iam::{account.plane.account}:instance-profile/{profile['Name']}"
        yield Need("iam:PassRole", account.roles(arn), {"iam:PassedToService": "ec2.amazonaws.com"})


def _of_tags_at_launch(launch: Launch, account: Account) -> Iterator[Need]:
    for kind, tags in launch.tags.items():
        # Tags for spot requests in a template are not used by a launch on demand.
        if tags and (launch.spot or kind != "spot-instances-request"):
            for reading in ("RunInstances", "CreateFleet") if launch.fleet else ("RunInstances",):
                context: Context = {**_request_tags(tags), "ec2:CreateAction": reading}
                yield Need("ec2:CreateTags", account.arn(f"{kind}/*"), context)


def _resources(launch: Launch, account: Account) -> Iterator[tuple[str, bool]]:
    """Each resource, and whether the request itself names it."""
    data, own, interfaces = launch.data, launch.own, launch.data.get("NetworkInterfaces") or [{}]
    yield "instance/*", False
    yield "volume/*", "BlockDeviceMappings" in own
    yield "network-interface/*", "NetworkInterfaces" in own
    # EC2 knows which image a parameter stands for; here it is one of nobody's.
    image = str(data.get("ImageId", "*"))
    yield f"image/{image if image.startswith('ami-') else '*'}", "ImageId" in own
    zone = data.get("AvailabilityZone") or data.get("Placement", {}).get("AvailabilityZone", "")
    subnet = data.get("SubnetId") or interfaces[0].get("SubnetId") or _default_subnet(zone, account)
    yield f"subnet/{subnet}", "SubnetId" in own or "NetworkInterfaces" in own
    groups = data.get("SecurityGroupIds") or interfaces[0].get("Groups") or ["sg-default"]
    for group in groups:
        yield f"security-group/{group}", "SecurityGroupIds" in own or "NetworkInterfaces" in own
    if launch.version is not None:
        yield f"launch-template/{launch.version.template_id}", False
    if launch.spot:
        yield "spot-instances-request/*", False


def _default_subnet(zone: str, account: Account) -> str:
    pools = account.plane.ec2.pools
    return pools.subnet_of(zone or f"{account.plane.region}a").id


def _launch_context(launch: Launch, account: Account, *, own: bool) -> dict[str, Any]:
    context = {
        "ec2:InstanceType": str(launch.data.get("InstanceType", "")),
        "ec2:InstanceMarketType": "spot" if launch.spot else "on-demand",
        "ec2:MetadataHttpTokens": launch.data.get("MetadataOptions", {}).get("HttpTokens", "optional"),
    }
    if launch.version is not None:
        context["ec2:LaunchTemplate"] = account.arn(f"launch-template/{launch.version.template_id}")
        context["ec2:IsLaunchTemplateResource"] = str(not own).lower()
    return context


def _template_id(named: Params, account: Account) -> str:
    version = _resolve(named, account)
    return version.template_id if version is not None else str(named.get("LaunchTemplateId", "*"))


def _resolve(named: Params, account: Account) -> Version | None:
    """None for one that does not exist: EC2 will say so, to who may launch from it."""
    wanted = {key: named[key] for key in ("LaunchTemplateId", "LaunchTemplateName", "Version") if key in named}
    try:
        return account.plane.ec2.templates.resolve(wanted)
    except AwsError:
        return None
