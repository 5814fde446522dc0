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
from spotrelay.local.instances import Instance, Instances, Reason, State, show
from spotrelay.local.launch_templates import LaunchTemplates
from spotrelay.local.launches import Launches
from spotrelay.local.listings import Field, page, select
from spotrelay.local.orders import LAUNCH_DATA, refuse_others
from spotrelay.local.pools import Market, Pools
from spotrelay.local.tags import as_dict, as_list, check_all
from spotrelay.local.throttle import Throttle
from spotrelay.local.tokens import Tokens
from spotrelay.local.wire import AwsError

Params = Mapping[str, Any]
Result = dict[str, Any]
PAGED = {"Filters", "MaxResults", "NextToken"}
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
SPOT_FIELDS: Mapping[str, Field] = {
    "instance-id": lambda instance: [instance.id],
    "spot-instance-request-id": lambda instance: [instance.spot_request],
    "state": lambda instance: [_spot_state(instance)],
    "status-code": lambda instance: [instance.spot_status],
}


class Ec2:
    """One account in one region. Parts for tests to turn: `pools`, `instances`, `launches`, `fleets`, `throttle`."""

    def __init__(
        self, clock: Clock, rng: Random, events: EventBus, account: str, region: str, *, throttle: bool
    ) -> None:
        self.pools = Pools(clock, region)
        self.instances = Instances(clock, self.pools, events)
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
            "DescribeInstances": (self.describe_instances, PAGED | {"InstanceIds"}),
            "DescribeSpotInstanceRequests": (self.describe_spot_instance_requests, PAGED | {"SpotInstanceRequestIds"}),
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
        tags = as_dict(params["Tags"])
        instances = [self.instances.get(identity) for identity in params["Resources"]]
        for instance in instances:
            in_metadata = instance.metadata_options["InstanceMetadataTags"] == "enabled"
            check_all(instance.tags | tags, in_metadata=in_metadata)
        for instance in instances:
            instance.tags |= tags
        return {}

    def terminate_instances(self, params: Params) -> Result:
        """All or, when one is not known, none."""
        instances = [self.instances.get(identity) for identity in params["InstanceIds"]]
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
        rows = [self.instances.get(identity) for identity in wanted] if wanted else self.instances.visible()
        rows = select(rows, params.get("Filters", ()), INSTANCE_FIELDS, lambda instance: instance.tags)
        shown, more = page(rows, params)
        return {"Reservations": self._by_reservation(shown), **more}

    def _by_reservation(self, instances: Collection[Instance]) -> list[Result]:
        reservations: dict[str, Result] = {}
        for instance in instances:
            fresh = {"ReservationId": instance.reservation, "OwnerId": self._account, "Groups": [], "Instances": []}
            reservation = reservations.setdefault(instance.reservation, fresh)
            reservation["Instances"].append(show(instance, self.pools.vpc))
        return list(reservations.values())

    def describe_spot_instance_requests(self, params: Params) -> Result:
        wanted = params.get("SpotInstanceRequestIds")
        rows = [instance for instance in self.instances.visible() if instance.market is Market.SPOT]
        if wanted:
            rows = [instance for instance in rows if instance.spot_request in wanted]
            if missing := sorted(set(wanted) - {instance.spot_request for instance in rows}):
                message = f"The spot instance request ID '{missing[0]}' does not exist"
                raise AwsError("InvalidSpotInstanceRequestID.NotFound", message)
        shown, more = page(select(rows, params.get("Filters", ()), SPOT_FIELDS), params)
        return {"SpotInstanceRequests": [_spot_request(instance) for instance in shown], **more}

    # ---- for the hypervisor

    def instance_running(self, identity: str) -> None:
        """The machine has booted."""
        self.instances.running(identity)

    def rebalance(self, identity: str) -> None:
        instance = self.instances.known(identity)
        self._events.rebalance_recommendation(identity, instance.zone)

    def interrupt_warning(self, identity: str, action: str = "terminate", at: float | None = None) -> None:
        """EC2 will take the instance at `at` (unix seconds). It is only said here: the hypervisor takes it."""
        instance = self.instances.known(identity)
        instance.spot_status = f"marked-for-{'termination' if action == 'terminate' else action}"
        instance.interrupt_at = at
        self._events.interruption_warning(identity, instance.zone, action)

    def instance_shutting_down(self, identity: str, reason: Reason) -> None:
        """It has begun to end, and its operating system is being stopped."""
        self.instances.shutting_down(identity, reason)

    def instance_gone(self, identity: str, reason: Reason) -> None:
        """The machine is no more, with or without a word before."""
        self.instances.gone(identity, reason)


def _spot_state(instance: Instance) -> str:
    return "closed" if instance.state is State.TERMINATED else "active"


def _spot_request(instance: Instance) -> Result:
    return {
        "SpotInstanceRequestId": instance.spot_request,
        "InstanceId": instance.id,
        "CreateTime": instance.launched_at,
        "State": _spot_state(instance),
        "Status": {"Code": instance.spot_status, "UpdateTime": instance.ended_at or instance.launched_at},
        "Type": "one-time",
        "InstanceInterruptionBehavior": "terminate",
        "LaunchedAvailabilityZone": instance.zone,
        "ProductDescription": "Linux/UNIX",
        "SpotPrice": f"{instance.price:.6f}",
        "LaunchSpecification": {"ImageId": instance.image, "InstanceType": instance.type},
        "Tags": as_list({}),
    }
