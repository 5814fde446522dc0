"""The Describe calls about what could be launched: zones, subnets, instance types by place, and spot prices."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from datetime import datetime
from math import inf
from typing import Any

from spotrelay.local.clock import Clock
from spotrelay.local.listings import Field, Wanted, page, select
from spotrelay.local.pools import Pools
from spotrelay.local.wire import AwsError

Params = Mapping[str, Any]
Result = dict[str, Any]
# What all pools sell.
PRODUCT = "Linux/UNIX"

PRICE_FIELDS: Mapping[str, Field] = {
    "availability-zone": lambda row: [row["AvailabilityZone"]],
    "instance-type": lambda row: [row["InstanceType"]],
    "product-description": lambda row: [row["ProductDescription"]],
}
OFFERING_FIELDS: Mapping[str, Field] = {
    "instance-type": lambda row: [row["InstanceType"]],
    "location": lambda row: [row["Location"]],
}
SUBNET_FIELDS: Mapping[str, Field] = {
    "availability-zone": lambda row: [row["AvailabilityZone"]],
    "default-for-az": lambda row: ["true"],
    "state": lambda row: [row["State"]],
    "subnet-id": lambda row: [row["SubnetId"]],
    "vpc-id": lambda row: [row["VpcId"]],
}
ZONE_FIELDS: Mapping[str, Field] = {
    "region-name": lambda row: [row["RegionName"]],
    "state": lambda row: [row["State"]],
    "zone-name": lambda row: [row["ZoneName"]],
}


class Catalogue:
    def __init__(self, clock: Clock, pools: Pools, account: str) -> None:
        self._clock, self._pools, self._account = clock, pools, account

    def availability_zones(self, params: Params) -> Result:
        zones = params.get("ZoneNames") or self._pools.zones
        if unknown := sorted(set(zones) - set(self._pools.zones)):
            raise AwsError("InvalidParameterValue", f"Invalid availability zone: [{unknown[0]}]")
        common = {"RegionName": self._pools.region, "State": "available", "ZoneType": "availability-zone"}
        rows = [{"ZoneName": zone, **common} for zone in zones]
        return {"AvailabilityZones": select(rows, params.get("Filters", ()), ZONE_FIELDS)}

    def subnets(self, params: Params) -> Result:
        wanted = params.get("SubnetIds") or [subnet.id for subnet in self._pools.subnets]
        for identity in wanted:
            self._pools.zone_of_subnet(identity)
        common = {"VpcId": self._pools.vpc, "OwnerId": self._account, "State": "available"}
        public = {"DefaultForAz": True, "MapPublicIpOnLaunch": True}
        rows = [
            {"SubnetId": each.id, "AvailabilityZone": each.zone, "CidrBlock": each.cidr, **common, **public}
            for each in self._pools.subnets
            if each.id in wanted
        ]
        shown, more = page(select(rows, params.get("Filters", ()), SUBNET_FIELDS, lambda row: {}), params)
        return {"Subnets": shown, **more}

    def instance_type_offerings(self, params: Params) -> Result:
        by = params.get("LocationType", "region")
        if by not in ("region", "availability-zone"):
            raise AwsError("UnsupportedOperation", f"The local cloud does not do the location type {by}.")
        rows = [
            {"InstanceType": kind, "Location": place, "LocationType": by}
            for kind in self._pools.types
            for place in (self._pools.zones_of(kind) if by == "availability-zone" else [self._pools.region])
        ]
        shown, more = page(select(rows, params.get("Filters", ()), OFFERING_FIELDS), params)
        return {"InstanceTypeOfferings": shown, **more}

    def spot_price_history(self, params: Params) -> Result:
        """Every change from `StartTime` to `EndTime`, and the price that held at the start; newest first."""
        since = _unix(params.get("StartTime"), 0.0)
        until = min(_unix(params.get("EndTime"), self._clock.now()), self._clock.now())
        filters = list(params.get("Filters", ()))
        for parameter, name in (("ProductDescriptions", "product-description"), ("InstanceTypes", "instance-type")):
            if parameter in params:
                filters.append({"Name": name, "Values": params[parameter]})
        if "AvailabilityZone" in params:
            filters.append({"Name": "availability-zone", "Values": [params["AvailabilityZone"]]})
        wanted = Wanted(filters, PRICE_FIELDS)
        # A pool's rows pass or fail together, so one of them is asked.
        pools = [(kind, zone) for kind in self._pools.types for zone in self._pools.zones_of(kind)]
        rows = [
            _price(kind, zone, *change)
            for kind, zone in pools
            if wanted.passes(_price(kind, zone, 0.0, 0.0))
            for change in _between(self._pools.spot_prices(kind, zone), since, until)
        ]
        rows.sort(key=lambda row: -row["Timestamp"])
        shown, more = page(rows, params, least=1)
        return {"SpotPriceHistory": shown, **more}


def _between(changes: list[tuple[float, float]], since: float, until: float) -> list[tuple[float, float]]:
    first = max(0, bisect_right(changes, (since, inf)) - 1)
    return changes[first : bisect_right(changes, (until, inf))]


def _price(kind: str, zone: str, at: float, dollars: float) -> Result:
    return {
        "Timestamp": at,
        "InstanceType": kind,
        "AvailabilityZone": zone,
        "ProductDescription": PRODUCT,
        "SpotPrice": f"{dollars:.6f}",
    }


def _unix(moment: datetime | None, otherwise: float) -> float:
    return moment.timestamp() if moment is not None else otherwise
