"""The Price List service, as far as it tells what an instance costs on demand: GetProducts of AmazonEC2.

An answer is a list of *texts*, each a JSON document of one product with its terms:

    {"product": {"sku", "productFamily", "attributes": {"instanceType", "regionCode", "operatingSystem", …}},
     "serviceCode", "version", "publicationDate",
     "terms": {"OnDemand": {"<sku>.JRTCKXETXF": {"sku", "offerTermCode", "effectiveDate", "termAttributes",
        "priceDimensions": {"<sku>.JRTCKXETXF.6YS6EN2CT7": {"rateCode", "unit", "beginRange", "endRange", "appliesTo",
           "description", "pricePerUnit": {"USD": "0.0960000000"}}}}}}}

An instance type is not one product but hundreds. Four are here: Linux, the same with Windows, and Linux in a capacity
reservation, used (at nothing) and unused. So a client that forgets `capacitystatus` or `operatingSystem` finds several
and may take the wrong one, which it would in AWS. A type that is not known is no error: the list is empty.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from spotrelay.local.clock import Clock
from spotrelay.local.listings import position, token
from spotrelay.local.orders import refuse_others
from spotrelay.local.pools import InstanceType, Pools
from spotrelay.local.wire import AwsError

ON_DEMAND, PER_HOUR = "JRTCKXETXF", "6YS6EN2CT7"
LARGEST_PAGE = 100
# Dollars per vCPU and hour for the license, on the types of `pools`.
WINDOWS = 0.046
LOCATIONS = {"eu-central-1": "EU (Frankfurt)", "us-east-1": "US East (N. Virginia)", "us-west-2": "US West (Oregon)"}


class Pricing:
    def __init__(self, clock: Clock, pools: Pools) -> None:
        self._clock, self._pools = clock, pools

    def call(self, action: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Raises AwsError."""
        if action != "GetProducts":
            raise AwsError("InvalidParameterException", f"The local cloud does not do {action}.")
        return self.get_products(params)

    def get_products(self, params: Mapping[str, Any]) -> dict[str, Any]:
        refuse_others(params, {"Filters", "FormatVersion", "MaxResults", "NextToken", "ServiceCode"}, "GetProducts")
        if params["ServiceCode"] != "AmazonEC2":
            raise AwsError("InvalidParameterException", "The local cloud has the prices of AmazonEC2 only.")
        filters = [_filter(each) for each in params.get("Filters", ())]
        texts = [
            json.dumps(product)
            for kind in self._pools.types.values()
            for product in self._products(kind)
            if all(product["product"]["attributes"].get(field) == value for field, value in filters)
        ]
        start, size = position(params), params.get("MaxResults", LARGEST_PAGE)
        if not 1 <= size <= LARGEST_PAGE:
            raise AwsError("InvalidParameterException", f"MaxResults is between 1 and {LARGEST_PAGE}.")
        return {"FormatVersion": "aws_v1", "PriceList": texts[start : start + size], **_more(start + size, texts)}

    def _products(self, kind: InstanceType) -> Iterator[dict[str, Any]]:
        # The one that is nearly always meant comes last: whoever takes the first of several shall see it.
        for system, capacity, dollars in (
            ("Linux", "AllocatedCapacityReservation", 0.0),
            ("Linux", "UnusedCapacityReservation", kind.hourly),
            ("Windows", "Used", kind.hourly + WINDOWS * kind.vcpus),
            ("Linux", "Used", kind.hourly),
        ):
            yield self._product(kind, system, capacity, dollars)

    def _product(self, kind: InstanceType, system: str, capacity: str, dollars: float) -> dict[str, Any]:
        seed = f"{self._pools.region} {kind.name} {system} {capacity}"
        sku = hashlib.sha256(seed.encode()).hexdigest()[:16].upper()
        today = datetime.fromtimestamp(self._clock.now(), UTC)
        return {
            "product": {
                "productFamily": "Compute Instance",
                "attributes": self._attributes(kind, system, capacity),
                "sku": sku,
            },
            "serviceCode": "AmazonEC2",
            "terms": {
                "OnDemand": {f"{sku}.{ON_DEMAND}": _term(sku, dollars, _described(kind, system, capacity, dollars))}
            },
            "version": f"{today:%Y%m%d%H%M%S}",
            "publicationDate": f"{today:%Y-%m-%dT%H:%M:%SZ}",
        }

    def _attributes(self, kind: InstanceType, system: str, capacity: str) -> dict[str, str]:
        region = self._pools.region
        return {
            "capacitystatus": capacity,
            "currentGeneration": "Yes",
            "instanceType": kind.name,
            "licenseModel": "No License required",
            "location": LOCATIONS.get(region, region),
            "locationType": "AWS Region",
            "marketoption": "OnDemand",
            "memory": f"{kind.memory_mib / 1024:g} GiB",
            "operatingSystem": system,
            "operation": "RunInstances" if system == "Linux" else "RunInstances:0002",
            "preInstalledSw": "NA",
            "processorArchitecture": "64-bit",
            "regionCode": region,
            "servicecode": "AmazonEC2",
            "servicename": "Amazon Elastic Compute Cloud",
            "tenancy": "Shared",
            "vcpu": str(kind.vcpus),
        }


def _term(sku: str, dollars: float, described: str) -> dict[str, Any]:
    rate = f"{sku}.{ON_DEMAND}.{PER_HOUR}"
    return {
        "priceDimensions": {
            rate: {
                "unit": "Hrs",
                "endRange": "Inf",
                "description": described,
                "appliesTo": [],
                "rateCode": rate,
                "beginRange": "0",
                "pricePerUnit": {"USD": f"{dollars:.10f}"},
            }
        },
        "sku": sku,
        "effectiveDate": "2026-01-01T00:00:00Z",
        "offerTermCode": ON_DEMAND,
        "termAttributes": {},
    }


def _described(kind: InstanceType, system: str, capacity: str, dollars: float) -> str:
    what = {"Used": f"On Demand {system}", "UnusedCapacityReservation": f"Unused Reservation {system}"}
    return f"${dollars:g} per {what.get(capacity, f'{system} Reservation')} {kind.name} Instance Hour"


def _filter(given: Mapping[str, str]) -> tuple[str, str]:
    if given["Type"] != "TERM_MATCH":
        raise AwsError("InvalidParameterException", f"The local cloud does not do filters of type {given['Type']}.")
    # The one field that is not an attribute's name.
    return ("servicecode" if given["Field"] == "ServiceCode" else given["Field"]), given["Value"]


def _more(end: int, texts: list[str]) -> dict[str, str]:
    return {"NextToken": token(end)} if end < len(texts) else {}
