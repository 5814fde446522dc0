"""What one attempt can do: one method for each effect of the lifecycle that takes time, each ending in an event.

Nothing here decides what comes next; `relay.py` calls these in the order that `core.lifecycle` gives. Each method knows
its own bound: a step that cannot be done in its time returns the event that says so. What runs beside it all has its
own place: the command in `running.py`, the saves in `saving.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from spotrelay import host
from spotrelay.checkpoints.mending import Mending
from spotrelay.command.output import OutputShipper
from spotrelay.core import events as ev
from spotrelay.core import keys, records
from spotrelay.core.ends import Exited
from spotrelay.core.errors import (
    AlreadyExists,
    ClaimLost,
    CommandError,
    RunOver,
    SecretRefused,
    SecretUnavailable,
    SnapshotError,
    SpotrelayError,
    StoreError,
)
from spotrelay.core.events import Event
from spotrelay.core.keys import SnapshotId
from spotrelay.core.lifecycle import Result
from spotrelay.core.messages import ResumeRequest
from spotrelay.core.spec import Spec
from spotrelay.experience import experience
from spotrelay.history import History
from spotrelay.line import Line
from spotrelay.marker import Marker
from spotrelay.patience import patiently
from spotrelay.ports import Identity, ResumeQueue, Secrets, Store
from spotrelay.predecessors import Predecessors
from spotrelay.running import Running
from spotrelay.saving import Saver
from spotrelay.snapshot import Progress, Restored, Saved, Snapshots
from spotrelay.snapshot.housekeeping import Housekeeping

# How long a step may wait for its surroundings. Ten minutes of an instance cost less than starting over on another;
# an outage of hours would burn more than it saves (P5), so then it ends, and EC2's event finds another.
PATIENCE_S = 600.0
# A notice that comes meanwhile waits for it.
SECRET_S = 20.0
# The hand-over is one small object; its successor does not depend on it, only waits for it.
HANDOVER_S = 30.0
# How often a successor looks for the hand-over: four small reads, and nobody works meanwhile.
LOOK_S = 0.5
# How old the last beat that found nobody else may be when something is deleted: four beats. A successor waits three
# minutes for a heart that is silent (predecessors.py), so two are left for a request that is under way.
OWNED_S = 60.0
# An unfinished checkpoint is looked for in so many earlier snapshots, whole. Housekeeping keeps three of an attempt.
LOOK_BACK = 8


@dataclass(frozen=True, slots=True)
class Arrival:
    """What this instance is here for."""

    store: Store
    queue: ResumeQueue
    spec: Spec
    number: int
    secrets: Secrets | None = None


class Attempt:
    """`wall`: unix seconds as EC2 sees them; `clock`: monotonic. `output`: the file for what the command says.
    `cgroup`: the command's own, if there is one. `announced`: the folder, readable for the command, in which a file
    appears that tells it how long it has; by default the output's."""

    def __init__(
        self,
        arrival: Arrival,
        identity: Identity,
        *,
        output: Path,
        environment: Mapping[str, str],
        wall: Callable[[], float],
        clock: Callable[[], float],
        cgroup: Path | None = None,
        announced: Path | None = None,
    ) -> None:
        self.spec, self.number, self.store = arrival.spec, arrival.number, arrival.store
        self.run = arrival.spec.run.name
        self.history = History(arrival.store, self.run)
        self._predecessors = Predecessors(self.history, self.number, wall=wall)
        self.gone_at: float | None = None  # monotonic
        self.refusal: SpotrelayError | None = None
        self.stopped: ev.Stopped | None = None
        self.message = ""
        self.unfinished: list[str] = []
        self.timings: dict[str, float] = {}
        self._arrival, self._identity = arrival, identity
        self._environment, self._wall, self._clock = environment, wall, clock
        directory = Path(self.spec.run.directory)
        line = Line(arrival.store, clock=clock)
        self._snapshots = Snapshots(
            line.as_store(), self.run, directory, exclude=self.spec.run.exclude, memory_mib=self.spec.save.memory_mib
        )
        self._marker = Marker(
            output.with_suffix(".here"),
            directory,
            run=self.run,
            attempt=self.number,
            instance=identity.instance_id,
        )
        shipper = OutputShipper(arrival.store, self.run, self.number, output)
        announcement = (announced or output.parent) / f"{self.run}-{self.number}.notice"
        self.command = Running(self.spec, output, shipper, announcement, wall=wall, clock=clock, cgroup=cgroup)
        self.saver = Saver(self._snapshots, self.number, told=self._on_saved, line=line, clock=clock)
        # When nobody else was seen at it last; the relay knows.
        self.undisputed_at: Callable[[], float | None] = lambda: None
        self.newest: SnapshotId | None = None
        self._restored: Restored | None = None
        self.errors = 0
        self._began: float | None = None
        self._kept_s = 0.0
        self._newest_at: float | None = None
        self._moving = 0
        self._progress: Progress | None = None
        self._warned = ""
        self._log = structlog.get_logger()

    @property
    def names(self) -> dict[str, str | int]:
        """What each line of the log says."""
        return {"run": self.run, "attempt": self.number, "instance": self._identity.instance_id}

    # --- the way in

    async def claim(self) -> Event:
        """Create-only: of all instances that think this attempt theirs, one gets Claimed (P1)."""
        me = records.Claim(
            instance=self._identity.instance_id,
            token=secrets.token_hex(8),
            at=self._wall(),
            instance_type=self._identity.instance_type,
            zone=self._identity.zone,
            market=self._identity.market,
        )
        try:
            return await patiently(lambda: self._claim(me), what="claim", for_s=PATIENCE_S)
        except StoreError as error:
            return self._turned_away(error)

    async def _claim(self, me: records.Claim) -> Event:
        if await self.history.outcome() is not None:
            return self._turned_away(RunOver("the run is over"))
        if await self.history.claim(self.number + 1) is not None:
            return self._turned_away(ClaimLost("a later attempt has begun"))
        try:
            await self.store.create(keys.claim(self.run, self.number), records.encode(me))
        except AlreadyExists:
            owner = await self.history.claim(self.number)
            if owner is None or owner.instance != me.instance:
                return self._turned_away(ClaimLost(f"{owner.instance if owner else 'somebody'} owns the attempt"))
            if await self.history.handover(self.number) is not None:
                return self._turned_away(ClaimLost("this attempt was handed over: the next one goes on"))
        first = await self.history.claim(1)
        self._began = first.at if first else me.at
        return ev.Claimed()

    def _turned_away(self, why: SpotrelayError) -> Event:
        self._log.warning("attempt.refused", why=str(why))
        self.refusal = why
        return ev.TurnedAway()

    async def await_predecessor(self) -> Event:
        """Until it handed over, or can add nothing any more. What it saves while we wait is worth the wait; it may even
        end the run."""
        while True:
            try:
                done = await self._predecessors.done()
                if await self.history.outcome() is not None:
                    return self._turned_away(RunOver("the run is over"))
                if done:
                    return ev.PredecessorGone()
            except StoreError as error:
                self._log.warning("predecessor.unknown", error=str(error))
            await asyncio.sleep(LOOK_S)

    async def restore(self) -> Event:
        """The directory as the newest snapshot that counts; verified, or the command is not started (P2). An agent that
        was restarted finds it on its disk, newer than any snapshot."""
        try:
            snapshot = await patiently(self._fix_base, what="base", for_s=PATIENCE_S)
            await self._learn()
            self.saver.keeper = Housekeeping(
                self.store, self.run, self.number, self._snapshots, base=snapshot, owned=self.owns
            )
            if self._marker.holds():
                await self._take_up(snapshot)
                await self._mend(snapshot, also_itself=True)
            else:
                self._marker.remove()
                await self._rebuild(snapshot)
                await self._mend(snapshot)
                self._marker.set()
        except StoreError as error:
            return self._outside_fault(error)
        except (SnapshotError, OSError) as error:
            return self._fault(error)
        self.newest = snapshot
        return ev.Restored()

    async def _rebuild(self, snapshot: SnapshotId | None) -> None:
        if snapshot is None:
            await asyncio.to_thread(host.make_directory, Path(self.spec.run.directory), self.spec.run.user)
            return
        # Attempt 0 is a person's computer: its uid 1000 is nobody's here, or somebody else's.
        owner = host.owner_for(self.spec.run.user) if snapshot.attempt == 0 else None
        self._restored = await patiently(
            lambda: self._snapshots.restore(snapshot, owner=owner), what="restore", for_s=PATIENCE_S
        )
        self._log.info("snapshot.restored", snapshot=str(snapshot), files=self._restored.files)

    async def _take_up(self, snapshot: SnapshotId | None) -> None:
        self._log.warning("directory.taken_up", why="the agent was restarted", stands=str(snapshot))
        if snapshot is not None:
            await patiently(lambda: self._snapshots.recall(snapshot), what="manifest", for_s=PATIENCE_S)

    async def _mend(self, snapshot: SnapshotId | None, *, also_itself: bool = False) -> None:
        """A checkpoint that was being written when the machine died is not what the command goes on from."""
        earlier: list[SnapshotId] = []
        if snapshot is not None:
            earlier = await patiently(lambda: self.history.before(snapshot), what="snapshots", for_s=PATIENCE_S)
            earlier = ([snapshot] if also_itself else []) + earlier
        directory = Path(self.spec.run.directory)
        mending = Mending(directory, self.store, self.run, self._snapshots, self.number)
        self.unfinished = await mending.mend(
            self.spec.save.unfinished, earlier[:LOOK_BACK], since=self._began or self._wall()
        )

    async def _fix_base(self) -> SnapshotId | None:
        """Choose what this attempt begins from, for ever (`history.py`). A restarted agent has snapshots of its own."""
        newest = await self.history.newest_allowed(self.number)
        base = records.Base(str(newest) if newest else None, self._wall(), self._identity.instance_id)
        with contextlib.suppress(AlreadyExists):
            await self.store.create(keys.base(self.run, self.number), records.encode(base))
        if newest is not None and newest.attempt == self.number:
            self.saver.begin_at(newest.number + 1)
        return newest

    async def _learn(self) -> None:
        """What earlier attempts took. Nice to know, and no reason to wait."""
        try:
            self.saver.learned = await experience(self.history, self.number, self._identity.instance_type)
        except StoreError as error:
            self._log.warning("experience.unknown", error=str(error))

    def owns(self) -> bool:
        """No notice has come, and nobody else was seen at the run a moment ago."""
        seen = self.undisputed_at()
        return self.gone_at is None and seen is not None and self._clock() - seen < OWNED_S

    async def spawn(self) -> Event:
        try:
            hidden = await self._secrets()
            given = {**self._environment, **self.spec.run.env, **hidden, **self._own_environment()}
            await self.command.spawn(given)
        except SecretUnavailable as error:
            return self._outside_fault(error)
        except (SecretRefused, CommandError) as error:
            return self._fault(error)
        return ev.Spawned()

    async def _secrets(self) -> dict[str, str]:
        """Read for the command alone, and kept nowhere. Raises SecretRefused, SecretUnavailable."""
        names = {name: text.removeprefix("ssm:") for name, text in (self.spec.run.secrets or {}).items()}
        source = self._arrival.secrets
        if names and source is None:
            raise SecretRefused("there is nothing here to read secrets from", next_step="leave run.secrets out")
        found = {}
        for name, parameter in names.items():
            assert source is not None
            found[name] = await patiently(partial(source.read, parameter), what="secret", for_s=SECRET_S)
        return found

    def _own_environment(self) -> dict[str, str]:
        return {
            "SPOTRELAY_RUN": self.run,
            "SPOTRELAY_ATTEMPT": str(self.number),
            "SPOTRELAY_SNAPSHOT": str(self.newest) if self.newest else "",
            "SPOTRELAY_RESUMED": "1" if self.newest and self.newest.attempt else "0",
        }

    async def ended(self) -> Event:
        """When every process of the command is gone, and what that means."""
        end = await self.command.ended()
        if self.command.signalled_at is None:
            return ev.Succeeded() if end == Exited(0) else self._fault(None)
        assert self.command.ended_at is not None
        self.timings["signal_to_exit_s"] = self.command.ended_at - self.command.signalled_at
        if not self.command.clean and self.spec.interrupt.strict_exit:
            return self._fault(None)
        if self.command.oom_kills:
            self.message = self._ended()
        return ev.Drained()

    def _ended(self) -> str:
        return f"the command ended with {self.command.end_told}"

    def _fault(self, error: Exception | None) -> Event:
        """The run's own error: counted, and tried again as often as the spec says."""
        self.message = str(error) if error else self._ended()
        self._log.error("attempt.failed", error=self.message)
        self.errors = self._predecessors.errors + 1
        return ev.Failed() if self.errors <= self.spec.limits.error_retries else ev.GaveUp()

    def _outside_fault(self, error: Exception) -> Event:
        """The surroundings' error: not the run's, and another instance may have better ones."""
        self.message = str(error)
        self._log.error("attempt.failed", error=self.message)
        return ev.Failed()

    # --- the way out

    async def post_resume(self) -> None:
        """The successor is asked for, until the queue has it. The launcher wants to see why: hence the heartbeat."""
        await patiently(
            lambda: self._arrival.queue.post(ResumeRequest(self.run, self.number + 1)),
            what="resume request",
            for_s=PATIENCE_S,
        )
        self._log.info("resume.posted", next_attempt=self.number + 1)

    async def save(self) -> Event:
        """The last save. Cancelled from outside at its deadline; then the snapshot before it stands (P4)."""
        began = self._clock()
        try:
            await self.saver.stop()
            await patiently(lambda: self.saver.save(self._on_progress), what="last save", for_s=PATIENCE_S)
        except (SpotrelayError, OSError) as error:
            self.message = self.message or f"the last save failed: {error}"
            self._log.error("snapshot.missed", error=str(error), stands=str(self.newest))
            return ev.SaveMissed()
        self.timings["save_s"] = self._clock() - began
        assert self.newest is not None
        return ev.Saved(self.newest)

    def save_was_late(self) -> Event:
        """Its time is over (P4). The hand-over says which snapshot stands, and how much is lost."""
        sent = self._progress.bytes if self._progress else 0
        expected = self.saver.forecast().dirty
        of = f" of about {expected}" if expected else ""
        stands = "no snapshot of this attempt stands"
        if self._newest_at is not None:
            stands = f"snapshot {self.newest}, {self._clock() - self._newest_at:.0f} s old, stands"
            if self._moving:
                stands += f" ({self._moving} of its paths moved while it was made)"
        late = f"the last save did not arrive in time: {sent} bytes{of} were sent; {stands}"
        self.message = f"{self.message}; {late}" if self.message else late
        self._log.error("snapshot.late", sent=sent, stands=str(self.newest))
        return ev.SaveMissed()

    def _on_progress(self, progress: Progress) -> None:
        self._progress = progress

    def _on_saved(self, saved: Saved) -> None:
        self.newest = saved.snapshot
        self._moving = len(saved.moving)
        self._newest_at = began = self._clock() - saved.seconds
        self._kept_s = self.command.worked_s(until=began)
        self._warn()

    def _warn(self) -> None:
        """Once for each thing to say: numbers move with each save."""
        warning = self.saver.forecast().warning
        if bool(warning) != bool(self._warned):
            self._log.warning("deadline.tight" if warning else "deadline.fits", warning=warning)
        self._warned = warning

    async def hand_over(self, *, errored: bool, notice: str | None, noticed_at: float | None = None) -> Event:
        """`noticed_at`: monotonic."""
        end = self.command.end
        handover = records.Handover(
            instance=self._identity.instance_id,
            reason="error" if errored else "interrupted",
            at=self._wall(),
            ended=str(end) if end is not None else None,
            exit_code=self.command.exit_code,
            clean=self.command.clean,
            oom_kills=self.command.oom_kills,
            errors=self.errors if errored else 0,
            snapshot=str(self.newest) if self.newest else None,
            notice=notice,
            message=self.message,
            timings=self.timings,
            saved_bytes=self.saver.sent,
            upload_bytes_s=self.saver.rate,
            restored_bytes=self._restored.bytes if self._restored else 0,
            kept_s=self._kept_s,
            warning=self._warned,
            noticed_at=self._on_the_wall(noticed_at),
            worked_s=None if self.command.spawned_at is None else self.command.worked_s(until=self._clock()),
            unfinished=self.unfinished,
        )
        await self._written(keys.handover(self.run, self.number), records.encode(handover), HANDOVER_S)
        await self.command.ship_output()
        return ev.HandedOver()

    async def record(self, result: Result) -> Event:
        with contextlib.suppress(StoreError):  # ended before it restored anything: what there is, others saved
            self.newest = self.newest or await self.history.newest_allowed(self.number)
        said, message = self._verdict(result)
        outcome = records.Outcome(
            result=said,
            attempt=self.number,
            at=self._wall(),
            exit_code=self.command.exit_code,
            oom_kills=self.command.oom_kills,
            snapshot=str(self.newest) if self.newest else None,
            message=message,
        )
        written = await self._written(keys.outcome(self.run), records.encode(outcome), PATIENCE_S)
        return ev.Recorded() if written else ev.RecordMissed()

    def _verdict(self, result: Result) -> tuple[str, str]:
        """What the outcome says. Of a run that was told to stop, at first why it was."""
        if result is not Result.STOPPED or self.stopped is None:
            return str(result), self.message
        why = self.stopped.message or "stopped by a person"
        return self.stopped.result, f"{why}; {self.message}" if self.message else why

    async def _written(self, key: str, data: bytes, for_s: float) -> bool:
        """Create-only; one that is there already was written by this attempt's earlier agent, and stands."""
        try:
            await patiently(lambda: self.store.create(key, data), what=key, for_s=for_s)
        except AlreadyExists:
            self._log.warning("record.exists", key=key)
        except StoreError as error:
            self._log.error("record.missed", key=key, error=str(error))
            return False
        return True

    async def publish(self) -> Event:
        try:
            await self.command.ship_output()
            await self._snapshots.publish_artifacts()
        except (SpotrelayError, OSError) as error:
            self._log.error("artifacts.missed", error=str(error), stands=str(self.newest))
        return ev.Published()

    # --- what others see

    def status(self, phase: str) -> records.Status:
        last, expected = self.saver.last, self.saver.forecast()
        return records.Status(
            instance=self._identity.instance_id,
            phase=phase,
            at=self._wall(),
            gone_at=self._on_the_wall(self.gone_at),
            snapshot=str(self.newest) if self.newest else None,
            last_save_s=last.seconds if last else None,
            last_save_bytes=self.saver.sent if last else None,
            restored_bytes=self._restored.bytes if self._restored else None,
            kept_s=self._kept_s,
            checkpoint_s=expected.checkpoint_s,
            dirty_bytes=expected.dirty,
            upload_bytes_s=expected.rate,
            needed_s=expected.needed_s if expected.dirty is not None and expected.rate else None,
            warning=self._warned,
            running_since=self._on_the_wall(self.command.spawned_at),
            next_save_at=self._on_the_wall(self.saver.due),
            line=self.command.output.line,
            unfinished=self.unfinished,
        )

    def _on_the_wall(self, moment: float | None) -> float | None:
        """Unix seconds of a monotonic moment, if there will be one."""
        return None if moment is None or moment == math.inf else self._wall() + moment - self._clock()

    def out_of_hours(self) -> str | None:
        """As the outcome says it; None while there is time."""
        hours = self.spec.limits.hours
        over = bool(hours) and self._began is not None and self._wall() - self._began > hours * 3600
        return f"limits.hours = {hours:g} is reached" if over else None

    async def close(self) -> None:
        """Nothing runs and nothing is written after this."""
        await self.saver.stop()
        await self.command.close()
