"""What one instance is to be: the merged parameters of a launch, checked and given types.

A parameter that the local cloud does not act on and that would change what a test sees is refused by name. A fake that
ignores what it does not know says yes to everything, and a test that passes on it proves nothing.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from spotrelay.local.pools import Market, Pools
from spotrelay.local.tags import check_all, tags_for
from spotrelay.local.wire import AwsError

# Acted on.
DONE = {
    "IamInstanceProfile",
    "ImageId",
    "InstanceInitiatedShutdownBehavior",
    "InstanceMarketOptions",
    "InstanceType",
    "MetadataOptions",
    "NetworkInterfaces",
    "Placement",
    "SubnetId",
    "TagSpecifications",
    "UserData",
}
# Accepted: there is no network, disk or console here that they could change.
IDLE = {"BlockDeviceMappings", "CreditSpecification", "EbsOptimized", "KeyName", "Monitoring", "SecurityGroupIds"}
LAUNCH_DATA = DONE | IDLE
LARGEST_USER_DATA = 16_384
IMAGE = re.compile(r"ami-[0-9a-f]{8,17}|resolve:ssm:[\w./:-]+")


@dataclass(frozen=True, slots=True)
class Order:
    """`zone`: "" when EC2 may choose. `max_price`: None for the on-demand price. `spot_tags`: the spot request's."""

    image: str
    type: str
    zone: str
    subnet: str
    market: Market
    max_price: float | None
    user_data: bytes
    tags: dict[str, str]
    spot_tags: dict[str, str]
    profile_arn: str
    metadata_options: Mapping[str, Any]
    shutdown_behavior: str


def refuse_others(params: Mapping[str, Any], known: Collection[str], what: str) -> None:
    """Raises AwsError, naming the parameters that are not done here."""
    if others := sorted(set(params) - set(known)):
        raise AwsError("UnsupportedOperation", f"The local cloud does not do {what} with {', '.join(others)}.")


def order(data: Mapping[str, Any], pools: Pools, account: str) -> Order:
    """Raises AwsError for what EC2 refuses before it looks for capacity."""
    for name in ("ImageId", "InstanceType"):
        if name not in data:
            raise AwsError("MissingParameter", f"The request must contain the parameter {name}")
    if not IMAGE.fullmatch(data["ImageId"]):
        raise AwsError("InvalidAMIID.Malformed", f'Invalid id: "{data["ImageId"]}" (expecting "ami-...")')
    market, max_price = _market(data.get("InstanceMarketOptions", {}))
    zone, subnet = _place(data, pools)
    return Order(
        image=data["ImageId"],
        type=data["InstanceType"],
        zone=zone,
        subnet=subnet,
        market=market,
        max_price=max_price,
        user_data=_user_data(data.get("UserData", "")),
        tags=_tags(data, market),
        spot_tags=tags_for("spot-instances-request", data.get("TagSpecifications", ())),
        profile_arn=_profile_arn(data.get("IamInstanceProfile", {}), account),
        metadata_options=_metadata_options(data),
        shutdown_behavior=data.get("InstanceInitiatedShutdownBehavior", "stop"),
    )


def _market(options: Mapping[str, Any]) -> tuple[Market, float | None]:
    refuse_others(options, {"MarketType", "SpotOptions"}, "InstanceMarketOptions")
    if options and options.get("MarketType") != "spot":
        raise AwsError("InvalidParameterValue", f"Invalid MarketType: {options.get('MarketType')}")
    spot = options.get("SpotOptions", {})
    refuse_others(spot, {"InstanceInterruptionBehavior", "MaxPrice", "SpotInstanceType"}, "SpotOptions")
    if spot.get("SpotInstanceType", "one-time") != "one-time":
        raise AwsError("UnsupportedOperation", "The local cloud has one-time Spot Instance requests only.")
    if spot.get("InstanceInterruptionBehavior", "terminate") != "terminate":
        raise AwsError(
            "InvalidParameterCombination",
            "The request with type 'one-time' does not support InstanceInterruptionBehavior other than 'terminate'.",
        )
    return Market.SPOT if options else Market.ON_DEMAND, float(spot["MaxPrice"]) if "MaxPrice" in spot else None


def _place(data: Mapping[str, Any], pools: Pools) -> tuple[str, str]:
    interfaces = data.get("NetworkInterfaces") or [{}]
    subnet = data.get("SubnetId") or interfaces[0].get("SubnetId", "")
    if subnet:
        return pools.zone_of_subnet(subnet), subnet
    placement = data.get("Placement", {})
    refuse_others(placement, {"AvailabilityZone", "Tenancy"}, "Placement")
    return placement.get("AvailabilityZone", ""), ""


def _user_data(encoded: str) -> bytes:
    try:
        data = b64decode(encoded, validate=True)
    except NotBase64:
        raise AwsError("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data.") from None
    if len(data) > LARGEST_USER_DATA:
        raise AwsError("InvalidParameterValue", f"User data is limited to {LARGEST_USER_DATA} bytes")
    return data


def _tags(data: Mapping[str, Any], market: Market) -> dict[str, str]:
    specifications = data.get("TagSpecifications", ())
    if market is Market.ON_DEMAND and tags_for("spot-instances-request", specifications):
        raise AwsError(
            "InvalidParameterValue",
            "You cannot specify tags for Spot instances requests if there are no Spot instances requests "
            "being created by the request.",
        )
    tags = tags_for("instance", specifications)
    check_all(tags, in_metadata=_metadata_options(data)["InstanceMetadataTags"] == "enabled")
    return tags


def _metadata_options(data: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "HttpEndpoint": "enabled",
        "HttpTokens": "optional",
        "HttpPutResponseHopLimit": 1,
        "InstanceMetadataTags": "disabled",
        **data.get("MetadataOptions", {}),
    }


def _profile_arn(profile: Mapping[str, str], account: str) -> str:
    if not profile:
        return ""
    return profile.get("Arn") or f"arn:aws:iam::{account}:instance-profile/{profile['Name']}"
