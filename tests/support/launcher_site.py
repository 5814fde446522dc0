"""The launcher among its neighbours: the real handler and adapters, the simulated SQS and EC2 over the wire, a folder.

A `Site` stands still until a test moves it. `invoke` is one Lambda call, `settle` plays SQS and Lambda's poller until
the queue is empty: what is due is handed over, what failed comes back after its visibility timeout, and the clock jumps
to whatever comes next. What agents do is done by the test's own words: `boot`, `notice`, `kill`, `finish`.

The control plane has a loop and a thread of its own, since the launcher is synchronous, as a Lambda is.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from spotrelay.core import keys, records
from spotrelay.core.errors import StoreUnavailable
from spotrelay.core.messages import ResumeRequest
from spotrelay.core.spec import Instance as On
from spotrelay.core.spec import Limits, Run, Spec
from spotrelay.launcher import handler
from spotrelay.launcher.bell import SqsBell
from spotrelay.launcher.books import RunBooks
from spotrelay.launcher.crew import Alone
from spotrelay.launcher.ec2 import Ec2, Unanswered
from spotrelay.launcher.inventory import Inventory
from spotrelay.launcher.ledger import Ledgers
from spotrelay.launcher.objects import Folder, Objects
from spotrelay.launcher.pace import Pace
from spotrelay.launcher.pools import Ground
from spotrelay.launcher.prices import open_prices
from spotrelay.launcher.succession import Succession
from spotrelay.launcher.sweep import Sweep
from spotrelay.local.clock import ManualClock
from spotrelay.local.instances import Instance, Reason, State
from spotrelay.local.server import ControlPlane

T = TypeVar("T")
R = TypeVar("R")

ZONES = ("us-east-1a", "us-east-1b", "us-east-1c")
TYPES = ("m5.large", "c5.large")
QUEUE = "requests"
VISIBILITY_S = 360.0
STACK = "relay"
WARNINGS = {"source": ["aws.ec2"], "detail-type": ["EC2 Spot Instance Interruption Warning"]}
STATE_CHANGES = {"source": ["aws.ec2"], "detail-type": ["EC2 Instance State-change Notification"]}


class Died(BaseException):
    """The execution environment is gone in the middle of a call, as at a time-out: no handler catches it."""


@dataclass
class Fuse:
    """Ends the launcher at its `at`-th call of the outside world, before it has an effect or after."""

    at: int = 0
    after: bool = False
    error: type[BaseException] = Died
    calls: list[str] = field(default_factory=list)

    @property
    def blown(self) -> bool:
        return 0 < self.at <= len(self.calls)

    def on(self, target: T) -> T:
        return _Fused(target, self)  # type: ignore[return-value]


class _Fused:
    def __init__(self, target: object, fuse: Fuse) -> None:
        self._target, self._fuse = target, fuse
        # Each service is away in its own words.
        away = isinstance(target, Ec2) and fuse.error is StoreUnavailable
        self._error: type[BaseException] = Unanswered if away else fuse.error

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method, fuse, error = getattr(self._target, name), self._fuse, self._error

        def call(*args: Any, **named: Any) -> Any:
            fuse.calls.append(name)
            hit = len(fuse.calls) == fuse.at
            if hit and not fuse.after:
                raise error(f"before {name}")
            result = method(*args, **named)
            if hit:
                raise error(f"after {name}")
            return result

        return call


class Site:
    def __init__(self, objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="control plane")
        self._thread.start()
        self.clock = ManualClock()
        self.plane = ControlPlane(clock=self.clock)
        self._await(self.plane.start())
        for name, value in {
            "AWS_ENDPOINT_URL": self.plane.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        self.url = self.do(lambda: self.plane.sqs.create_queue({"QueueName": QUEUE})["QueueUrl"])
        template = {"LaunchTemplateName": "relay", "LaunchTemplateData": {"ImageId": "ami-0123456789abcdef0"}}
        self.do(lambda: self.plane.ec2.create_launch_template(template))
        for told in (STATE_CHANGES, WARNINGS):
            self.do(lambda told=told: self.plane.events.route(told, QUEUE))
        self.objects, self.ec2, self.bell = objects, Ec2(), SqsBell(self.url, self.clock.now)
        self.inventory = Inventory(STACK)
        self.prices = open_prices(objects, "us-east-1", log=lambda event, **_: None, now=self.clock.now)
        self.fuse = Fuse()
        self.log: list[str] = []
        self._names = (f"run-{number}" for number in itertools.count(1))

    def close(self) -> None:
        for client in (self.ec2._caller, self.ec2._looker, self.bell._client, self.inventory._client):
            client.close()
        self.prices.close()
        handler._launcher = None
        self._await(self.plane.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # ---- the control plane's thread

    def do(self, call: Callable[[], R]) -> R:
        async def there() -> R:
            return call()

        return self._await(there())

    def _await(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)

    def advance(self, seconds: float) -> None:
        self.do(lambda: self.clock.advance(seconds))

    # ---- the launcher

    def succession(self) -> Succession:
        """A new one: nothing is remembered from call to call but what is written."""
        objects = self.fuse.on(self.objects)
        return Succession(
            objects,
            self.fuse.on(self.ec2),
            self.fuse.on(self.bell),
            Ground("relay", "1", ZONES, TYPES, STACK),
            pace=Pace(self.clock.now, self.bell.waiting),
            books=RunBooks(objects, Ledgers(objects, self.prices, self.clock.now), self.clock.now),
            readers=Alone(),
            callers=Alone(),
            log=lambda event, **_: self.log.append(event),
            now=self.clock.now,
            sleep=self.advance,
        )

    def sweeper(self) -> Sweep:
        return Sweep(
            self.fuse.on(self.objects),
            self.fuse.on(self.inventory),
            self.fuse.on(self.ec2),
            lambda requests: self.succession().ensure(requests),
            stack=STACK,
            crew=Alone(),
            log=lambda event, **_: self.log.append(event),
            now=self.clock.now,
        )

    def invoke(self, *bodies: str) -> list[int]:
        """One batch. Which of the bodies are to be delivered again; all, when the launcher died."""
        handler._launcher = handler.Launcher(self.succession(), self.fuse.on(self.bell), self.sweeper(), self.clock.now)
        entries = [{"messageId": str(number), "body": body} for number, body in enumerate(bodies)]
        try:
            answer = handler.handle({"Records": entries}, None)
        except Died:
            return list(range(len(bodies)))
        return [int(failure["itemIdentifier"]) for failure in answer["batchItemFailures"]]

    def ask(self, run: str, attempt: int, rings: int = 0) -> list[int]:
        """Deliver a resume request at once."""
        return self.invoke(ResumeRequest(run, attempt, rings).encode())

    # ---- the queue

    @property
    def queue(self) -> Any:
        return self.plane.sqs.queue(QUEUE)

    def post(self, run: str, attempt: int, rings: int = 0, *, copies: int = 1) -> None:
        for _ in range(copies):
            self.do(lambda: self.queue.send(ResumeRequest(run, attempt, rings).encode()))

    def deliver(self, most: int = 10) -> bool:
        """What is due, to the launcher. False when nothing is."""
        messages = self._await(self.queue.receive(most, VISIBILITY_S, 0))
        failed = self.invoke(*(message.body for message in messages)) if messages else []
        for number, message in enumerate(messages):
            if number not in failed:
                self.do(lambda m=message: self.queue.delete(self.queue.handle(m)))
        return bool(messages)

    def settle(self, rounds: int = 2000) -> None:
        """Until the queue is empty, however long that takes by the clock."""
        for _ in range(rounds):
            if not self.deliver() and not self.sleep():
                return
        raise AssertionError(f"never quiet: {self.bodies()}, {self.log[-5:]}")

    def sleep(self) -> bool:
        """To the moment when the next message becomes visible. False when there is none."""
        due = [message.visible_at for message in self.do(lambda: list(self.queue.messages.values()))]
        if due:
            self.advance(max(0.0, min(due) - self.clock.now()))
        return bool(due)

    def bodies(self) -> list[str]:
        return [message.body for message in self.do(lambda: list(self.queue.messages.values()))]

    # ---- a person, and agents

    def begin(self, name: str | None = None, *, limits: Limits | None = None, on: On | None = None) -> str:
        """A new run, and the wish for its first attempt not yet posted."""
        name = name or next(self._names)
        spec = Spec(Run(name, ("true",), "/job"), limits=limits or Limits(), instance=on or On())
        assert self.objects.create(keys.spec(name), spec.encode())
        return name

    def cancel(self, run: str) -> None:
        self.objects.create(keys.cancel(run), b"")

    def boot(self, instance: str) -> bool:
        """As an agent comes to its run. False, and it is gone, when there is nothing for it to do."""
        assigned = self.read(records.Assignment, keys.assignment(instance))
        if assigned is not None and self.read(records.Outcome, keys.outcome(assigned.run)) is None:
            on = self.do(lambda: self.plane.ec2.instances.known(instance))
            claim = records.Claim(instance, "token", self.clock.now(), on.type, on.zone, str(on.market))
            if self.objects.create(keys.claim(assigned.run, assigned.attempt), records.encode(claim)):
                return True
        self.kill(instance)
        return False

    def owned(self, run: str, attempt: int = 1) -> str:
        """An attempt that runs: asked for, launched and claimed. The instance."""
        assert self.ask(run, attempt) == []
        (instance,) = self.live(run, attempt)
        assert self.boot(instance)
        return instance

    def notice(self, run: str, attempt: int, instance: str) -> None:
        """The owner knows that it goes; its request is posted."""
        status = records.Status(instance, "draining", self.clock.now(), gone_at=self.clock.now() + 120)
        self.objects.create(keys.status(run, attempt), records.encode(status))
        self.post(run, attempt + 1)

    def hand_over(self, run: str, attempt: int, instance: str) -> None:
        handover = records.Handover(instance, "interrupted", self.clock.now(), "exit code 0", 0, True, 0, None)
        self.objects.create(keys.handover(run, attempt), records.encode(handover))

    def finish(self, run: str, attempt: int) -> None:
        outcome = records.Outcome("succeeded", attempt, self.clock.now(), 0)
        self.objects.create(keys.outcome(run), records.encode(outcome))

    def kill(self, instance: str) -> None:
        """Dead at once. EC2's events go to the queue."""
        self.do(lambda: self.plane.ec2.instance_gone(instance, Reason.SPOT_INTERRUPTION))

    # ---- what has come of it

    def launched(self, run: str, attempt: int) -> list[Instance]:
        """Every instance that was ever started for the attempt, in order."""
        wanted = {"spotrelay:run": run, "spotrelay:attempt": str(attempt)}
        everything = self.do(lambda: list(self.plane.ec2.instances))
        return [i for i in everything if wanted.items() <= i.tags.items() or self.assigned(i.id) == (run, attempt)]

    def live(self, run: str, attempt: int) -> list[str]:
        return [i.id for i in self.launched(run, attempt) if i.state in (State.PENDING, State.RUNNING)]

    def assigned(self, instance: str) -> tuple[str, int] | None:
        """None too when the assignment is damaged."""
        try:
            found = self.read(records.Assignment, keys.assignment(instance))
        except records.RecordInvalid:
            return None
        return None if found is None else (found.run, found.attempt)

    def outcome(self, run: str) -> str | None:
        found = self.read(records.Outcome, keys.outcome(run))
        return None if found is None else found.result

    def read(self, cls: type[R], key: str) -> R | None:
        data = self.objects.get(key)
        return None if data is None else records.decode(cls, data, key=key)


@contextmanager
def site_in(objects: Objects | Path) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        site = Site(Folder(objects) if isinstance(objects, Path) else objects, monkeypatch)
        try:
            yield site
        finally:
            site.close()
