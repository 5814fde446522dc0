"""Saves between notices and the last one: none hurts the command, and the last one keeps its time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from spotrelay.core.errors import StoreUnavailable
from spotrelay.core.keys import SnapshotId
from spotrelay.ports import Store
from spotrelay.saving import Saver
from spotrelay.snapshot import Saved, Snapshots
from support.imds import eventually
from support.stores import RUN, Recording, failing, memory


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "weights").write_text("1")
    return tmp_path / "job"


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

    assert SnapshotId(1, 2) == told[0].snapshot


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


async def test_the_last_save_s_time_is_the_next_one_s_estimate(directory: Path) -> None:
    """What was measured replaces the guess. Otherwise the command's share of the seconds is wrong at each notice."""
    saves = saver(memory(), directory)

    saved = await saves.save()

    assert (saved.seconds, saved) == (saves.estimate_s, saves.last)
