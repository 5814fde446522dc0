"""Saves between notices and the last one: none hurts the command, and the last one keeps its time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog

from spotrelay import saving
from spotrelay.core import keys
from spotrelay.core.errors import StoreUnavailable
from spotrelay.core.keys import SnapshotId
from spotrelay.experience import Experience
from spotrelay.line import Line
from spotrelay.ports import Store
from spotrelay.saving import SEEN, TRIFLE, Saver
from spotrelay.snapshot import Saved, Snapshots, housekeeping
from spotrelay.snapshot.housekeeping import KEEP, Housekeeping
from spotrelay.snapshot.still import WAITS
from support.imds import eventually
from support.stores import RUN, Recording, failing, memory
from support.story import until

MIB = 1 << 20


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "weights").write_text("1")
    return tmp_path / "job"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def saver(store: Store, directory: Path, told: Callable[[Saved], None] = lambda _: None) -> Saver:
    return Saver(Snapshots(store, RUN, directory), 1, told=told)


async def committed(store: Store) -> list[SnapshotId]:
    return await Snapshots(store, RUN, Path("/nowhere")).list()


async def test_each_save_has_the_next_number(directory: Path) -> None:
    """1-0, 1-1, … in their order. Otherwise the newest snapshot is not the highest."""
    store, told = memory(), list[Saved]()
    saves = saver(store, directory, told.append)

    await saves.save()
    await saves.save()

    assert [SnapshotId(1, 0), SnapshotId(1, 1)] == await committed(store) == [saved.snapshot for saved in told]


async def test_agent_that_was_restarted_goes_on_counting(directory: Path) -> None:
    """Numbers that this attempt has used are passed over. Otherwise its saves fail for good after a restart."""
    store = memory()
    await saver(store, directory).save()

    saved = await saver(store, directory).save()

    assert SnapshotId(1, 1) == saved.snapshot


async def test_early_save_comes_at_once(directory: Path) -> None:
    """A rebalance recommendation does not wait for the next hour. Otherwise the warning is worth nothing."""
    store, told = memory(), list[Saved]()
    saves = saver(store, directory, told.append)
    saves.start(3600)

    saves.early()
    await eventually(lambda: len(told) == 1, "the early save")
    await saves.stop()

    assert [SnapshotId(1, 0)] == await committed(store)


@pytest.mark.parametrize("error", [StoreUnavailable("away"), OSError("disk"), RuntimeError("a bug")])
async def test_background_saves_go_on_after_one_that_failed(error: Exception, directory: Path) -> None:
    """Whatever it was, the next one is made. Otherwise one bad minute means no save until the end, and nobody knows."""
    told, bad = list[Saved](), 2

    def refuses(method: str, _key: str) -> bool:
        nonlocal bad
        bad -= method == "create"
        return method == "create" and bad >= 0

    saves = saver(failing(memory(), error, when=refuses), directory, told.append)
    saves.start(0.01)
    await eventually(lambda: bool(told), "a save that succeeds")
    await saves.stop()

    assert SnapshotId(1, 0) == told[0].snapshot


async def test_last_save_is_cancelled_at_its_limit_also_while_it_waits_for_the_one_before(directory: Path) -> None:
    """A background save that is slow to end must not swallow the cancellation. Otherwise the last save goes on after
    its deadline, and the hand-over never comes (P4)."""
    store = Recording(memory())
    hangs, done = asyncio.Event(), asyncio.Event()

    async def stubborn(method: str, _key: str) -> None:
        if method == "create" and not hangs.is_set():
            hangs.set()
            try:
                await asyncio.sleep(3600)
            finally:
                await done.wait()  # takes its time to end

    store.before = stubborn
    saves = saver(store, directory)
    saves.start(0.01)
    await hangs.wait()

    async def last() -> None:
        await saves.stop()
        await saves.save()

    task = asyncio.create_task(last())
    await asyncio.sleep(0)  # it has begun to wait
    task.cancel()
    done.set()
    await asyncio.gather(task, return_exceptions=True)
    await saves.stop()

    assert task.cancelled()
    assert [] == await committed(store.store)


async def test_after_stop_nothing_is_sent(directory: Path) -> None:
    """Stopped means silent. Otherwise the last save races with the one before it for the same directory."""
    store = Recording(memory())
    saves = saver(store, directory)
    saves.start(0.001)
    await eventually(lambda: len(store.calls) > 3, "some saves")

    await saves.stop()
    calls = len(store.calls)
    await asyncio.sleep(0.05)  # many periods

    assert calls == len(store.calls)


async def test_newest_snapshot_is_never_older_than_the_interval(directory: Path) -> None:
    """A save begins in time to be done in time: half of the interval for waiting, the rest for its tries; a quick one
    begins later. Otherwise "every 300 s" loses 600 s and what the save takes."""
    clock = Clock()
    saves = Saver(Snapshots(memory(), RUN, directory), 1, told=lambda _: None, clock=clock)
    saves.start(300)
    first = saves.due
    clock.now = 1000.0
    try:
        assert 150 == first
        assert 1000 - 5 + 290 == saves.next_after(began=1000 - 5)
        assert 1000 - 140 + 150 == saves.next_after(began=1000 - 140)
    finally:
        await saves.stop()


async def test_last_save_sends_only_what_the_last_checkpoint_changed(directory: Path) -> None:
    """A notice comes while a save is under way, and what that has read and sent is neither read nor sent again; what
    nobody had sent yet goes while the command still writes. Otherwise the two minutes are spent on old news."""
    store = Recording(memory())
    told = list[Saved]()
    saves = saver(store, directory, told.append)
    await saves.save()
    (directory / "old").write_bytes(os.urandom(3 * MIB))
    (directory / "older").write_bytes(os.urandom(2 * MIB))
    for number in range(50):
        (directory / f"small-{number}").write_bytes(os.urandom(10_000))
    hangs = asyncio.Event()

    async def slow(method: str, key: str) -> None:
        if method == "create" and key == keys.snapshot(RUN, SnapshotId(1, 1)):
            hangs.set()
            await asyncio.sleep(3600)

    store.before = slow
    saves.start(0)
    saves.hurry()
    await hangs.wait()
    store.before = None
    (directory / "new").write_bytes(os.urandom(3 * MIB))  # the command's last checkpoint; and it ends
    (directory / "small-7").write_bytes(b"changed")

    await saves.stop()
    saved = await saves.save()

    assert saved.new_bytes - saved.earlier_bytes <= 1.02 * (3 * MIB + 7)
    assert 8 * MIB <= saved.new_bytes == saves.sent == saves.forecast().dirty, "and it is all that the notice cost"
    assert {"new", "small-7"} <= {path.name for path in directory.iterdir()}
    assert told[-1] is saved


async def test_notice_that_a_snapshot_follows_cost_what_was_sent_for_it_too(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command writes its checkpoint, which is committed while it takes its time to end: the last save finds
    nothing. Otherwise the interruption is said to have saved 0 bytes, and the next attempt plans for none (P8)."""
    monkeypatch.setattr(saving, "FULL_AFTER_S", 0.0)
    told = list[Saved]()
    saves = saver(memory(), directory, told.append)
    (directory / "weights").write_bytes(os.urandom(MIB))
    await saves.save()
    before = saves.sent
    saves.start(3600)
    (directory / "weights").write_bytes(os.urandom(3 * MIB))
    saves.hurry()
    await eventually(lambda: len(told) == 2, "a save beside the command")
    await saves.stop()
    (directory / "last words").write_bytes(os.urandom(7))

    await saves.save()

    assert (MIB, [MIB, 3 * MIB, 7], 3 * MIB + 7) == (before, [saved.new_bytes for saved in told], saves.sent)


async def test_first_save_that_was_cut_off_says_nothing_of_checkpoints(directory: Path) -> None:
    """What was there before the command is no checkpoint, in however many saves it is sent. Otherwise a data set is
    what a notice has to leave seconds for."""
    store = Recording(memory())
    saves = saver(store, directory)
    (directory / "data").write_bytes(os.urandom(2 * MIB))

    async def no_commit(method: str, _key: str) -> None:
        if method == "create":
            raise StoreUnavailable("away")

    store.before = no_commit
    with pytest.raises(StoreUnavailable):
        await saves.save()
    store.before = None
    (directory / "more").write_bytes(os.urandom(MIB))
    await saves.save()

    assert (None, 3 * MIB + 1) == (saves.forecast().dirty, saves.sent)


async def test_notice_hastens_a_save_that_is_under_way(directory: Path) -> None:
    """It was in no hurry, and now it is. Otherwise what is saved gently is not saved when the machine goes."""
    for number in range(8):
        (directory / f"large-{number}").write_bytes(os.urandom(16 * MIB))
    store, told = Recording(memory()), list[Saved]()
    saves = saver(store, directory, told.append)
    saves.start(3600)
    saves.early()
    await eventually(lambda: any(key.startswith(keys.packs(RUN)) for _, key in store.calls), "the first pack")

    saves.hurry()
    await eventually(lambda: bool(told), "the save")
    await saves.stop()

    assert 8 * 16 * MIB < told[0].bytes


@pytest.fixture
def restless(monkeypatch: pytest.MonkeyPatch, directory: Path) -> Callable[[], None]:
    """The directory moves before each look, from now on until the fixture is called."""
    moves, original = True, Snapshots._look

    async def look(self: Snapshots, *arguments: Any, **how: Any) -> Any:
        if moves:
            (directory / "weights").write_bytes(os.urandom(1000))
        return await original(self, *arguments, **how)

    def rest() -> None:
        nonlocal moves
        moves = False

    monkeypatch.setattr(Snapshots, "_look", look)
    return rest


async def test_directory_that_never_rests_is_committed_at_the_third_try_and_says_so(
    restless: Callable[[], None], directory: Path
) -> None:
    """Twice there is hope that a checkpoint is finished next time; then old news is worse than a file that is called
    moving. Once it rests, nothing is. Otherwise a program with a busy file loses hours, or all others their
    certainty."""
    told, store, log = list[Saved](), memory(), list[str]()
    saves = saver(store, directory, told.append)
    with structlog.testing.capture_logs() as lines:
        saves.start(0.2)
        await eventually(lambda: len(told) == 2, "two saves")
        log = [line["event"] for line in lines]
        restless()
        await eventually(lambda: bool(told) and not told[-1].moving, "one of a directory at rest")
        await saves.stop()

    assert ["snapshot.restless"] * 2 + ["snapshot.saved"] * 2 == log[:4], "and from then on at once"
    assert [(Path("weights"),)] * 2 == [saved.moving for saved in told[:2]]


@pytest.mark.parametrize("every_s", [10, 80, 300, 3600])
async def test_tries_are_over_before_the_newest_snapshot_is_too_old(directory: Path, every_s: float) -> None:
    """Three tries from half of the interval on, as long as each may take, the waits for rest, and the pauses between
    them. Otherwise a program with a busy file loses more than save.every_s says."""
    clock = Clock()
    saves = Saver(Snapshots(memory(), RUN, directory), 1, told=lambda _: None, clock=clock)
    still_s = min(saving.STILL_S, every_s * saving.AGAIN_AFTER)
    saves.start(every_s)
    try:
        clock.now = saves.due
        assert every_s / 2 == clock.now
        for tries in (1, 2):
            clock.now += saves.within_s() + still_s
            saves._restless = tries
            clock.now = saves.next_after(every_s / 2)
        clock.now += saves.within_s() + still_s
    finally:
        await saves.stop()

    assert pytest.approx(every_s) == clock.now


async def test_who_was_restless_begins_earlier(restless: Callable[[], None], directory: Path) -> None:
    """What a save took includes the tries before it. Otherwise a program that comes to rest at every third try has a
    snapshot that is too old each time."""
    saves = saver(memory(), directory)
    begun, original = list[float](), saves.next_after
    saves.next_after = lambda began: begun.append(began) or original(began)  # type: ignore[method-assign,func-returns-value]
    saves.start(0.2)
    await eventually(lambda: len(begun) == 4, "four saves")
    await saves.stop()

    assert 2 == len(set(begun)), "three tries, and the one after them"
    assert begun[0] == begun[1] == begun[2]


async def test_after_a_notice_nothing_mixed_takes_the_place_of_a_whole_snapshot(
    restless: Callable[[], None], directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it has to be tried: the snapshot before the notice stands until the last save (P4). Otherwise a
    machine that goes early leaves half a checkpoint as the newest state."""
    monkeypatch.setattr(saving, "FULL_AFTER_S", 0.0)
    monkeypatch.setattr(saving, "FULL_EVERY_S", 0.01)
    monkeypatch.setattr(saving, "STILL_S", 0.01)
    store, told = memory(), list[Saved]()
    saves = saver(store, directory, told.append)
    with structlog.testing.capture_logs() as lines:
        saves.start(0)
        saves.hurry()
        tries = lambda: sum(line["event"] == "snapshot.restless" for line in lines)  # noqa: E731
        await eventually(lambda: tries() > 4, "some tries")
        await saves.stop()
    assert [] == await committed(store)

    await saves.save()

    assert [()] == [saved.moving for saved in told], "the last save needs no rest"


async def test_what_restless_tries_sent_counts_for_the_forecast(restless: Callable[[], None], directory: Path) -> None:
    """A checkpoint is all that was sent for it, in as many saves. Otherwise the last save gets too few seconds."""
    told = list[Saved]()
    saves = saver(memory(), directory, told.append)
    await saves.save()
    saves.start(0.2)
    await eventually(lambda: len(told) == 2, "the third try")
    await saves.stop()

    assert saves.forecast().dirty is not None
    assert saves.forecast().dirty >= 1000 * (2 * (1 + len(WAITS)) + 1)  # type: ignore[operator]


async def test_command_that_ends_at_once_is_not_disturbed(directory: Path) -> None:
    """Nothing is read in the first second of a notice: by then most commands have ended. Otherwise the last save waits
    for one that nobody needs."""
    store = Recording(memory())
    saves = saver(store, directory)
    saves.start(3600)
    saves.hurry()
    await asyncio.sleep(0.05)
    await saves.stop()

    assert [] == store.calls


async def test_after_a_notice_what_the_command_writes_is_saved_again_and_again(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the spec wants none beside the command. Otherwise a checkpoint of many files waits for its last."""
    monkeypatch.setattr(saving, "FULL_AFTER_S", 0.0)
    monkeypatch.setattr(saving, "FULL_EVERY_S", 0.01)
    told = list[Saved]()
    saves = saver(memory(), directory, told.append)
    saves.start(0)
    saves.early()  # only a recommendation: the spec said never
    await asyncio.sleep(0.05)
    assert [] == told
    saves.hurry()
    await eventually(lambda: len(told) > 2, "some saves")
    await saves.stop()


async def test_what_nobody_needs_is_deleted_between_saves(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Now and then, and a round that fails ends nothing. Otherwise the bucket grows with every checkpoint."""
    monkeypatch.setattr(housekeeping, "EVERY_S", 0.0)
    bad, store = 2, memory()

    def refuses(method: str, _key: str) -> bool:
        nonlocal bad
        bad -= method == "delete"
        return method == "delete" and bad >= 0

    refusing = failing(store, StoreUnavailable("away"), when=refuses)
    snapshots = Snapshots(refusing, RUN, directory)
    saves = Saver(snapshots, 1, told=lambda saved: (directory / "weights").write_text(str(saved.snapshot)))
    saves.keeper = Housekeeping(refusing, RUN, 1, snapshots, base=None, owned=lambda: True)
    saves.start(0.01)
    try:
        await until(lambda: numbered(store), what="old ones are gone")
    finally:
        await saves.stop()

    assert KEEP + 1 >= len(await committed(store)), "one may have been made since"


async def numbered(store: Store) -> bool:
    saved = await committed(store)
    return len(saved) >= KEEP and saved[0].number > 3


async def test_checkpoint_is_not_forgotten_between_two_of_them(directory: Path) -> None:
    """However many saves find a log's new lines, or nothing; smaller checkpoints do replace it. Otherwise the warning
    is taken back and the save gets no seconds, just when the last checkpoint was long ago."""
    saves = Saver(Snapshots(memory(), RUN, directory), 1, told=lambda _: None)
    (directory / "weights").write_bytes(os.urandom(MIB))
    await saves.save()
    (directory / "weights").write_bytes(os.urandom(3 * MIB))
    for line in range(2 * SEEN):
        (directory / "log").write_text("step\n" * line)
        await saves.save()
    assert 3 * MIB <= (saves.forecast().dirty or 0) < 3 * MIB + TRIFLE

    for _ in range(SEEN):
        (directory / "weights").write_bytes(os.urandom(MIB))
        await saves.save()
    assert MIB == saves.forecast().dirty


async def test_what_was_measured_is_what_is_expected(directory: Path) -> None:
    """Bytes of a checkpoint, not of what was there before; the best of line and experience. Otherwise the command's
    share of the seconds is wrong at each notice."""
    line = Line(memory())
    saves = Saver(Snapshots(line.as_store(), RUN, directory), 1, told=lambda _: None, line=line)
    (directory / "data").write_bytes(os.urandom(9 * MIB))
    await saves.save()
    assert (None, line.rate) == (saves.forecast().dirty, saves.forecast().rate)
    assert line.rate

    (directory / "weights").write_bytes(os.urandom(2 * MIB))
    await saves.save()
    await saves.save()
    assert 2 * MIB == saves.forecast().dirty

    saves.learned = Experience(checkpoint_s=12.0, dirty=5 * MIB, rate=1e15)
    assert (12.0, 5 * MIB, 1e15) == (
        saves.forecast().checkpoint_s,
        saves.forecast().dirty,
        saves.forecast().rate,
    )
