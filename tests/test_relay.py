"""The relay of one attempt: real commands, real snapshots in memory, notices by the test's own word."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from spotrelay import board, heartbeat, relay, running
from spotrelay.attempt import Attempt
from spotrelay.board import Board
from spotrelay.command import output
from spotrelay.core import deadline, keys, records
from spotrelay.core import events as ev
from spotrelay.core.errors import RunOver
from spotrelay.core.events import Action, Event, Notice, Source
from spotrelay.core.lifecycle import Effect, Phase
from spotrelay.core.messages import ResumeRequest
from spotrelay.history import History
from spotrelay.ports import Store
from spotrelay.relay import Ending, Relay
from support.attempts import OTHER, RUN, Doorbell, based, claimed, made
from support.imds import eventually
from support.processes import gone, program, said, trainer
from support.stores import Recording, memory

WITHIN_S = 60.0
FAR_S = 120.0


def notice(in_s: float = FAR_S, source: Source = Source.SPOT) -> Notice:
    return Notice(source, Action.TERMINATE, time.monotonic() + in_s)


class Life:
    """A relay at work. `phases` and `effects`: what came, in order."""

    def __init__(self, folder: Path, attempt: Attempt | Exception, stay_s: float) -> None:
        self.news: asyncio.Queue[Event] = asyncio.Queue()
        self.output = folder / f"{RUN}-1.log"
        self.effects: list[Effect] = []
        self.relay = Relay(self._arrive, self._notices(), clock=time.monotonic, stay_s=stay_s, board=Board(folder))
        self._found = attempt
        perform = self.relay.perform

        async def noted(effect: Effect) -> None:
            self.effects.append(effect)
            await perform(effect)

        self.relay.perform = noted  # type: ignore[method-assign]
        self.task = asyncio.create_task(self.relay.run())

    async def _arrive(self) -> Attempt:
        if isinstance(self._found, Exception):
            raise self._found
        return self._found

    async def _notices(self) -> AsyncIterator[Event]:
        while True:
            yield await self.news.get()

    async def phase(self, phase: Phase) -> None:
        await eventually(lambda: self.relay.state.phase is phase, f"phase {phase}", timeout=WITHIN_S)

    async def ends(self) -> Ending:
        async with asyncio.timeout(WITHIN_S):
            return await self.task


@asynccontextmanager
async def living(
    folder: Path, found: Attempt | Exception | None = None, *, stay_s: float = 0.0, **made_of: Any
) -> AsyncIterator[Life]:
    life = Life(folder, found or made(folder, **made_of), stay_s)
    try:
        yield life
    finally:
        life.task.cancel()
        await asyncio.gather(life.task, return_exceptions=True)


def shell(words: str) -> Sequence[str]:
    return ["sh", "-c", "exec " + words]


@pytest.fixture(autouse=True)
def _output_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was shipped is not given back to the disk: tests read it there."""
    monkeypatch.setattr(output, "_release", lambda *_: None)


@pytest.fixture
def _short_notices(monkeypatch: pytest.MonkeyPatch) -> None:
    """A notice of a second is planned as one of a second."""
    monkeypatch.setattr(deadline, "SHORTEST_S", 1.0)


async def handover(store: Store) -> records.Handover:
    found = await History(store, RUN).handover(1)
    assert found is not None
    return found


async def newest(store: Store) -> str:
    """A command that takes its time to end on a busy computer is saved meanwhile, too."""
    return str(max(keys.snapshots_among(await store.list(keys.snapshots(RUN)))))


async def test_command_that_succeeds_ends_in_its_outcome(tmp_path: Path) -> None:
    """Claim, restore, run, save, record, publish, leave. Otherwise there is no story at all."""
    store = memory()
    async with living(tmp_path, store=store, command=shell("touch result")) as life:
        await life.ends()
        outcome = await History(store, RUN).outcome()

        assert Phase.LEAVING is life.relay.state.phase
        assert outcome is not None
        assert ("succeeded", "1-0") == (outcome.result, outcome.snapshot)
        assert f"runs/{RUN}/artifacts/result" in await store.list(keys.run(RUN))


async def test_request_is_on_its_way_before_the_command_is_told(tmp_path: Path) -> None:
    """Post, then signal, and a queue that hangs delays neither the signal nor the save nor the hand-over. Otherwise the
    hunt for capacity waits for the checkpoint, or the checkpoint for SQS."""
    store, queue, order = memory(), Doorbell(), list[str]()
    queue.answers.clear()
    attempt = made(tmp_path, store=store, queue=queue, command=shell(trainer(tmp_path)))
    async with living(tmp_path, attempt, stay_s=3600) as life:
        await said(life.output, "ready")
        post, signal = queue.post, attempt.command.signal

        async def noting_post(request: ResumeRequest) -> None:
            order.append("post")
            await post(request)

        async def noting_signal() -> None:
            order.append("signal")
            await signal()

        queue.post, attempt.command.signal = noting_post, noting_signal  # type: ignore[method-assign]
        life.news.put_nowait(notice())
        await said(life.output, "saved")
        await life.phase(Phase.STAYING)

        assert ["post", "signal"] == order
        assert [2] == [request.attempt for request in queue.posts]
        assert (await handover(store)).clean


async def test_second_notice_asks_for_nobody_else(tmp_path: Path) -> None:
    """One request an attempt, however many notices. Otherwise two machines race for one run."""
    queue = Doorbell()
    async with living(tmp_path, queue=queue, command=shell(trainer(tmp_path)), stay_s=3600) as life:
        await said(life.output, "ready")
        for source in (Source.SPOT, Source.SCHEDULED, Source.SYSTEM):
            life.news.put_nowait(notice(source=source))
        await life.ends()  # the operating system's stop is not waited out

        assert 1 == len(queue.posts)


async def test_save_that_does_not_arrive_in_time_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline cuts it off, nothing of it counts, and the hand-over names the earlier snapshot (P4). Otherwise the
    successor waits for a snapshot that never comes."""
    monkeypatch.setattr(deadline, "RESERVE_S", FAR_S)
    monkeypatch.setattr(deadline, "LEAST_SHARE", 0.99)  # a second for the save, and two minutes for the hand-over
    store = Recording(memory())
    attempt = made(tmp_path, store=store, command=shell(trainer(tmp_path)))

    async def hang(method: str, key: str) -> None:
        if method == "create" and key == keys.snapshot(RUN, keys.SnapshotId(1, 1)):
            await asyncio.sleep(3600)

    store.before = hang
    async with living(tmp_path, attempt) as life:
        await said(life.output, "ready")
        await attempt.saver.save()
        life.news.put_nowait(notice())
        await life.phase(Phase.STAYING)
        life.relay.stop()
        await life.ends()

        assert "1-0" == (await handover(store.store)).snapshot
        assert "snapshot 1-0, " in (await handover(store.store)).message, "which one stands, and how old it is"
        assert Effect.HAND_OVER in life.effects
        assert [keys.SnapshotId(1, 0)] == keys.snapshots_among(await store.store.list(keys.snapshots(RUN)))


async def test_command_that_does_not_hear_is_killed_in_time_to_save_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its share of the seconds over, it is killed, saved and handed over. Otherwise one deaf program loses it all."""
    monkeypatch.setattr(deadline, "SAVE_FLOOR_S", FAR_S)
    monkeypatch.setattr(deadline, "LEAST_SHARE", 0.005)  # half a second for the command, and the rest for the save
    deaf = program(tmp_path, "deaf.py", "signal.signal(signal.SIGTERM, signal.SIG_IGN); ready(); forever()")
    store = memory()
    async with living(tmp_path, store=store, command=shell(deaf)) as life:
        (pid,) = await said(life.output, "ready")
        life.news.put_nowait(notice())
        await gone(pid)
        await life.phase(Phase.STAYING)
        left = await handover(store)

        assert ("SIGKILL", False, await newest(store)) == (left.ended, left.clean, left.snapshot)


@pytest.mark.usefixtures("_short_notices")
async def test_nothing_is_written_after_the_deadline(tmp_path: Path) -> None:
    """Neither manifest nor hand-over (P4): a store that comes back too late finds nobody. Otherwise a successor that
    has begun already is contradicted."""
    store, back = Recording(memory()), asyncio.Event()
    attempt = made(tmp_path, store=store, command=shell(trainer(tmp_path)))

    async def away(method: str, _key: str) -> None:
        if method == "create":
            await back.wait()

    async with living(tmp_path, attempt, stay_s=0.5) as life:
        await said(life.output, "ready")
        store.before = away
        life.news.put_nowait(notice(in_s=1.0))
        await eventually(lambda: Effect.STAY in life.effects, "the deadline", timeout=WITHIN_S)
        back.set()
        await life.ends()

        names = await store.store.list(keys.run(RUN))
        assert [] == [name for name in names if "handover" in name or "snapshots" in name]


async def test_attempt_that_is_fenced_ends_its_command_and_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else has begun a later attempt: nothing is saved, nobody is asked for, the command is killed (P1).
    Otherwise two machines run it."""
    monkeypatch.setattr(heartbeat, "BEAT_S", 0.01)
    store, queue = memory(), Doorbell()
    async with living(tmp_path, store=store, queue=queue, command=shell(trainer(tmp_path))) as life:
        (pid,) = await said(life.output, "ready")
        await based(store, 2)
        await claimed(store, 2, by=OTHER)
        await life.ends()
        await gone(pid)

        assert [] == queue.posts
        assert [Effect.ABANDON, Effect.KILL, Effect.LEAVE] == life.effects[-3:]
        assert [] == await store.list(keys.snapshots(RUN))


async def test_successor_that_waits_is_a_notice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EC2 told the launcher, and nobody this machine: the command is told, what it has is saved and handed over.
    Otherwise a metadata service that fails costs the run what EC2's own event could have saved."""
    monkeypatch.setattr(heartbeat, "BEAT_S", 0.01)
    store = memory()
    async with living(tmp_path, store=store, command=shell(trainer(tmp_path))) as life:
        await said(life.output, "ready")
        await claimed(store, 2, by=OTHER)
        await eventually(lambda: Effect.STAY in life.effects, "handed over")

        assert [Effect.POST_RESUME, Effect.DRAIN, Effect.SAVE, Effect.HAND_OVER] == [
            each for each in life.effects if each in (Effect.POST_RESUME, Effect.DRAIN, Effect.SAVE, Effect.HAND_OVER)
        ]


async def test_cancelled_relay_leaves_no_process_and_no_task(tmp_path: Path) -> None:
    """Whoever cancels it gets the machine back as it was. Otherwise a command runs on that nobody owns."""
    before = asyncio.all_tasks()
    async with living(tmp_path, command=shell(trainer(tmp_path))) as life:
        (pid,) = await said(life.output, "ready")
        life.task.cancel()
        await asyncio.gather(life.task, return_exceptions=True)

        assert life.task.cancelled()
        await gone(pid)
    await eventually(lambda: asyncio.all_tasks() == before, "no task is left")


@pytest.mark.parametrize("error", [RunOver("the run is over"), ValueError("a bug"), OSError("no network")])
async def test_instance_without_a_run_leaves(error: Exception, tmp_path: Path) -> None:
    """Whatever keeps it from its run (P5). Otherwise it waits for what never comes, and costs."""
    async with living(tmp_path, error) as life:
        ending = await life.ends()

        assert getattr(error, "exit_code", 1) == (ending.refusal and ending.refusal.exit_code)
        assert [Effect.FIND_RUN, Effect.LEAVE] == life.effects


async def test_what_nobody_foresaw_ends_the_attempt_and_its_command(tmp_path: Path) -> None:
    """A bug in an effect is the end of the instance, not of its end (P5). Otherwise one exception leaves it burning."""
    attempt = made(tmp_path, command=shell(trainer(tmp_path)))

    async def broken() -> None:
        raise RuntimeError("a bug")

    attempt.command.signal = broken  # type: ignore[method-assign]
    async with living(tmp_path, attempt) as life:
        (pid,) = await said(life.output, "ready")
        life.news.put_nowait(notice())
        await life.ends()

        await gone(pid)


async def test_helper_that_a_program_leaves_behind_does_not_use_up_the_notice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked when the program has ended, then killed. Otherwise a log viewer in the background costs the save."""
    monkeypatch.setattr(running, "LEFT_BEHIND_S", 0.2)
    store = memory()
    helper = "(trap '' TERM; while :; do sleep 0.1; done) & "
    async with living(tmp_path, store=store, command=["sh", "-c", f"{helper} exec {trainer(tmp_path)}"]) as life:
        await said(life.output, "ready")
        life.news.put_nowait(notice(in_s=3600))
        await life.phase(Phase.STAYING)

        assert (await handover(store)).clean


async def test_event_out_of_place_changes_nothing(tmp_path: Path) -> None:
    """It is a bug, logged, and the attempt goes on. Otherwise one stray event costs a save."""
    store = memory()
    async with living(tmp_path, store=store, command=shell(trainer(tmp_path))) as life:
        await said(life.output, "ready")
        life.news.put_nowait(ev.Claimed())
        life.news.put_nowait(notice(source=Source.SYSTEM))
        await life.ends()

        assert (await handover(store)).clean


async def test_instance_that_ec2_interrupts_is_left_to_ec2(tmp_path: Path) -> None:
    """An hour that EC2 interrupts is free, one that the instance ends itself is not. Otherwise each early interruption
    is paid for."""
    async with living(tmp_path, command=shell(trainer(tmp_path)), stay_s=3600) as life:
        await said(life.output, "ready")
        life.news.put_nowait(notice())
        await life.phase(Phase.STAYING)
        assert not life.task.done()
        life.relay.stop()  # EC2 takes it: the operating system shuts down
        await life.ends()

        assert Phase.LEAVING is life.relay.state.phase


@pytest.mark.usefixtures("_short_notices")
async def test_instance_that_nobody_takes_ends_itself(tmp_path: Path) -> None:
    """The dead-man timer: EC2 does not always come (P5). Otherwise a withdrawn notice costs until somebody looks."""
    async with living(tmp_path, command=shell(trainer(tmp_path)), stay_s=0.2) as life:
        await said(life.output, "ready")
        life.news.put_nowait(notice(in_s=1.5))
        await life.ends()

        assert Phase.LEAVING is life.relay.state.phase


async def test_stop_of_the_operating_system_is_a_notice(tmp_path: Path) -> None:
    """SIGTERM to the agent: the command is told, saved and handed over, and the way is free. Otherwise
    TerminateInstances loses everything."""
    store, queue = memory(), Doorbell()
    async with living(tmp_path, store=store, queue=queue, command=shell(trainer(tmp_path)), stay_s=3600) as life:
        await said(life.output, "ready")
        life.relay.stop()
        await life.ends()

        assert 1 == len(queue.posts)
        assert ("system terminate", await newest(store)) == (
            (await handover(store)).notice,
            (await handover(store)).snapshot,
        )


async def test_request_that_is_still_on_its_way_is_given_some_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All else done, the agent waits a little for the queue, and no longer. Otherwise it either gives its successor
    away, or stays for ever."""
    monkeypatch.setattr(relay, "LAST_POST_S", 0.1)
    queue = Doorbell()
    queue.answers.clear()
    async with living(tmp_path, queue=queue, command=shell(trainer(tmp_path))) as life:
        await said(life.output, "ready")
        life.relay.stop()
        await life.ends()

        assert 1 == len(queue.posts)


async def test_person_who_stops_the_run_gets_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command is told, its directory saved, the outcome is `stopped`, nobody is asked for. Otherwise to stop a run
    is to lose it."""
    monkeypatch.setattr(heartbeat, "BEAT_S", 0.01)
    store, queue = memory(), Doorbell()
    async with living(tmp_path, store=store, queue=queue, command=shell(trainer(tmp_path))) as life:
        await said(life.output, "ready")
        await store.put(keys.cancel(RUN), b"")
        await life.ends()
        outcome = await History(store, RUN).outcome()

        assert outcome is not None
        assert ("stopped", await newest(store)) == (outcome.result, outcome.snapshot)
        assert [] == queue.posts
        await said(life.output, "saved")


async def test_limit_that_is_reached_stops_like_a_person_and_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checkpoint, save, and an outcome that names the limit. Otherwise the money is spent and the work is lost too, or
    somebody looks for the person who stopped it."""
    monkeypatch.setattr(heartbeat, "BEAT_S", 0.01)
    store, queue = memory(), Doorbell()
    async with living(tmp_path, store=store, queue=queue, command=shell(trainer(tmp_path))) as life:
        await said(life.output, "ready")
        cancel = records.Cancel("limit", "limits.dollars = 40 is reached: 41.20 spent", 1.0)
        await store.put(keys.cancel(RUN), records.encode(cancel))
        await life.ends()
        outcome = await History(store, RUN).outcome()

        assert outcome is not None
        assert ("limit", await newest(store)) == (outcome.result, outcome.snapshot)
        assert "limits.dollars = 40 is reached: 41.20 spent" == outcome.message
        assert [] == queue.posts
        await said(life.output, "saved")


async def test_kept_instance_is_reported_as_kept(tmp_path: Path) -> None:
    """The one exception to P5 asks for it. Otherwise who wants to look at the machine finds it gone."""
    async with living(tmp_path, instance={"keep_alive": True}) as life:
        assert (await life.ends()).keep_alive


async def test_what_it_does_is_posted_on_the_machine(tmp_path: Path) -> None:
    """Which run, which attempt, which phase, at each step, for whoever has logged in; readable by anybody there.
    Otherwise a person on the machine has to ask the bucket what happens beside them."""
    async with living(tmp_path, command=["sleep", "30"]) as life:
        await life.phase(Phase.RUNNING)
        await eventually(lambda: board.read(tmp_path).phase == "running", "the board", timeout=WITHIN_S)
        posted = board.read(tmp_path)
        life.relay.stop()
        await life.ends()

    assert (RUN, 1, os.getpid()) == (posted.run, posted.attempt, posted.agent)
    assert posted.status is not None
    assert posted.status.running_since is not None
    assert 0o644 == (tmp_path / board.NAME).stat().st_mode & 0o777
