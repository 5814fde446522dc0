"""The whole cloud in a folder: what a run needs of AWS, on one computer, reached over the wire like the real one.

    the stack           queues, launch template, EventBridge rules, function (`provision.py`)
    EC2                 an instance that the launcher creates becomes a `Machine` with the agent on it
    the weather         `interrupt`, `rebalance` and `vanish` do to an instance what EC2 does

The agent, the launcher and their adapters are the real ones; what stands in for the image is this computer.

    <folder>/store              the bucket, unless `store_url` says otherwise
    <folder>/state/<instance>   what an agent keeps outside of the execution directory, and its log
    <folder>/machines, /lambda  gone when they are
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from spotrelay.local import image
from spotrelay.local.imds import MetadataService
from spotrelay.local.imds_documents import InstanceDocuments
from spotrelay.local.instances import Instance, Reason
from spotrelay.local.lambda_runtime import Function
from spotrelay.local.machine import Machine, OutsideWrite
from spotrelay.local.provision import QUEUE, Provision, by_hand
from spotrelay.local.pump import Pump
from spotrelay.local.server import ControlPlane

__all__ = ["QUEUE", "Computer", "Image", "LocalCloud"]

# What EC2 grants an operating system to shut down before it cuts the power ("minutes", says its documentation).
SHUTDOWN_S = 30.0


@dataclass(slots=True)
class Computer:
    """One instance here: what EC2 says of it, and the machine it is. `outside`: known once it is off."""

    instance: Instance
    state: Path
    machine: Machine | None = None
    booted_at: float = 0.0
    ended_at: float | None = None
    ended_by: str = "itself"
    outside: list[OutsideWrite] | None = None
    exit_status: int | None = None
    off: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class Image:
    """What is deployed: `module` is the agent on the machines, `function` the files of the launcher's zip (name, file).
    `environment`: the person's own, which the command sees."""

    directory: Path
    function: Sequence[tuple[str, Path]]
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    module: str = "spotrelay.daemon"
    isolated: bool = True


class LocalCloud:
    """`changed` is called, on the loop, whenever an instance came or went. Used as an async context manager.

    `provision`: what is run on; None has it made by hand. Its queues and template are then already on `plane`.
    """

    def __init__(
        self,
        folder: Path,
        baked: Image,
        *,
        store_url: str | None = None,
        store_endpoint: str | None = None,
        instance_types: tuple[str, ...] = ("m6i.large", "m5.large", "c6i.large"),
        seed: int = 0,
        plane: ControlPlane | None = None,
        provision: Provision | None = None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.folder, self.baked = folder, baked
        self.store_url = store_url or (folder / "store").as_uri()
        self.plane = plane or ControlPlane(seed=seed)
        self.imds = MetadataService()
        self.computers: dict[str, Computer] = {}
        self._provision = provision
        self._store_endpoint, self._types, self._changed = store_endpoint, instance_types, changed
        self._function: Function | None = None
        self._pump: Pump | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self._log = structlog.get_logger()

    async def __aenter__(self) -> LocalCloud:
        for name in ("store", "state", "machines"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        try:
            await asyncio.gather(self.plane.start(), self.imds.start())
            self.plane.ec2.instances.on_launch = self._launched
            self.plane.ec2.instances.on_terminate = self._terminate
            self._provision = self._provision or self._by_hand()
            self._deploy(self._provision)
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Everything ends: no process, no listener is left. The folder is the caller's."""
        self._closing = True
        if self._pump is not None:
            self._pump.stop()
        await asyncio.gather(*(c.machine.close() for c in self.computers.values() if c.machine is not None))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._function is not None:
            await self._function.close()
        if self._pump is not None:
            await self._pump.close()
        await self.imds.close()
        await self.plane.close()

    # --- the stack

    @property
    def provision(self) -> Provision:
        assert self._provision is not None, "the cloud is not there yet"
        return self._provision

    @property
    def queue_url(self) -> str:
        return self.provision.queue_url

    def _by_hand(self) -> Provision:
        return by_hand(
            self.plane,
            store_url=self.store_url,
            store_endpoint=self._store_endpoint,
            types=self._types,
            files=self.baked.function,
        )

    def _deploy(self, given: Provision) -> None:
        log = self.folder / "launcher.log"
        self._function = Function(self.folder / "lambda", given.files, given.function, log=log)
        # Half a second that passes while the first snapshot is made; whoever invokes first waits for the rest.
        self._run(self._function.start(), "function")
        self._pump = Pump(
            endpoint=given.endpoint,
            queue_url=given.queue_url,
            queue_arn=f"arn:aws:sqs:{self.plane.region}:{self.plane.account}:{given.queue}",
            function=self._function,
            region=self.plane.region,
            pollers=given.pollers,
            batch=given.batch,
            keys=given.keys,
        )
        self._pump.start()

    async def update(self, provision: Provision) -> None:
        """The stack has changed: what is under way comes to its end with what it began with, what follows is new."""
        assert self._pump is not None
        assert self._function is not None
        await self._pump.drain()
        await self._pump.close()
        await self._function.close()
        self._provision = provision
        self._deploy(provision)

    # --- instances

    def _launched(self, instance: Instance) -> None:
        computer = Computer(instance, self.folder / "state" / instance.id)
        self.computers[instance.id] = computer
        self._run(self._live(computer), instance.id)

    async def _live(self, computer: Computer) -> None:
        """One instance, from power-on to gone."""
        instance = computer.instance
        computer.state.mkdir(parents=True)
        documents = InstanceDocuments(
            instance_id=instance.id,
            instance_type=instance.type,
            zone=instance.zone,
            life_cycle=str(instance.market),
            user_data=instance.user_data,
            tags=instance.tags,
            launched=time.time(),
            credentials=await self.provision.instance_keys(instance),
        )
        imds = self.imds.add(documents)
        try:
            computer.machine = await self._boot(computer, imds)
            computer.booted_at = time.time()
            if computer.ended_by != "itself":
                computer.machine.vanish()  # somebody wanted it gone before it was there
            self.plane.ec2.instance_running(instance.id)
            self._changed()
            computer.exit_status = await computer.machine.off()
            computer.outside = computer.machine.outside_writes()
        except Exception as error:
            self._log.error("machine.failed", instance=instance.id, error=str(error))
        finally:
            computer.ended_at = time.time()
            computer.off.set()
            if not self._closing:
                self.imds.remove(instance.id)
                reason = Reason.ITSELF if computer.ended_by == "itself" else Reason.SPOT_INTERRUPTION
                self.plane.ec2.instance_gone(instance.id, reason)
                self._changed()

    async def _boot(self, computer: Computer, imds: str) -> Machine:
        program = image.program(self.baked.module, directory=self.baked.directory)
        return await Machine.boot(
            self.folder / "machines" / computer.instance.id,
            directory=self.baked.directory,
            argv=program.argv,
            environment={**self.baked.environment, **self.machine_environment(computer, imds)},
            visible=[self.folder / "store", self.folder / "state"],
            carried=program.carried,
            output=computer.state / "agent.log",
            isolated=self.baked.isolated,
        )

    def machine_environment(self, computer: Computer, imds: str) -> dict[str, str]:
        """What the unit file is in the image: how the agent finds its surroundings."""
        given = self.provision
        return {
            **({} if self.baked.isolated else {"TMPDIR": str(self._own_tmp(computer))}),
            "SPOTRELAY_IMDS": imds,
            "SPOTRELAY_ENDPOINT": given.endpoint,
            "SPOTRELAY_STATE": str(computer.state),
            "SPOTRELAY_POWEROFF": "",  # the machine is off when its agent ends
            **({"SPOTRELAY_ENDPOINT_S3": given.store_endpoint} if given.store_endpoint else {}),
        }

    def _own_tmp(self, computer: Computer) -> Path:
        """Without a disk of its own a machine has at least this: /tmp is where most of what is lost had been."""
        folder = self.folder / "machines" / f"{computer.instance.id}-tmp"
        folder.mkdir()
        return folder

    def _terminate(self, instance: str) -> None:
        """Somebody called TerminateInstances."""
        self._run(self._shut_down(self.computers[instance], "terminated"), f"terminate {instance}")

    async def _shut_down(self, computer: Computer, by: str) -> None:
        """The power button, and the power cut for who does not react."""
        computer.ended_by = by
        if computer.machine is None:
            return
        computer.machine.power_button()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SHUTDOWN_S):
                await computer.off.wait()
        computer.machine.vanish()

    # --- the weather

    def interrupt(self, instance: str, *, in_s: float = 120.0, action: str = "terminate") -> None:
        """EC2 wants the instance back: rebalance recommendation and notice now, the end in `in_s` seconds."""
        at = time.time() + in_s
        self.imds.interrupt(instance, action, at=at)
        self.plane.ec2.interrupt_warning(instance, action, at)
        self._run(self._take_at(instance, in_s), f"take {instance}")

    def rebalance(self, instance: str) -> None:
        self.imds.rebalance(instance)
        self.plane.ec2.rebalance(instance)

    def take(self, instance: str) -> None:
        """The time of a notice has come."""
        self._run(self._shut_down(self.computers[instance], "notice"), f"take {instance}")

    def vanish(self, instance: str) -> None:
        """The machine dies without a word."""
        computer = self.computers[instance]
        computer.ended_by = "sudden death"
        if computer.machine is not None:
            computer.machine.vanish()

    async def _take_at(self, instance: str, in_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(in_s):
                await self.computers[instance].off.wait()
                return
        self.take(instance)

    def _run(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error("cloud.broken", task=task.get_name(), error=repr(error))
