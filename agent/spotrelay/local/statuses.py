"""DescribeInstanceStatus: whether EC2's own checks reach an instance, and the host below it.

    initializing          for the first minutes of running (`checks_s`; EC2 does not say how long, two are usual)
    ok, impaired          a check has passed, or failed: of the `instance` (it does not answer) or of the `system` below
    insufficient-data     the check itself gave nothing
    not-applicable        the instance does not run; shown only with IncludeAllInstances

Nothing here fails by itself: tests set what the checks say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from spotrelay.local.clock import Clock
from spotrelay.local.instances import Instance, Instances, State
from spotrelay.local.listings import Field, Wanted, page_on, position
from spotrelay.local.wire import AwsError

Check = Literal["instance", "system"]
Verdict = Literal["ok", "impaired", "insufficient-data"]
MOST_IDS = 100
REACHABILITY = {
    "ok": "passed",
    "impaired": "failed",
    "insufficient-data": "insufficient-data",
    "initializing": "initializing",
}


class Statuses:
    def __init__(self, clock: Clock, instances: Instances) -> None:
        self.checks_s = 120.0
        self._clock, self._instances = clock, instances
        self._verdicts: dict[tuple[str, Check], tuple[Verdict, float]] = {}
        self._fields: Mapping[str, Field] = {
            "availability-zone": lambda instance: [instance.zone],
            "instance-state-code": lambda instance: [str(instance.state.value[0])],
            "instance-state-name": lambda instance: [instance.state.label],
            "instance-status.reachability": lambda instance: [REACHABILITY.get(self._of(instance, "instance"), "")],
            "instance-status.status": lambda instance: [self._of(instance, "instance")],
            "system-status.reachability": lambda instance: [REACHABILITY.get(self._of(instance, "system"), "")],
            "system-status.status": lambda instance: [self._of(instance, "system")],
        }

    def set(self, identity: str, check: Check, verdict: Verdict) -> None:
        """What this check says of the instance from now on."""
        self._verdicts[identity, check] = (verdict, self._clock.now())

    def describe(self, params: Mapping[str, Any]) -> dict[str, Any]:
        wanted = Wanted(params.get("Filters", ()), self._fields)
        states = {state.label for state in State} if params.get("IncludeAllInstances") else {State.RUNNING.label}
        if ids := params.get("InstanceIds"):
            _check_ids(ids, params)
            chosen = [self._instances.get(identity) for identity in dict.fromkeys(ids)]
            return self._answer([each for each in chosen if each.state.label in states and wanted.passes(each)])
        filters = [*wanted.exact(), ("instance-state-name", states)]
        rows = self._instances.after(position(params), filters)
        shown, more = page_on((row for row in rows if row.state.label in states and wanted.passes(row)), params)
        return self._answer(shown) | more

    def _answer(self, instances: list[Instance]) -> dict[str, Any]:
        return {"InstanceStatuses": [self._show(instance) for instance in instances]}

    def _of(self, instance: Instance, check: Check) -> str:
        if instance.state is not State.RUNNING:
            return "not-applicable"
        if (instance.id, check) in self._verdicts:
            return self._verdicts[instance.id, check][0]
        return "initializing" if self._clock.now() < instance.running_since + self.checks_s else "ok"

    def _show(self, instance: Instance) -> dict[str, Any]:
        return {
            "InstanceId": instance.id,
            "AvailabilityZone": instance.zone,
            "InstanceState": instance.state.show(),
            "InstanceStatus": self._summary(instance, "instance"),
            "SystemStatus": self._summary(instance, "system"),
        }

    def _summary(self, instance: Instance, check: Check) -> dict[str, Any]:
        status = self._of(instance, check)
        if status == "not-applicable":
            return {"Status": status}
        details: dict[str, Any] = {"Name": "reachability", "Status": REACHABILITY[status]}
        if status == "impaired":
            details["ImpairedSince"] = self._verdicts[instance.id, check][1]
        return {"Status": status, "Details": [details]}


def _check_ids(ids: list[str], params: Mapping[str, Any]) -> None:
    if "MaxResults" in params:
        message = "The parameter instancesSet cannot be used with the parameter maxResults"
        raise AwsError("InvalidParameterCombination", message)
    if len(ids) > MOST_IDS:
        # Word for word as somebody met it (bastillion-io/Bastillion-EC2#8).
        message = (
            f"{len(ids)} exceeds the maximum number of instance IDs that can be specificied ({MOST_IDS}). "
            f"Please specify fewer than {MOST_IDS} instance IDs."
        )
        raise AwsError("InvalidRequest", message)
