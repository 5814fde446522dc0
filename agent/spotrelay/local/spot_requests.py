"""The spot request behind each spot instance: one-time, `terminate`, and telling why its instance will go or has gone.

    status                             state    instance        since
    fulfilled                          active   pending, running
    instance-terminated-no-capacity    closed   running         the notice: EC2 needs the capacity back
    marked-for-termination             active   running         the notice, for any other reason (the price, say)
    instance-terminated-no-capacity    closed   terminated
    instance-terminated-by-price       closed   terminated
    instance-terminated-by-user        closed   terminated      TerminateInstances, or a shutdown of its own

From "Spot request status" of the EC2 user guide, with its footnote: for want of capacity and with `terminate`, the
status is set to instance-terminated-no-capacity at once, *not* to marked-for-termination, while the instance goes on
running for its two minutes. A reconciler that takes `closed` for `gone` would start a second owner beside the first.

An interruption that EC2 does not carry out leaves the request `fulfilled` again. Requests are deleted four hours after
their instances ended, so they outlive what DescribeInstances shows by three.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from spotrelay.local.clock import Clock
from spotrelay.local.listings import Field, Wanted, page_on, position
from spotrelay.local.shelf import Shelf
from spotrelay.local.tags import as_list, tag_marks
from spotrelay.local.wire import AwsError

Params = Mapping[str, Any]
Result = dict[str, Any]
Cause = Literal["capacity", "price"]

DELETED_AFTER_S = 4 * 3_600.0
CLOSED = ("instance-terminated-",)
# The codes are documented. Of the texts, AWS quotes the one for want of capacity; the others say what the guide says.
MESSAGES = {
    "fulfilled": "Your spot request is fulfilled.",
    "instance-terminated-by-price": "Your Spot Instance was terminated because the Spot price exceeded your maximum "
    "price.",
    "instance-terminated-by-user": "Spot Instance terminated due to user-initiated termination.",
    "instance-terminated-no-capacity": "Your Spot Instance was terminated because there is no Spot capacity available "
    "that matches your request.",
    "marked-for-termination": "Your Spot Instance is marked for termination.",
    "marked-for-stop": "Your Spot Instance is marked for stopping.",
}


@dataclass(slots=True, eq=False)
class SpotRequest:
    """`number`: its instance's. `max_price`: the on-demand price unless the launch said otherwise."""

    id: str
    number: int
    instance: str
    type: str
    zone: str
    image: str
    max_price: float
    created: float
    tags: dict[str, str] = field(default_factory=dict)
    status: str = "fulfilled"
    updated: float = 0.0

    @property
    def state(self) -> str:
        return "closed" if self.status.startswith(CLOSED) else "active"


FIELDS: Mapping[str, Field] = {
    "instance-id": lambda request: [request.instance],
    "launched-availability-zone": lambda request: [request.zone],
    "spot-instance-request-id": lambda request: [request.id],
    "state": lambda request: [request.state],
    "status-code": lambda request: [request.status],
    "type": lambda request: ["one-time"],
}


class SpotRequests:
    """All of them. `visible_since(created)`: whether EC2 shows by now what was made then."""

    def __init__(self, clock: Clock, visible_since: Callable[[float], bool]) -> None:
        self._clock, self._visible_since = clock, visible_since
        self._by_id: dict[str, SpotRequest] = {}
        self._by_instance: dict[str, SpotRequest] = {}
        self._shelf: Shelf[SpotRequest] = Shelf("instance-id", _marks)
        self._ended: deque[tuple[float, SpotRequest]] = deque()

    # ---- how they live

    def open(self, request: SpotRequest) -> None:
        request.updated = self._clock.now()
        self._by_id[request.id] = self._by_instance[request.instance] = request
        self._shelf.add(request, request.instance)

    def marked(self, instance: str, action: str, cause: Cause) -> None:
        """EC2 has announced that it will take the instance."""
        if action != "terminate":
            self._become(instance, "marked-for-stop")
        else:
            self._become(
                instance, "instance-terminated-no-capacity" if cause == "capacity" else "marked-for-termination"
            )

    def spared(self, instance: str) -> None:
        """EC2 did not take it after all."""
        self._become(instance, "fulfilled")

    def ended(self, instance: str, *, interrupted: bool) -> None:
        request = self._by_instance.get(instance)
        if request is None:
            return
        if not interrupted:
            self._become(instance, "instance-terminated-by-user")
        elif request.status == "marked-for-termination":
            self._become(instance, "instance-terminated-by-price")
        else:
            self._become(instance, "instance-terminated-no-capacity")
        self._ended.append((self._clock.now(), request))

    def tag(self, request: SpotRequest, tags: Mapping[str, str]) -> None:
        self._shelf.unmark(request, tag_marks({key: request.tags[key] for key in tags if key in request.tags}))
        request.tags |= tags
        self._shelf.mark(request, tag_marks(tags))

    def _become(self, instance: str, status: str) -> None:
        request = self._by_instance.get(instance)
        if request is not None and request.status != status:
            self._shelf.unmark(request, _status_marks(request))
            request.status, request.updated = status, self._clock.now()
            self._shelf.mark(request, _status_marks(request))

    # ---- looking

    def get(self, identity: str) -> SpotRequest:
        """Raises AwsError, also for one too new to be seen and one deleted."""
        self._delete_old()
        request = self._by_id.get(identity)
        if request is None or not self._visible_since(request.created):
            message = f"The spot instance request ID '{identity}' does not exist"
            raise AwsError("InvalidSpotInstanceRequestID.NotFound", message)
        return request

    def describe(self, params: Params) -> Result:
        wanted = Wanted(params.get("Filters", ()), FIELDS, lambda request: request.tags)
        if ids := params.get("SpotInstanceRequestIds"):
            chosen = [self.get(identity) for identity in dict.fromkeys(ids)]
            return {"SpotInstanceRequests": [_show(each) for each in chosen if wanted.passes(each)]}
        self._delete_old()
        rows = self._shelf.after(position(params), wanted.exact())
        seen = (row for row in rows if self._visible_since(row.created) and wanted.passes(row))
        shown, more = page_on(seen, params)
        return {"SpotInstanceRequests": [_show(request) for request in shown], **more}

    def _delete_old(self) -> None:
        until = self._clock.now() - DELETED_AFTER_S
        while self._ended and self._ended[0][0] <= until:
            request = self._ended.popleft()[1]
            self._shelf.remove(request, request.instance)
            del self._by_id[request.id], self._by_instance[request.instance]


def _status_marks(request: SpotRequest) -> Mapping[str, str]:
    return {"state": request.state, "status-code": request.status}


def _marks(request: SpotRequest) -> Mapping[str, str]:
    return {**_status_marks(request), **tag_marks(request.tags)}


def _show(request: SpotRequest) -> Result:
    return {
        "SpotInstanceRequestId": request.id,
        "InstanceId": request.instance,
        "CreateTime": request.created,
        "State": request.state,
        "Status": {"Code": request.status, "Message": MESSAGES[request.status], "UpdateTime": request.updated},
        "Type": "one-time",
        "InstanceInterruptionBehavior": "terminate",
        "LaunchedAvailabilityZone": request.zone,
        "ProductDescription": "Linux/UNIX",
        "SpotPrice": f"{request.max_price:.6f}",
        "LaunchSpecification": {"ImageId": request.image, "InstanceType": request.type},
        "Tags": as_list(request.tags),
    }
