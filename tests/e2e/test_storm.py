"""The storm over the wire: the launcher's zip in the real Lambda runtime, SQS and EC2 by HTTP, environments killed -9.

Smaller than the one on a virtual clock (`tests/launcher/test_storm.py`), and without anything in between: what boto3
does with a lost connection, what a killed process leaves, what a second process sees of it, are what they are.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from spotrelay import bundle
from spotrelay.core import keys, records
from spotrelay.core.messages import ResumeRequest
from spotrelay.core.spec import Run, Spec
from spotrelay.launcher.objects import Folder
from spotrelay.local.instances import Instance, Reason, State
from spotrelay.local.lambda_runtime import Function
from spotrelay.local.pools import Market, Pool
from spotrelay.local.provision import DEAD_LETTERS, QUEUE, STACK, TEMPLATE, by_hand
from spotrelay.local.pump import Pump
from spotrelay.local.server import ControlPlane

RUNS, ENVIRONMENTS = 200, 3
TYPES, ZONES = ("m5.large", "m6i.large", "c5.large"), ("us-east-1a", "us-east-1b", "us-east-1c")
STORM_S, KILLS, LONGEST_S = 20.0, 8, 400.0
ALIVE = (State.PENDING, State.RUNNING)


class Wild:
    """Agents, and what befalls them. Everything here happens on the control plane's loop."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.rng, self.plane = Random(seed), ControlPlane(seed=seed)
        self.objects = Folder(folder)
        self.owners: dict[tuple[str, int], str] = {}
        self.wrong: list[str] = []
        self._pending = 0

    # ---- agents

    def begin(self, run: str) -> None:
        spec = Spec(Run(run, ("true",), "/job"))
        self.objects.create(keys.open_run(run), b"")
        self.objects.create(keys.spec(run), spec.encode())
        instance = self._launched_before()
        self.objects.create(keys.assignment(instance.id), records.encode(records.Assignment(run, 1)))
        self.plane.ec2.instance_running(instance.id)
        assert self._claim(instance, run, 1)

    def _launched_before(self) -> Instance:
        """By whom is not this story."""
        pool = {"InstanceType": self.rng.choice(TYPES), "AvailabilityZone": self.rng.choice(ZONES)}
        template = {"LaunchTemplateName": TEMPLATE, "Version": "1"}
        tags = [{"Key": "spotrelay:stack", "Value": STACK}]
        answer = self.plane.ec2.fleets.create_fleet(
            {
                "Type": "instant",
                "LaunchTemplateConfigs": [{"LaunchTemplateSpecification": template, "Overrides": [pool]}],
                "TargetCapacitySpecification": {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "spot"},
                "TagSpecifications": [{"ResourceType": "instance", "Tags": tags}],
            }
        )
        return self.plane.ec2.instances.known(answer["Instances"][0]["InstanceIds"][0])

    def _claim(self, instance: Instance, run: str, attempt: int) -> bool:
        now = self.plane.clock.now()
        claim = records.Claim(instance.id, "token", now, instance.type, instance.zone, "spot")
        if not self.objects.create(keys.claim(run, attempt), records.encode(claim)):
            return False
        self.owners[run, attempt] = instance.id
        return True

    def boot(self, instance: Instance) -> None:
        if self.rng.random() < 0.03:
            self._in(1, lambda: self.plane.ec2.instance_gone(instance.id, Reason.SPOT_INTERRUPTION))
        else:
            self._in(self.rng.uniform(0.5, 2), lambda: self._up(instance))

    def _up(self, instance: Instance) -> None:
        self.plane.ec2.instance_running(instance.id)
        data = self.objects.get(keys.assignment(instance.id))
        if data is None:
            self._in(1, lambda: self._up(instance))
            return
        assigned = records.decode(records.Assignment, data, key=instance.id)
        if not self._claim(instance, assigned.run, assigned.attempt):
            self.plane.ec2.instance_gone(instance.id, Reason.ITSELF)

    def interrupt(self, run: str) -> None:
        """Told to go; its request up to five times; gone eight seconds later."""
        instance, rng, now = self.owners[run, 1], self.rng, self.plane.clock.now()
        status = records.Status(instance, "draining", now, gone_at=now + 8)
        self.objects.put(keys.status(run, 1), records.encode(status))
        self.plane.ec2.interrupt_warning(instance, at=now + 8)
        for _ in range(rng.randint(1, 5)):
            self._in(rng.uniform(0, 4), lambda: self._queue.send(ResumeRequest(run, 2).encode()))
        self._in(8, lambda: self.plane.ec2.instance_gone(instance, Reason.SPOT_INTERRUPTION))

    # ---- time, and the end

    @property
    def _queue(self):  # type: ignore[no-untyped-def]
        return self.plane.sqs.queue(QUEUE)

    def _in(self, seconds: float, act) -> None:  # type: ignore[no-untyped-def]
        self._pending += 1

        def happen() -> None:
            self._pending -= 1
            act()

        self.plane.clock.call_at(self.plane.clock.now() + seconds, happen)

    async def storm(self, function: Function) -> None:
        for number in range(RUNS):
            self._in(self.rng.uniform(0, STORM_S), lambda run=f"run-{number}": self.interrupt(run))
        pools = [Pool(kind, zone, Market.SPOT) for kind in TYPES for zone in ZONES]
        self.plane.ec2.weather.changing(2, 6, pools)
        for action in ("CreateFleet", "SendMessageBatch"):
            self.plane.faults.lose_answer(action, times=None, chance=0.1)
        self.plane.faults.refuse("DescribeInstances", "InternalError", status=500, times=None, chance=0.05)
        for _ in range(KILLS):
            await asyncio.sleep(self.rng.uniform(1, STORM_S / KILLS * 2 - 1))  # the moment is what is to be chance
            self._kill_one(function)
        self.plane.faults.clear()
        self.plane.ec2.weather.settle()
        for pool in pools:
            self.plane.ec2.weather.open(pool)

    def _kill_one(self, function: Function) -> None:
        running = [each._process for each in function._environments if each._process is not None]
        alive = [each.pid for each in running if each.returncode is None]
        if alive:
            os.killpg(self.rng.choice(sorted(alive)), signal.SIGKILL)

    async def quiet(self) -> None:
        async with asyncio.timeout(LONGEST_S):
            while self._pending or self._queue.messages:
                await asyncio.sleep(0.2)

    def verdict(self) -> list[str]:
        wrong = [f"{run} has no second owner" for run in self._runs() if (run, 2) not in self.owners]
        wrong += [f"{run} has a third owner" for run in self._runs() if (run, 3) in self.owners]
        alive = {each.id for each in self.plane.ec2.instances if each.state in ALIVE}
        needed = {self.owners[run, 2] for run in self._runs() if (run, 2) in self.owners}
        wrong += [f"{each} is dead" for each in needed - alive] + [
            f"{each} burns for nobody" for each in alive - needed
        ]
        left = [*self._queue.messages.values(), *self.plane.sqs.queue(DEAD_LETTERS).messages.values()]
        return wrong + [message.body for message in left]

    def _runs(self) -> list[str]:
        return [f"run-{number}" for number in range(RUNS)]

    def machines(self) -> dict[int, int]:
        """How many second attempts had so many instances that lived long enough to claim."""
        machines = defaultdict[tuple[str, int], int](int)
        for each in self.plane.ec2.instances:
            data = self.objects.get(keys.assignment(each.id))
            if data is not None and each.running_since:
                assigned = records.decode(records.Assignment, data, key=each.id)
                machines[assigned.run, assigned.attempt] += 1
        return Counter(count for (_, attempt), count in machines.items() if attempt == 2)


@asynccontextmanager
async def wild(folder: Path, seed: int) -> AsyncIterator[tuple[Wild, Function]]:
    there = Wild(folder / "store", seed)
    (folder / "store").mkdir()
    await there.plane.start()
    files = list(bundle.launcher_files())
    stack = by_hand(there.plane, store_url=(folder / "store").as_uri(), store_endpoint=None, types=TYPES, files=files)
    settings = replace(stack.function, concurrency=ENVIRONMENTS)
    function = Function(folder / "lambda", stack.files, settings, log=folder / "launcher.log")
    arn = f"arn:aws:sqs:us-east-1:123456789012:{QUEUE}"
    pump = Pump(
        endpoint=there.plane.endpoint, queue_url=stack.queue_url, queue_arn=arn, function=function, pollers=ENVIRONMENTS
    )
    try:
        for run in there._runs():
            there.begin(run)
        there.plane.ec2.instances.on_launch = there.boot
        pump.start()
        yield there, function
    finally:
        await pump.close()
        await function.close()
        await there.plane.close()


@pytest.mark.slow
async def test_storm_over_the_wire(tmp_path: Path) -> None:
    """Two hundred runs lose their machines within twenty seconds, and the launcher is killed eight times. Each has one
    next owner, no instance is left over, and no message."""
    async with wild(tmp_path, seed=4) as (it, function):
        await it.storm(function)
        await it.quiet()

        assert [] == it.verdict()
        assert {1: RUNS} == it.machines()
