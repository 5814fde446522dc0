"""RunInstances, and the making of instances that fleets share with it.

The order of things is what a double launch depends on: the request is checked, its token is looked up, the throttle is
asked, the token is written down, and only then is capacity taken. A failure from there on leaves the token burnt, as in
EC2; one before leaves no trace.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from spotrelay.local.account import Account
from spotrelay.local.instances import Instance, State, show
from spotrelay.local.launch_templates import Version, merge
from spotrelay.local.orders import LAUNCH_DATA, Order, order
from spotrelay.local.pools import Market, Pool
from spotrelay.local.spot_requests import SpotRequest
from spotrelay.local.tokens import terminated
from spotrelay.local.wire import AwsError


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an instance comes from: the request's token, its launch template, its fleet."""

    token: str
    version: Version | None
    fleet: str = ""

    def tags(self) -> dict[str, str]:
        """Those that EC2 adds by itself."""
        tags = {"aws:ec2:fleet-id": self.fleet} if self.fleet else {}
        if self.version is not None:
            tags |= {
                "aws:ec2launchtemplate:id": self.version.template_id,
                "aws:ec2launchtemplate:version": str(self.version.number),
            }
        return tags


class Launches:
    """`dead_token`: what RunInstances answers when the token's instance has terminated, see `tokens`."""

    def __init__(self, account: Account) -> None:
        self.dead_token: Literal["refuse", "instances"] = "refuse"
        self._account = account
        self._pools, self._instances = account.pools, account.instances
        self._numbers = itertools.count(1)

    def run_instances(self, params: Mapping[str, Any]) -> dict[str, Any]:
        least, most = params["MinCount"], params["MaxCount"]
        if not 1 <= least <= most:
            raise AwsError("InvalidParameterValue", f"Invalid value for min and max instance count: {least}, {most}")
        version = self._account.templates.resolve(params["LaunchTemplate"]) if "LaunchTemplate" in params else None
        own = {name: value for name, value in params.items() if name in LAUNCH_DATA}
        wanted = self.order(version, own)
        use = self._account.tokens.find("RunInstances", wanted.zone, params, _name(version))
        if not use.instances:
            self._account.throttle.resources("RunInstances", most)
            self._account.tokens.burn(use)
            use.instances = self._launch(wanted, least, most, Origin(params.get("ClientToken", ""), version))
        return self._reservation(use.instances)

    def _launch(self, wanted: Order, least: int, most: int, origin: Origin) -> list[str]:
        count = 0
        try:
            pool, count = self._find_pool(wanted, least, most)
        finally:
            self._account.throttle.give_back("RunInstances", most - count)
        return self.start(wanted, pool, count, origin)

    def order(self, version: Version | None, own: Mapping[str, Any]) -> Order:
        return order(merge(version.data if version else {}, own), self._pools, self._account.number)

    def _reservation(self, identities: list[str]) -> dict[str, Any]:
        instances = [self._instances.known(identity) for identity in identities]
        if self.dead_token == "refuse" and all(instance.state is State.TERMINATED for instance in instances):
            raise terminated()
        return {
            "ReservationId": instances[0].reservation,
            "OwnerId": self._account.number,
            "Groups": [],
            "Instances": [show(instance, self._pools.vpc) for instance in instances],
        }

    def _find_pool(self, wanted: Order, least: int, most: int) -> tuple[Pool, int]:
        """The first zone that can, when the request leaves it open. Raises AwsError."""
        zones = [wanted.zone] if wanted.zone else self._pools.zones_of(wanted.type) or [""]
        refusal: AwsError | None = None
        for zone in zones:
            pool = Pool(wanted.type, zone, wanted.market)
            try:
                return pool, self._pools.take(pool, least, most, wanted.max_price)
            except AwsError as error:
                refusal = error
        assert refusal is not None
        if not wanted.zone and wanted.market is Market.SPOT and refusal.code == "InsufficientInstanceCapacity":
            raise AwsError(refusal.code, "There is no Spot capacity available that matches your request.", 500)
        raise refusal

    def start(self, wanted: Order, pool: Pool, count: int, origin: Origin) -> list[str]:
        """Instances in capacity that has been taken. Their ids."""
        reservation = f"r-0{self._account.rng.getrandbits(64):016x}"
        instances = [self._instance(wanted, pool, origin, reservation) for _ in range(count)]
        for index, instance in enumerate(instances):
            instance.index = index
            if instance.market is Market.SPOT:
                self._open_request(instance, wanted)
            self._instances.launch(instance)
        return [instance.id for instance in instances]

    def _instance(self, wanted: Order, pool: Pool, origin: Origin, reservation: str) -> Instance:
        spot = pool.market is Market.SPOT
        rng, number = self._account.rng, next(self._numbers)
        return Instance(
            id=f"i-0{rng.getrandbits(64):016x}",
            number=number,
            type=pool.type,
            zone=pool.zone,
            market=pool.market,
            image=wanted.image,
            user_data=wanted.user_data,
            tags=wanted.tags | origin.tags(),
            launched_at=self._account.clock.now(),
            subnet=wanted.subnet or self._pools.subnet_of(pool.zone).id,
            private_ip=f"172.31.{number // 250 % 256}.{number % 250 + 4}",
            architecture=self._pools.types[pool.type].architecture,
            price=self._pools.price(pool),
            reservation=reservation,
            token=origin.token,
            fleet=origin.fleet,
            profile_arn=wanted.profile_arn,
            metadata_options=wanted.metadata_options,
            shutdown_behavior=wanted.shutdown_behavior,
            spot_request=f"sir-{rng.getrandbits(32):08x}" if spot else "",
        )

    def _open_request(self, instance: Instance, wanted: Order) -> None:
        on_demand = self._pools.types[instance.type].hourly
        self._instances.spot_requests.open(
            SpotRequest(
                id=instance.spot_request,
                number=instance.number,
                instance=instance.id,
                type=instance.type,
                zone=instance.zone,
                image=instance.image,
                max_price=on_demand if wanted.max_price is None else wanted.max_price,
                created=instance.launched_at,
                tags=dict(wanted.spot_tags),
            )
        )


def _name(version: Version | None) -> str:
    return f"{version.template_id}:{version.number}" if version else ""
