"""Instances, from pending to terminated, and who may see them when.

    pending -> running -> shutting-down -> terminated      each step is an event on the bus
                     \\-> stopping -> stopped               an on-demand instance that shuts itself down, by default

The hypervisor says when a machine has booted and when it is gone; without one (`on_launch` not set) they boot and end
by themselves. Two things here are harder on clients than other fakes are: an instance just launched is invisible for
`describe_lag_s`, and one that terminated is forgotten after an hour, as in EC2. Its ClientToken still knows it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from spotrelay.core.keys import INSTANCE_ID
from spotrelay.local.clock import Clock
from spotrelay.local.events import EventBus
from spotrelay.local.pools import Market, Pool, Pools
from spotrelay.local.shelf import Shelf
from spotrelay.local.spot_requests import SpotRequests
from spotrelay.local.tags import as_list, tag_marks
from spotrelay.local.wire import AwsError

FORGOTTEN_AFTER_S = 3_600.0


class State(Enum):
    """(code, name), as in the API."""

    PENDING = (0, "pending")
    RUNNING = (16, "running")
    SHUTTING_DOWN = (32, "shutting-down")
    TERMINATED = (48, "terminated")
    STOPPING = (64, "stopping")
    STOPPED = (80, "stopped")

    @property
    def label(self) -> str:
        return str(self.value[1])

    def show(self) -> dict[str, Any]:
        return {"Code": self.value[0], "Name": self.label}


class Reason(Enum):
    """Why an instance ended: (code, text), as in StateReason."""

    SPOT_INTERRUPTION = ("Server.SpotInstanceTermination", "Spot instance termination")
    USER = ("Client.UserInitiatedShutdown", "User initiated shutdown")
    ITSELF = ("Client.InstanceInitiatedShutdown", "Instance initiated shutdown")

    def show(self) -> dict[str, str]:
        return {"Code": self.value[0], "Message": f"{self.value[0]}: {self.value[1]}"}


@dataclass(slots=True, eq=False)
class Instance:
    """Times are unix seconds; `price` dollars an hour at launch; `user_data` as the instance will read it; `number`
    counts launches from 1."""

    id: str
    number: int
    type: str
    zone: str
    market: Market
    image: str
    user_data: bytes
    tags: dict[str, str]
    launched_at: float
    subnet: str
    private_ip: str
    architecture: str
    price: float
    reservation: str
    index: int = 0
    token: str = ""
    fleet: str = ""
    profile_arn: str = ""
    metadata_options: Mapping[str, Any] = field(default_factory=dict)
    shutdown_behavior: str = "stop"
    spot_request: str = ""
    interrupt_at: float | None = None
    state: State = State.PENDING
    reason: Reason | None = None
    running_since: float = 0.0
    ended_at: float = 0.0

    @property
    def pool(self) -> Pool:
        return Pool(self.type, self.zone, self.market)


class Instances:
    """All of them. `on_launch` and `on_terminate` are the hypervisor's; they must not block."""

    def __init__(self, clock: Clock, pools: Pools, events: EventBus) -> None:
        self.on_launch: Callable[[Instance], None] | None = None
        self.on_terminate: Callable[[str], None] | None = None
        self.describe_lag_s = 0.0
        self.boot_s = 0.0
        self.shutdown_s = 0.0
        self.spot_requests = SpotRequests(clock, self._shown_since)
        self._clock, self._pools, self._events = clock, pools, events
        self._all: dict[str, Instance] = {}
        self._shelf: Shelf[Instance] = Shelf("instance-id", _marks)
        self._ended: deque[Instance] = deque()

    # ---- looking

    def get(self, identity: str) -> Instance:
        """Raises AwsError, also for one too new to be seen and one forgotten."""
        if not INSTANCE_ID.fullmatch(identity):
            raise AwsError("InvalidInstanceID.Malformed", f'Invalid id: "{identity}"')
        instance = self._all.get(identity)
        if instance is None or not self._visible(instance):
            raise AwsError("InvalidInstanceID.NotFound", f"The instance ID '{identity}' does not exist")
        return instance

    def after(self, number: int, wanted: Iterable[tuple[str, Collection[str]]] = ()) -> Iterator[Instance]:
        """Those that a client may see, beyond this number, in the order of their launch; all that match `wanted` are
        among them, see `Shelf.after`."""
        self._forget()
        return (instance for instance in self._shelf.after(number, wanted) if self._visible(instance))

    def known(self, identity: str) -> Instance:
        """As EC2 itself knows it, whatever a client may see yet."""
        return self._all[identity]

    def __iter__(self) -> Iterator[Instance]:
        return iter(self._all.values())

    def __len__(self) -> int:
        return len(self._all)

    def _visible(self, instance: Instance) -> bool:
        return not self._forgotten(instance) and self._shown_since(instance.launched_at)

    def _shown_since(self, moment: float) -> bool:
        return self._clock.now() >= moment + self.describe_lag_s

    def _forgotten(self, instance: Instance) -> bool:
        ended = instance.state is State.TERMINATED
        return ended and self._clock.now() >= instance.ended_at + FORGOTTEN_AFTER_S

    def _forget(self) -> None:
        while self._ended and self._forgotten(self._ended[0]):
            instance = self._ended.popleft()
            self._shelf.remove(instance, instance.id)

    # ---- living

    def tag(self, instance: Instance, tags: Mapping[str, str]) -> None:
        self._shelf.unmark(instance, tag_marks({key: instance.tags[key] for key in tags if key in instance.tags}))
        instance.tags |= tags
        self._shelf.mark(instance, tag_marks(tags))

    def launch(self, instance: Instance) -> None:
        self._all[instance.id] = instance
        self._shelf.add(instance, instance.id)
        self._events.state_change(instance.id, State.PENDING.label)
        if self.on_launch is not None:
            self.on_launch(instance)
        else:
            self._clock.call_at(self._clock.now() + self.boot_s, lambda: self.running(instance.id))

    def running(self, identity: str) -> None:
        instance = self._all[identity]
        if instance.state is State.PENDING:
            instance.running_since = self._clock.now()
            self._enter(instance, State.RUNNING)

    def terminate(self, identity: str) -> None:
        """A person, or a program, calls TerminateInstances. Ending what has ended changes nothing."""
        instance = self._all[identity]
        if instance.state in (State.SHUTTING_DOWN, State.TERMINATED):
            return
        was_stopped = instance.state is State.STOPPED
        self.shutting_down(identity, Reason.USER)
        if self.on_terminate is not None and not was_stopped:
            self.on_terminate(identity)
        else:
            self._clock.call_at(self._clock.now() + self.shutdown_s, lambda: self.gone(identity, Reason.USER))

    def shutting_down(self, identity: str, reason: Reason) -> None:
        """It has been told to go, and is still there. The first reason is the one that stays."""
        instance = self._all[identity]
        if instance.state in (State.PENDING, State.RUNNING, State.STOPPED):
            stops = _stops(instance, reason)
            instance.reason = reason
            self._enter(instance, State.STOPPING if stops else State.SHUTTING_DOWN)

    def gone(self, identity: str, reason: Reason) -> None:
        """The machine is no more."""
        self.shutting_down(identity, reason)
        instance = self._all[identity]
        if instance.state in (State.STOPPED, State.TERMINATED):
            return
        # One that stopped has left its pool before.
        if not instance.ended_at:
            self._pools.give_back(instance.pool, reclaimed=instance.reason is Reason.SPOT_INTERRUPTION)
        instance.ended_at = self._clock.now()
        self.spot_requests.ended(identity, interrupted=instance.reason is Reason.SPOT_INTERRUPTION)
        if instance.state is State.STOPPING:
            self._enter(instance, State.STOPPED)
        else:
            self._enter(instance, State.TERMINATED)
            self._ended.append(instance)

    def _enter(self, instance: Instance, state: State) -> None:
        self._shelf.unmark(instance, _state_mark(instance))
        instance.state = state
        self._shelf.mark(instance, _state_mark(instance))
        self._events.state_change(instance.id, state.label)


def _state_mark(instance: Instance) -> Mapping[str, str]:
    return {"instance-state-name": instance.state.label}


def _marks(instance: Instance) -> Mapping[str, str]:
    return {**_state_mark(instance), **tag_marks(instance.tags)}


def _stops(instance: Instance, reason: Reason) -> bool:
    """A spot instance of a one-time request cannot stop; an on-demand one does unless its launch said `terminate`."""
    return reason is Reason.ITSELF and instance.market is Market.ON_DEMAND and instance.shutdown_behavior == "stop"


def show(instance: Instance, vpc: str) -> dict[str, Any]:
    """As DescribeInstances and RunInstances answer."""
    shown: dict[str, Any] = {
        "InstanceId": instance.id,
        "ImageId": instance.image,
        "InstanceType": instance.type,
        "Architecture": instance.architecture,
        "AmiLaunchIndex": instance.index,
        "State": instance.state.show(),
        "StateTransitionReason": "User initiated" if instance.reason is Reason.USER else "",
        "Placement": {"AvailabilityZone": instance.zone, "Tenancy": "default"},
        "LaunchTime": instance.launched_at,
        "ClientToken": instance.token,
        "SubnetId": instance.subnet,
        "VpcId": vpc,
        "PrivateIpAddress": instance.private_ip,
        "MetadataOptions": {"State": "applied", **instance.metadata_options},
        "Tags": as_list(instance.tags),
    }
    if instance.reason is not None:
        shown["StateReason"] = instance.reason.show()
    if instance.profile_arn:
        shown["IamInstanceProfile"] = {"Arn": instance.profile_arn, "Id": "AIPALOCALCLOUD0000000"}
    if instance.market is Market.SPOT:
        shown |= {"InstanceLifecycle": "spot", "SpotInstanceRequestId": instance.spot_request}
    return shown
