"""What there is to launch: instance types, zones and subnets, and how much of each pool at which price.

A pool is instance type x availability zone x market. Each has a capacity (none set: endless) and a price; launches take
from it. What EC2 takes back by interrupting does not return to the pool, since another customer has it now; what its
owner ends does. Quotas count vCPUs per market, and a dead spot instance counts for a while longer.

Spot prices are a series of changes, each from its moment on; those to come are not shown before they hold. How pools
open and close by themselves is in `weather`.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf

from spotrelay.local.clock import Clock
from spotrelay.local.wire import AwsError

# As others measured it: "spot quota takes some time to reflect after instance termination".
QUOTA_LAG_S = 60.0


class Market(StrEnum):
    SPOT = "spot"
    ON_DEMAND = "on-demand"


@dataclass(frozen=True, slots=True)
class InstanceType:
    """`hourly`: on-demand Linux in us-east-1, dollars. `zones`: letters of the zones that offer it."""

    name: str
    vcpus: int
    memory_mib: int
    hourly: float
    architecture: str = "x86_64"
    zones: str = "abcdf"


# A few of each kind, with true sizes and prices. us-east-1e offers no current type, as everybody finds out once; which
# letters lack the large GPUs differs from account to account.
TYPES = (
    InstanceType("t3.micro", 2, 1_024, 0.0104),
    InstanceType("t3.medium", 2, 4_096, 0.0416),
    InstanceType("m4.large", 2, 8_192, 0.1, zones="abcdef"),
    InstanceType("m5.large", 2, 8_192, 0.096),
    InstanceType("m5.xlarge", 4, 16_384, 0.192),
    InstanceType("m6i.large", 2, 8_192, 0.096),
    InstanceType("m6i.xlarge", 4, 16_384, 0.192),
    InstanceType("m7i.large", 2, 8_192, 0.1008),
    InstanceType("c5.large", 2, 4_096, 0.085),
    InstanceType("c5.xlarge", 4, 8_192, 0.17),
    InstanceType("c6i.large", 2, 4_096, 0.085),
    InstanceType("c6i.xlarge", 4, 8_192, 0.17),
    InstanceType("r5.large", 2, 16_384, 0.126),
    InstanceType("m7g.large", 2, 8_192, 0.0816, "arm64"),
    InstanceType("c7g.large", 2, 4_096, 0.0725, "arm64"),
    InstanceType("g4dn.xlarge", 4, 16_384, 0.526),
    InstanceType("g5.xlarge", 4, 16_384, 1.006),
    InstanceType("g6.xlarge", 4, 16_384, 0.8048, zones="abcd"),
    InstanceType("p4d.24xlarge", 96, 1_179_648, 21.9576, zones="bcd"),
)
ZONE_LETTERS = "abcdef"


@dataclass(frozen=True, slots=True)
class Pool:
    type: str
    zone: str
    market: Market


@dataclass(frozen=True, slots=True)
class Subnet:
    """The default VPC has one in each zone."""

    id: str
    zone: str
    cidr: str


class Pools:
    """`quota`: vCPUs that may run at once, by market; none: endless."""

    vpc = "vpc-0a1b2c3d4e5f60718"

    def __init__(self, clock: Clock, region: str) -> None:
        self.region = region
        self.types = {kind.name: kind for kind in TYPES}
        self.zones = [f"{region}{letter}" for letter in ZONE_LETTERS]
        self.subnets = [
            Subnet(f"subnet-0a1b2c3d4e5f6071{letter}", f"{region}{letter}", f"172.31.{16 * number}.0/20")
            for number, letter in enumerate(ZONE_LETTERS)
        ]
        self.quota: dict[Market, int] = {}
        self._clock = clock
        self._since = clock.now()
        self._capacity: dict[Pool, int] = {}
        self._prices: dict[tuple[str, str], list[tuple[float, float]]] = {}
        self._vcpus = dict.fromkeys(Market, 0)
        # A heap by the moment when they stop to count against the quota.
        self._leaving: list[tuple[float, Market, int]] = []

    # ---- what tests set

    def set_capacity(self, kind: str, zone: str, count: int | None, market: Market = Market.SPOT) -> None:
        """How many more instances the pool can start; None: endless."""
        if count is None:
            self._capacity.pop(Pool(kind, zone, market), None)
        else:
            self._capacity[Pool(kind, zone, market)] = count

    def capacity(self, pool: Pool) -> int | None:
        """How many more it can start; None: endless."""
        return self._capacity.get(pool)

    def drain(self, *, market: Market | None = None) -> None:
        """No capacity anywhere (in this market)."""
        for each in Market if market is None else (market,):
            for kind in self.types.values():
                for zone in self.zones_of(kind.name):
                    self.set_capacity(kind.name, zone, 0, each)

    def set_spot_price(self, kind: str, zone: str, dollars: float) -> None:
        """From now on, whatever had been set for later."""
        now = self._clock.now()
        held = [change for change in self._series(kind, zone) if change[0] <= now]
        self._prices[kind, zone] = [*held, (now, dollars)]

    def set_spot_prices(self, kind: str, zone: str, changes: Sequence[tuple[float, float]]) -> None:
        """The whole series, past and to come: (unix seconds, dollars) from which moment each holds."""
        if not changes:
            raise ValueError("a series of prices has at least one")
        self._prices[kind, zone] = sorted(changes)

    # ---- what is so

    def zones_of(self, kind: str) -> list[str]:
        return [f"{self.region}{letter}" for letter in self.types[kind].zones] if kind in self.types else []

    def zone_of_subnet(self, identity: str) -> str:
        """Raises AwsError."""
        for subnet in self.subnets:
            if subnet.id == identity:
                return subnet.zone
        raise AwsError("InvalidSubnetID.NotFound", f"The subnet ID '{identity}' does not exist")

    def subnet_of(self, zone: str) -> Subnet:
        return next(subnet for subnet in self.subnets if subnet.zone == zone)

    def spot_prices(self, kind: str, zone: str) -> list[tuple[float, float]]:
        """(unix seconds, dollars) of each change until now, oldest first."""
        series = self._series(kind, zone)
        return series[: bisect_right(series, (self._clock.now(), inf))]

    def _series(self, kind: str, zone: str) -> list[tuple[float, float]]:
        """At first one price: 30 % of on-demand, and 2 % more a zone."""
        if (kind, zone) not in self._prices:
            share = 0.30 + 0.02 * self.zones.index(zone)
            self._prices[kind, zone] = [(self._since, round(self.types[kind].hourly * share, 6))]
        return self._prices[kind, zone]

    def price(self, pool: Pool) -> float:
        """Dollars an hour, now."""
        if pool.market is Market.ON_DEMAND:
            return self.types[pool.type].hourly
        series = self._series(pool.type, pool.zone)
        # Before a series begins its first price holds: a pool without a price could not be launched in.
        return series[max(0, bisect_right(series, (self._clock.now(), inf)) - 1)][1]

    # ---- taking and giving back

    def take(self, pool: Pool, least: int, most: int, max_price: float | None = None) -> int:
        """How many instances start, at least `least`. Raises the AwsError that EC2 would answer with."""
        self._check_offered(pool)
        self._check_price(pool, max_price)
        permitted = self._quota_room(pool)
        if permitted < least:
            raise _quota_exceeded(pool.market, self.quota[pool.market])
        room = self._capacity.get(pool, most)
        if room < least:
            raise self.no_more(pool)
        count = int(min(most, room, permitted))
        if pool in self._capacity:
            self._capacity[pool] -= count
        self._vcpus[pool.market] += count * self.types[pool.type].vcpus
        return count

    def no_more(self, pool: Pool) -> AwsError:
        """What EC2 says when a pool gave less than it was asked for, or nothing."""
        if self._quota_room(pool) < 1:
            return _quota_exceeded(pool.market, self.quota[pool.market])
        return AwsError("InsufficientInstanceCapacity", _no_capacity(pool), 500)

    def give_back(self, pool: Pool, *, reclaimed: bool) -> None:
        """One instance ended. `reclaimed`: EC2 took it for somebody else."""
        if pool in self._capacity and not reclaimed:
            self._capacity[pool] += 1
        lag = QUOTA_LAG_S if pool.market is Market.SPOT else 0.0
        heapq.heappush(self._leaving, (self._clock.now() + lag, pool.market, self.types[pool.type].vcpus))

    def _check_offered(self, pool: Pool) -> None:
        if pool.type not in self.types:
            raise AwsError("InvalidParameterValue", f"Invalid value '{pool.type}' for InstanceType.")
        if pool.zone not in self.zones:
            raise AwsError("InvalidParameterValue", f"Invalid availability zone: [{pool.zone}]")
        if pool.zone not in self.zones_of(pool.type):
            raise AwsError(
                "Unsupported",
                f"Your requested instance type ({pool.type}) is not supported in your requested "
                f"Availability Zone ({pool.zone}).",
            )

    def _check_price(self, pool: Pool, max_price: float | None) -> None:
        price = self.price(pool)
        if max_price is not None and max_price < price:
            raise AwsError(
                "SpotMaxPriceTooLow",
                f"Your Spot request price of {max_price} is lower than the minimum required "
                f"Spot request fulfillment price of {price}.",
            )

    def _quota_room(self, pool: Pool) -> float:
        """How many more of this type the quota admits."""
        now = self._clock.now()
        while self._leaving and self._leaving[0][0] <= now:
            _, market, vcpus = heapq.heappop(self._leaving)
            self._vcpus[market] -= vcpus
        quota = self.quota.get(pool.market, inf)
        return (quota - self._vcpus[pool.market]) // self.types[pool.type].vcpus


def _quota_exceeded(market: Market, quota: int) -> AwsError:
    if market is Market.SPOT:
        return AwsError("MaxSpotInstanceCountExceeded", "Max spot instance count exceeded")
    return AwsError(
        "VcpuLimitExceeded",
        f"You have requested more vCPU capacity than your current vCPU limit of {quota} allows for the instance "
        "bucket that the specified instance type belongs to. "
        "Please visit http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit.",
    )


def _no_capacity(pool: Pool) -> str:
    return (
        f"We currently do not have sufficient {pool.type} capacity in the Availability Zone you requested "
        f"({pool.zone}). Our system will be working on provisioning additional capacity."
    )
