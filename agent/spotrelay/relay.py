"""One attempt, in order: events go into `core.lifecycle.step`, and the effects that come out are performed.

    notices ─┐
    command ─┼─► events ─► step(state, event) ─► effects ─► attempt ─► events …
    clocks  ─┘

1. Events come one after the other through one queue; an effect that takes time runs as a task and reports by an event.
2. An effect begins before the next event is looked at, so that "post, then signal" is the order in which they begin.
3. ABANDON ends tasks whose result is no longer wanted. The resume request is none of these: it has a limit of its own.
4. The deadline is a timer here and a cancelled task there: nothing needed is written after it (P4).
5. Whatever goes wrong inside an effect is an event as well. What nobody foresaw ends the attempt, and with it the
   instance (P5); its successor comes by EC2's own event.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import structlog

from spotrelay.attempt import Attempt
from spotrelay.board import Board, Posted, here
from spotrelay.core import deadline, records
from spotrelay.core import events as ev
from spotrelay.core.errors import SpotrelayError
from spotrelay.core.events import Event, Notice, Source, Stopped
from spotrelay.core.lifecycle import Effect, IllegalTransition, Phase, State, step
from spotrelay.departure import Departure
from spotrelay.heartbeat import Heartbeat
from spotrelay.takeover import Takeover

# EC2's `time` is approximate, and a notice may lapse. Five minutes late, it is not coming; the successor runs by now.
DEAD_MAN_S = 300.0
# A post still under way when all else is done gets this long: its loss costs minutes (EC2's event must find it).
LAST_POST_S = 20.0
# A last save without a deadline (the command ended by itself) may take long, but P5 wants an end.
LAST_SAVE_S = 6 * 3600.0
# What TimeoutStopSec in the unit grants, less a margin for the shutdown of everything else.
SYSTEM_STOP_S = 100.0
# A person who says stop waits for the checkpoint; as long as a notice would give it.
STOP_S = 120.0

Arrive = Callable[[], Awaitable[Attempt]]


@dataclass(frozen=True, slots=True)
class Ending:
    """How the agent's life ended. `refusal`: why it had nothing to do here. `keep_alive`: the instance shall stay."""

    refusal: SpotrelayError | None = None
    keep_alive: bool = False


class Relay:
    """`arrive` finds the run and makes the Attempt, or raises SpotrelayError; `notices` never ends. `told`: hears in a
    line, with every step, where things are."""

    def __init__(
        self,
        arrive: Arrive,
        notices: AsyncIterator[Event],
        *,
        clock: Callable[[], float],
        stay_s: float = DEAD_MAN_S,
        told: Callable[[str], None] = lambda _: None,
        board: Board | None = None,
    ) -> None:
        self.state = State()
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self._arrive, self._notices, self._clock, self._stay_s = arrive, notices, clock, stay_s
        self._told, self._board = told, board or Board(None)
        self._attempt: Attempt | None = None
        self._takeover: Takeover  # its way in
        self._departure: Departure  # and out
        self._refusal: SpotrelayError | None = None
        self._heartbeat: Heartbeat | None = None
        self._notice: Notice | None = None
        self._noticed_at: float | None = None  # the first of them
        self._system_stops = False
        self._plan: deadline.Plan | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._post: asyncio.Task[None] | None = None
        self._save_limit: asyncio.Timeout | None = None
        self._log = structlog.get_logger()

    def stop(self) -> None:
        """The operating system wants us to end (SIGTERM): a notice like others, with the time that systemd gives."""
        self.events.put_nowait(Notice(Source.SYSTEM, ev.Action.TERMINATE, self._clock() + SYSTEM_STOP_S))

    async def run(self) -> Ending:
        """Until the instance may end. Cancelled, it leaves no process and no task behind."""
        self._go("notices", self._forward(self._notices))
        self.events.put_nowait(ev.Booted())
        try:
            while self.state.phase is not Phase.LEAVING:
                await self._take(await self.events.get())
            await self._finish_post()
        finally:
            await self._close()
        refusal = self._refusal if self._attempt is None else self._attempt.refusal
        # Only an owner can ask for it: an instance that lost its claim is nobody's.
        keep = self._attempt is not None and refusal is None and self._attempt.spec.instance.keep_alive
        return Ending(refusal, keep_alive=keep)

    async def _take(self, event: Event) -> None:
        if isinstance(event, Notice):
            self._note(event)
        try:
            self.state, effects = step(self.state, event)
        except IllegalTransition as error:
            self._log.error("lifecycle.illegal", error=str(error))
            return
        if isinstance(event, Stopped):
            self._mine.stopped = event  # the outcome says who stopped it, and why
        self._log.info("lifecycle.step", happened=type(event).__name__, phase=str(self.state.phase))
        self._told(self._standing())
        if self._heartbeat is None:
            self._board.post(Posted(str(self.state.phase), time.time(), here()))
        for effect in effects:
            await self.perform(effect)
        if self._heartbeat is not None:
            self._heartbeat.beat()

    def _standing(self) -> str:
        if self._attempt is None:
            return str(self.state.phase)
        return f"{self._attempt.run}, attempt {self._attempt.number}: {self.state.phase}"

    async def perform(self, effect: Effect) -> None:  # noqa: PLR0912 - one line for each effect
        """The only place where an effect becomes an act."""
        match effect:
            case Effect.FIND_RUN:
                self._go("work", self._find_run())
            case Effect.CLAIM:
                # Here, not where it was found out: a task's context is its own, and what it starts inherits this one.
                structlog.contextvars.bind_contextvars(**self._mine.names)
                self._work(self._takeover.claim)
            case Effect.AWAIT_PREDECESSOR:
                self._begin_beating()
                self._work(self._takeover.await_predecessor)
            case Effect.RESTORE:
                self._work(self._takeover.restore)
            case Effect.SPAWN:
                self._work(self._takeover.spawn)
            case Effect.BEGIN_SAVING:
                self._go("child", self._report(self._mine.ended))
                self._mine.saver.start(self._mine.spec.save.every_s)
            case Effect.SAVE_EARLY:
                self._mine.saver.early()
            case Effect.POST_RESUME:
                self._post = asyncio.create_task(self._departure.post_resume(), name="post")
            case Effect.DRAIN:
                self._replan()
                self._mine.saver.hurry()
                self._go("signal", self._signal())
            case Effect.REPLAN:
                self._replan()
            case Effect.KILL:
                self._go("kill", self._mine.command.kill())
            case Effect.ABANDON:
                await self._abandon()
            case Effect.SAVE:
                self._go("work", self._save())
            case Effect.HAND_OVER:
                self._go("work", self._hand_over())
            case Effect.RECORD:
                result = self.state.result
                assert result is not None
                self._work(lambda: self._departure.record(result))
            case Effect.PUBLISH:
                self._work(self._departure.publish)
            case Effect.STAY:
                self._stay()
            case Effect.LEAVE:
                pass  # the loop ends with the phase

    @property
    def _mine(self) -> Attempt:
        assert self._attempt is not None, "an effect of an attempt before there is one"
        return self._attempt

    # --- effects that are more than a call

    async def _find_run(self) -> None:
        try:
            attempt = await self._arrive()
        except Exception as error:  # a bad spec, no credentials, nobody's instance: all end here, said aloud
            self._log.error("run.none", error=str(error), kind=type(error).__name__)
            self._refusal = error if isinstance(error, SpotrelayError) else SpotrelayError(repr(error))
            self.events.put_nowait(ev.TurnedAway())
            return
        self._attempt, self._takeover, self._departure = attempt, Takeover(attempt), Departure(attempt)
        if self._notice is not None:
            attempt.gone_at = self._notice.deadline
        self.events.put_nowait(ev.Assigned())

    def _begin_beating(self) -> None:
        attempt = self._mine
        self._heartbeat = Heartbeat(
            attempt.history,
            attempt.number,
            self._status,
            asked=lambda: self.state.posted,
            over=attempt.out_of_hours,
            clock=self._clock,
        )
        attempt.undisputed_at = lambda: self._heartbeat.undisputed_at if self._heartbeat else None
        self._go("heartbeat", self._forward(self._heartbeat.events()))

    def _status(self) -> records.Status:
        """For the store, and for whoever has logged in."""
        status = self._mine.status(str(self.state.phase))
        self._board.post(Posted(status.phase, status.at, here(), self._mine.run, self._mine.number, status))
        return status

    async def _signal(self) -> None:
        began = self._clock()
        await self._mine.command.signal()
        self._mine.timings["notice_to_signal_s"] = self._clock() - began
        await self._mine.command.dismiss()

    async def _save(self) -> None:
        now = self._clock()
        until = self._plan.commit_by if self._plan else now + LAST_SAVE_S
        try:
            async with asyncio.timeout(until - now) as self._save_limit:
                event = await self._departure.save()
        except TimeoutError:
            event = self._departure.save_was_late()
        finally:
            self._save_limit = None
        self.events.put_nowait(event)

    async def _hand_over(self) -> None:
        notice = f"{self._notice.source} {self._notice.action}" if self._notice else None
        handing = self._departure.hand_over(errored=self.state.errored, notice=notice, noticed_at=self._noticed_at)
        self.events.put_nowait(await handing)

    def _stay(self) -> None:
        """An instance that EC2 takes in its first hour is free, one that ends itself is not: it waits to be taken."""
        if self._notice is None or self._system_stops:
            self.events.put_nowait(ev.NobodyCame())
        else:
            self._at("dead man", self._notice.deadline + self._stay_s, ev.NobodyCame())

    # --- notices and their clocks

    def _note(self, notice: Notice) -> None:
        self._log.warning("notice.received", source=str(notice.source), action=str(notice.action))
        self._system_stops = self._system_stops or notice.source is Source.SYSTEM
        self._noticed_at = self._clock() if self._noticed_at is None else self._noticed_at
        if self._notice is None or notice.deadline < self._notice.deadline:
            self._notice = notice
        if self._attempt is not None:
            self._attempt.gone_at = self._notice.deadline
        gone_at = max(self._notice.deadline, self._clock() + deadline.SHORTEST_S)
        self._at("deadline", gone_at, ev.DeadlinePassed())

    def _replan(self) -> None:
        """Divide what is left. A person's stop has no deadline: it takes the two minutes that a notice would give."""
        now = self._clock()
        gone_at = self._notice.deadline if self._notice else now + STOP_S
        expected = self._mine.saver.forecast()
        plan = deadline.plan(
            now=now,
            gone_at=gone_at,
            save_estimate_s=expected.save_s,
            checkpoint_s=expected.checkpoint_s or 0.0,
        )
        self._plan = plan if self._notice else None
        self._log.info(
            "deadline.planned",
            child_s=plan.kill_at - now,
            save_s=plan.commit_by - plan.kill_at,
            expected_save_s=expected.save_s,
            expected_child_s=expected.checkpoint_s,
        )
        if self.state.phase in (Phase.DRAINING, Phase.STOPPING):
            self._at("grace", plan.kill_at, ev.GraceOver())
            self._mine.command.announce(plan.kill_at - now)
        if self._save_limit is not None:
            self._save_limit.reschedule(asyncio.get_running_loop().time() + plan.commit_by - now)
        if self.state.phase is Phase.STAYING:
            self._stay()

    def _at(self, name: str, moment: float, event: Event) -> None:
        if name in self._timers:
            self._timers[name].cancel()
        wait = max(0.0, moment - self._clock())
        self._timers[name] = asyncio.get_running_loop().call_later(wait, self.events.put_nowait, event)

    # --- tasks

    def _work(self, effect: Callable[[], Awaitable[Event]]) -> None:
        self._go("work", self._report(effect))

    async def _report(self, effect: Callable[[], Awaitable[Event]]) -> None:
        self.events.put_nowait(await effect())

    async def _forward(self, events: AsyncIterator[Event]) -> None:
        async for event in events:
            self.events.put_nowait(event)

    def _go(self, name: str, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        task.set_name(name)
        self._tasks[name] = task
        task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        """What nobody foresaw: say it, and leave by the shortest way. The state is the store's, not ours."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error("relay.broken", task=task.get_name(), exc_info=error)
            self.state = State(phase=Phase.LEAVING)
            self.events.put_nowait(ev.NobodyCame())

    async def _abandon(self) -> None:
        task = self._tasks.pop("work", None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _finish_post(self) -> None:
        if self._post is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(LAST_POST_S):
                    await asyncio.shield(self._post)

    async def _close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        tasks = [*self._tasks.values(), *([self._post] if self._post else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._attempt is not None:
            await self._attempt.close()
