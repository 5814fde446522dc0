"""What the metadata service announces, and when an announcement is a notice.

A document is read into announcements: an action and a moment on EC2's clock. A `Docket` keeps those of one source and
says what they mean now: a `Notice` once for each (action, moment), a `Withdrawn` when it comes to nothing.

When does the machine go? The document's moment less EC2's now (from `Date`), put on our monotonic clock:

1. Never more than the two minutes that AWS promises from when we first see it, whatever the clocks say; and without a
   moment or a date that can be read, just these.
2. `hibernate` begins at once, so its deadline is now.
3. A moment in the past when we look for the first time is left over from an interruption that did not happen (EC2
   leaves the document there): no notice. In the past, but not there when we last looked: the clocks are wrong, and
   the promise counts from that last look.
4. Scheduled maintenance is announced days ahead; it becomes a notice when it is near. Completed and canceled is over.
5. Gone from the document, or `margin` past its moment with us still alive: withdrawn. What has expired stays expired
   however long it is shown; what was taken back and is shown again is a notice again.
6. A word we do not know in a document we can read otherwise still says that the machine goes. A needless hand-over
   costs minutes, a missed notice everything since the last snapshot.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from spotrelay.core.events import Action, Notice, Source, Withdrawn

# EC2: "two minutes before your Spot Instance is stopped or terminated".
PROMISED_S = 120.0
# `Date` counts whole seconds: the true now may be almost one later, so we hurry by that much.
DATE_RESOLUTION_S = 1.0
# A notice's time is approximate. Twice the promise after it appeared, the machine is not being taken.
MARGIN_S = 120.0
# Scheduled maintenance: leaving hours ahead would waste what is paid for. Five minutes are the two of a spot notice
# and time for a directory that saves slowly; events are minutes, not seconds, precise.
NEAR_S = 300.0

CODES = {
    "instance-reboot": Action.REBOOT,
    "system-reboot": Action.REBOOT,
    "system-maintenance": Action.REBOOT,  # network or power is interrupted: to a run that is a reboot
    "instance-retirement": Action.RETIRE,
    "instance-stop": Action.STOP,
}
OVER = ["completed", "canceled", "cancelled"]  # a list: the state may be any JSON, hashable or not


class Garbled(ValueError):
    """A document that says nothing we can use."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """`at`: unix seconds by EC2's clock, None when unreadable. `until`: the end of a maintenance window."""

    action: Action
    at: float | None
    until: float | None = None


def spot_action(text: str | None) -> list[Announcement]:
    """`spot/instance-action`: at most one. Raises Garbled, and nothing else."""
    if text is None:
        return []
    document = _object(_json(text))
    word, at = document.get("action"), iso_time(document.get("time"))
    if word in list(Action):
        return [Announcement(Action(word), at)]
    if isinstance(word, str) and at is not None:
        return [Announcement(Action.TERMINATE, at)]
    raise Garbled(f"neither an action nor a time: {text[:80]!r}")


def scheduled(text: str | None) -> list[Announcement]:
    """`events/maintenance/scheduled`: those that are still to come. Raises Garbled, and nothing else."""
    events = [] if text is None else _json(text)
    if not isinstance(events, list):
        raise Garbled(f"not a list but {type(events).__name__}")
    readable = [event for event in events if isinstance(event, dict) and rfc_time(event.get("NotBefore")) is not None]
    if events and not readable:  # one that can be read counts, whatever stands beside it
        raise Garbled("no event has a time in NotBefore")
    return [_maintenance(event) for event in readable if event.get("State") not in OVER]


def rebalance(text: str | None) -> float | None:
    """`events/recommendations/rebalance`: when it was made; None when there is none. Raises Garbled, and nothing
    else."""
    if text is None:
        return None
    at = iso_time(_object(_json(text)).get("noticeTime"))
    if at is None:
        raise Garbled("noticeTime is not a time")
    return at


def _maintenance(event: dict[str, Any]) -> Announcement:
    code = event.get("Code")
    action = CODES.get(code, Action.RETIRE) if isinstance(code, str) else Action.RETIRE
    return Announcement(action, rfc_time(event.get("NotBefore")), rfc_time(event.get("NotAfter")))


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Garbled(f"not JSON: {text[:80]!r}") from error


def _object(document: Any) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise Garbled(f"not an object but {type(document).__name__}")
    return document


def iso_time(text: Any) -> float | None:
    """Unix seconds of "2017-09-18T08:22:00Z", None when it is not a time."""
    return _timestamp(datetime.fromisoformat, text)


def rfc_time(text: Any) -> float | None:
    """Unix seconds of "Mon, 21 Jan 2019 09:00:43 GMT" (the weekday may be missing), None when it is not a time."""
    return _timestamp(parsedate_to_datetime, text)


def _timestamp(parse: Callable[[str], datetime], text: Any) -> float | None:
    if not isinstance(text, str):
        return None
    try:
        moment = parse(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):  # e-mail's parser lets all of these through
        return None


@dataclass(slots=True)
class _Entry:
    """One announcement. Told as a notice when it has a deadline; over when it can be none any more."""

    deadline: float | None = None
    expires: float = 0.0
    over: bool = False

    @property
    def stands(self) -> bool:
        return self.deadline is not None and not self.over


class Docket:
    """The announcements of one source, from look to look. Every `now` is on the monotonic clock, every `server_now`
    EC2's time or None."""

    def __init__(self, source: Source, *, near: float = NEAR_S, margin: float = MARGIN_S) -> None:
        self._source = source
        self._near = near
        self._margin = margin
        self._entries: dict[tuple[Action, float | None], _Entry] = {}
        self._looked: float | None = None

    def update(
        self, announcements: Sequence[Announcement], now: float, server_now: float | None
    ) -> list[Notice | Withdrawn]:
        """What is news in what the service shows now."""
        stood = self._any_stands()
        shown = {(a.action, a.at): a for a in announcements}
        self._forget_all_but(set(shown))
        notices: list[Notice | Withdrawn] = []
        for key, announcement in shown.items():
            left = None if announcement.at is None or server_now is None else announcement.at - server_now
            if key not in self._entries:
                self._entries[key] = _Entry(over=self._left_over(announcement, left))
            notices += self._judge(announcement, self._entries[key], now, left)
        self._looked = now
        if stood and not self._any_stands():
            notices.append(Withdrawn(self._source))
        return notices

    def _any_stands(self) -> bool:
        return any(entry.stands for entry in self._entries.values())

    def _forget_all_but(self, shown: set[tuple[Action, float | None]]) -> None:
        """Except what is over: it must not come to life when the service shows it once more."""
        self._entries = {key: entry for key, entry in self._entries.items() if key in shown or entry.over}

    def _left_over(self, announcement: Announcement, left: float | None) -> bool:
        """Past when we look for the first time. A hibernation is announced as it begins, so it is allowed some."""
        grace = self._margin if announcement.action is Action.HIBERNATE else 0.0
        return self._looked is None and left is not None and left < -grace

    def _judge(self, announcement: Announcement, entry: _Entry, now: float, left: float | None) -> list[Notice]:
        if entry.stands and now > entry.expires:
            entry.over = True
        if entry.over or entry.deadline is not None or not self._is_near(left):
            return []
        entry.deadline = now + self._seconds_left(announcement.action, now, left)
        window = (announcement.until or 0.0) - (announcement.at or 0.0) if announcement.until else 0.0
        entry.expires = entry.deadline + max(0.0, window) + self._margin
        return [Notice(self._source, announcement.action, entry.deadline)]

    def _is_near(self, left: float | None) -> bool:
        return self._source is Source.SPOT or (left is not None and left <= self._near)

    def _seconds_left(self, action: Action, now: float, left: float | None) -> float:
        if action is Action.HIBERNATE:
            return 0.0
        if self._source is Source.SCHEDULED and left is not None:
            return max(0.0, left - DATE_RESOLUTION_S)
        if left is None:
            return PROMISED_S
        if left < 0 and self._looked is not None:
            return max(0.0, self._looked + PROMISED_S - now)
        return min(PROMISED_S, max(0.0, left - DATE_RESOLUTION_S))
