"""What one attempt is: who we are, the parts that work for it, and what is known of it so far.

    takeover.py    its way in, from the claim to the command's start
    running.py     the command       saving.py    the saves beside it
    departure.py   its way out, from the last save to the hand-over or the outcome

The two ways know this and not each other. Nothing here or there decides what comes next; `relay.py` calls them in the
order that `core.lifecycle` gives. What an end or an error means is said here, for it is the same wherever it happens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from spotrelay.command.output import OutputShipper
from spotrelay.core import events as ev
from spotrelay.core import records
from spotrelay.core.ends import Exited
from spotrelay.core.errors import SpotrelayError
from spotrelay.core.events import Event
from spotrelay.core.keys import SnapshotId
from spotrelay.core.spec import Spec
from spotrelay.history import History
from spotrelay.line import Line
from spotrelay.ports import Identity, ResumeQueue, Secrets, Store
from spotrelay.running import Running
from spotrelay.saving import Saver
from spotrelay.snapshot import Restored, Saved, Snapshots

# How old the last beat that found nobody else may be when something is deleted: four beats. A successor waits three
# minutes for a heart that is silent (predecessors.py), so two are left for a request that is under way.
OWNED_S = 60.0


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
    appears that tells it how long it has; by default the output's. `left`: what an agent before this one said last."""

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
        left: records.Status | None = None,
    ) -> None:
        self.spec, self.number, self.store = arrival.spec, arrival.number, arrival.store
        self.run = arrival.spec.run.name
        self.history = History(arrival.store, self.run)
        self.gone_at: float | None = None  # monotonic
        self.refusal: SpotrelayError | None = None
        self.stopped: ev.Stopped | None = None
        self.message = ""
        self.unfinished: list[str] = []
        self.timings: dict[str, float] = {}
        self.arrival, self.identity, self.environment, self.output = arrival, identity, environment, output
        self.wall, self.clock = wall, clock
        line = Line(arrival.store, clock=clock)
        self.snapshots = Snapshots(
            line.as_store(),
            self.run,
            Path(self.spec.run.directory),
            exclude=self.spec.run.exclude,
            memory_mib=self.spec.save.memory_mib,
        )
        shipper = OutputShipper(arrival.store, self.run, self.number, output)
        announcement = (announced or output.parent) / f"{self.run}-{self.number}.notice"
        self.command = Running(self.spec, output, shipper, announcement, wall=wall, clock=clock, cgroup=cgroup)
        self.saver = Saver(self.snapshots, self.number, told=self._on_saved, line=line, clock=clock)
        # When nobody else was seen at it last; the relay knows.
        self.undisputed_at: Callable[[], float | None] = lambda: None
        self.newest: SnapshotId | None = None
        self.restored: Restored | None = None
        self.errors = self.errors_before = 0  # failures in a row
        self.began: float | None = None
        self.again = False  # an agent before this one had the attempt, on this instance
        # Work under the agents before this one, None where they said of none; and what of it is in the directory.
        self.earlier_s: float | None = None
        self.carried_s = self.kept_s = 0.0
        self._left = left
        self._newest_at: float | None = None
        self._moving = 0
        self.warning = ""
        self._log = structlog.get_logger()

    @property
    def names(self) -> dict[str, str | int]:
        """What each line of the log says."""
        return {"run": self.run, "attempt": self.number, "instance": self.identity.instance_id}

    def owns(self) -> bool:
        """No notice has come, and nobody else was seen at the run a moment ago."""
        seen = self.undisputed_at()
        return self.gone_at is None and seen is not None and self.clock() - seen < OWNED_S

    def carry_over(self, stored: records.Status | None, *, since: float) -> None:
        """What the agents before this one did counts on. `stored`: the last status in the store; `since`: the claim."""
        # The board has each beat before the store does, also those that a store which was away never got: of the two,
        # the newer counts. The board's folder is memory, so after a reboot there is the store's alone.
        said = [
            (each.at, each.running_since, each.kept_s)
            for each in (self._left, stored)
            if each is not None and each.running_since is not None and each.instance == self.identity.instance_id
        ]
        if not said:
            return
        at, running_since, kept_s = max(said)
        self.earlier_s = max(0.0, min(at, self.wall()) - max(running_since, since))
        self.kept_s = min(max(0.0, kept_s), self.earlier_s)

    async def ended(self) -> Event:
        """When every process of the command is gone, and what that means."""
        end = await self.command.ended()
        if self.command.signalled_at is None:
            return ev.Succeeded() if end == Exited(0) else self.fault(None)
        assert self.command.ended_at is not None
        self.timings["signal_to_exit_s"] = self.command.ended_at - self.command.signalled_at
        if not self.command.clean and self.spec.interrupt.strict_exit:
            return self.fault(None)
        if self.command.oom_kills:
            self.message = self._ended()
        return ev.Drained()

    def _ended(self) -> str:
        return f"the command ended with {self.command.end_told}"

    def fault(self, error: Exception | None) -> Event:
        """The run's own error: counted, and tried again as often as the spec says."""
        self.message = str(error) if error else self._ended()
        self._log.error("attempt.failed", error=self.message)
        self.errors = self.errors_before + 1
        return ev.Failed() if self.errors <= self.spec.limits.error_retries else ev.GaveUp()

    def outside_fault(self, error: Exception) -> Event:
        """The surroundings' error: not the run's, and another instance may have better ones."""
        self.message = str(error)
        self._log.error("attempt.failed", error=self.message)
        return ev.Failed()

    def _on_saved(self, saved: Saved) -> None:
        self.newest = saved.snapshot
        self._moving = len(saved.moving)
        self._newest_at = began = self.clock() - saved.seconds
        self.kept_s = self.carried_s + self.command.worked_s(until=began)
        self._warn()

    def standing(self) -> str:
        """Which snapshot stands, how old it is, and whether it is of one moment."""
        if self._newest_at is None:
            return "no snapshot of this attempt stands"
        stands = f"snapshot {self.newest}, {self.clock() - self._newest_at:.0f} s old, stands"
        return stands + f" ({self._moving} of its paths moved while it was made)" if self._moving else stands

    def _warn(self) -> None:
        """Once for each thing to say: numbers move with each save."""
        warning = self.saver.forecast().warning
        if bool(warning) != bool(self.warning):
            self._log.warning("deadline.tight" if warning else "deadline.fits", warning=warning)
        self.warning = warning

    # --- what others see

    def status(self, phase: str) -> records.Status:
        last, expected = self.saver.last, self.saver.forecast()
        return records.Status(
            instance=self.identity.instance_id,
            phase=phase,
            at=self.wall(),
            gone_at=self.on_the_wall(self.gone_at),
            snapshot=str(self.newest) if self.newest else None,
            last_save_s=last.seconds if last else None,
            last_save_bytes=self.saver.sent if last else None,
            restored_bytes=self.restored.bytes if self.restored else None,
            kept_s=self.kept_s,
            checkpoint_s=expected.checkpoint_s,
            dirty_bytes=expected.dirty,
            upload_bytes_s=expected.rate,
            needed_s=expected.needed_s if expected.dirty is not None and expected.rate else None,
            warning=self.warning,
            running_since=self._running_since(),
            next_save_at=self.on_the_wall(self.saver.due),
            line=self.command.output.line,
            unfinished=self.unfinished,
        )

    def _running_since(self) -> float | None:
        """Where agents before this one had the command at work: as if it had been without a pause."""
        spawned_at = self.command.spawned_at
        if self.earlier_s is None:
            return self.on_the_wall(spawned_at)
        return self.wall() - self.clock() + (self.clock() if spawned_at is None else spawned_at) - self.earlier_s

    def on_the_wall(self, moment: float | None) -> float | None:
        """Unix seconds of a monotonic moment, if there will be one."""
        return None if moment is None or moment == math.inf else self.wall() + moment - self.clock()

    def out_of_hours(self) -> str | None:
        """As the outcome says it; None while there is time."""
        hours = self.spec.limits.hours
        over = bool(hours) and self.began is not None and self.wall() - self.began > hours * 3600
        return f"limits.hours = {hours:g} is reached" if over else None

    async def close(self) -> None:
        """Nothing runs and nothing is written after this."""
        await self.saver.stop()
        await self.command.close()
