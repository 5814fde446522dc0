"""One standard queue of SQS, with the rules by which requests are doubled and lost.

1. A received message is hidden, not gone: unless it is deleted in time it comes back, with a higher receive count.
2. Only the newest receipt handle counts. Deleting by an older one is answered with 200 and deletes nothing.
3. A message received more often than the redrive policy allows moves to the dead-letter queue, instead of that receive.
4. Order and single delivery are not promised; `duplicates`, `most_copies` and `unordered` make that happen for tests.

A message has one place in a heap, by the moment when it becomes visible: waiting to be delivered, delayed and in flight
are all the same thing, a moment that is past or to come. A change of that moment takes a new ticket, and the place with
the old one is skipped when it comes up: no scan, so the depth of the queue costs nothing. An unordered queue moves what
is due to a pile, once, and draws from it.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from spotrelay.local.clock import Clock, wake
from spotrelay.local.sqs_checks import LONGEST_VISIBILITY_S
from spotrelay.local.wire import AwsError


@dataclass(slots=True, eq=False)
class Message:
    """`serial` is the copy, `id` the message: a duplicate has its original's id and must be deleted by itself."""

    id: str
    serial: int
    body: str
    attributes: Mapping[str, Any]
    sent: float
    visible_at: float
    ticket: int = 0
    received: int = 0
    first_received: float = 0.0
    last_received: float = 0.0
    source_arn: str = ""
    is_copy: bool = False


@dataclass(frozen=True, slots=True)
class Redrive:
    """After `limit` receives a message goes to `target`."""

    target: Queue
    limit: int


class Queue:
    """What it holds is in `messages`, by serial. Knobs for tests: `unordered`; `duplicates` (0..1), the chance that a
    message received is also delivered as 1 to `most_copies` copies."""

    def __init__(self, name: str, arn: str, clock: Clock, rng: Random) -> None:
        self.name = name
        self.arn = arn
        self.messages: dict[int, Message] = {}
        self.retention_s = 345_600.0
        self.redrive: Redrive | None = None
        self.duplicates = 0.0
        self.most_copies = 1
        self.unordered = False
        self._clock = clock
        self._rng = rng
        self._numbers = itertools.count(1)
        self._places: list[tuple[float, int, int]] = []
        self._pile: list[tuple[float, int, int]] = []
        self._waiting: set[asyncio.Future[None]] = set()
        self._closed = False

    # ---- in

    def send(self, body: str, attributes: Mapping[str, Any] | None = None, delay_s: float = 0.0) -> Message:
        now = self._clock.now()
        identity = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        message = Message(identity, next(self._numbers), body, attributes or {}, now, now)
        self._accept(message, now + delay_s)
        return message

    def _accept(self, message: Message, visible_at: float) -> None:
        self.messages[message.serial] = message
        self._place(message, visible_at)

    def _place(self, message: Message, visible_at: float) -> None:
        message.visible_at, message.ticket = visible_at, next(self._numbers)
        heapq.heappush(self._places, (visible_at, message.ticket, message.serial))
        # Those who wait look again, also for a moment to come: theirs to wait for may have been a later one.
        self._wake()

    # ---- out

    async def receive(self, most: int, visibility_s: float, wait_s: float) -> list[Message]:
        """Up to `most` messages; waits up to `wait_s` for the first one."""
        until = self._clock.now() + wait_s
        while True:
            taken = self._take(most, visibility_s)
            if taken or self._closed or self._clock.now() >= until:
                return taken
            await self._change(until)

    async def _change(self, until: float) -> None:
        """Until something is sent or becomes visible, or the time is over."""
        change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(change)
        moment = min(until, self._places[0][0]) if self._places else until
        timer = self._clock.call_at(moment, self._wake)
        try:
            await change
        finally:
            timer.cancel()
            self._waiting.discard(change)

    def _wake(self) -> None:
        for waiting in self._waiting:
            wake(waiting)

    def _take(self, most: int, visibility_s: float) -> list[Message]:
        now = self._clock.now()
        taken: list[Message] = []
        while len(taken) < most and (message := self._due(now)):
            if self.redrive is not None and message.received >= self.redrive.limit:
                self._move_to(self.redrive.target, message)
            else:
                taken.append(message)
        # Hidden only now: with a visibility of 0 seconds a message would else be due again at once, for ever.
        for message in taken:
            self._hide(message, now, visibility_s)
        return taken

    def _due(self, now: float) -> Message | None:
        """The next visible message, taken from its place."""
        while place := self._next_place(now):
            _, ticket, serial = place
            message = self.messages.get(serial)
            if message is None or message.ticket != ticket:
                continue
            if message.sent + self.retention_s > now:
                return message
            del self.messages[serial]
        return None

    def _next_place(self, now: float) -> tuple[float, int, int] | None:
        if self.unordered:
            while self._places and self._places[0][0] <= now:
                self._pile.append(heapq.heappop(self._places))
        if self._pile:
            drawn = self._rng.randrange(len(self._pile))
            self._pile[drawn], self._pile[-1] = self._pile[-1], self._pile[drawn]
            return self._pile.pop()
        return heapq.heappop(self._places) if self._places and self._places[0][0] <= now else None

    def _hide(self, message: Message, now: float, visibility_s: float) -> None:
        message.received += 1
        message.first_received = message.first_received or now
        message.last_received = now
        self._place(message, now + visibility_s)
        if not message.is_copy and self._rng.random() < self.duplicates:
            copies = 1 if self.most_copies == 1 else self._rng.randint(1, self.most_copies)
            for _ in range(copies):
                self._accept(replace(message, serial=next(self._numbers), is_copy=True), now)

    def _move_to(self, target: Queue, message: Message) -> None:
        del self.messages[message.serial]
        # Its age stays what it was: retention of a dead letter counts from when it was first sent.
        moved = replace(message, serial=next(target._numbers), source_arn=self.arn, is_copy=False)
        target._accept(moved, self._clock.now())

    # ---- receipts

    def handle(self, message: Message) -> str:
        return f"{self.name}:{message.serial}:{message.received}"

    def delete(self, handle: str) -> None:
        serial, receive = self._parse(handle)
        message = self.messages.get(serial)
        if message is not None and message.received == receive:
            del self.messages[serial]

    def change_visibility(self, handle: str, visibility_s: float) -> None:
        """From now. Raises AwsError unless this very receive is still in flight."""
        serial, receive = self._parse(handle)
        now = self._clock.now()
        message = self.messages.get(serial)
        if message is None:
            raise AwsError(
                "InvalidParameterValue",
                f"Value {handle} for parameter ReceiptHandle is invalid. "
                "Reason: Message does not exist or is not available for visibility timeout change.",
            )
        if message.received != receive or message.visible_at <= now:
            raise AwsError("MessageNotInflight", "The message referred to is not in flight.")
        if now + visibility_s > message.last_received + LONGEST_VISIBILITY_S:
            raise AwsError(
                "InvalidParameterValue",
                f"Value {visibility_s:.0f} for parameter VisibilityTimeout is invalid. "
                "Reason: Total VisibilityTimeout for the message is beyond the limit "
                f"[{LONGEST_VISIBILITY_S} seconds].",
            )
        self._place(message, now + visibility_s)

    def _parse(self, handle: str) -> tuple[int, int]:
        try:
            name, serial, receive = handle.split(":")
            if name == self.name:
                return int(serial), int(receive)
        except ValueError:
            pass
        raise AwsError("ReceiptHandleIsInvalid", f'The input receipt handle "{handle}" is not a valid receipt handle.')

    # ---- the whole

    def counts(self) -> tuple[int, int, int]:
        """How many are visible, in flight, and delayed."""
        now = self._clock.now()
        kept = [m for m in self.messages.values() if m.sent + self.retention_s > now]
        hidden = [m for m in kept if m.visible_at > now]
        in_flight = sum(m.received > 0 for m in hidden)
        return len(kept) - len(hidden), in_flight, len(hidden) - in_flight

    def purge(self) -> None:
        self.messages.clear()
        self._places.clear()
        self._pile.clear()

    def close(self) -> None:
        """Whoever waits for a message gets none, now."""
        self._closed = True
        self._wake()
