"""A launcher's site with a sweep, and instances in whatever condition; a store whose reads are watched, or refused."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from spotrelay.core import keys, records
from spotrelay.core.keys import Member
from spotrelay.core.spec import Instance as On
from spotrelay.core.spec import Limits as At
from spotrelay.core.spec import Run, Spec
from spotrelay.launcher.crew import Alone
from spotrelay.launcher.ec2 import Ec2
from spotrelay.launcher.objects import Folder, Objects
from spotrelay.launcher.pools import FLEET_TAG, STACK_TAG
from spotrelay.launcher.sweep import Limits, Sweep
from support.launcher_site import STACK, Fuse, Site

MINUTE, HOUR = 60.0, 3600.0
UP = ("pending", "running")


class Estate(Site):
    """A site with a sweep, and instances in whatever condition. `said`: what the sweep logged."""

    def __init__(self, objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(objects, monkeypatch)
        self.looker = Ec2()
        self.said: list[tuple[str, dict[str, Any]]] = []
        self._fleets = itertools.count(1)

    def close(self) -> None:
        for client in (self.looker._caller, self.looker._looker):
            client.close()
        super().close()

    def a_sweep(self, objects: Objects | None = None, limits: Limits | None = None, **other: Any) -> Sweep:
        """A new one, as in a cold environment."""
        return Sweep(
            self.fuse.on(objects or self.objects),
            self.fuse.on(self.inventory),
            self.fuse.on(self.looker),
            lambda requests: self.succession().ensure(requests),
            **{
                "stack": STACK,
                "crew": Alone(),
                "log": lambda event, **fields: self.said.append((event, fields)),
                "now": self.clock.now,
                "limits": limits,
                **other,
            },
        )

    def sweep(self, **other: Any) -> None:
        self.a_sweep(**other).once(self.clock.now() + 50)

    def anew(self, folder: Path) -> None:
        """Another store, and an account in which nothing lives: a new site takes longer than most tests."""
        for instance in [each.id for each in self.do(lambda: list(self.plane.ec2.instances))]:
            self.kill(instance)
        self.do(self.queue.messages.clear)
        self.objects, self.fuse = Folder(folder), Fuse()

    # ---- what there is

    def machine(self, *, age: float = 24 * HOUR, tags: dict[str, str] | None = None, spot: bool = False) -> str:
        tags = {STACK_TAG: STACK} if tags is None else tags
        asked: dict[str, Any] = {
            "ImageId": "ami-0123456789abcdef0",
            "InstanceType": "m5.large",
            "MinCount": 1,
            "MaxCount": 1,
            "TagSpecifications": [
                {"ResourceType": "instance", "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
            ],
            **({"InstanceMarketOptions": {"MarketType": "spot"}} if spot else {}),
        }

        def launch() -> str:
            (launched,) = self.plane.ec2.call("RunInstances", asked)["Instances"]
            self.plane.ec2.instances.known(launched["InstanceId"]).launched_at -= age
            return str(launched["InstanceId"])

        return self.do(launch)

    def open(self, *, keep_alive: bool = False, dollars: float = 0.0) -> str:
        run = next(self._names)
        self.objects.put(keys.open_run(run), b"")
        spec = Spec(Run(run, ("true",), "/job"), limits=At(dollars=dollars), instance=On(keep_alive=keep_alive))
        self.objects.create(keys.spec(run), spec.encode())
        return run

    def unmarked(self) -> str:
        """Begun before there were marks; or the laptop died before it made one."""
        run = self.open()
        self.objects.delete(keys.open_run(run))
        return run

    def assign(self, instance: str, run: str, attempt: int = 1) -> str:
        self.objects.create(keys.assignment(instance), records.encode(records.Assignment(run, attempt)))
        return instance

    def claim(self, instance: str, run: str, attempt: int = 1, *, ago: float = 24 * HOUR) -> None:
        claim = records.Claim(instance, f"token of {instance}", self.clock.now() - ago)
        self.objects.create(keys.claim(run, attempt), records.encode(claim))

    def heard(self, instance: str, run: str, attempt: int = 1, *, ago: float = 5, gone_in: float | None = None) -> None:
        gone_at = None if gone_in is None else self.clock.now() + gone_in
        status = records.Status(instance, "running", self.clock.now() - ago, gone_at=gone_at)
        self.objects.put(keys.status(run, attempt), records.encode(status))

    def owner(self, run: str, attempt: int = 1, *, silent: float = 5, **machine: Any) -> str:
        """At work since yesterday, and heard of so long ago."""
        instance = self.assign(self.machine(**machine), run, attempt)
        self.claim(instance, run, attempt)
        self.heard(instance, run, attempt, ago=silent)
        return instance

    def in_fleet(self, run: str, *, age: float, written: bool = True) -> str:
        """Launched, and its launcher died before it assigned it."""
        identity = f"f-{next(self._fleets):020x}"
        if written:
            fleet = records.Fleet("token", self.clock.now() - age, {}, [str(Member(run, 1, 0))])
            self.objects.create(keys.fleet(identity), records.encode(fleet))
        return self.machine(age=age, tags={STACK_TAG: STACK, FLEET_TAG: identity})

    def die(self, instance: str) -> None:
        """And EC2's event is lost."""
        self.kill(instance)
        self.do(self.queue.messages.clear)

    # ---- what has come of it

    def state(self, instance: str) -> str:
        return self.do(lambda: self.plane.ec2.instances.known(instance)).state.label

    def lives(self, instance: str) -> bool:
        return self.state(instance) in UP

    def heard_of(self, event: str) -> list[dict[str, Any]]:
        return [fields for name, fields in self.said if name == event]

    def marked_open(self, run: str) -> bool:
        return self.objects.get(keys.open_run(run)) is not None


@contextmanager
def estate_in(folder: Path) -> Iterator[Estate]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        there = Estate(Folder(folder), monkeypatch)
        try:
            yield there
        finally:
            there.close()


class Around:
    """A store whose reads can be watched, and turned into something else. `on_get` sees each key first."""

    def __init__(self, objects: Objects, on_get: Callable[[str], None]) -> None:
        self._objects, self._on_get = objects, on_get

    def get(self, key: str) -> bytes | None:
        self._on_get(key)
        return self._objects.get(key)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objects, name)


def refusing(error: Exception, *words: str) -> Callable[[str], None]:
    def on_get(key: str) -> None:
        if any(word in key for word in words):
            raise error

    return on_get
