"""A rehearsal: the whole relay around one command, in a local cloud, interrupted on purpose.

1. The directory is saved as the run's first snapshot, the run is written, the bell is rung: as `spotrelay run` does it.
2. The launcher, the agents and their adapters do what they do in the cloud. Nothing here helps them.
3. A look at the bucket and at the machines, a few times a second, tells what is going on; when a command has worked
   for as long as the plan says, its machine is interrupted, or dies. It works from its first progress on, or, where
   none is to be seen, from its start: a program that takes ten seconds to import is not asked to resume from there.
4. When the run has an outcome the records, the output and what the machines wrote elsewhere become the report.

The person's directory is read once, at the beginning, and never written. Everything lies in one folder, which goes
with the rehearsal however that ends; a rehearsal that is killed takes its machines along (`local/init.py`).
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from spotrelay.aws.store import open_store
from spotrelay.bundle import launcher_files
from spotrelay.cli import advice, evidence, verdict
from spotrelay.cli.plan import Plan
from spotrelay.cli.report import Report
from spotrelay.cli.scene import Scene, Seen
from spotrelay.cli.transcript import Follower
from spotrelay.core import keys, spec
from spotrelay.core.errors import SpotrelayError, StoreFull, UsageError
from spotrelay.core.keys import SnapshotId
from spotrelay.core.lifecycle import Phase
from spotrelay.core.messages import ResumeRequest
from spotrelay.history import History
from spotrelay.local import image
from spotrelay.local.cloud import QUEUE, Image, LocalCloud
from spotrelay.local.machine import Isolation, isolation
from spotrelay.snapshot import Progress, Snapshots

LOOK_S = 0.1
WEIGH_S = 1.0  # how often the bucket's size is read: it costs a system call for each object
RUN = "rehearsal"
# A program that shows no progress for a minute shows none at all (or --progress does not match): count from its start.
NO_PROGRESS_S = 60.0
# A machine takes a second, three on a busy computer. A message that was lost comes again after 20 (`local/cloud.py`).
NO_MACHINE_S = 120.0


class Rehearsal:
    """`show` is called with the scene several times a second. `folder` is the caller's, and holds everything."""

    def __init__(self, plan: Plan, folder: Path, show: Callable[[Scene], None]) -> None:
        self.scene = Scene(plan, time.time())
        self._plan, self._folder, self._show = plan, folder, show
        self._left = list(plan.moments)
        self._isolation = Isolation(full=True)
        self._directory = plan.directory
        self._history = History(open_store((folder / "store").as_uri()), RUN)
        self._followers: dict[int, Follower] = {}
        self._weighed_at = self._alive_at = time.monotonic()

    async def run(self) -> Report:
        """Raises SpotrelayError when the rehearsal itself cannot be held."""
        self._isolation = await isolation()
        if not self._isolation.full:
            self._directory = self._folder / "directory"
            self._directory.mkdir()
        # What no spec can hold, and what no machine could boot, is refused before there is a cloud.
        run_spec = spec.parse(self._document(), source="rehearse")
        image.program("spotrelay.daemon", directory=self._directory)
        baked = Image(
            self._directory, list(launcher_files()), environment=_environment(), isolated=self._isolation.full
        )
        async with LocalCloud(self._folder, baked) as cloud:
            await self._begin(cloud, run_spec)
            await self._until_outcome(cloud)
            await self._fetch_output()
            await self._switch_off(cloud)
        report = evidence.gather(
            self.scene,
            run=RUN,
            store=self._folder / "store",
            directory=self._directory,
            isolation="full" if self._isolation.full else self._isolation.reason,
        )
        snapshots = Snapshots(self._history.store, RUN, self._directory)
        await evidence.compare(report, snapshots, self.scene.attempts)
        verdict.judge(report, self._plan)
        advice.give(report, self._plan)
        return report

    # --- the run

    async def _begin(self, cloud: LocalCloud, run_spec: spec.Spec) -> None:
        self._tell("saving the directory")
        store = self._history.store
        snapshots = Snapshots(store, RUN, self._plan.directory, exclude=run_spec.run.exclude)
        await snapshots.save(SnapshotId(0, 0), progress=self._tell_saved)
        await store.put(keys.open_run(RUN), b"")
        await store.create(keys.spec(RUN), run_spec.encode())
        cloud.plane.sqs.queue(QUEUE).send(ResumeRequest(RUN, 1).encode())
        self._tell("launching")

    def _tell_saved(self, progress: Progress) -> None:
        self.scene.stored = progress.bytes
        self._show(self.scene)

    def _document(self) -> dict[str, object]:
        plan = self._plan
        return {
            "run": {
                "name": RUN,
                "command": list(plan.command),
                "directory": str(self._directory),
                "exclude": [*plan.exclude, *_own(self._folder, plan.directory)],
            },
            "interrupt": {"strict_exit": plan.strict_exit},
            "save": {"every_s": plan.save_every_s},
            "limits": {"attempts": len(plan.moments) + 20},
        }

    async def _until_outcome(self, cloud: LocalCloud) -> None:
        until = time.monotonic() + self._plan.limit_s
        while self.scene.outcome is None and time.monotonic() < until:
            await asyncio.sleep(LOOK_S)
            await self._look(cloud)
            self._interrupt(cloud)
            self._refuse_to_wait(cloud)
            self._show(self.scene)

    async def _look(self, cloud: LocalCloud) -> None:
        seen_so_far = self.scene.attempts
        while (claim := await self._history.claim(len(seen_so_far) + 1)) is not None:
            seen_so_far.append(Seen(len(seen_so_far) + 1, claim, cloud.computers[claim.instance]))
        for seen in seen_so_far[-2:]:
            await self._look_at(seen)
            # Two minutes are EC2's to wait, not a person's: once nothing but waiting is left, the machine is taken.
            if seen.status is not None and seen.status.phase == Phase.STAYING and not seen.taken:
                seen.taken = True
                cloud.take(seen.computer.instance.id)
        self.scene.outcome = await self._history.outcome()
        if time.monotonic() - self._weighed_at >= WEIGH_S:
            self._weighed_at = time.monotonic()
            self.scene.stored = await asyncio.to_thread(_weight, self._folder / "store" / keys.packs(RUN))
        self.scene.what = self.scene.observed()

    async def _look_at(self, seen: Seen) -> None:
        seen.status = await self._history.status(seen.number)
        seen.base = seen.base or await self._history.base(seen.number)
        seen.handover = seen.handover or await self._history.handover(seen.number)
        if seen.running_since is None and seen.status is not None and seen.status.phase == Phase.RUNNING:
            seen.running_since = time.time()
        if seen.running_since is not None:
            self._listen(seen, seen.running_since)

    def _listen(self, seen: Seen, running_since: float) -> None:
        file = seen.computer.state / f"{RUN}-{seen.number}.log"
        follower = self._followers.setdefault(seen.number, Follower(file))
        said, progress = follower.look(), self._plan.progress
        self.scene.line = follower.line or self.scene.line
        if seen.working_since is None:
            late = time.time() > running_since + NO_PROGRESS_S
            if progress is None or late or progress.search(said) is not None:
                seen.working_since = time.time()
        awaited = self._left[0].said if self._left else None
        if awaited is not None and awaited.search(said) is not None:
            seen.said_it = True

    def _interrupt(self, cloud: LocalCloud) -> None:
        seen = self.scene.current
        if seen is None or seen.working_since is None or seen.interrupted is not None or not self._left:
            return
        if self.scene.outcome is not None or time.time() < seen.working_since + self._left[0].after_s:
            return
        if self._left[0].said is not None and not seen.said_it:
            return
        seen.interrupted, seen.interrupted_at = self._left.pop(0), time.time()
        if seen.interrupted.notice:
            cloud.interrupt(seen.computer.instance.id, in_s=self._plan.notice_s)
        else:
            cloud.vanish(seen.computer.instance.id)

    def _refuse_to_wait(self, cloud: LocalCloud) -> None:
        """Raises SpotrelayError when no machine comes: an hour's silence would tell a person less."""
        current = self.scene.current
        if self.scene.outcome is not None or (current is not None and not current.is_off):
            self._alive_at = time.monotonic()
        elif time.monotonic() > self._alive_at + NO_MACHINE_S:
            raise SpotrelayError(
                f"no machine took the run for {NO_MACHINE_S:g} s{_last_words(cloud)}",
                next_step="look at all logs with --keep DIR",
            )

    async def _switch_off(self, cloud: LocalCloud) -> None:
        """The last machine ends by itself, after its artifacts. It has a minute; nothing is lost if it takes longer."""
        self._tell("switching off" if self.scene.outcome is not None else "out of time")
        alive = [computer for computer in cloud.computers.values() if not computer.off.is_set()]
        if alive and self.scene.outcome is not None:
            _, late = await asyncio.wait([asyncio.create_task(c.off.wait()) for c in alive], timeout=60)
            for task in late:
                task.cancel()
        for computer in alive:
            if not computer.off.is_set():
                cloud.vanish(computer.instance.id)
                await computer.off.wait()
        # The heartbeat of the last attempt may be newer than the last look.
        for seen in self.scene.attempts[-1:]:
            await self._look_at(seen)

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


async def hold(plan: Plan, show: Callable[[Scene], None]) -> Report:
    """In a folder of its own, of which `plan.kept` gets what is worth a look. Raises SpotrelayError."""
    folder = _folder()
    try:
        return await Rehearsal(plan, folder, show).run()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise StoreFull(f"{folder}: {error}", next_step="free it, or name a larger folder by TMPDIR") from error
    finally:
        if plan.kept is not None:
            _keep(folder, plan.kept)
        shutil.rmtree(folder, ignore_errors=True)


def _folder() -> Path:
    wanted = os.environ.get("TMPDIR")
    try:
        # tempfile silently takes /tmp, and at last the working directory, when TMPDIR is full or closed.
        if wanted and Path(tempfile.gettempdir()).resolve() != Path(wanted).resolve():
            raise UsageError(f"TMPDIR={wanted} cannot be written to", next_step="free it, or name another folder")
        return Path(tempfile.mkdtemp(prefix="spotrelay-")).resolve()
    except OSError as error:
        raise UsageError(f"no folder for temporary files: {error}", next_step="name one by TMPDIR") from error


def _keep(folder: Path, target: Path) -> None:
    """The bucket, the agents' and commands' logs, the launcher's log. Not the machines, nor the function's copy."""
    target.mkdir(parents=True, exist_ok=True)
    for name in ("store", "state"):
        if (folder / name).is_dir():
            shutil.copytree(folder / name, target / name, symlinks=True, dirs_exist_ok=True)
    if (folder / "launcher.log").exists():
        shutil.copy(folder / "launcher.log", target)


def _environment() -> Mapping[str, str]:
    """The person's own. Python says at once what it prints: into a file it would else at its end, or never."""
    return {"PYTHONUNBUFFERED": "1", **os.environ}


def _own(folder: Path, directory: Path) -> list[str]:
    """A pattern for the rehearsal's own folder where it lies in the directory: in /tmp, in a home."""
    if not folder.is_relative_to(directory.resolve()):
        return []
    path = str(folder.relative_to(directory.resolve()))
    return ["/" + "".join(f"[{sign}]" if sign in "*?[" else sign for sign in path)]


def _weight(packs: Path) -> int:
    try:
        with os.scandir(packs) as entries:
            return sum(entry.stat().st_size for entry in entries)
    except OSError:
        return 0  # none yet, or one was renamed under our eyes: the next look sees it


def _last_words(cloud: LocalCloud) -> str:
    """Of the last machine, or of the launcher if there was none."""
    logs = [computer.state / "agent.log" for computer in list(cloud.computers.values())[-1:]]
    for log in (*logs, cloud.folder / "launcher.log"):
        if log.exists() and (lines := log.read_text(errors="replace").splitlines()):
            return f"; {log.name} ends: {lines[-1][:300]}"
    return ""
