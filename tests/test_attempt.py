"""What an attempt can do, with a real store, real snapshots and real commands."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spotrelay import attempt as attempts
from spotrelay import marker
from spotrelay.attempt import Attempt
from spotrelay.command import oom, output
from spotrelay.core import events as ev
from spotrelay.core import keys, records
from spotrelay.core.ends import Exited
from spotrelay.core.errors import PackCorrupt, StoreUnavailable
from spotrelay.core.keys import SnapshotId
from spotrelay.core.lifecycle import Result
from spotrelay.history import History
from spotrelay.ports import Store
from spotrelay.snapshot import Snapshots
from support.attempts import ME, OTHER, RUN, Doorbell, based, claimed, ended, handed_over, made
from support.cgroups import limited
from support.processes import eventually, said, trainer
from support.stores import failing, memory

WITHIN_S = 20.0


async def snapshot(store: Store, folder: Path, name: SnapshotId, **files: str) -> None:
    """A committed snapshot with these files."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        (folder / file).write_text(text)
    await Snapshots(store, RUN, folder).save(name)


# --- claim


async def test_first_instance_to_claim_owns_the_attempt(tmp_path: Path) -> None:
    """Of two, one (P1). Otherwise both run the command."""
    store = memory()
    me = made(tmp_path, store=store)
    other = made(tmp_path, store=store, identity=OTHER)

    assert ev.Claimed() == await me.claim()
    assert ev.TurnedAway() == await other.claim()


async def test_agent_that_was_restarted_finds_its_own_claim(tmp_path: Path) -> None:
    """The instance owns, not the process. Otherwise an agent that systemd starts again turns itself away."""
    store = memory()
    await made(tmp_path, store=store).claim()

    assert ev.Claimed() == await made(tmp_path, store=store).claim()


async def test_agent_that_was_restarted_after_its_hand_over_does_not_begin_again(tmp_path: Path) -> None:
    """Its successor is on its way, and waits for nobody any more. The command would run on two machines."""
    store = memory()
    await made(tmp_path, store=store).claim()
    await handed_over(store, 1)

    assert ev.TurnedAway() == await made(tmp_path, store=store).claim()


async def test_attempt_of_a_run_that_is_over_is_refused(tmp_path: Path) -> None:
    """An outcome is the end. Otherwise a late message runs a finished command again."""
    store = memory()
    await ended(store)

    assert ev.TurnedAway() == await made(tmp_path, store=store).claim()


async def test_attempt_that_was_overtaken_is_refused(tmp_path: Path) -> None:
    """Somebody is further already. Otherwise an old instance that boots late is a second owner."""
    store = memory()
    await claimed(store, 2)

    assert ev.TurnedAway() == await made(tmp_path, store=store).claim()


async def test_claim_is_tried_again_while_the_store_is_away(tmp_path: Path) -> None:
    """An outage at boot is waited for. Otherwise each hiccup of S3 costs a boot."""
    tries = 2

    def away(_method: str, _key: str) -> bool:
        nonlocal tries
        tries -= 1
        return tries >= 0

    assert ev.Claimed() == await made(tmp_path, store=failing(memory(), StoreUnavailable("away"), when=away)).claim()


# --- the predecessor


async def waits(mine: Attempt) -> bool:
    """Whether it is still waiting after some looks."""
    try:
        async with asyncio.timeout(0.2):
            await mine.await_predecessor()
    except TimeoutError:
        return True
    return False


@pytest.fixture(autouse=True)
def _quick_looks_and_output_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was shipped is not given back to the disk: tests read it there."""
    monkeypatch.setattr(attempts, "LOOK_S", 0.01)
    monkeypatch.setattr(output, "_release", lambda *_: None)


async def test_successor_waits_for_the_hand_over(tmp_path: Path) -> None:
    """What the predecessor still saves is worth the wait. Otherwise its last save is lost."""
    store = memory()
    await claimed(store, 1)
    mine = made(tmp_path, store=store, number=2)

    assert await waits(mine)
    await handed_over(store, 1)
    assert ev.PredecessorGone() == await mine.await_predecessor()


async def test_predecessor_that_ec2_says_is_dead_is_not_waited_for(tmp_path: Path) -> None:
    """The launcher saw it dead, perhaps while we wait. Otherwise each sudden death costs three minutes of silence."""
    store = memory()
    await claimed(store, 1)
    mine = made(tmp_path, store=store, number=2)

    assert await waits(mine)
    await store.create(keys.death(RUN, 1), records.encode(records.Death("i-00000000000000001", 1.0)))
    assert ev.PredecessorGone() == await mine.await_predecessor()


@pytest.mark.parametrize(
    ("heard_s_ago", "gone_in_s", "waited_for"),
    [
        pytest.param(1, 60, True, id="told, and its time not over"),
        pytest.param(1, -5, True, id="its time just over: clocks differ"),
        pytest.param(1, -11, False, id="its time and the margin over"),
        pytest.param(179, None, True, id="not told, and heard of lately"),
        pytest.param(181, None, False, id="silent for long"),
    ],
)
async def test_predecessor_is_waited_for_as_long_as_it_may_save(
    heard_s_ago: float, gone_in_s: float | None, waited_for: bool, tmp_path: Path
) -> None:
    """Its deadline and a margin, or without one a long silence. Otherwise the successor begins too early and loses the
    last save, or too late and loses an hour."""
    now, store = time.time(), memory()
    await claimed(store, 1, at=now - 1000)
    status = records.Status(
        OTHER.instance_id, "draining", now - heard_s_ago, None if gone_in_s is None else now + gone_in_s
    )
    await store.put(keys.status(RUN, 1), records.encode(status))

    assert waited_for is await waits(made(tmp_path, store=store, number=2, wall=now))


async def test_attempt_that_went_before_it_began_does_not_speak_for_those_before_it(tmp_path: Path) -> None:
    """The second attempt had to go while it waited for the first: the third waits for the first, too. Otherwise it
    begins while the first is still running (P1)."""
    store = memory()
    await claimed(store, 1)
    await claimed(store, 2)
    await handed_over(store, 2)
    mine = made(tmp_path, store=store, number=3)

    assert await waits(mine)
    await handed_over(store, 1)
    assert ev.PredecessorGone() == await mine.await_predecessor()


async def test_attempt_that_began_has_waited_for_those_before_it(tmp_path: Path) -> None:
    """Nobody looks behind an attempt that fixed its base. Otherwise one that died silently is waited for again and
    again."""
    store = memory()
    await claimed(store, 1)
    await claimed(store, 2)
    await based(store, 2)
    await handed_over(store, 2)

    assert ev.PredecessorGone() == await made(tmp_path, store=store, number=3).await_predecessor()


async def test_successor_of_one_that_ended_the_run_after_all_goes_away(tmp_path: Path) -> None:
    """The command ended by itself while its successor was on its way. Otherwise it is run again after its end."""
    store = memory()
    await claimed(store, 1)
    mine = made(tmp_path, store=store, number=2)

    assert await waits(mine)
    await ended(store)
    assert ev.TurnedAway() == await mine.await_predecessor()


async def test_errors_in_a_row_are_counted_across_attempts(tmp_path: Path) -> None:
    """Two retries, two failures before: the third is the last. Otherwise each attempt begins to count anew, and a
    broken command is tried for ever."""
    store = memory()
    await claimed(store, 1)
    await handed_over(store, 1, errors=2)
    mine = made(tmp_path, store=store, number=2, command=["false"], limits={"error_retries": 2})
    await mine.await_predecessor()
    await mine.spawn()

    assert ev.GaveUp() == await mine.ended()
    assert 3 == mine.errors
    await mine.close()


# --- restore


async def test_directory_is_that_of_the_newest_snapshot(tmp_path: Path) -> None:
    """The newest of any attempt before. Otherwise work is lost that was saved."""
    store = memory()
    await snapshot(store, tmp_path / "a", SnapshotId(0, 0), state="old")
    await snapshot(store, tmp_path / "a", SnapshotId(1, 3), state="new")

    assert ev.Restored() == await made(tmp_path, store=store, number=2).restore()
    assert "new" == (tmp_path / "job" / "state").read_text()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize(
    ("name", "user", "owner"),
    [
        pytest.param(SnapshotId(0, 0), "nobody", pwd.getpwnam("nobody").pw_uid, id="a person's computer"),
        pytest.param(SnapshotId(1, 0), "nobody", 1234, id="a machine of the run"),
        pytest.param(SnapshotId(0, 0), None, 1234, id="no user is named"),
    ],
)
async def test_first_snapshot_becomes_the_run_s_user_s(
    name: SnapshotId, user: str | None, owner: int, tmp_path: Path
) -> None:
    """The numbers of a person's computer mean nothing on a machine, those of the run's machines do. Otherwise the
    command may not write its own checkpoint, or a second user's files are the first one's after an interruption."""
    store = memory()
    there = tmp_path / "laptop"
    there.mkdir()
    (there / "state").touch()
    for path in (there, there / "state"):
        os.chown(path, 1234, 1234)
    await snapshot(store, there, name)
    run = {"name": RUN, "command": ["true"], "directory": str(tmp_path / "job")} | ({"user": user} if user else {})

    assert ev.Restored() == await made(tmp_path, store=store, number=name.attempt + 1, run=run).restore()
    assert [owner] * 2 == [path.stat().st_uid for path in (tmp_path / "job", tmp_path / "job" / "state")]


async def test_what_an_attempt_began_from_stays(tmp_path: Path) -> None:
    """A snapshot that a fenced attempt commits late is never restored from, not by the attempt after the next either.
    Otherwise work that was done twice comes back as the older one (P1)."""
    store = memory()
    await snapshot(store, tmp_path / "a", SnapshotId(1, 0), state="counted")
    await made(tmp_path, store=store, number=2).restore()
    await snapshot(store, tmp_path / "a", SnapshotId(1, 1), state="too late")

    await made(tmp_path, store=store, number=3).restore()

    assert "counted" == (tmp_path / "job" / "state").read_text()


async def test_agent_that_was_restarted_goes_on_with_the_directory_on_its_disk(tmp_path: Path) -> None:
    """It is newer than any snapshot, and its next save numbers on and sends what is new alone. Otherwise each death of
    an agent costs the work since the last save, and a restore."""
    store = memory()
    await snapshot(store, tmp_path / "source", SnapshotId(0, 0), large="x" * 100_000)
    await made(tmp_path, store=store).restore()
    (tmp_path / "job" / "work").write_text("newer")
    restarted = made(tmp_path, store=store)

    assert ev.Restored() == await restarted.restore()
    assert "newer" == (tmp_path / "job" / "work").read_text()
    first = await restarted.saver.save()
    again = made(tmp_path, store=store)
    await again.restore()
    second = await again.saver.save()
    assert [SnapshotId(1, 0), SnapshotId(1, 1)] == [first.snapshot, second.snapshot]
    assert 0 == second.new_bytes


@pytest.mark.parametrize("doubt", ["reboot", "other attempt", "other instance", "other directory", "half restored"])
async def test_directory_of_doubtful_origin_is_restored(
    doubt: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an agent did not leave behind in this boot of this instance is not the attempt's. Otherwise a crash of the
    machine, or a restore that died half-way, becomes the state of the run."""
    store = memory()
    await snapshot(store, tmp_path / "source", SnapshotId(0, 0), state="whole")
    await made(tmp_path, store=store).restore()
    (tmp_path / "job" / "state").write_text("damaged")
    if doubt == "reboot":
        monkeypatch.setattr(marker, "BOOT_ID", tmp_path / "boot_id")
        (tmp_path / "boot_id").write_text("another")
    if doubt == "other directory":
        shutil.copytree(tmp_path / "job", tmp_path / "copy")
        shutil.rmtree(tmp_path / "job")
        (tmp_path / "copy").rename(tmp_path / "job")
    if doubt == "half restored":
        with monkeypatch.context() as patch:
            patch.setattr(marker.Marker, "holds", lambda _: False)
            patch.setattr(Snapshots, "restore", failing_restore)
            await made(tmp_path, store=store).restore()
    identity = OTHER if doubt == "other instance" else ME
    await made(tmp_path, store=store, identity=identity, number=2 if doubt == "other attempt" else 1).restore()

    assert "whole" == (tmp_path / "job" / "state").read_text()


async def failing_restore(*_: Any, **__: Any) -> None:
    raise PackCorrupt("a pack")


async def test_store_that_is_away_during_the_restore_is_waited_for(tmp_path: Path) -> None:
    """It says nothing against the snapshot, and is not the run's error. Otherwise an outage of a minute ends the run as
    failed."""
    store, tries = memory(), 2
    await snapshot(store, tmp_path / "a", SnapshotId(0, 0), state="here")

    def away(method: str, key: str) -> bool:
        nonlocal tries
        tries -= method == "get" and "packs" in key
        return method == "get" and "packs" in key and tries >= 0

    mine = made(tmp_path, store=failing(store, StoreUnavailable("away"), when=away), number=1)

    assert ev.Restored() == await mine.restore()
    assert "here" == (tmp_path / "job" / "state").read_text()


async def test_store_that_stays_away_is_no_error_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then another instance tries, and the errors are counted as before. Otherwise the bucket's trouble uses up the
    run's retries."""
    monkeypatch.setattr(attempts, "PATIENCE_S", 0.1)
    store = memory()
    await snapshot(store, tmp_path / "a", SnapshotId(0, 0), state="here")
    away = failing(store, StoreUnavailable("away"), when=lambda _, key: "packs" in key)
    mine = made(tmp_path, store=away)

    assert ev.Failed() == await mine.restore()
    assert 0 == mine.errors


async def test_damaged_snapshot_is_an_error_and_starts_nothing(tmp_path: Path) -> None:
    """One byte is not as it was (P2). Otherwise the command goes on from garbage."""
    store = memory()
    await snapshot(store, tmp_path / "a", SnapshotId(0, 0), state="here")
    (pack,) = await store.list(keys.packs(RUN))
    await store.put(pack, b"herd")
    mine = made(tmp_path, store=store)

    assert ev.GaveUp() == await mine.restore()
    assert "pack" in mine.message


# --- the command


@pytest.mark.parametrize(
    ("command", "expected"),
    [(["true"], ev.Succeeded()), (["sh", "-c", "exit 3"], ev.GaveUp()), (["sh", "-c", "kill -9 $$"], ev.GaveUp())],
)
async def test_end_without_a_signal_of_ours_is_what_it_says(
    command: list[str], expected: ev.Event, tmp_path: Path
) -> None:
    """0 is success, everything else an error. Otherwise a crash is taken for an interruption and repeated for ever."""
    mine = made(tmp_path, command=command)
    await mine.spawn()

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
    await mine.spawn()
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
        await mine.spawn()
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
    await mine.spawn()
    await mine.ended()

    assert f"{expected}\n" == (tmp_path / "job/said").read_text()
    await mine.close()


async def test_command_finds_how_long_it_has(tmp_path: Path) -> None:
    """In a file outside of its directory, which is not there before. Otherwise it cannot choose a checkpoint that it
    has the time for, or takes the last machine's word for this one's."""
    (tmp_path / f"{RUN}-1.notice").write_text("of an agent before this one")
    wait = 'until [ -s "$SPOTRELAY_NOTICE" ]; do echo "waits $$"; sleep 0.02; done; cat "$SPOTRELAY_NOTICE" > notice'
    mine = made(tmp_path, command=["sh", "-c", wait], wall=1000.0)
    await mine.spawn()
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
    await mine.spawn()
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
    await mine.spawn()

    assert ev.GaveUp() == await mine.ended()
    await mine.record(Result.FAILED)
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
    await mine.spawn()
    if signalled:
        await said(tmp_path / f"{RUN}-1.log", "ready")
        await mine.command.signal()
        if not kills:
            await eventually(counted_one)
            await mine.command.kill()
    async with asyncio.timeout(WITHIN_S):
        await mine.ended()
    await mine.hand_over(errored=not signalled, notice=None)
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
    await mine.restore()
    await mine.spawn()
    await mine.ended()

    assert f"{RUN} 2 1-4 1 x\n" == (tmp_path / "job" / "said").read_text()
    await mine.close()


async def test_closed_attempt_leaves_no_process(tmp_path: Path) -> None:
    """Nothing runs and nothing is sent after `close`. Otherwise the command outlives its owner."""
    mine = made(tmp_path, command=["sleep", "3600"])
    await mine.spawn()
    assert mine.command.child is not None

    await mine.close()

    assert [] == mine.command.child.processes()


# --- the way out


async def test_request_is_posted_until_the_queue_has_it(tmp_path: Path) -> None:
    """For the next attempt, by its number. Otherwise nobody comes."""
    queue = Doorbell()

    await made(tmp_path, queue=queue, number=4).post_resume()

    assert [(RUN, 5)] == [(post.run, post.attempt) for post in queue.posts]


async def test_hand_over_says_how_it_ended_and_what_it_leaves(tmp_path: Path) -> None:
    """The truth, and the newest snapshot (P8). Otherwise nobody can tell what an interruption cost."""
    store = memory()
    mine = made(tmp_path, store=store)
    await mine.save()
    mine.command.end = Exited(0)
    await mine.hand_over(errored=False, notice="spot terminate")

    handover = await History(store, RUN).handover(1)

    assert handover is not None
    assert ("interrupted", "exit code 0", "1-0") == (handover.reason, handover.ended, handover.snapshot)
    assert ME.instance_id == handover.instance


async def test_what_an_interruption_sent_is_what_everybody_says(tmp_path: Path) -> None:
    """A save that was under way at the notice brought the checkpoint, the last one found nothing: hand-over and status
    say what both sent, and the next attempt plans for it. Otherwise an interruption that moved a checkpoint saved
    "0 bytes", and its successor gives the next one no seconds (P8)."""
    store = memory()
    await snapshot(store, tmp_path / "laptop", SnapshotId(0, 0), code="print()")
    mine = made(tmp_path, store=store)
    await mine.claim()
    await mine.restore()
    mine.saver.hurry()
    (tmp_path / "job" / "weights").write_bytes(os.urandom(3000))
    await mine.saver.save()
    await mine.save()
    status = mine.status("handing-over")
    await mine.hand_over(errored=False, notice="spot terminate")
    handover, successor = await History(store, RUN).handover(1), made(tmp_path, store=store, number=2)
    await successor.restore()

    assert handover is not None
    assert SnapshotId(1, 1) == mine.newest
    assert [3000] * 3 == [handover.saved_bytes, status.last_save_bytes, successor.saver.forecast().dirty]


async def test_hand_over_of_an_agent_that_was_restarted_stands(tmp_path: Path) -> None:
    """What is written stays, and is no error. Otherwise a restart at the very end never ends."""
    store = memory()
    await handed_over(store, 1)

    assert ev.HandedOver() == await made(tmp_path, store=store).hand_over(errored=False, notice=None)


async def test_save_that_fails_leaves_the_snapshot_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SaveMissed, and the hand-over names what stands (P4). Otherwise the successor looks for what is not there."""
    store, bad = memory(), False
    mine = made(tmp_path, store=failing(store, OSError("disk"), when=lambda method, _: bad and method == "create"))
    monkeypatch.setattr(attempts, "PATIENCE_S", 0.1)

    assert ev.Saved(SnapshotId(1, 0)) == await mine.save()
    bad = True
    assert ev.SaveMissed() == await mine.save()
    assert SnapshotId(1, 0) == mine.newest


async def test_outcome_names_the_snapshot_that_stands_though_it_never_restored_it(tmp_path: Path) -> None:
    """A run that is stopped while an attempt waits has snapshots of those before. Otherwise a person is told that
    nothing was kept."""
    store = memory()
    await snapshot(store, tmp_path / "a", SnapshotId(1, 2), state="kept")

    assert ev.Recorded() == await made(tmp_path, store=store, number=2).record(Result.STOPPED)
    outcome = await History(store, RUN).outcome()

    assert outcome is not None
    assert ("stopped", "1-2") == (outcome.result, outcome.snapshot)


async def test_outcome_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RecordMissed: somebody has to come after. Otherwise a finished run has no end, and nobody looks."""
    monkeypatch.setattr(attempts, "PATIENCE_S", 0.1)
    store = failing(memory(), StoreUnavailable("away"), when=lambda method, _: method == "create")

    assert ev.RecordMissed() == await made(tmp_path, store=store).record(Result.SUCCEEDED)


async def test_artifacts_that_cannot_be_published_end_nothing(tmp_path: Path) -> None:
    """The snapshot has it all. Otherwise a finished run stays at its last step."""
    store = failing(memory(), StoreUnavailable("away"), when=lambda _, key: "artifacts" in key)
    mine = made(tmp_path, store=store)
    (tmp_path / "job" / "result").write_text("42")

    assert ev.Published() == await mine.publish()


async def test_output_of_the_command_is_shipped_to_its_last_line(tmp_path: Path) -> None:
    """What it said last is what a person wants to read first. Otherwise the traceback is missing."""
    store = memory()
    mine = made(tmp_path, store=store, command=["sh", "-c", "echo begin; echo end"])
    await mine.spawn()
    await mine.ended()
    await mine.publish()

    segments = [await store.get(key) for key in await store.list(keys.log(RUN, 1))]

    assert b"begin\nend\n" == b"".join(segments)
    await mine.close()


async def test_hours_count_from_the_first_claim(tmp_path: Path) -> None:
    """Of the run, not of the attempt. Otherwise a run that is interrupted often enough has no limit."""
    store, now = memory(), time.time()
    await claimed(store, 1, at=now - 7200)
    mine = made(tmp_path, store=store, number=2, wall=now, limits={"hours": 1})
    await mine.claim()
    assert "limits.hours = 1 is reached" == mine.out_of_hours()

    young = made(tmp_path, store=store, number=3, wall=now, limits={"hours": 3})
    await young.claim()
    assert young.out_of_hours() is None


async def test_work_that_a_snapshot_keeps_is_counted(tmp_path: Path) -> None:
    """From the command's start to the newest save's, in heartbeat and hand-over. Otherwise nobody knows what is left to
    do, and a deadline is missed or an on-demand instance paid for nothing."""
    store = memory()
    mine = made(tmp_path, store=store, command=["sleep", "0.3"])
    assert 0 == mine.status("starting").kept_s
    await mine.spawn()
    await mine.saver.save()
    early = mine.status("running").kept_s
    await mine.ended()
    await mine.save()
    late = mine.status("saving").kept_s
    await mine.hand_over(errored=False, notice=None)
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
    await mine.spawn()
    mine.saver.start(60)
    at_work = mine.status("running")
    await mine.ended()
    await mine.hand_over(errored=False, notice="spot terminate", noticed_at=time.monotonic() - 5)
    handover, ended = await History(store, RUN).handover(1), mine.status("staying")

    assert handover is not None
    assert began - 0.1 <= (at_work.running_since or 0) <= time.time()
    assert 25 < (at_work.next_save_at or 0) - began < 35
    assert "epoch 3" == ended.line
    assert 0.3 <= (handover.worked_s or 0) < 5
    assert abs((handover.noticed_at or 0) - (time.time() - 5)) < 1
    await mine.close()


async def test_outcome_of_a_limit_also_says_how_the_command_took_it(tmp_path: Path) -> None:
    """The limit first: that is what ended the run. Otherwise a checkpoint that failed hides why there was one, or the
    limit hides that it failed."""
    store = memory()
    mine = made(tmp_path, store=store)
    mine.stopped, mine.message = ev.Stopped("limit", "limits.hours = 2 is reached"), "the last save failed: full"
    await mine.record(Result.STOPPED)
    outcome = await History(store, RUN).outcome()

    assert outcome is not None
    assert ("limit", "limits.hours = 2 is reached; the last save failed: full") == (outcome.result, outcome.message)
