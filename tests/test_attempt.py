"""An attempt's command and its end, and what others see of it; with a real store and real commands."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spotrelay.command import oom, output
from spotrelay.core import events as ev
from spotrelay.core.keys import SnapshotId
from spotrelay.core.lifecycle import Result
from spotrelay.departure import Departure
from spotrelay.history import History
from spotrelay.takeover import Takeover
from support.attempts import RUN, claimed, made, snapshot
from support.cgroups import limited
from support.processes import eventually, said, trainer
from support.stores import memory

WITHIN_S = 60.0


@pytest.fixture(autouse=True)
def _output_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was shipped is not given back to the disk: tests read it there."""
    monkeypatch.setattr(output, "_release", lambda *_: None)


@pytest.mark.parametrize(
    ("command", "expected"),
    [(["true"], ev.Succeeded()), (["sh", "-c", "exit 3"], ev.GaveUp()), (["sh", "-c", "kill -9 $$"], ev.GaveUp())],
)
async def test_end_without_a_signal_of_ours_is_what_it_says(
    command: list[str], expected: ev.Event, tmp_path: Path
) -> None:
    """0 is success, everything else an error. Otherwise a crash is taken for an interruption and repeated for ever."""
    mine = made(tmp_path, command=command)
    await Takeover(mine).spawn()

    assert expected == await mine.ended()
    await mine.close()


@pytest.mark.parametrize(
    ("code", "tables", "expected", "clean"),
    [
        (0, {}, ev.Drained(), True),
        (1, {}, ev.Drained(), False),
        (143, {"interrupt": {"clean_exit_codes": [0, 143]}}, ev.Drained(), True),
        (0, {"interrupt": {"strict_exit": True}}, ev.Drained(), True),
        (1, {"interrupt": {"strict_exit": True}}, ev.GaveUp(), False),
    ],
)
async def test_end_after_our_signal_is_an_interruption(
    code: int, tables: dict[str, object], expected: ev.Event, clean: bool, tmp_path: Path
) -> None:
    """Whatever its code, unless the spec is strict. Otherwise frameworks that exit 1 cannot be relayed."""
    mine = made(tmp_path, command=["sh", "-c", "exec " + trainer(tmp_path, code=code)], **tables)
    await Takeover(mine).spawn()
    await said(tmp_path / f"{RUN}-1.log", "ready")
    await mine.command.signal()

    async with asyncio.timeout(WITHIN_S):
        assert expected == await mine.ended()
    assert clean is mine.command.clean
    await mine.close()


async def test_code_that_its_framework_is_known_for_is_clean(tmp_path: Path) -> None:
    """torchrun exits 1 whatever its workers did; a spec that names codes goes first. Otherwise each hand-over of a job
    of several workers is called unclean, and fails where the spec is strict."""
    (tmp_path / "torchrun").write_text("#!/bin/sh\nexec " + trainer(tmp_path, code=1))
    (tmp_path / "torchrun").chmod(0o755)
    for tables, clean in (({}, True), ({"interrupt": {"clean_exit_codes": [0]}}, False)):
        mine = made(tmp_path, command=[str(tmp_path / "torchrun"), "train.py"], **tables)
        await Takeover(mine).spawn()
        await said(tmp_path / f"{RUN}-1.log", "ready")
        await mine.command.signal()
        async with asyncio.timeout(WITHIN_S):
            await mine.ended()

        assert clean is mine.command.clean
        await mine.close()
        (tmp_path / f"{RUN}-1.log").unlink()


@pytest.mark.parametrize(("env", "expected"), [({}, "110"), ({"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "7"}, "7")])
async def test_launcher_is_given_the_time_that_there_is(tmp_path: Path, env: dict[str, str], expected: str) -> None:
    """Unless the person says otherwise. Otherwise torchrun kills its workers after 30 s of two minutes."""
    program = tmp_path / "torchrun"
    program.write_text('#!/bin/sh\necho "$TORCH_ELASTIC_SHUTDOWN_TIMEOUT" > said\n')
    program.chmod(0o755)
    run = {"name": RUN, "command": [str(program)], "directory": str(tmp_path / "job"), "env": env}
    mine = made(tmp_path, run=run)
    await Takeover(mine).spawn()
    await mine.ended()

    assert f"{expected}\n" == (tmp_path / "job/said").read_text()
    await mine.close()


async def test_command_finds_how_long_it_has(tmp_path: Path) -> None:
    """In a file outside of its directory, which is not there before. Otherwise it cannot choose a checkpoint that it
    has the time for, or takes the last machine's word for this one's."""
    (tmp_path / f"{RUN}-1.notice").write_text("of an agent before this one")
    wait = 'until [ -s "$SPOTRELAY_NOTICE" ]; do echo "waits $$"; sleep 0.02; done; cat "$SPOTRELAY_NOTICE" > notice'
    mine = made(tmp_path, command=["sh", "-c", wait], wall=1000.0)
    await Takeover(mine).spawn()
    await said(tmp_path / f"{RUN}-1.log", "waits")
    mine.command.announce(93.04)
    async with asyncio.timeout(WITHIN_S):
        await mine.ended()

    assert {"seconds_left": 93.0, "deadline": 1093.0} == json.loads((tmp_path / "job/notice").read_text())
    await mine.close()


async def test_command_that_ended_by_itself_but_for_a_leftover_was_not_interrupted(tmp_path: Path) -> None:
    """The program ended with 0 before our signal, which only its forgotten helper got. Otherwise a finished run is run
    again."""
    shell = f"{trainer(tmp_path)} & sleep 0.05; exit 0"
    mine = made(tmp_path, command=["sh", "-c", shell])
    await Takeover(mine).spawn()
    await said(tmp_path / f"{RUN}-1.log", "ready")
    assert mine.command.child is not None
    await mine.command.child.main()
    await mine.command.signal()

    async with asyncio.timeout(WITHIN_S):
        assert ev.Succeeded() == await mine.ended()
    await mine.close()


@pytest.fixture
def starving() -> Iterator[str]:
    """Where a process goes to have 64 MiB."""
    with limited(64 << 20) as cgroup:
        yield str(cgroup / "cgroup.procs")


STARVES = "print('ready', os.getpid(), flush=True); bytearray(256 << 20)"


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="limits memory, which takes root")
async def test_command_that_the_kernel_killed_for_want_of_memory_is_said_so(tmp_path: Path, starving: str) -> None:
    """By the kernel's own hand: the attempt's message and the outcome name the cause and what to do. Otherwise a person
    reads "SIGKILL", suspects everybody, and the run fails the same way on the next machine."""
    store = memory()
    python = f'{sys.executable} -I -S -c "import os; {STARVES}"'
    mine = made(tmp_path, store=store, command=["sh", "-c", f"echo 0 > {starving}; exec {python}"])
    await Takeover(mine).spawn()

    assert ev.GaveUp() == await mine.ended()
    await Departure(mine).record(Result.FAILED)
    outcome = await History(store, RUN).outcome()
    assert outcome is not None
    assert (137, 1) == (outcome.exit_code, outcome.oom_kills)
    assert outcome.message.startswith("the command ended with SIGKILL, out of memory: the kernel killed 1 process")
    assert "instance.types" in outcome.message
    await mine.close()


@pytest.mark.parametrize(
    ("does", "signalled", "kills"),
    [
        ("echo oom_kill 8 > $COUNTED; kill -9 $$", False, 1),
        ("kill -9 $$", False, 0),
        ("echo oom_kill 8 > $COUNTED; exit 3", False, 0),
        ("trap 'echo oom_kill 8 > $COUNTED; kill -9 $$' TERM; echo ready $$; while :; do sleep 0.01; done", True, 1),
        ("trap 'echo oom_kill 8 > $COUNTED' TERM; echo ready $$; while :; do sleep 0.01; done", True, 0),
    ],
)
async def test_kill_is_the_kernel_s_only_if_it_counted_one_and_it_was_not_ours(
    does: str, signalled: bool, kills: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while a checkpoint is written: then the hand-over says it. Otherwise whoever is killed by a person, or by us
    at the end of its time, is told to buy memory."""
    counted = tmp_path / "vmstat"
    counted.write_text("oom_kill 7\n")
    monkeypatch.setattr(oom, "MACHINE", counted)

    def counted_one() -> None:
        assert "oom_kill 8\n" == counted.read_text()

    store = memory()
    run = {"name": RUN, "command": ["sh", "-c", does], "directory": str(tmp_path / "job")}
    mine = made(tmp_path, store=store, run=run | {"env": {"COUNTED": str(counted)}})
    await Takeover(mine).spawn()
    if signalled:
        await said(tmp_path / f"{RUN}-1.log", "ready")
        await mine.command.signal()
        if not kills:
            await eventually(counted_one)
            await mine.command.kill()
    async with asyncio.timeout(WITHIN_S):
        await mine.ended()
    await Departure(mine).hand_over(errored=not signalled, notice=None)
    handover = await History(store, RUN).handover(1)

    assert handover is not None
    assert (kills, bool(kills)) == (handover.oom_kills, "out of memory" in handover.message)
    await mine.close()


async def test_command_knows_its_run_and_attempt(tmp_path: Path) -> None:
    """In its environment, beside the spec's own. Otherwise a program cannot tell whether it begins or goes on."""
    show = 'echo "$SPOTRELAY_RUN $SPOTRELAY_ATTEMPT $SPOTRELAY_SNAPSHOT $SPOTRELAY_RESUMED $MORE" > said'
    store = memory()
    await snapshot(store, tmp_path / "a", SnapshotId(1, 4), some="file")
    run = {"name": RUN, "command": ["sh", "-c", show], "directory": str(tmp_path / "job"), "env": {"MORE": "x"}}
    mine = made(tmp_path, store=store, number=2, run=run)
    await Takeover(mine).restore()
    await Takeover(mine).spawn()
    await mine.ended()

    assert f"{RUN} 2 1-4 1 x\n" == (tmp_path / "job" / "said").read_text()
    await mine.close()


async def test_closed_attempt_leaves_no_process(tmp_path: Path) -> None:
    """Nothing runs and nothing is sent after `close`. Otherwise the command outlives its owner."""
    mine = made(tmp_path, command=["sleep", "3600"])
    await Takeover(mine).spawn()
    assert mine.command.child is not None

    await mine.close()

    assert [] == mine.command.child.processes()


# --- what others see


async def test_hours_count_from_the_first_claim(tmp_path: Path) -> None:
    """Of the run, not of the attempt. Otherwise a run that is interrupted often enough has no limit."""
    store, now = memory(), time.time()
    await claimed(store, 1, at=now - 7200)
    mine = made(tmp_path, store=store, number=2, wall=now, limits={"hours": 1})
    await Takeover(mine).claim()
    assert "limits.hours = 1 is reached" == mine.out_of_hours()

    young = made(tmp_path, store=store, number=3, wall=now, limits={"hours": 3})
    await Takeover(young).claim()
    assert young.out_of_hours() is None


async def test_work_that_a_snapshot_keeps_is_counted(tmp_path: Path) -> None:
    """From the command's start to the newest save's, in heartbeat and hand-over. Otherwise nobody knows what is left to
    do, and a deadline is missed or an on-demand instance paid for nothing."""
    store = memory()
    mine = made(tmp_path, store=store, command=["sleep", "0.3"])
    assert 0 == mine.status("starting").kept_s
    await Takeover(mine).spawn()
    await mine.saver.save()
    early = mine.status("running").kept_s
    await mine.ended()
    await Departure(mine).save()
    late = mine.status("saving").kept_s
    await Departure(mine).hand_over(errored=False, notice=None)
    handover = await History(store, RUN).handover(1)

    assert handover is not None
    assert 0 <= early < 0.3 <= late == handover.kept_s


async def test_what_a_person_asks_of_a_command_at_work_is_in_its_heartbeat(tmp_path: Path) -> None:
    """Since when it runs, when the next save begins, its newest line; and at the hand-over, what it did in all and when
    the notice came. Otherwise `status` cannot say what would be lost, nor a receipt what was."""
    store = memory()
    mine = made(tmp_path, store=store, command=["sh", "-c", "echo epoch 3; sleep 0.3"], save={"every_s": 60})
    before = mine.status("starting")
    assert (None, None, "") == (before.running_since, before.next_save_at, before.line)
    began = time.time()
    await Takeover(mine).spawn()
    mine.saver.start(60)
    at_work = mine.status("running")
    await mine.ended()
    await Departure(mine).hand_over(errored=False, notice="spot terminate", noticed_at=time.monotonic() - 5)
    handover, ended = await History(store, RUN).handover(1), mine.status("staying")

    assert handover is not None
    assert began - 0.1 <= (at_work.running_since or 0) <= time.time()
    assert 25 < (at_work.next_save_at or 0) - began < 35
    assert "epoch 3" == ended.line
    assert 0.3 <= (handover.worked_s or 0) < 5
    assert abs((handover.noticed_at or 0) - (time.time() - 5)) < 1
    await mine.close()


async def test_who_closes_waits_for_the_subreaper(tmp_path: Path) -> None:
    """It has not noticed yet that the command is gone. Otherwise a process and a socket outlive the attempt."""
    mine = made(tmp_path, store=memory(), command=["sleep", "1000"])
    await Takeover(mine).spawn()
    child = mine.command.child
    assert child is not None
    os.kill(child._subreaper.pid, signal.SIGSTOP)
    os.kill(child.pid, signal.SIGKILL)
    while child.processes():
        await asyncio.sleep(0)
    closing = asyncio.create_task(mine.close())
    early, _ = await asyncio.wait([closing], timeout=0.1)
    os.kill(child._subreaper.pid, signal.SIGCONT)
    await closing

    assert (set(), True) == (early, child._subreaper.returncode is not None)
