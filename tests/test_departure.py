"""The way out, with a real store, real snapshots and real commands."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from spotrelay import departure
from spotrelay.command import output
from spotrelay.core import events as ev
from spotrelay.core import keys
from spotrelay.core.ends import Exited
from spotrelay.core.errors import StoreUnavailable
from spotrelay.core.keys import SnapshotId
from spotrelay.core.lifecycle import Result
from spotrelay.departure import Departure
from spotrelay.history import History
from spotrelay.takeover import Takeover
from support.attempts import ME, RUN, Doorbell, handed_over, made, snapshot
from support.stores import failing, memory


@pytest.fixture(autouse=True)
def _output_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was shipped is not given back to the disk: tests read it there."""
    monkeypatch.setattr(output, "_release", lambda *_: None)


async def test_request_is_posted_until_the_queue_has_it(tmp_path: Path) -> None:
    """For the next attempt, by its number. Otherwise nobody comes."""
    queue = Doorbell()

    await Departure(made(tmp_path, queue=queue, number=4)).post_resume()

    assert [(RUN, 5)] == [(post.run, post.attempt) for post in queue.posts]


async def test_hand_over_says_how_it_ended_and_what_it_leaves(tmp_path: Path) -> None:
    """The truth, and the newest snapshot (P8). Otherwise nobody can tell what an interruption cost."""
    store = memory()
    mine = made(tmp_path, store=store)
    await Departure(mine).save()
    mine.command.end = Exited(0)
    await Departure(mine).hand_over(errored=False, notice="spot terminate")

    handover = await History(store, RUN).handover(1)

    assert handover is not None
    assert ("interrupted", "exit code 0", "1-0") == (handover.reason, handover.ended, handover.snapshot)
    assert ME.instance_id == handover.instance


@pytest.mark.parametrize("restarted", [False, True])
async def test_hand_over_before_the_command_started_says_so(tmp_path: Path, restarted: bool) -> None:
    """It worked for no second; of an earlier agent on this instance nobody knows. Otherwise an attempt that only
    restored has lost nobody knows what, or one that worked nothing (P8)."""
    store = memory()
    await Takeover(made(tmp_path, store=store)).claim()
    mine = made(tmp_path, store=store) if restarted else made(tmp_path, store=store, number=2)
    await Takeover(mine).claim()
    await Departure(mine).hand_over(errored=False, notice="spot terminate")

    handover = await History(store, RUN).handover(mine.number)

    assert handover is not None
    assert (None if restarted else 0.0) == handover.worked_s


async def test_what_an_interruption_sent_is_what_everybody_says(tmp_path: Path) -> None:
    """A save that was under way at the notice brought the checkpoint, the last one found nothing: hand-over and status
    say what both sent, and the next attempt plans for it. Otherwise an interruption that moved a checkpoint saved
    "0 bytes", and its successor gives the next one no seconds (P8)."""
    store = memory()
    await snapshot(store, tmp_path / "laptop", SnapshotId(0, 0), code="print()")
    mine = made(tmp_path, store=store)
    await Takeover(mine).claim()
    await Takeover(mine).restore()
    mine.saver.hurry()
    (tmp_path / "job" / "weights").write_bytes(os.urandom(3000))
    await mine.saver.save()
    await Departure(mine).save()
    status = mine.status("handing-over")
    await Departure(mine).hand_over(errored=False, notice="spot terminate")
    handover, successor = await History(store, RUN).handover(1), made(tmp_path, store=store, number=2)
    await Takeover(successor).restore()

    assert handover is not None
    assert SnapshotId(1, 1) == mine.newest
    assert [3000] * 3 == [handover.saved_bytes, status.last_save_bytes, successor.saver.forecast().dirty]


async def test_hand_over_of_an_agent_that_was_restarted_stands(tmp_path: Path) -> None:
    """What is written stays, and is no error. Otherwise a restart at the very end never ends."""
    store = memory()
    await handed_over(store, 1)

    assert ev.HandedOver() == await Departure(made(tmp_path, store=store)).hand_over(errored=False, notice=None)


async def test_save_that_fails_leaves_the_snapshot_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SaveMissed, and the hand-over names what stands (P4). Otherwise the successor looks for what is not there."""
    store, bad = memory(), False
    mine = made(tmp_path, store=failing(store, OSError("disk"), when=lambda method, _: bad and method == "create"))
    monkeypatch.setattr(departure, "PATIENCE_S", 0.1)

    assert ev.Saved(SnapshotId(1, 0)) == await Departure(mine).save()
    bad = True
    assert ev.SaveMissed() == await Departure(mine).save()
    assert SnapshotId(1, 0) == mine.newest


async def test_outcome_names_the_snapshot_that_stands_though_it_never_restored_it(tmp_path: Path) -> None:
    """A run that is stopped while an attempt waits has snapshots of those before. Otherwise a person is told that
    nothing was kept."""
    store = memory()
    await snapshot(store, tmp_path / "a", SnapshotId(1, 2), state="kept")

    assert ev.Recorded() == await Departure(made(tmp_path, store=store, number=2)).record(Result.STOPPED)
    outcome = await History(store, RUN).outcome()

    assert outcome is not None
    assert ("stopped", "1-2") == (outcome.result, outcome.snapshot)


async def test_outcome_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RecordMissed: somebody has to come after. Otherwise a finished run has no end, and nobody looks."""
    monkeypatch.setattr(departure, "PATIENCE_S", 0.1)
    store = failing(memory(), StoreUnavailable("away"), when=lambda method, _: method == "create")

    assert ev.RecordMissed() == await Departure(made(tmp_path, store=store)).record(Result.SUCCEEDED)


async def test_artifacts_that_cannot_be_published_end_nothing(tmp_path: Path) -> None:
    """The snapshot has it all. Otherwise a finished run stays at its last step."""
    store = failing(memory(), StoreUnavailable("away"), when=lambda _, key: "artifacts" in key)
    mine = made(tmp_path, store=store)
    (tmp_path / "job" / "result").write_text("42")

    assert ev.Published() == await Departure(mine).publish()


async def test_output_of_the_command_is_shipped_to_its_last_line(tmp_path: Path) -> None:
    """What it said last is what a person wants to read first. Otherwise the traceback is missing."""
    store = memory()
    mine = made(tmp_path, store=store, command=["sh", "-c", "echo begin; echo end"])
    await Takeover(mine).spawn()
    await mine.ended()
    await Departure(mine).publish()

    segments = [await store.get(key) for key in await store.list(keys.log(RUN, 1))]

    assert b"begin\nend\n" == b"".join(segments)
    await mine.close()


async def test_outcome_of_a_limit_also_says_how_the_command_took_it(tmp_path: Path) -> None:
    """The limit first: that is what ended the run. Otherwise a checkpoint that failed hides why there was one, or the
    limit hides that it failed."""
    store = memory()
    mine = made(tmp_path, store=store)
    mine.stopped, mine.message = ev.Stopped("limit", "limits.hours = 2 is reached"), "the last save failed: full"
    await Departure(mine).record(Result.STOPPED)
    outcome = await History(store, RUN).outcome()

    assert outcome is not None
    assert ("limit", "limits.hours = 2 is reached; the last save failed: full") == (outcome.result, outcome.message)
