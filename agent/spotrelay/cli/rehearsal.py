"""A rehearsal: the whole relay around one command, in a local cloud, interrupted on purpose.

1. The directory is saved as the run's first snapshot, the run is written, the bell is rung: as `spotrelay run` does it.
2. The launcher, the agents and their adapters do what they do in the cloud. Nothing here helps them.
3. A look at the bucket and at the machines, a few times a second, tells what is going on; when a command has worked
   for as long as the plan says, its machine is interrupted, or dies. It works from its first progress on, or, where
   none is to be seen, from its start: a program that takes ten seconds to import is not asked to resume from there.
4. When the run has an outcome the records, the output and what the machines wrote elsewhere become the report.

The person's directory is read once, at the beginning, and never written.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from spotrelay.aws.store import open_store
from spotrelay.bundle import launcher_files
from spotrelay.cli import counters, verdict
from spotrelay.cli.moments import Moment
from spotrelay.cli.report import AttemptReport, OutcomeReport, OutsideWriteReport, Report
from spotrelay.core import keys, records, spec
from spotrelay.core.errors import UsageError
from spotrelay.core.keys import SnapshotId
from spotrelay.core.lifecycle import Phase
from spotrelay.core.messages import ResumeRequest
from spotrelay.history import History
from spotrelay.local.cloud import QUEUE, Computer, Image, LocalCloud
from spotrelay.local.machine import Isolation, isolation
from spotrelay.snapshot import Snapshots

LOOK_S = 0.1
RUN = "rehearsal"
# Of an output of gigabytes the beginning and the end of each attempt are enough to see a counter go on.
EXCERPT = 4 << 20


@dataclass(frozen=True, slots=True)
class Plan:
    """What is rehearsed. `progress`: the counter in the command's output; `output`: where its directory goes."""

    command: Sequence[str]
    directory: Path
    moments: Sequence[Moment]
    notice_s: float = 120.0
    save_every_s: float = 5.0
    progress: re.Pattern[str] | None = None
    instance_type: str = "g5.xlarge"
    exclude: Sequence[str] = ()
    strict_exit: bool = False
    limit_s: float = 3600.0
    output: Path | None = None


@dataclass(slots=True)
class Seen:
    """One attempt, as far as it can be seen from outside."""

    number: int
    claim: records.Claim
    computer: Computer
    status: records.Status | None = None
    handover: records.Handover | None = None
    base: records.Base | None = None
    running_since: float | None = None
    working_since: float | None = None
    interrupted: Moment | None = None
    interrupted_at: float | None = None
    taken: bool = False


@dataclass(slots=True)
class Scene:
    """What is going on now, for the display."""

    plan: Plan
    began: float
    what: str = "starting the local cloud"
    attempts: list[Seen] = field(default_factory=list)
    outcome: records.Outcome | None = None

    @property
    def current(self) -> Seen | None:
        return self.attempts[-1] if self.attempts else None


class Rehearsal:
    """`show` is called with the scene several times a second. `folder` is the caller's, and holds everything."""

    def __init__(self, plan: Plan, folder: Path, show: Callable[[Scene], None]) -> None:
        self.scene = Scene(plan, time.time())
        self._plan, self._folder, self._show = plan, folder, show
        self._left = list(plan.moments)
        self._isolation = Isolation(full=True)
        self._directory = plan.directory
        self._history = History(open_store((folder / "store").as_uri()), RUN)

    async def run(self) -> Report:
        """Raises SpotrelayError when the rehearsal itself cannot be held."""
        self._isolation = await isolation()
        if not self._isolation.full:
            self._directory = self._folder / "directory"
            self._directory.mkdir()
        baked = Image(self._directory, list(launcher_files()), isolated=self._isolation.full)
        async with LocalCloud(self._folder, baked) as cloud:
            await self._begin(cloud)
            await self._until_outcome(cloud)
            await self._fetch_output()
            await self._switch_off(cloud)
            report = await self._report(cloud)
        verdict.judge(report, notice_s=self._plan.notice_s, instance_type=self._plan.instance_type)
        return report

    # --- the run

    async def _begin(self, cloud: LocalCloud) -> None:
        self._tell("saving the directory")
        store, plan = self._history.store, self._plan
        snapshots = Snapshots(store, RUN, plan.directory, exclude=plan.exclude)
        await snapshots.save(SnapshotId(0, 0))
        run_spec = spec.parse(self._document(), source="rehearse")
        await store.create(keys.spec(RUN), run_spec.encode())
        cloud.plane.sqs.queue(QUEUE).send(ResumeRequest(RUN, 1).encode())
        self._tell("launching")

    def _document(self) -> dict[str, object]:
        plan = self._plan
        return {
            "run": {
                "name": RUN,
                "command": list(plan.command),
                "directory": str(self._directory),
                "exclude": list(plan.exclude),
            },
            "interrupt": {"strict_exit": plan.strict_exit},
            "save": {"every_s": plan.save_every_s},
            "limits": {"attempts": len(plan.moments) + 20},
        }

    async def _until_outcome(self, cloud: LocalCloud) -> None:
        until = time.monotonic() + self._plan.limit_s
        while self.scene.outcome is None:
            if time.monotonic() > until:
                self._tell("out of time")
                return
            await asyncio.sleep(LOOK_S)
            await self._look(cloud)
            await self._interrupt(cloud)
            self._show(self.scene)

    async def _look(self, cloud: LocalCloud) -> None:
        scene = self.scene
        while (claim := await self._history.claim(len(scene.attempts) + 1)) is not None:
            scene.attempts.append(Seen(len(scene.attempts) + 1, claim, cloud.computers[claim.instance]))
        for seen in scene.attempts[-2:]:
            seen.status = await self._history.status(seen.number)
            seen.base = seen.base or await self._history.base(seen.number)
            seen.handover = seen.handover or await self._history.handover(seen.number)
            if seen.status is not None and seen.status.phase == Phase.RUNNING and seen.running_since is None:
                seen.running_since = time.time()
            if seen.running_since is not None and seen.working_since is None and self._works(seen):
                seen.working_since = time.time()
            # Two minutes are EC2's to wait, not a person's: once nothing but waiting is left, the machine is taken.
            if seen.status is not None and seen.status.phase == Phase.STAYING and not seen.taken:
                seen.taken = True
                cloud.take(seen.computer.instance.id)
        scene.outcome = await self._history.outcome()
        self._tell(_what(scene))

    async def _interrupt(self, cloud: LocalCloud) -> None:
        seen = self.scene.current
        if seen is None or seen.working_since is None or seen.interrupted is not None or not self._left:
            return
        if self.scene.outcome is not None or time.time() < seen.working_since + self._left[0].after_s:
            return
        seen.interrupted, seen.interrupted_at = self._left.pop(0), time.time()
        if seen.interrupted.notice:
            cloud.interrupt(seen.computer.instance.id, in_s=self._plan.notice_s)
        else:
            cloud.vanish(seen.computer.instance.id)

    def _works(self, seen: Seen) -> bool:
        progress = self._plan.progress
        return progress is None or progress.search(self._output_of(seen)) is not None

    async def _switch_off(self, cloud: LocalCloud) -> None:
        """The last machine ends by itself, after its artifacts. It has a minute; nothing is lost if it takes longer."""
        self._tell("switching off")
        alive = [c for c in cloud.computers.values() if not c.off.is_set()]
        waiting = [asyncio.create_task(c.off.wait()) for c in alive]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=60)
            for task in late:
                task.cancel()
        for computer in alive:
            if not computer.off.is_set():
                cloud.vanish(computer.instance.id)
                await computer.off.wait()

    async def _fetch_output(self) -> None:
        """The directory as it was at the end, restored where the person wants it."""
        target, last = self._plan.output, self.scene.outcome and self.scene.outcome.snapshot
        if target is None or not last:
            return
        self._tell(f"writing {target}")
        await Snapshots(self._history.store, RUN, target).restore(SnapshotId.parse(last))

    def _tell(self, what: str) -> None:
        self.scene.what = what
        self._show(self.scene)

    # --- the report

    async def _report(self, cloud: LocalCloud) -> Report:
        plan, scene = self._plan, self.scene
        report = Report(
            command=list(plan.command),
            directory=str(self._directory),
            isolation="full" if self._isolation.full else self._isolation.reason,
            seconds=time.time() - scene.began,
        )
        report.attempts = [await self._attempt(seen) for seen in scene.attempts]
        self._count(report.attempts)
        report.outside_writes = self._outside(scene.attempts)
        if scene.outcome is not None:
            last = scene.outcome
            report.outcome = OutcomeReport(last.result, last.exit_code, last.message)
        return report

    async def _attempt(self, seen: Seen) -> AttemptReport:
        claim, handover, outcome = seen.claim, seen.handover, self.scene.outcome
        status = await self._history.status(seen.number)
        final = outcome if outcome is not None and outcome.attempt == seen.number and handover is None else None
        noticed = seen.interrupted is not None and seen.interrupted.notice
        ended_by = ("notice" if noticed else "sudden death") if seen.interrupted is not None else "itself"
        exit_code = handover.exit_code if handover else final.exit_code if final else None
        return AttemptReport(
            number=seen.number,
            instance=claim.instance,
            instance_type=claim.instance_type,
            zone=claim.zone,
            market=claim.market,
            ended_by="itself" if final else ended_by,
            end=handover.ended if handover else f"exit code {exit_code}" if exit_code is not None else None,
            exit_code=exit_code,
            clean=handover.clean if handover else None,
            reacted=handover.ended != "SIGKILL" if handover and noticed else None,
            term_to_exit_s=handover.timings.get("signal_to_exit_s") if handover else None,
            notice_to_term_s=handover.timings.get("notice_to_signal_s") if handover else None,
            save_s=handover.timings.get("save_s") if handover else None,
            saved_bytes=handover.saved_bytes if handover else status.last_save_bytes if status else None,
            restored_bytes=handover.restored_bytes if handover else status.restored_bytes if status else None,
            snapshot=next((r.snapshot for r in (handover, final, status) if r is not None), None),
            seconds=(seen.computer.ended_at or time.time()) - seen.computer.booted_at,
        )

    def _count(self, attempts: list[AttemptReport]) -> None:
        """Whether each attempt continued, where that is to be expected: it began from what its predecessor saved."""
        texts = [self._output_of(seen) for seen in self.scene.attempts]
        counter = (
            counters.by_expression(self._plan.progress)
            if self._plan.progress is not None
            else counters.found_in(texts[0])
            if texts
            else None
        )
        if counter is None:
            return
        values = [counter(text) for text in texts]
        for attempt, counted in zip(attempts, values, strict=True):
            attempt.first, attempt.last = (counted[0], counted[-1]) if counted else (None, None)
        for index in range(1, len(attempts)):
            base = self.scene.attempts[index].base
            expected = base is not None and (base.snapshot or "").startswith(f"{index}-")
            if expected:
                attempts[index].continued = counters.continued(values[0], values[index - 1], values[index])

    def _output_of(self, seen: Seen) -> str:
        """What is in the store, and what had not come there when the machine died."""
        folder = self._folder / "store" / keys.log(RUN, seen.number)
        shipped = sorted(folder.iterdir()) if folder.is_dir() else []
        size = sum(path.stat().st_size for path in shipped)
        data = b"".join(path.read_bytes() for path in shipped[:2] + shipped[2:][-2:])
        rest = seen.computer.state / f"{RUN}-{seen.number}.log"
        if rest.exists():
            with rest.open("rb") as file:
                file.seek(size)
                data += file.read(EXCERPT)
        return (data if len(data) <= 2 * EXCERPT else data[:EXCERPT] + b"\n" + data[-EXCERPT:]).decode(errors="replace")

    def _outside(self, attempts: Sequence[Seen]) -> list[OutsideWriteReport] | None:
        if not self._isolation.full:
            return None
        found: dict[tuple[str, str], OutsideWriteReport] = {}
        for seen in attempts:
            for write in seen.computer.outside or []:
                key = (str(write.path), write.kind)
                report = found.setdefault(key, OutsideWriteReport(*key, bytes=write.size, attempts=[]))
                report.attempts.append(seen.number)
                report.bytes = max(report.bytes, write.size)
        return sorted(found.values(), key=lambda write: write.path)


def check(plan: Plan) -> None:
    """Raises UsageError, before anything is begun, for what cannot be rehearsed."""
    if not plan.directory.is_dir():
        raise UsageError(f"no such directory: {plan.directory}", next_step="give one with --directory")
    if plan.directory == Path(plan.directory.anchor):
        raise UsageError("the root of the file system cannot be the execution directory", next_step="cd to the project")
    if plan.output is not None and plan.output.exists() and any(plan.output.iterdir()):
        raise UsageError(f"{plan.output} is not empty", next_step="give --output a new folder")


def keep(folder: Path, target: Path) -> None:
    """Leave the bucket, the logs and the launcher's log behind, for a closer look."""
    shutil.copytree(
        folder, target, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns("machines", "lambda")
    )


def _what(scene: Scene) -> str:
    seen = scene.current
    if scene.outcome is not None:
        return "over"
    if seen is None or (seen.computer.off.is_set()):
        return "launching"
    if seen.status is None:
        return "booting"
    return seen.status.phase
