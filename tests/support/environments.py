"""Lambda's execution environments on a timeline: the real handler in several copies, each fed as Lambda's poller does.

Each environment has a handler module, a succession, a pace and notes of its own: what Lambda keeps warm. It takes up to
ten messages, deletes those that were not reported as failed, and may die at any call of the outside world, before its
effect or after; then nothing is deleted, and what it had taken comes back after the visibility timeout.

Each call takes its time, on one side of its effect or the other, so that whatever two launchers can do in between of
each other's calls, they do.
"""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from types import ModuleType
from typing import Any, Protocol, TypeVar

from spotrelay.core.errors import StoreUnavailable
from spotrelay.launcher import handler
from spotrelay.launcher.books import RunBooks
from spotrelay.launcher.ledger import Bill, Ledgers
from spotrelay.launcher.objects import Objects
from spotrelay.launcher.pace import Pace
from spotrelay.launcher.pools import Ground
from spotrelay.launcher.succession import Succession
from spotrelay.launcher.sweep import Sweep
from spotrelay.local.server import ControlPlane
from support.in_process import Calls, InProcessBell, InProcessEc2, InProcessInventory
from support.timeline import Timeline

T = TypeVar("T")
R = TypeVar("R")

VISIBILITY_S, TIMEOUT_S, BATCH, POLL_S, COLD_S = 360.0, 60.0, 10, 0.1, 0.6
READERS, CALLERS = 16, 8
# Seconds, the least and what comes on top of it on average (exponentially: a few take much longer). Assumed: what S3,
# SQS and Describe take from within a region, and what others log for CreateFleet of type instant.
LATENCY = {"create_fleet": (1.0, 0.6), "store": (0.012, 0.012), "bell": (0.008, 0.008), "ec2": (0.1, 0.1)}


# Lines of the log that are kept whole.
TELLING = {"message.failed", "needs.person", "orphan.terminated", "sweep.done", "sweep.unanswered", "sweep.failed"}


class Died(BaseException):
    """The execution environment is gone: no handler catches it."""


class Site(Protocol):
    """Where the launchers work."""

    timeline: Timeline
    plane: ControlPlane
    objects: Objects
    rng: Random
    ground: Ground
    url: str
    calls: Counter[str]
    log: Counter[str]
    told: list[dict[str, Any]]
    logged_bytes: int
    deaths: Counter[str]
    crash: float
    away: float

    @property
    def over(self) -> bool: ...


class Side:
    """`launcher.crew.Crew` on the timeline."""

    def __init__(self, timeline: Timeline, size: int) -> None:
        self._timeline, self._size = timeline, size

    def map(self, work: Callable[[T], R], items: Iterable[T]) -> Sequence[R]:
        return self._timeline.map(work, items, self._size)


class FixedPrices:
    """`launcher.ledger.Prices`."""

    def bill(self, market: str, instance_type: str, zone: str, start: float, end: float) -> Bill:
        return Bill(0.03 * (end - start) / 3600)

    def listed(self, instance_type: str) -> float | None:
        return 0.085


class _Outside:
    """Calls of `target`, each as a call of the outside world by `environment`."""

    def __init__(self, target: object, environment: Environment, kind: str) -> None:
        self._target, self._environment, self._kind = target, environment, kind

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method, outside, kind = getattr(self._target, name), self._environment.outside, self._kind

        def call(*args: Any, **named: Any) -> Any:
            return outside(kind, name, lambda: method(*args, **named))

        setattr(self, name, call)
        return call


@dataclass
class Busy:
    """What an environment has done: invocations, and the virtual seconds of them."""

    invocations: int = 0
    seconds: float = 0.0


class Environment:
    def __init__(self, site: Site) -> None:
        self._site, self._timeline = site, site.timeline
        self.busy = Busy()
        self.at_work = False
        self._handler: ModuleType | None = None
        self._dead, self._until = False, 0.0

    # ---- as the poller has it

    def live(self) -> None:
        while not self._site.over:
            messages = self._receive()
            if messages:
                self._pass_on(messages)
            else:
                self._timeline.sleep(POLL_S)

    def _receive(self) -> list[Any]:
        messages = _at_once(self._queue.receive(BATCH, VISIBILITY_S, 0))
        self._site.calls["ReceiveMessage"] += bool(messages)
        return messages

    def _pass_on(self, messages: Sequence[Any]) -> None:
        # By its own receipt: a copy has its original's id, and is told apart only by this.
        handles = {str(message.serial): self._queue.handle(message) for message in messages}
        failed = self._invoke(
            [{"messageId": serial, "body": m.body} for serial, m in zip(handles, messages, strict=True)]
        )
        if failed is None:
            return
        done = [handle for serial, handle in handles.items() if serial not in failed]
        if done:
            self._site.calls["DeleteMessageBatch"] += 1
            self._timeline.sleep(LATENCY["bell"][0])
        for handle in done:
            self._queue.delete(handle)

    def _invoke(self, records: Sequence[dict[str, str]]) -> set[str] | None:
        """The ids of those that failed; None when the environment died."""
        self.at_work = True
        if self._handler is None:
            self._timeline.sleep(COLD_S)
            self._handler, self._dead = self._start(), False
        began, self._until = self._timeline.now(), self._timeline.now() + TIMEOUT_S
        try:
            answer = self._handler.handle({"Records": list(records)}, None)
            return {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
        except Died:
            self._handler = None
            return None
        finally:
            self.busy.invocations += 1
            self.busy.seconds += self._timeline.now() - began
            self.at_work = False

    def _start(self) -> ModuleType:
        """As a cold start: a module of its own, and in it what `from_environment` makes."""
        spec = handler.__spec__
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.log = self._log  # type: ignore[attr-defined]
        module._launcher = self._launcher()  # type: ignore[attr-defined]
        return module

    def _launcher(self) -> handler.Launcher:
        site, now = self._site, self._timeline.now
        calls = Calls(site.plane, self.pause, site.calls)
        objects: Any = _Outside(site.objects, self, "store")
        ec2: Any = _Outside(InProcessEc2(calls), self, "ec2")
        bell: Any = _Outside(InProcessBell(site.url, now, calls), self, "bell")
        inventory: Any = _Outside(InProcessInventory(site.ground.stack, calls), self, "ec2")
        readers = Side(self._timeline, READERS)
        books = RunBooks(objects, Ledgers(objects, FixedPrices(), now), now)
        succession = Succession(
            objects,
            ec2,
            bell,
            site.ground,
            pace=Pace(now, bell.waiting),
            books=books,
            readers=readers,
            callers=Side(self._timeline, CALLERS),
            log=self._log,
            now=now,
            sleep=self.pause,
        )
        stack, ensure = site.ground.stack, succession.ensure
        sweep = Sweep(objects, inventory, ec2, ensure, stack=stack, crew=readers, log=self._log, now=now, limits=books)
        return handler.Launcher(succession, bell, sweep, now)

    def _log(self, event: str, **fields: Any) -> None:
        self._site.log[event] += 1
        self._site.logged_bytes += len(json.dumps({"event": event, **fields})) + 1
        if event in TELLING:
            self._site.told.append({"event": event, **fields})

    @property
    def _queue(self) -> Any:
        return self._site.plane.sqs.queue(self._site.url)

    # ---- the outside world

    def outside(self, kind: str, name: str, call: Callable[[], R]) -> R:
        site = self._site
        if kind == "store":
            site.calls[f"store.{name}"] += 1
        dies = site.rng.random() < site.crash
        fails = kind == "store" and site.rng.random() < site.away
        late = site.rng.random() < 0.5
        if not late:
            self.pause(self._latency(kind, name))
        if (dies or fails) and not late:
            self._misfortune(dies, f"before {name}")
        result = call()
        if late:
            self.pause(self._latency(kind, name))
        if (dies or fails) and late:
            self._misfortune(dies, f"after {name}")
        return result

    def pause(self, seconds: float) -> None:
        if self._dead:
            raise Died
        if self._timeline.now() + seconds > self._until:
            self._timeline.sleep(max(0.0, self._until - self._timeline.now()))
            self._misfortune(True, "timed out")
        self._timeline.sleep(seconds)
        if self._dead:  # another of its threads had the news
            raise Died

    def _misfortune(self, dies: bool, where: str) -> None:
        if not dies:
            raise StoreUnavailable("away")
        self._dead = True
        self._site.deaths[where] += 1
        raise Died(where)

    def _latency(self, kind: str, name: str) -> float:
        least, more = LATENCY.get(name) or LATENCY[kind]
        return least + self._site.rng.expovariate(1 / more)


def _at_once(coroutine: Coroutine[Any, Any, R]) -> R:
    """Of one that never has to wait."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: R = end.value
        return result
    raise AssertionError("it waits")
