"""The API of EC2: which action is done by whom, the Describe calls, and the hypervisor's side.

Instances are made by `launches` and `fleets`, live in `instances`, in the `pools`. This is where they meet the outside:
clients by `call`, the hypervisor by `instances.on_launch`, `instances.on_terminate` and the methods at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from random import Random
from typing import Any

from spotrelay.local.account import Account
from spotrelay.local.catalogue import Catalogue
from spotrelay.local.clock import Clock
from spotrelay.local.events import EventBus
from spotrelay.local.fleets import PARAMS as FLEET_PARAMS
from spotrelay.local.fleets import Fleets
from spotrelay.local.instances import Instance, Instances, Reason, show
from spotrelay.local.launch_templates import LaunchTemplates
from spotrelay.local.launches import Launches
from spotrelay.local.listings import Field, Wanted, page_on, position
from spotrelay.local.orders import LAUNCH_DATA, refuse_others
from spotrelay.local.pools import Market, Pools
from spotrelay.local.spot_requests import Cause
from spotrelay.local.statuses import Statuses
from spotrelay.local.tags import as_dict, check_all
from spotrelay.local.throttle import Throttle
from spotrelay.local.tokens import Tokens
from spotrelay.local.weather import Weather
from spotrelay.local.wire import AwsError

Params = Mapping[str, Any]
Result = dict[str, Any]
PAGED = {"Filters", "MaxResults", "NextToken"}
# Documented for TerminateInstances; which code refuses more is assumed.
MOST_TERMINATED = 1000
TEMPLATE = {"ClientToken", "LaunchTemplateData", "LaunchTemplateName", "VersionDescription"}

INSTANCE_FIELDS: Mapping[str, Field] = {
    "availability-zone": lambda instance: [instance.zone],
    "client-token": lambda instance: [instance.token],
    "image-id": lambda instance: [instance.image],
    "instance-id": lambda instance: [instance.id],
    "instance-lifecycle": lambda instance: ["spot"] if instance.market is Market.SPOT else [],
    "instance-state-name": lambda instance: [instance.state.label],
    "instance-type": lambda instance: [instance.type],
    "reservation-id": lambda instance: [instance.reservation],
    "spot-instance-request-id": lambda instance: [instance.spot_request],
    "subnet-id": lambda instance: [instance.subnet],
}


class Ec2:
    """One account in one region. Parts for tests to turn: `pools`, `weather`, `instances`, `statuses`, `launches`,
    `fleets`, `throttle`."""

    def __init__(
        self, clock: Clock, rng: Random, events: EventBus, account: str, region: str, *, throttle: bool
    ) -> None:
        self.pools = Pools(clock, region)
        self.weather = Weather(clock, rng, self.pools)
        self.instances = Instances(clock, self.pools, events)
        self.statuses = Statuses(clock, self.instances)
        self.throttle = Throttle(clock, enabled=throttle)
        self.templates = LaunchTemplates(clock, rng, account)
        self.tokens = Tokens()
        parts = Account(account, clock, rng, self.pools, self.instances, self.templates, self.tokens, self.throttle)
        self.launches = Launches(parts)
        self.fleets = Fleets(parts, self.launches)
        catalogue = Catalogue(clock, self.pools, account)
        self._events, self._account = events, account
        self._actions: dict[str, tuple[Callable[[Params], Result], Collection[str]]] = {
            "CreateFleet": (self.fleets.create_fleet, FLEET_PARAMS),
            "CreateLaunchTemplate": (self.create_launch_template, TEMPLATE | {"TagSpecifications"}),
            "CreateLaunchTemplateVersion": (
                self.create_launch_template_version,
                TEMPLATE | {"LaunchTemplateId", "SourceVersion"},
            ),
            "CreateTags": (self.create_tags, {"Resources", "Tags"}),
            "DescribeAvailabilityZones": (catalogue.availability_zones, {"Filters", "ZoneNames"}),
            "DescribeInstanceTypeOfferings": (catalogue.instance_type_offerings, PAGED | {"LocationType"}),
            "DescribeInstanceStatus": (self.statuses.describe, PAGED | {"IncludeAllInstances", "InstanceIds"}),
            "DescribeInstances": (self.describe_instances, PAGED | {"InstanceIds"}),
            "DescribeSpotInstanceRequests": (self.instances.spot_requests.describe, PAGED | {"SpotInstanceRequestIds"}),
            "DescribeSpotPriceHistory": (
                catalogue.spot_price_history,
                PAGED | {"AvailabilityZone", "EndTime", "InstanceTypes", "ProductDescriptions", "StartTime"},
            ),
            "DescribeSubnets": (catalogue.subnets, PAGED | {"SubnetIds"}),
            "RunInstances": (
                self.launches.run_instances,
                LAUNCH_DATA | {"ClientToken", "LaunchTemplate", "MaxCount", "MinCount"},
            ),
            "TerminateInstances": (self.terminate_instances, {"InstanceIds"}),
        }

    def call(self, action: str, params: Params) -> Result:
        """Raises AwsError."""
        if action not in self._actions:
            raise AwsError("UnsupportedOperation", f"The local cloud does not do {action}.")
        self.throttle.request(action, params)
        perform, known = self._actions[action]
        refuse_others(params, {*known, "DryRun"}, action)
        if params.get("DryRun"):
            raise AwsError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)
        return perform(params)

    # ---- for clients: what changes something

    def create_launch_template(self, params: Params) -> Result:
        refuse_others(params["LaunchTemplateData"], LAUNCH_DATA, "a launch template")
        use = self.tokens.use("CreateLaunchTemplate", "", params)
        use.answer = use.answer or self.templates.create(params)
        return use.answer

    def create_launch_template_version(self, params: Params) -> Result:
        refuse_others(params["LaunchTemplateData"], LAUNCH_DATA, "a launch template")
        use = self.tokens.use("CreateLaunchTemplateVersion", "", params)
        use.answer = use.answer or self.templates.create_version(params)
        return use.answer

    def create_tags(self, params: Params) -> Result:
        """On instances and spot requests; all or, when one is not known, none."""
        tags, requests = as_dict(params["Tags"]), self.instances.spot_requests
        resources = params["Resources"]
        instances = [self.instances.get(each) for each in resources if not each.startswith("sir-")]
        spot = [requests.get(each) for each in resources if each.startswith("sir-")]
        for instance in instances:
            in_metadata = instance.metadata_options["InstanceMetadataTags"] == "enabled"
            check_all(instance.tags | tags, in_metadata=in_metadata)
        for instance in instances:
            self.instances.tag(instance, tags)
        for request in spot:
            requests.tag(request, tags)
        return {}

    def terminate_instances(self, params: Params) -> Result:
        """All or, when one is not known, none. Ending again what has ended succeeds."""
        identities = list(dict.fromkeys(params["InstanceIds"]))
        if len(identities) > MOST_TERMINATED:
            raise AwsError("InvalidParameterValue", f"At most {MOST_TERMINATED} instance IDs can be specified.")
        instances = [self.instances.get(identity) for identity in identities]
        self.throttle.resources("TerminateInstances", len(instances))
        changes = []
        for instance in instances:
            before = instance.state
            self.instances.terminate(instance.id)
            after = {"CurrentState": instance.state.show(), "PreviousState": before.show()}
            changes.append({"InstanceId": instance.id, **after})
        return {"TerminatingInstances": changes}

    # ---- for clients: what only looks

    def describe_instances(self, params: Params) -> Result:
        wanted = params.get("InstanceIds")
        if wanted and "MaxResults" in params:
            message = "The parameter instancesSet cannot be used with the parameter maxResults"
            raise AwsError("InvalidParameterCombination", message)
        filters = Wanted(params.get("Filters", ()), INSTANCE_FIELDS, lambda instance: instance.tags)
        if wanted:
            chosen = [self.instances.get(identity) for identity in dict.fromkeys(wanted)]
            return {"Reservations": self._by_reservation([each for each in chosen if filters.passes(each)])}
        rows = self.instances.after(position(params), filters.exact())
        shown, more = page_on(filter(filters.passes, rows), params)
        return {"Reservations": self._by_reservation(shown), **more}

    def _by_reservation(self, instances: Collection[Instance]) -> list[Result]:
        reservations: dict[str, Result] = {}
        for instance in instances:
            fresh = {"ReservationId": instance.reservation, "OwnerId": self._account, "Groups": [], "Instances": []}
            reservation = reservations.setdefault(instance.reservation, fresh)
            reservation["Instances"].append(show(instance, self.pools.vpc))
        return list(reservations.values())

    # ---- for the hypervisor

    def instance_running(self, identity: str) -> None:
        """The machine has booted."""
        self.instances.running(identity)

    def rebalance(self, identity: str) -> None:
        instance = self.instances.known(identity)
        self._events.rebalance_recommendation(identity, instance.zone)

    def interrupt_warning(
        self, identity: str, action: str = "terminate", at: float | None = None, cause: Cause = "capacity"
    ) -> None:
        """EC2 will take the instance at `at` (unix seconds). It is only said here: the hypervisor takes it."""
        instance = self.instances.known(identity)
        instance.interrupt_at = at
        self.instances.spot_requests.marked(identity, action, cause)
        self._events.interruption_warning(identity, instance.zone, action)

    def instance_spared(self, identity: str) -> None:
        """EC2 announced that it would take the instance, and does not."""
        self.instances.known(identity).interrupt_at = None
        self.instances.spot_requests.spared(identity)

    def instance_shutting_down(self, identity: str, reason: Reason) -> None:
        """It has begun to end, and its operating system is being stopped."""
        self.instances.shutting_down(identity, reason)

    def instance_gone(self, identity: str, reason: Reason) -> None:
        """The machine is no more, with or without a word before."""
        self.instances.gone(identity, reason)
