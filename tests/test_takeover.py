"""The way in, with a real store and real snapshots."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from spotrelay import marker, takeover
from spotrelay.attempt import Attempt
from spotrelay.core import events as ev
from spotrelay.core import keys, records
from spotrelay.core.errors import PackCorrupt, StoreUnavailable
from spotrelay.core.keys import SnapshotId
from spotrelay.snapshot import Snapshots
from spotrelay.takeover import Takeover
from support.attempts import ME, OTHER, RUN, based, claimed, ended, handed_over, made, snapshot
from support.stores import failing, memory

# --- claim


async def test_first_instance_to_claim_owns_the_attempt(tmp_path: Path) -> None:
    """Of two, one (P1). Otherwise both run the command."""
    store = memory()
    me = made(tmp_path, store=store)
    other = made(tmp_path, store=store, identity=OTHER)

    assert ev.Claimed() == await Takeover(me).claim()
    assert ev.TurnedAway() == await Takeover(other).claim()


async def test_agent_that_was_restarted_finds_its_own_claim(tmp_path: Path) -> None:
    """The instance owns, not the process. Otherwise an agent that systemd starts again turns itself away."""
    store = memory()
    await Takeover(made(tmp_path, store=store)).claim()

    assert ev.Claimed() == await Takeover(made(tmp_path, store=store)).claim()


async def test_agent_that_was_restarted_after_its_hand_over_does_not_begin_again(tmp_path: Path) -> None:
    """Its successor is on its way, and waits for nobody any more. The command would run on two machines."""
    store = memory()
    await Takeover(made(tmp_path, store=store)).claim()
    await handed_over(store, 1)

    assert ev.TurnedAway() == await Takeover(made(tmp_path, store=store)).claim()


async def test_attempt_of_a_run_that_is_over_is_refused(tmp_path: Path) -> None:
    """An outcome is the end. Otherwise a late message runs a finished command again."""
    store = memory()
    await ended(store)

    assert ev.TurnedAway() == await Takeover(made(tmp_path, store=store)).claim()


async def test_attempt_that_was_overtaken_is_refused(tmp_path: Path) -> None:
    """Somebody is further already. Otherwise an old instance that boots late is a second owner."""
    store = memory()
    await claimed(store, 2)

    assert ev.TurnedAway() == await Takeover(made(tmp_path, store=store)).claim()


async def test_claim_is_tried_again_while_the_store_is_away(tmp_path: Path) -> None:
    """An outage at boot is waited for. Otherwise each hiccup of S3 costs a boot."""
    tries = 2

    def away(_method: str, _key: str) -> bool:
        nonlocal tries
        tries -= 1
        return tries >= 0

    assert (
        ev.Claimed()
        == await Takeover(made(tmp_path, store=failing(memory(), StoreUnavailable("away"), when=away))).claim()
    )


# --- the predecessor


async def waits(mine: Attempt) -> bool:
    """Whether it is still waiting after two looks."""
    takeover, looks = Takeover(mine), 0
    look = takeover._predecessors.done

    async def counted() -> bool:
        nonlocal looks
        looks += 1
        return await look()

    takeover._predecessors.done = counted  # type: ignore[method-assign]
    waiting = asyncio.create_task(takeover.await_predecessor())
    while not waiting.done() and looks < 3:
        await asyncio.sleep(0)
    still = not waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    return still


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takeover, "LOOK_S", 0.01)


async def test_successor_waits_for_the_hand_over(tmp_path: Path) -> None:
    """What the predecessor still saves is worth the wait. Otherwise its last save is lost."""
    store = memory()
    await claimed(store, 1)
    mine = made(tmp_path, store=store, number=2)

    assert await waits(mine)
    await handed_over(store, 1)
    assert ev.PredecessorGone() == await Takeover(mine).await_predecessor()


async def test_predecessor_that_ec2_says_is_dead_is_not_waited_for(tmp_path: Path) -> None:
    """The launcher saw it dead, perhaps while we wait. Otherwise each sudden death costs three minutes of silence."""
    store = memory()
    await claimed(store, 1)
    mine = made(tmp_path, store=store, number=2)

    assert await waits(mine)
    await store.create(keys.death(RUN, 1), records.encode(records.Death("i-00000000000000001", 1.0)))
    assert ev.PredecessorGone() == await Takeover(mine).await_predecessor()


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
    assert ev.PredecessorGone() == await Takeover(mine).await_predecessor()


async def test_attempt_that_began_has_waited_for_those_before_it(tmp_path: Path) -> None:
    """Nobody looks behind an attempt that fixed its base. Otherwise one that died silently is waited for again and
    again."""
    store = memory()
    await claimed(store, 1)
    await claimed(store, 2)
    await based(store, 2)
    await handed_over(store, 2)

    assert ev.PredecessorGone() == await Takeover(made(tmp_path, store=store, number=3)).await_predecessor()


async def test_successor_of_one_that_ended_the_run_after_all_goes_away(tmp_path: Path) -> None:
    """The command ended by itself while its successor was on its way. Otherwise it is run again after its end."""
    store = memory()
    await claimed(store, 1)
    mine = made(tmp_path, store=store, number=2)

    assert await waits(mine)
    await ended(store)
    assert ev.TurnedAway() == await Takeover(mine).await_predecessor()


async def test_errors_in_a_row_are_counted_across_attempts(tmp_path: Path) -> None:
    """Two retries, two failures before: the third is the last. Otherwise each attempt begins to count anew, and a
    broken command is tried for ever."""
    store = memory()
    await claimed(store, 1)
    await handed_over(store, 1, errors=2)
    mine = made(tmp_path, store=store, number=2, command=["false"], limits={"error_retries": 2})
    await Takeover(mine).await_predecessor()
    await Takeover(mine).spawn()

    assert ev.GaveUp() == await mine.ended()
    assert 3 == mine.errors
    await mine.close()


# --- restore


async def test_directory_is_that_of_the_newest_snapshot(tmp_path: Path) -> None:
    """The newest of any attempt before. Otherwise work is lost that was saved."""
    store = memory()
    await snapshot(store, tmp_path / "a", SnapshotId(0, 0), state="old")
    await snapshot(store, tmp_path / "a", SnapshotId(1, 3), state="new")

    assert ev.Restored() == await Takeover(made(tmp_path, store=store, number=2)).restore()
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

    assert ev.Restored() == await Takeover(made(tmp_path, store=store, number=name.attempt + 1, run=run)).restore()
    assert [owner] * 2 == [path.stat().st_uid for path in (tmp_path / "job", tmp_path / "job" / "state")]


async def test_what_an_attempt_began_from_stays(tmp_path: Path) -> None:
    """A snapshot that a fenced attempt commits late is never restored from, not by the attempt after the next either.
    Otherwise work that was done twice comes back as the older one (P1)."""
    store = memory()
    await snapshot(store, tmp_path / "a", SnapshotId(1, 0), state="counted")
    await Takeover(made(tmp_path, store=store, number=2)).restore()
    await snapshot(store, tmp_path / "a", SnapshotId(1, 1), state="too late")

    await Takeover(made(tmp_path, store=store, number=3)).restore()

    assert "counted" == (tmp_path / "job" / "state").read_text()


async def test_agent_that_was_restarted_goes_on_with_the_directory_on_its_disk(tmp_path: Path) -> None:
    """It is newer than any snapshot, and its next save numbers on and sends what is new alone. Otherwise each death of
    an agent costs the work since the last save, and a restore."""
    store = memory()
    await snapshot(store, tmp_path / "source", SnapshotId(0, 0), large="x" * 100_000)
    await Takeover(made(tmp_path, store=store)).restore()
    (tmp_path / "job" / "work").write_text("newer")
    restarted = made(tmp_path, store=store)

    assert ev.Restored() == await Takeover(restarted).restore()
    assert "newer" == (tmp_path / "job" / "work").read_text()
    first = await restarted.saver.save()
    again = made(tmp_path, store=store)
    await Takeover(again).restore()
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
    await Takeover(made(tmp_path, store=store)).restore()
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
            await Takeover(made(tmp_path, store=store)).restore()
    identity = OTHER if doubt == "other instance" else ME
    await Takeover(
        made(tmp_path, store=store, identity=identity, number=2 if doubt == "other attempt" else 1)
    ).restore()

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

    assert ev.Restored() == await Takeover(mine).restore()
    assert "here" == (tmp_path / "job" / "state").read_text()


async def test_store_that_stays_away_is_no_error_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then another instance tries, and the errors are counted as before. Otherwise the bucket's trouble uses up the
    run's retries."""
    monkeypatch.setattr(takeover, "PATIENCE_S", 0.1)
    store = memory()
    await snapshot(store, tmp_path / "a", SnapshotId(0, 0), state="here")
    away = failing(store, StoreUnavailable("away"), when=lambda _, key: "packs" in key)
    mine = made(tmp_path, store=away)

    assert ev.Failed() == await Takeover(mine).restore()
    assert 0 == mine.errors


async def test_damaged_snapshot_is_an_error_and_starts_nothing(tmp_path: Path) -> None:
    """One byte is not as it was (P2). Otherwise the command goes on from garbage."""
    store = memory()
    await snapshot(store, tmp_path / "a", SnapshotId(0, 0), state="here")
    (pack,) = await store.list(keys.packs(RUN))
    await store.put(pack, b"herd")
    mine = made(tmp_path, store=store)

    assert ev.GaveUp() == await Takeover(mine).restore()
    assert "pack" in mine.message
