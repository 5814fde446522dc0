"""The way out: what the command leaves is saved, and handed over to the next instance or to the run's end.

    interrupted, or failed and tried again:   post the resume request → save → hand over
    over:                                     save → record the outcome → publish the artifacts

Each step ends in an event, and knows its own bound: a step that cannot be done in its time returns the event that says
so, and says which snapshot stands (P4). What was written once is not written again: a restarted agent finds it.
"""

from __future__ import annotations

import contextlib

import structlog

from spotrelay.attempt import Attempt
from spotrelay.core import events as ev
from spotrelay.core import keys, records
from spotrelay.core.errors import AlreadyExists, SpotrelayError, StoreError
from spotrelay.core.events import Event
from spotrelay.core.lifecycle import Result
from spotrelay.core.messages import ResumeRequest
from spotrelay.patience import PATIENCE_S, patiently
from spotrelay.snapshot import Progress

# The hand-over is one small object; its successor does not depend on it, only waits for it.
HANDOVER_S = 30.0


class Departure:
    """Of one attempt."""

    def __init__(self, attempt: Attempt) -> None:
        self._mine = attempt
        self._run, self._number, self._store = attempt.run, attempt.number, attempt.store
        self._command, self._saver = attempt.command, attempt.saver
        self._progress: Progress | None = None
        self._log = structlog.get_logger()

    async def post_resume(self) -> None:
        """The successor is asked for, until the queue has it. The launcher wants to see why: hence the heartbeat."""
        await patiently(
            lambda: self._mine.arrival.queue.post(ResumeRequest(self._run, self._number + 1)),
            what="resume request",
            for_s=PATIENCE_S,
        )
        self._log.info("resume.posted", next_attempt=self._number + 1)

    async def save(self) -> Event:
        """The last save. Cancelled from outside at its deadline; then the snapshot before it stands (P4)."""
        began = self._mine.clock()
        try:
            await self._saver.stop()
            await patiently(lambda: self._saver.save(self._on_progress), what="last save", for_s=PATIENCE_S)
        except (SpotrelayError, OSError) as error:
            self._mine.message = self._mine.message or f"the last save failed: {error}"
            self._log.error("snapshot.missed", error=str(error), stands=str(self._mine.newest))
            return ev.SaveMissed()
        self._mine.timings["save_s"] = self._mine.clock() - began
        assert self._mine.newest is not None
        return ev.Saved(self._mine.newest)

    def save_was_late(self) -> Event:
        """Its time is over (P4). The hand-over says which snapshot stands, and how much is lost."""
        sent = self._progress.bytes if self._progress else 0
        expected = self._saver.forecast().dirty
        of = f" of about {expected}" if expected else ""
        late = f"the last save did not arrive in time: {sent} bytes{of} were sent; {self._mine.standing()}"
        self._mine.message = f"{self._mine.message}; {late}" if self._mine.message else late
        self._log.error("snapshot.late", sent=sent, stands=str(self._mine.newest))
        return ev.SaveMissed()

    def _on_progress(self, progress: Progress) -> None:
        self._progress = progress

    async def hand_over(self, *, errored: bool, notice: str | None, noticed_at: float | None = None) -> Event:
        """`noticed_at`: monotonic."""
        mine, end = self._mine, self._command.end
        handover = records.Handover(
            instance=mine.identity.instance_id,
            reason="error" if errored else "interrupted",
            at=mine.wall(),
            ended=str(end) if end is not None else None,
            exit_code=self._command.exit_code,
            clean=self._command.clean,
            oom_kills=self._command.oom_kills,
            errors=mine.errors if errored else 0,
            snapshot=str(mine.newest) if mine.newest else None,
            notice=notice,
            message=mine.message,
            timings=mine.timings,
            saved_bytes=self._saver.sent,
            upload_bytes_s=self._saver.rate,
            restored_bytes=mine.restored.bytes if mine.restored else 0,
            kept_s=mine.kept_s,
            warning=mine.warning,
            noticed_at=mine.on_the_wall(noticed_at),
            worked_s=self._worked_s(),
            unfinished=mine.unfinished,
        )
        await self._written(keys.handover(self._run, self._number), records.encode(handover), HANDOVER_S)
        await self._command.ship_output()
        return ev.HandedOver()

    def _worked_s(self) -> float | None:
        """Where an agent before this one said nothing and the command was not started again, nobody knows."""
        if self._mine.again and self._mine.earlier_s is None and self._command.spawned_at is None:
            return None
        return (self._mine.earlier_s or 0.0) + self._command.worked_s(until=self._mine.clock())

    async def record(self, result: Result) -> Event:
        with contextlib.suppress(StoreError):  # ended before it restored anything: what there is, others saved
            self._mine.newest = self._mine.newest or await self._mine.history.newest_allowed(self._number)
        said, message = self._verdict(result)
        outcome = records.Outcome(
            result=said,
            attempt=self._number,
            at=self._mine.wall(),
            exit_code=self._command.exit_code,
            oom_kills=self._command.oom_kills,
            snapshot=str(self._mine.newest) if self._mine.newest else None,
            message=message,
        )
        written = await self._written(keys.outcome(self._run), records.encode(outcome), PATIENCE_S)
        return ev.Recorded() if written else ev.RecordMissed()

    def _verdict(self, result: Result) -> tuple[str, str]:
        """What the outcome says. Of a run that was told to stop, at first why it was."""
        if result is not Result.STOPPED or self._mine.stopped is None:
            return str(result), self._mine.message
        why = self._mine.stopped.message or "stopped by a person"
        return self._mine.stopped.result, f"{why}; {self._mine.message}" if self._mine.message else why

    async def _written(self, key: str, data: bytes, for_s: float) -> bool:
        """Create-only; one that is there already was written by this attempt's earlier agent, and stands."""
        try:
            await patiently(lambda: self._store.create(key, data), what=key, for_s=for_s)
        except AlreadyExists:
            self._log.warning("record.exists", key=key)
        except StoreError as error:
            self._log.error("record.missed", key=key, error=str(error))
            return False
        return True

    async def publish(self) -> Event:
        try:
            await self._command.ship_output()
            await self._mine.snapshots.publish_artifacts()
        except (SpotrelayError, OSError) as error:
            self._log.error("artifacts.missed", error=str(error), stands=str(self._mine.newest))
        return ev.Published()
