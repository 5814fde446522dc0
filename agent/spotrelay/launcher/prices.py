"""What an instance cost: spot, the price over time of its pool (DescribeSpotPriceHistory); on demand, the list price.

1. A pool's history is asked for once and kept for ten minutes: a storm of thousands of runs meets some dozen pools.
2. A list price (GetProducts, a second and 50 kB an answer) is kept for a month, in the bucket, for all launchers.
3. A spot pool without a history costs what its type costs on demand: EC2 charges no more than that for spot.
4. Nothing here fails: what cannot be had is a Bill without dollars, or one that is not final. A service that did not
   answer is left alone for a minute, so that the hunt does not wait for it with every run.
"""

from __future__ import annotations

import itertools
import json
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import boto3
import botocore.exceptions
from botocore.config import Config

from spotrelay.core import keys, records
from spotrelay.core.errors import StoreError
from spotrelay.launcher.ledger import Bill
from spotrelay.launcher.objects import Objects

# Money is worth no waiting: what does not answer at once is asked again when the next attempt ends.
CONFIG = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 2})
# The price list is served in a few regions, for all regions.
PRICING_REGION = "us-east-1"
# Spot prices change a few times a day.
FRESH_S = 600.0
# What is asked for at least, so that runs that began at other times find it there.
SPAN_S = 12 * 3600.0
AGAIN_S = 60.0
LIST_AGAIN_S = 3600.0
LIST_GOOD_S = 30 * 86_400.0

# Each narrows hundreds of products of one type down to the one that is meant. Without `capacitystatus` a reservation's
# hour, which costs nothing, would be among the answers.
LINUX = {
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "preInstalledSw": "NA",
    "capacitystatus": "Used",
    "marketoption": "OnDemand",
}
_ERRORS = (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError)

Change = tuple[float, float]  # from this moment on, dollars an hour


@dataclass(frozen=True, slots=True)
class _History:
    changes: tuple[Change, ...]
    since: float
    until: float


@dataclass(frozen=True, slots=True)
class _Listed:
    """`hourly`: None where it is not known. `good_until`: when to ask again."""

    hourly: float | None
    good_until: float
    final: bool = True


def open_prices(objects: Objects, region: str, *, log: Callable[..., None], now: Callable[[], float]) -> Prices:
    return Prices(
        boto3.client("ec2", region_name=region, config=CONFIG),
        boto3.client("pricing", region_name=PRICING_REGION, config=CONFIG),
        objects,
        region,
        log=log,
        now=now,
    )


class Prices:
    """`ledger.Prices`. Used by many threads at once."""

    def __init__(
        self,
        ec2: Any,
        pricing: Any,
        objects: Objects,
        region: str,
        *,
        log: Callable[..., None],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._ec2, self._pricing, self._objects, self._region = ec2, pricing, objects, region
        self._log, self._now = log, now
        self._histories: dict[tuple[str, str], _History] = {}
        self._listed: dict[str, _Listed] = {}
        self._silent_until: dict[str, float] = {}
        self._locks: dict[str, threading.Lock] = {}

    def close(self) -> None:
        self._ec2.close()
        self._pricing.close()

    def bill(self, market: str, instance_type: str, zone: str, start: float, end: float) -> Bill:
        final = True
        if market == "spot" and instance_type and zone:
            history = self._history(instance_type, zone, start, end)
            if history is not None and history.changes:
                return Bill(_integral(history.changes, start, end))
            final = history is not None
        listed = self._on_demand(instance_type)
        dollars = None if listed.hourly is None else listed.hourly * (end - start) / 3600
        return Bill(dollars, final and listed.final)

    def listed(self, instance_type: str) -> float | None:
        return self._on_demand(instance_type).hourly

    # --- spot

    def _history(self, instance_type: str, zone: str, start: float, end: float) -> _History | None:
        """None: it cannot be had at the moment."""
        pool = (instance_type, zone)
        with self._lock(f"{instance_type}@{zone}"):
            known = self._histories.get(pool)
            # `end` may lie ahead (a machine that EC2 will take in a minute): until then the last price holds.
            if known is not None and known.since <= start and known.until >= min(end, self._now()) - FRESH_S:
                return known
            if self._silent("spot"):
                return None
            now = self._now()
            since = min(start, now - SPAN_S, known.since if known is not None else math.inf)
            try:
                found = _History(tuple(sorted(self._changes(instance_type, zone, since, now))), since, now)
            except _ERRORS as error:
                self._unanswered("spot", instance_type, error)
                return None
            self._histories[pool] = found
            return found

    def _changes(self, instance_type: str, zone: str, since: float, until: float) -> Iterator[Change]:
        """EC2 tells every change in that time, and the one before it that still held."""
        pages = self._ec2.get_paginator("describe_spot_price_history").paginate(
            InstanceTypes=[instance_type],
            AvailabilityZone=zone,
            ProductDescriptions=["Linux/UNIX"],
            StartTime=datetime.fromtimestamp(since, UTC),
            EndTime=datetime.fromtimestamp(until, UTC),
        )
        for page in pages:
            for row in page["SpotPriceHistory"]:
                yield row["Timestamp"].timestamp(), float(row["SpotPrice"])

    # --- on demand

    def _on_demand(self, instance_type: str) -> _Listed:
        if not instance_type:
            return _Listed(None, math.inf)
        with self._lock(instance_type):
            known = self._listed.get(instance_type)
            if known is None or self._now() >= known.good_until:
                known = self._listed[instance_type] = self._look_up(instance_type)
            return known

    def _look_up(self, instance_type: str) -> _Listed:
        now, stored = self._now(), self._stored(instance_type)
        if stored is not None and now < stored.at + LIST_GOOD_S:
            return _Listed(stored.hourly, stored.at + LIST_GOOD_S)
        hourly = None if self._silent("pricing") else self._ask(instance_type)
        if hourly is None:  # no answer: last month's price is nearer to the truth than none
            return _Listed(stored.hourly if stored is not None else None, now + AGAIN_S, final=stored is not None)
        if not hourly:
            self._log("price.unlisted", type=instance_type, region=self._region)
            return _Listed(None, now + LIST_AGAIN_S)
        # Several would be a surprise; then the highest, since a limit in dollars must hold.
        price = records.Price(max(hourly), now)
        self._store(instance_type, price)
        return _Listed(price.hourly, now + LIST_GOOD_S)

    def _ask(self, instance_type: str) -> list[float] | None:
        fields = {**LINUX, "instanceType": instance_type, "regionCode": self._region}
        filters = [{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in fields.items()]
        try:
            answer = self._pricing.get_products(ServiceCode="AmazonEC2", Filters=filters)
        except _ERRORS as error:
            self._unanswered("pricing", instance_type, error)
            return None
        return list(_hourly(answer.get("PriceList", ())))

    def _stored(self, instance_type: str) -> records.Price | None:
        key = keys.price(self._region, instance_type)
        try:
            data = self._objects.get(key)
            return None if data is None else records.decode(records.Price, data, key=key)
        except StoreError as error:  # denied, away or damaged: it is only a copy
            self._log("price.unread", error=str(error))
            return None

    def _store(self, instance_type: str, price: records.Price) -> None:
        try:
            self._objects.put(keys.price(self._region, instance_type), records.encode(price))
        except StoreError as error:
            self._log("price.unstored", error=str(error))

    # --- what does not answer

    def _silent(self, service: str) -> bool:
        return self._now() < self._silent_until.get(service, 0.0)

    def _unanswered(self, service: str, instance_type: str, error: Exception) -> None:
        self._silent_until[service] = self._now() + AGAIN_S
        self._log("price.unknown", service=service, type=instance_type, error=str(error))

    def _lock(self, what: str) -> threading.Lock:
        """One thread asks, the others wait for its answer."""
        return self._locks.setdefault(what, threading.Lock())


def _integral(changes: Sequence[Change], start: float, end: float) -> float:
    """Dollars from `start` to `end`. Before the first change its price is taken: EC2 keeps 90 days."""
    stretches = itertools.pairwise([(-math.inf, changes[0][1]), *changes[1:], (math.inf, 0.0)])
    return sum(max(0.0, min(until, end) - max(since, start)) * price for (since, price), (until, _) in stretches) / 3600


def _hourly(products: Iterable[str]) -> Iterator[float]:
    """The prices in an answer of GetProducts, whose products are JSON in text. What cannot be read is left out."""
    for text in products:
        try:
            terms = json.loads(text)["terms"]["OnDemand"].values()
            rates = [rate for term in terms for rate in term["priceDimensions"].values()]
            found = [float(rate["pricePerUnit"]["USD"]) for rate in rates if rate["unit"] == "Hrs"]
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        yield from (dollars for dollars in found if 0 < dollars < math.inf)
