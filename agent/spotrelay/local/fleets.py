"""CreateFleet of type `instant`: try some pools, answer at once with what started and what did not.

1. HTTP 200 even if nothing started: then `Instances` is empty and `Errors` says why, pool by pool.
2. At most three pools are tried in a call, each with its own error. The rest come back as UnfulfillableCapacity
   whatever their state: it says "not tried", not "no capacity". (Others measured it on EC2 with six pools; so a client
   must rotate.)
3. `price-capacity-optimized` looks at prices only here. EC2 also weighs how much it believes is left, which it knows
   imperfectly; believing nothing is the harder case for a client. Pools that do not exist (the type is not offered in
   the zone) are tried first and use up a try: EC2 spends tries on them too.
4. The instances' ClientToken is EC2's own, not the request's: the filter `client-token` does not find them by it.
5. A pool that has fewer than asked for gives what it has, and says that it had no more (that it says so is assumed);
   the next one is asked for the rest. So instances and errors come in one answer.
6. The launches draw from RunInstances' resource bucket (see `throttle`). When it is empty, the fleet still answers 200:
   RequestLimitExceeded for the pool that was being tried, and no pool after it is. AWS ParallelCluster, which met it,
   tells those by the exact message below. The token is then spent on an empty answer. `throttled = "refuse"` makes it a
   503 for the whole call instead, which leaves the token free: nobody has seen it, and nothing rules it out.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from spotrelay.local.account import Account
from spotrelay.local.instances import State
from spotrelay.local.launch_templates import Version
from spotrelay.local.launches import Launches, Origin
from spotrelay.local.orders import Order, refuse_others
from spotrelay.local.pools import Market, Pool
from spotrelay.local.tokens import terminated
from spotrelay.local.wire import AwsError

TRIES = 3
PARAMS = {
    "ClientToken",
    "LaunchTemplateConfigs",
    "OnDemandOptions",
    "SpotOptions",
    "TagSpecifications",
    "TargetCapacitySpecification",
    "Type",
}
OVERRIDES = {"AvailabilityZone", "ImageId", "InstanceType", "MaxPrice", "Priority", "SubnetId"}
CAPACITY = {"DefaultTargetCapacityType", "OnDemandTargetCapacity", "SpotTargetCapacity", "TotalTargetCapacity"}
BY_PRICE = {"lowest-price", "price-capacity-optimized"}
BY_PRIORITY = {"capacity-optimized-prioritized", "prioritized"}
UNTRIED = AwsError(
    "UnfulfillableCapacity",
    "Unable to fulfill capacity due to your request configuration. Please adjust your request and try again.",
)
AFTER_THROTTLED = AwsError("UnfulfillableCapacity", "Failed to fulfill capacity. Please review errors in the response.")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One pool, and the override that named it."""

    pool: Pool
    order: Order
    version: Version
    override: Mapping[str, Any]

    def shown(self) -> dict[str, Any]:
        return {
            "LaunchTemplateAndOverrides": {
                "LaunchTemplateSpecification": {
                    "LaunchTemplateId": self.version.template_id,
                    "Version": str(self.version.number),
                },
                "Overrides": {"InstanceType": self.pool.type, **self.override},
            },
            "Lifecycle": self.pool.market.value,
        }


class Fleets:
    """`dead_token`: what is answered when every instance behind a token has terminated, see `tokens`. `throttled`: how
    an empty resource bucket is told, see above."""

    def __init__(self, account: Account, launches: Launches) -> None:
        self.dead_token: Literal["refuse", "instances"] = "instances"
        self.throttled: Literal["errors", "refuse"] = "errors"
        self._account, self._launches = account, launches
        self._pools = account.pools

    def create_fleet(self, params: Mapping[str, Any]) -> dict[str, Any]:
        _check(params)
        wanted = _wanted(params["TargetCapacitySpecification"])
        candidates = {market: self._candidates(params, market) for market, count in wanted.items() if count}
        use = self._account.tokens.find("CreateFleet", "", params, _names(candidates))
        if use.answer is None:
            if self.throttled == "refuse":
                self._account.throttle.check_resources("RunInstances", sum(wanted.values()))
            self._account.tokens.burn(use)
            use.answer = self._answer(params, wanted, candidates)
        elif self.dead_token == "refuse" and self._all_dead(use.answer):
            raise terminated()
        return use.answer

    def _all_dead(self, answer: Mapping[str, Any]) -> bool:
        started = [identity for each in answer["Instances"] for identity in each["InstanceIds"]]
        return bool(started) and all(self._account.instances.known(each).state is State.TERMINATED for each in started)

    def _answer(
        self, params: Mapping[str, Any], wanted: Mapping[Market, int], candidates: Mapping[Market, list[Candidate]]
    ) -> dict[str, Any]:
        identity = f"fleet-{uuid.UUID(int=self._account.rng.getrandbits(128), version=4)}"
        answer: dict[str, Any] = {"FleetId": identity, "Instances": [], "Errors": []}
        for market, each in candidates.items():
            strategy = _strategy(params, market)
            ordered = sorted(each, key=lambda candidate: self._rank(candidate, strategy))
            self._fill(answer, identity, ordered, wanted[market])
        return answer

    def _rank(self, candidate: Candidate, strategy: str) -> float:
        if strategy in BY_PRIORITY:
            return float(candidate.override.get("Priority", float("inf")))
        offered = candidate.pool.zone in self._pools.zones_of(candidate.pool.type)
        return self._pools.price(candidate.pool) if offered else 0.0

    def _fill(self, answer: dict[str, Any], fleet: str, candidates: list[Candidate], count: int) -> None:
        untried: AwsError | None = None
        for number, candidate in enumerate(candidates):
            if count == 0:
                return
            untried = untried or (UNTRIED if number == TRIES else None)
            started, refusal = ([], untried) if untried else self._try(fleet, candidate, count)
            if started:
                answer["Instances"].append(
                    candidate.shown() | {"InstanceIds": started, "InstanceType": candidate.pool.type}
                )
            if refusal is not None:
                answer["Errors"].append(candidate.shown() | _error(refusal))
                untried = AFTER_THROTTLED if refusal.code == "RequestLimitExceeded" else untried
            count -= len(started)

    def _try(self, fleet: str, candidate: Candidate, count: int) -> tuple[list[str], AwsError | None]:
        """What started, and why it was not more."""
        throttle, taken = self._account.throttle, 0
        try:
            throttle.resources("RunInstances", count)
        except AwsError as refusal:
            return [], refusal
        try:
            taken = self._pools.take(candidate.pool, 1, count, candidate.order.max_price)
        except AwsError as refusal:
            return [], refusal
        finally:
            throttle.give_back("RunInstances", count - taken)
        origin = Origin(f"{fleet}-0", candidate.version, fleet)
        started = self._launches.start(candidate.order, candidate.pool, taken, origin)
        return started, self._pools.no_more(candidate.pool) if taken < count else None

    # ---- which pools

    def _candidates(self, params: Mapping[str, Any], market: Market) -> list[Candidate]:
        found = []
        for config in params["LaunchTemplateConfigs"]:
            named = dict(config["LaunchTemplateSpecification"])
            user_data = named.pop("LaunchTemplateSpecificationUserData", None)
            version = self._account.templates.resolve(named)
            if "InstanceMarketOptions" in version.data:
                # EC2 documents that fleets do not support it; this code for the refusal is assumed.
                raise AwsError(
                    "InvalidParameterCombination", "A fleet's launch template cannot set InstanceMarketOptions."
                )
            own = {"TagSpecifications": params.get("TagSpecifications", [])}
            own |= {"UserData": user_data} if user_data is not None else {}
            for override in config.get("Overrides") or [{}]:
                found += self._of_override(version, own, override, market)
        return found

    def _of_override(
        self, version: Version, own: Mapping[str, Any], override: Mapping[str, Any], market: Market
    ) -> list[Candidate]:
        refuse_others(override, OVERRIDES, "Overrides")
        data = {**own, **{name: override[name] for name in ("ImageId", "InstanceType", "SubnetId") if name in override}}
        if "AvailabilityZone" in override:
            data["Placement"] = {"AvailabilityZone": override["AvailabilityZone"]}
        if market is Market.SPOT:
            data["InstanceMarketOptions"] = {"MarketType": "spot", "SpotOptions": _max_price(override)}
        order = self._launches.order(version, data)
        zones = [order.zone] if order.zone else self._pools.zones_of(order.type)
        return [
            Candidate(Pool(order.type, zone, market), replace(order, zone=zone), version, override) for zone in zones
        ]


def _check(params: Mapping[str, Any]) -> None:
    refuse_others(params, PARAMS | {"DryRun"}, "CreateFleet")
    if params.get("Type", "maintain") != "instant":
        raise AwsError("UnsupportedOperation", "The local cloud has fleets of type instant only.")
    refuse_others(params["TargetCapacitySpecification"], CAPACITY, "TargetCapacitySpecification")
    refuse_others(params.get("OnDemandOptions", {}), {"AllocationStrategy"}, "OnDemandOptions")
    spot = params.get("SpotOptions", {})
    refuse_others(spot, {"AllocationStrategy", "InstanceInterruptionBehavior"}, "SpotOptions")
    if spot.get("InstanceInterruptionBehavior", "terminate") != "terminate":
        raise AwsError(
            "InvalidParameterValue",
            'SpotOptions.InstanceInterruptionBehavior must be null or "terminate" for given fleet type.',
        )
    for specification in params.get("TagSpecifications", ()):
        if specification.get("ResourceType") not in ("fleet", "instance", "volume", "network-interface"):
            raise AwsError("InvalidParameterValue", f"{specification.get('ResourceType')} cannot be tagged by a fleet")


def _wanted(capacity: Mapping[str, Any]) -> dict[Market, int]:
    """How many of each market; what is not said is of the default one. On demand is launched first."""
    counts = {
        Market.ON_DEMAND: capacity.get("OnDemandTargetCapacity", 0),
        Market.SPOT: capacity.get("SpotTargetCapacity", 0),
    }
    rest = capacity["TotalTargetCapacity"] - sum(counts.values())
    if rest < 0 or capacity["TotalTargetCapacity"] < 1:
        raise AwsError("InvalidTargetCapacitySpecification", "Spot and On-Demand capacity exceed the total capacity.")
    counts[Market(capacity.get("DefaultTargetCapacityType", "on-demand"))] += rest
    return counts


def _strategy(params: Mapping[str, Any], market: Market) -> str:
    options = params.get("SpotOptions" if market is Market.SPOT else "OnDemandOptions", {})
    strategy = str(options.get("AllocationStrategy", "lowest-price"))
    if strategy not in BY_PRICE | BY_PRIORITY:
        raise AwsError("UnsupportedOperation", f"The local cloud does not do the allocation strategy {strategy}.")
    return strategy


def _max_price(override: Mapping[str, Any]) -> dict[str, str]:
    return {"MaxPrice": override["MaxPrice"]} if "MaxPrice" in override else {}


def _names(candidates: Mapping[Market, list[Candidate]]) -> str:
    versions = {f"{each.version.template_id}:{each.version.number}" for group in candidates.values() for each in group}
    return " ".join(sorted(versions))


def _error(error: AwsError) -> dict[str, str]:
    # A fleet has a word of its own for what RunInstances calls Unsupported.
    code = "InvalidFleetConfiguration" if error.code == "Unsupported" else error.code
    return {"ErrorCode": code, "ErrorMessage": error.message}
