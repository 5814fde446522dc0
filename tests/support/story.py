"""A stage for whole stories: the local cloud, and runs of the counting job in it.

    async with stage(folder) as cloud:
        story = await cloud.begin("holds")
        await story.ready(1)
        cloud.interrupt(story.instance(1), in_s=NOTICE_S)
        await story.ends("succeeded")

Everything between the doorbell and the outcome is the real launcher and the real agent. `ends` holds each run to what
is true of every run, however it went: one owner at a time, each attempt from the newest snapshot that counts, every
machine off, every instance terminated. `cloud.quiet` holds the queues to it.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from spotrelay.aws.store import open_store
from spotrelay.bundle import launcher_files
from spotrelay.core import keys, records, spec
from spotrelay.core.keys import SnapshotId
from spotrelay.core.lifecycle import Phase
from spotrelay.core.messages import ResumeRequest
from spotrelay.history import History
from spotrelay.local.cloud import Computer, Image, LocalCloud
from spotrelay.local.instances import State
from spotrelay.local.lambda_runtime import Invocation
from spotrelay.local.machine import isolation
from spotrelay.local.provision import Provision
from spotrelay.ports import Store
from spotrelay.snapshot import Snapshots
from support import counting_job

T = TypeVar("T")

TESTS = Path(__file__).parents[1]
# EC2's two minutes, for a job that needs a fraction of a second: a machine that has handed over is taken at once.
NOTICE_S = 40.0
# Where the notice is used up: by a command that is deaf, or by an agent that dies of it.
SHORT_NOTICE_S = 6.0
# A story takes seconds; two busy cores and a dozen machines make that a minute.
LIMIT_S = 300.0
STEPS = 60
# Well below the job's length, so that background saves are part of each story.
SAVE_EVERY_S = 0.25


class Stage(LocalCloud):
    """The local cloud, with runs in it. `told`: what the agents of a machine are told beside the usual. `python`: as
    machines have it."""

    python = sys.executable

    def __init__(self, folder: Path, baked: Image, **options: Any) -> None:
        super().__init__(folder, baked, **options)
        self.told: Callable[[Computer], Mapping[str, str]] = lambda _: {}
        self.started: Callable[[Computer], None] = lambda _: None
        self.store: Store = open_store(self.store_url)
        self._names = (f"story-{number}" for number in itertools.count(1))

    def _by_hand(self) -> Provision:
        # A message a batch: runs asked for together share a launch, and its machines do not say whose they are.
        return replace(super()._by_hand(), batch=1)

    def machine_environment(self, computer: Computer, imds: str) -> dict[str, str]:
        self.started(computer)
        return {**super().machine_environment(computer, imds), **self.told(computer)}

    async def begin(self, kind: str = "", *, command: Sequence[str] | None = None, **tables: Any) -> Story:
        """A new run and the wish for its first attempt. `tables`: of the spec, over what suits a story."""
        story = self.plan(kind, command=command, **tables)
        await story.begin()
        return story

    def plan(
        self, kind: str = "", *, command: Sequence[str] | None = None, job_outside: bool = False, **tables: Any
    ) -> Story:
        """The run as it will be; nothing is written yet. `job_outside`: its program is not part of its directory."""
        run = next(self._names)
        shared = self.folder / "state" / run
        shared.mkdir()
        job = [
            self.python,
            "-I",
            "-S",
            counting_job.__file__ if job_outside else "counting_job.py",
            str(shared),
            str(STEPS),
            kind,
        ]
        document = {
            "run": {"name": run, "command": list(command or job), "directory": str(self.baked.directory)},
            "save": {"every_s": SAVE_EVERY_S},
            **tables,
        }
        document["run"] |= tables.get("run", {}) | {"name": run}
        return Story(self, run, shared, spec.parse(document, source="story"))

    def user_data(self, run_spec: spec.Spec | None = None) -> str:
        """What the template gives to instances; with a spec, what a person gives to one."""
        lines = ["[relay]", f"store = {json.dumps(self.store_url)}", f"queue = {json.dumps(self.queue_url)}"]
        for table, fields in (run_spec.document() if run_spec else {}).items():
            if isinstance(fields, dict):
                lines += [f"[{table}]", *(f"{key} = {_toml(value)}" for key, value in fields.items())]
        return "\n".join(lines)

    def boot(self, user_data: str) -> str:
        """A person launches the image by hand. The instance."""
        order = {
            "LaunchTemplate": dict(self.provision.template),
            "UserData": base64.b64encode(user_data.encode()).decode(),
            "InstanceType": "m5.large",
            "MinCount": 1,
            "MaxCount": 1,
        }
        return str(self.plane.ec2.call("RunInstances", order)["Instances"][0]["InstanceId"])

    def ring(self, run: str, attempt: int) -> None:
        self.plane.sqs.queue(self.provision.queue).send(ResumeRequest(run, attempt).encode())

    async def sweep(self) -> Invocation:
        """As its schedule does it; past the queue, so that one knows when it is over, and two can be at it."""
        assert self._function is not None
        return await self._function.invoke({"Records": [{"messageId": "sweep", "body": '{"sweep": {}}'}]})

    async def quiet(self) -> None:
        """No message is left, in no queue, and none was given up."""
        requests, dead = map(self.plane.sqs.queue, (self.provision.queue, self.provision.dead_letters))
        try:
            await until(lambda: requests.counts() == (0, 0, 0), what="the queue is empty")
        except AssertionError as error:
            raise AssertionError(f"{error}: {requests.counts()}\n{self.launcher_log()}") from None
        assert (0, 0, 0) == dead.counts(), self.launcher_log()

    def launcher_log(self) -> str:
        log = self.folder / "launcher.log"
        return log.read_text() if log.exists() else ""


class Story:
    """One run."""

    def __init__(self, stage: Stage, run: str, shared: Path, run_spec: spec.Spec) -> None:
        self.stage, self.run, self.shared, self.spec = stage, run, shared, run_spec
        self.history = History(stage.store, run)
        self._taken: set[str] = set()

    async def begin(self) -> None:
        """As `spotrelay run` does it: the directory, the run, the doorbell."""
        await self.save_first()
        self.stage.ring(self.run, 1)

    async def save_first(self) -> None:
        source = self.stage.folder / "source" / self.run
        source.mkdir(parents=True)
        shutil.copy(counting_job.__file__, source)
        await Snapshots(self.stage.store, self.run, source).save(SnapshotId(0, 0))
        await self.stage.store.create(keys.spec(self.run), self.spec.encode())

    # --- what is going on

    def computers(self, attempt: int | None = None) -> list[Computer]:
        """Those launched for this run (for this attempt of it), in the order of their launches."""
        wanted = {"spotrelay:run": self.run} | ({"spotrelay:attempt": str(attempt)} if attempt else {})
        brought = f'name = "{self.run}"\n'.encode()
        return [
            computer
            for computer in self.stage.computers.values()
            if wanted.items() <= computer.instance.tags.items() or brought in computer.instance.user_data
        ]

    async def status(self, attempt: int) -> records.Status:
        found = await self.history.status(attempt)
        assert found is not None
        return found

    async def cancel(self) -> None:
        """A person says stop."""
        await self.stage.store.put(keys.cancel(self.run), b"")

    def journal(self) -> list[tuple[int, str, int]]:
        path = self.shared / "journal"
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        return [(int(attempt), what, int(counter)) for attempt, what, counter in (line.split() for line in lines)]

    async def ready(self, attempt: int) -> str:
        """When the job of this attempt is in its middle: the instance."""
        await self.until((self.shared / f"ready-{attempt}").exists, what=f"attempt {attempt} is ready")
        claim = await self.history.claim(attempt)
        assert claim is not None
        return claim.instance

    async def output(self, attempt: int) -> str:
        """What the command of this attempt wrote, in however many pieces it was sent."""
        pieces = sorted(await self.stage.store.list(keys.log(self.run, attempt)))
        return b"".join([await self.stage.store.get(piece) for piece in pieces]).decode()

    async def saved_state(self, attempt: int) -> int:
        """The counter in the newest snapshot of this attempt; 0 as long as there is none."""
        saved = keys.snapshots_among(await self.stage.store.list(keys.snapshots(self.run, attempt)))
        if not saved:
            return 0
        target = self.stage.folder / "looked-at" / self.run
        await Snapshots(self.stage.store, self.run, target).restore(max(saved))
        return int(json.loads((target / "state").read_text())[0]) if (target / "state").exists() else 0

    async def phase(self, attempt: int, phase: str) -> None:
        async def there() -> bool:
            status = await self.history.status(attempt)
            return status is not None and status.phase == phase

        await self.until(there, what=f"attempt {attempt} is {phase}")

    async def outcome(self) -> records.Outcome:
        async def there() -> records.Outcome | None:
            return await self.history.outcome()

        found = await self.until(there, what="the outcome")
        assert found is not None
        return found

    async def off(self) -> None:
        """When every machine of the run is, by itself. EC2 takes those that only stay for it."""

        async def all_off() -> bool:
            for attempt, claim in enumerate(await self.claims(), 1):
                status = await self.history.status(attempt)
                if status is not None and status.phase == Phase.STAYING and claim.instance not in self._taken:
                    self._taken.add(claim.instance)
                    self.stage.take(claim.instance)
            return all(computer.off.is_set() for computer in self.computers())

        await self.until(all_off, what="every machine off")

    async def until(self, check: Callable[[], Any], *, what: str) -> Any:
        try:
            return await until(check, what=what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.told()}") from None

    def told(self) -> str:
        """What the machines and the launcher said, for whoever must find out."""
        agents = [f"--- {c.instance.id}\n{_end_of(c.state / 'agent.log')}" for c in self.computers()]
        launcher = [line for line in self.stage.launcher_log().splitlines() if self.run in line]
        return "\n".join([f"journal: {self.journal()}", *agents, "--- launcher", *launcher[-20:]])

    # --- what must have come of it

    async def ends(self, result: str, *, exit_code: int | None = None, restarted: bool = False) -> records.Outcome:
        """Wait for the outcome; then everything that is true of every run. `restarted`: agents of it were, and began
        their attempts again."""
        outcome = await self.outcome()
        await self.off()
        try:
            assert result == outcome.result, outcome
            if exit_code is not None:
                assert exit_code == outcome.exit_code
            if result == "succeeded":
                assert counting_job.result(STEPS) == await self.result()
            await self.was_owned_by_one(restarted=restarted)
            await self.lost_nothing()
            self.burns_nothing()
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.told()}") from error
        return outcome

    async def result(self) -> str:
        """What the job wrote at its end, out of the snapshot that the outcome names."""
        outcome = await self.history.outcome()
        assert outcome is not None
        assert outcome.snapshot is not None
        target = self.stage.folder / "restored" / self.run
        await Snapshots(self.stage.store, self.run, target).restore(SnapshotId.parse(outcome.snapshot))
        return (target / "result").read_text() if (target / "result").exists() else "no result"

    async def was_owned_by_one(self, *, restarted: bool = False) -> None:
        """P1: never two at a time; and each attempt was begun by the instance that had claimed it, at most once."""
        assert not (self.shared / "overlap").exists()
        starts = [attempt for attempt, what, _ in self.journal() if what == "start"]
        assert sorted(starts if restarted else set(starts)) == starts
        claims = await self.claims()
        assert set(starts) <= set(range(1, len(claims) + 1))
        assert len({claim.instance for claim in claims}) == len(claims)

    async def claims(self) -> list[records.Claim]:
        found: list[records.Claim] = []
        while (claim := await self.history.claim(len(found) + 1)) is not None:
            found.append(claim)
        return found

    async def lost_nothing(self) -> None:
        """P3, P4: each attempt began from the newest snapshot that any before it had committed."""
        committed = keys.snapshots_among(await self.stage.store.list(keys.snapshots(self.run)))
        for attempt in range(1, len(await self.claims()) + 1):
            base = await self.history.base(attempt)
            if base is not None:
                before = [snapshot for snapshot in committed if snapshot.attempt < attempt]
                assert base.snapshot == (str(max(before)) if before else None), f"attempt {attempt}"

    def burns_nothing(self) -> None:
        """P5."""
        states = {c.instance.id: c.instance.state for c in self.computers()}
        assert dict.fromkeys(states, State.TERMINATED) == states


@asynccontextmanager
async def stage(
    folder: Path, *, module: str = "spotrelay.daemon", environment: Mapping[str, str] | None = None, **options: Any
) -> AsyncIterator[Stage]:
    """`environment`: more of it for the agent. `options`: of LocalCloud."""
    isolated = (await isolation()).full
    more = {"PYTHONPATH": str(TESTS), "PYTHONDONTWRITEBYTECODE": "", **(environment or {})}
    baked = Image(
        folder / "job",
        list(launcher_files()),
        environment={**os.environ, **more},
        module=module,
        isolated=isolated,
    )
    async with Stage(folder, baked, **options) as cloud:
        yield cloud


async def until(check: Callable[[], Any], *, what: str, within: float = LIMIT_S) -> Any:
    """What `check` returns (or what it awaits), once it is true."""
    deadline = time.monotonic() + within
    while True:
        found = check()
        if isinstance(found, Awaitable):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}"
        await asyncio.sleep(0.05)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {json.dumps(each)}" for key, each in value.items()) + "}"
    return json.dumps(value)  # the rest is the same in both


def _end_of(path: Path) -> str:
    return path.read_text(errors="replace")[-6000:] if path.exists() else "(it said nothing)"
