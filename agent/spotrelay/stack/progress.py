"""CloudFormation's events while it works, oldest first and each once, and how it ended.

The first failure is the cause: what fails after it was cancelled for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spotrelay.core.errors import StackError, StackFailed
from spotrelay.stack.account import Account
from spotrelay.stack.refusals import AGAIN, of_reason, told
from spotrelay.stack.standing import Standing, look

if TYPE_CHECKING:
    from types_boto3_cloudformation.type_defs import StackEventTypeDef

# A resource takes seconds to minutes, and DescribeStackEvents is throttled at a few calls a second and account.
EVERY_S = 3.0


@dataclass(frozen=True, slots=True)
class Event:
    resource: str
    kind: str
    status: str
    reason: str


def is_cause(status: str, reason: str) -> bool:
    return status.endswith("_FAILED") and "cancelled" not in reason.lower()


class Following:
    """What happens to a stack from now on. Made before the operation begins, so that no event is missed."""

    def __init__(self, account: Account, stack: str) -> None:
        """`stack`: its id; a name would be another stack's after a deletion."""
        self._account, self._stack = account, stack
        self._seen = {event["EventId"] for event in self._events()}
        self._causes: list[Event] = []

    def until_settled(self, tell: Callable[[Event], None]) -> Standing:
        """The stack as it is when nothing is under way any more; DELETE_COMPLETE when it is gone."""
        while True:
            # Looked at before the events are read: otherwise the last ones would come after the end.
            standing = look(self._account, self._stack)
            for event in self._news():
                if is_cause(event.status, event.reason):
                    self._causes.append(event)
                tell(event)
            if standing is None:
                return Standing(self._stack, self._stack, "DELETE_COMPLETE")
            # REVIEW_IN_PROGRESS as well: it lasts until a first change set is taken up.
            if not standing.status.endswith("_IN_PROGRESS"):
                return standing
            time.sleep(EVERY_S)

    def failure(self, standing: Standing) -> StackError:
        """Why the operation did not end as it should."""
        if self._causes:
            return of_reason(self._causes[0].resource, self._causes[0].reason, self._account.place)
        return StackFailed(
            f"{standing.name} is {standing.status}: {standing.reason or 'no reason given'}", next_step=AGAIN
        )

    def _news(self) -> Iterator[Event]:
        for event in reversed(list(self._events())):
            if event["EventId"] not in self._seen:
                self._seen.add(event["EventId"])
                yield Event(
                    event.get("LogicalResourceId", ""),
                    event.get("ResourceType", ""),
                    event.get("ResourceStatus", ""),
                    event.get("ResourceStatusReason", ""),
                )

    def _events(self) -> Iterator[StackEventTypeDef]:
        """Newest first, back to the first that is known."""
        known = getattr(self, "_seen", set[str]())
        with told("read the stack's events", self._account.place):
            pages = self._account.cloudformation.get_paginator("describe_stack_events").paginate(StackName=self._stack)
            for page in pages:
                for event in page["StackEvents"]:
                    if event["EventId"] in known:
                        return
                    yield event
