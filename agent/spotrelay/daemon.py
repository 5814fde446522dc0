"""The systemd service: learn who and where we are, find the run, relay it, end the instance.

What comes as user data is TOML, in one of two forms: [relay] alone (store, queue: the launch template's), and then the
launcher assigns the run by an object under our instance id; or [relay] and the tables of run.toml, and then this
instance is the run's first attempt.

Every path ends in the power-off command, with the reason in the journal and on the console (P5), unless the run asked
to keep the instance.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from spotrelay.footprint import stay_small  # isort: skip - before structlog: see there

import structlog

from spotrelay import host
from spotrelay.attempt import Arrival, Attempt
from spotrelay.aws.credentials import of_instance
from spotrelay.aws.imds import InstanceMetadata
from spotrelay.aws.json_request import Caller
from spotrelay.aws.queue import SqsQueue
from spotrelay.aws.secrets import SsmSecrets
from spotrelay.aws.store import open_store
from spotrelay.board import Board
from spotrelay.command import cgroup
from spotrelay.core import keys, records, spec
from spotrelay.core.errors import AlreadyExists, NotFound, RunOver, SpecError, SpotrelayError, Unassigned
from spotrelay.leave import leave
from spotrelay.logs import configure
from spotrelay.patience import patiently
from spotrelay.ports import Identity, Store
from spotrelay.relay import SYSTEM_STOP_S, Ending, Relay
from spotrelay.service import ServiceManager
from spotrelay.settings import Settings
from spotrelay.watch import watch

# The launcher writes the assignment right after EC2's answer, long before an image has booted; a launcher that died in
# between is called again after the queue's visibility timeout (six times the function's minute).
ASSIGNED_WITHIN_S = 600.0
# A network that is there after two minutes is a slow one, and no reason to buy another machine.
BOOT_PATIENCE_S = 300.0
# From the end of the plan to the end of the process: closing what is open.
STOP_MARGIN_S = 10.0


@dataclass(frozen=True, slots=True)
class UserData:
    store: str
    queue: str
    spec: spec.Spec | None


def read_user_data(data: bytes | None) -> UserData:
    """Raises SpecError with every problem."""
    document = spec.toml_document(data or b"", source="user data")
    relay, problems = document.pop("relay", {}), []
    for name, example in (("store", "s3://bucket/prefix"), ("queue", "https://sqs.eu-west-1.amazonaws.com/1/relay")):
        if not isinstance(relay, dict) or not isinstance(relay.get(name), str):
            problems.append(f'user data: [relay] {name} is missing — set {name} = "{example}"')
    run = None
    if document:
        try:
            run = spec.parse(document, source="user data")
        except SpecError as error:
            problems.extend(error.problems)
    if problems:
        raise SpecError(problems)
    return UserData(relay["store"], relay["queue"], run)


class Arriving:
    """How an instance comes to its run. One use."""

    def __init__(self, settings: Settings, metadata: InstanceMetadata, board: Board | None = None) -> None:
        self._settings, self._metadata, self._board = settings, metadata, board or Board(None)

    async def __call__(self) -> Attempt:
        """Raises SpotrelayError when there is nothing for this instance to do."""
        identity = await self._metadata.identity(BOOT_PATIENCE_S)
        structlog.contextvars.bind_contextvars(instance=identity.instance_id)
        user_data = read_user_data(await self._user_data())
        # The metadata service knows the region, but neither botocore nor obstore asks it.
        os.environ["AWS_REGION"] = os.environ["AWS_DEFAULT_REGION"] = identity.region
        keys_of = of_instance(self._metadata, os.environ, wall=self._wall)
        store = open_store(user_data.store, credentials=keys_of)
        caller = Caller(identity.region, keys_of, self._settings.endpoint, self._wall)
        queue, secrets = SqsQueue(user_data.queue, caller), SsmSecrets(caller)
        if user_data.spec is not None:
            assignment = await self._begin(store, identity, user_data.spec)
        else:
            assignment = await self._assigned(store, identity)
        data = await patiently(lambda: store.get(keys.spec(assignment.run)), what="spec", for_s=BOOT_PATIENCE_S)
        run_spec = spec.from_json(data, source=keys.spec(assignment.run))
        structlog.contextvars.bind_contextvars(run=assignment.run, attempt=assignment.attempt)
        self._settings.state.mkdir(parents=True, exist_ok=True)
        if self._settings.owns_machine:
            await asyncio.to_thread(host.prepare, run_spec)
        return Attempt(
            Arrival(store, queue, run_spec, assignment.attempt, secrets),
            identity,
            output=self._settings.state / f"{assignment.run}-{assignment.attempt}.log",
            environment=self._settings.command_environment,
            wall=self._wall,
            clock=time.monotonic,
            cgroup=self._cgroup() if self._settings.owns_machine else None,
            announced=self._settings.announced,
            left=self._board.left(assignment.run, assignment.attempt),
        )

    async def _user_data(self) -> bytes | None:
        try:
            return await asyncio.to_thread(self._settings.user_data.read_bytes)
        except FileNotFoundError:
            return await self._metadata.user_data(BOOT_PATIENCE_S)

    def _cgroup(self) -> Path | None:
        """A kernel that cannot do it, or a limit that it does not know, is no reason not to run."""
        try:
            return cgroup.prepare(cgroup.own(), self._settings.limits)
        except OSError as error:
            structlog.get_logger().error("cgroup.missing", error=str(error), limits=dict(self._settings.limits))
            return None

    def _wall(self) -> float:
        return self._metadata.server_now() or time.time()

    async def _begin(self, store: Store, identity: Identity, run_spec: spec.Spec) -> records.Assignment:
        """The spec came with the instance: this instance is the first attempt of the run, which is written after that
        and after the mark by which the launcher's sweep finds it.

        The other way round, an instance that died in between would leave a run that nobody is called for. A mark
        without a run says that somebody died here; the sweep takes it away.
        """
        name, data = run_spec.run.name, run_spec.encode()
        assignment, key = records.Assignment(name, 1), keys.assignment(identity.instance_id)
        try:
            await patiently(lambda: store.create(key, records.encode(assignment)), what=key, for_s=BOOT_PATIENCE_S)
        except AlreadyExists:
            structlog.get_logger().info("run.again", why="this instance was booted before")
        await patiently(lambda: store.put(keys.open_run(name), b""), what="open run", for_s=BOOT_PATIENCE_S)
        try:
            await patiently(lambda: store.create(keys.spec(name), data), what="spec", for_s=BOOT_PATIENCE_S)
        except AlreadyExists:
            if await patiently(lambda: store.get(keys.spec(name)), what="spec", for_s=BOOT_PATIENCE_S) != data:
                raise RunOver(f"there is a run {name!r} already", next_step="give the run another name") from None
        return assignment

    async def _assigned(self, store: Store, identity: Identity) -> records.Assignment:
        """Wait for the launcher's word. Looks often at first: that is when it comes."""
        until, wait = time.monotonic() + ASSIGNED_WITHIN_S, 0.25
        while time.monotonic() < until:
            assignment = await patiently(
                lambda: self._assignment(store, identity), what="assignment", for_s=BOOT_PATIENCE_S
            )
            if assignment is not None:
                return assignment
            await asyncio.sleep(wait)
            wait = min(wait * 1.5, 5.0)
        raise Unassigned(
            f"no run was assigned to {identity.instance_id} within {ASSIGNED_WITHIN_S:g} s",
            next_step="look at the launcher's log",
        )

    async def _assignment(self, store: Store, identity: Identity) -> records.Assignment | None:
        key = keys.assignment(identity.instance_id)
        try:
            return records.decode(records.Assignment, await store.get(key), key=key)
        except NotFound:
            return None


async def serve(settings: Settings, manager: ServiceManager) -> Ending:
    """Relay one attempt."""
    async with InstanceMetadata(endpoint=settings.imds) as metadata:
        board = Board(settings.board)
        relay = Relay(
            Arriving(settings, metadata, board),
            watch(metadata),
            clock=time.monotonic,
            told=manager.status,
            board=board,
        )

        def stop() -> None:
            manager.stopping(SYSTEM_STOP_S + STOP_MARGIN_S)
            relay.stop()

        loop = asyncio.get_running_loop()
        for caught in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(caught, stop)
        beside = [
            asyncio.create_task(manager.keep_alive(), name="watchdog"),
            asyncio.create_task(stay_small(), name="footprint"),
        ]
        # Not when the run has begun: a machine that waits for its assignment has booted, and is none that failed to.
        manager.ready()
        try:
            return await relay.run()
        finally:
            for task in beside:
                task.cancel()


def main() -> NoReturn:
    settings = Settings.of(os.environ)
    configure()
    if settings.endpoint is not None:
        _stand_in(settings)
    log = structlog.get_logger()
    try:
        ending = asyncio.run(serve(settings, ServiceManager.of(os.environ)))
    except Exception as error:  # whatever it was, the instance must not burn on
        log.error("agent.broken", error=str(error), exc_info=not isinstance(error, SpotrelayError))
        ending = Ending(error if isinstance(error, SpotrelayError) else SpotrelayError(repr(error)))
    if ending.keep_alive:
        log.warning("instance.kept", why="instance.keep_alive is set")
        if settings.kept is not None:
            settings.kept.touch()  # the dead man's switch looks for it
        leave(0)
    log.info("instance.ending", command=settings.poweroff)
    if settings.poweroff:
        os.execvp(settings.poweroff[0], settings.poweroff)  # noqa: S606 - the operator's command, not a shell's
    leave(ending.refusal.exit_code if ending.refusal else 0)


def _stand_in(settings: Settings) -> None:
    """In the local cloud nothing of the person's own AWS configuration counts: neither keys nor endpoints."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    nothing: dict[str, Any] = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    os.environ.update(nothing, AWS_ENDPOINT_URL=str(settings.endpoint))
    if settings.endpoint_s3:
        os.environ["AWS_ENDPOINT_URL_S3"] = settings.endpoint_s3
    if settings.imds:
        os.environ["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = settings.imds


if __name__ == "__main__":
    main()
