"""A snapshot is committed whole or does not exist (P2), and not after the deadline (P4)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spotrelay.core import keys
from spotrelay.core.errors import AlreadyExists, SaveFailed, StoreDenied, StoreFull
from spotrelay.core.keys import SnapshotId
from spotrelay.ports import Store
from spotrelay.snapshot import Progress, Snapshots
from support import stores
from support.stores import FIRST, RUN, SECOND, Dies, Recording
from support.tree import differences, tree

Make = Callable[..., Snapshots]
MIB = 1 << 20


def mixed() -> tree:
    return tree({"a": b"1", "large": os.urandom(2 * MIB), "d/": {"b": b"2", "other": os.urandom(MIB)}})


async def test_the_manifest_is_written_last(store: Store, snapshots: Make, here: Path) -> None:
    """Every pack comes before the manifest. Otherwise there is a moment at which a committed snapshot is not whole."""
    recording = Recording(store)

    await snapshots(mixed().write(here), store=recording).save(FIRST)

    assert ["put", "put", "put", "create"] == [method for method, _ in recording.calls]
    assert keys.snapshot(RUN, FIRST) == recording.written()[-1]


async def test_a_snapshot_is_committed_once(snapshots: Make, here: Path, there: Path) -> None:
    """A snapshot that is there is never replaced. Otherwise a fenced agent overwrites its successor's state (P1)."""
    await snapshots(tree({"f": b"first"}).write(here)).save(FIRST)
    (here / "f").write_bytes(b"second")

    with pytest.raises(AlreadyExists):
        await snapshots(here).save(FIRST)

    await snapshots(there).restore(FIRST)
    assert b"first" == (there / "f").read_bytes()


@pytest.mark.parametrize("arrived", [False, True], ids=["request lost", "answer lost"])
async def test_death_at_every_call_leaves_what_was_committed(
    arrived: bool, store: Store, snapshots: Make, here: Path, tmp_path: Path
) -> None:
    """Killed before or after any call to the store, every committed snapshot restores, and the one under way is whole
    or not there. Otherwise a machine that goes too early takes the last good state with it."""
    await snapshots(tree({"f": b"old", "large": b"o" * 2 * MIB}).write(here)).save(FIRST)
    old = tree({"f": b"old", "large": b"o" * 2 * MIB}).write(tmp_path / "old")
    mixed().write(tmp_path / "new")

    for call in range(10):
        run = f"demo-{call}"
        base = stores.memory()
        await Snapshots(base, run, old).save(FIRST)
        died = True
        try:
            await Snapshots(stores.dying(base, call, arrived=arrived), run, tmp_path / "new").save(SECOND)
            died = False
        except (Dies, BaseExceptionGroup):
            pass

        reader = Snapshots(base, run, tmp_path / f"there-{call}-{arrived}")
        for snapshot, expected in zip(await reader.list(), (old, tmp_path / "new"), strict=False):
            await reader.restore(snapshot)
            assert [] == differences(expected, tmp_path / f"there-{call}-{arrived}")
        if not died:
            break
    else:
        pytest.fail("the save never came to its end")
    assert call == 4  # three packs, a manifest, and once to the end


async def test_what_a_failed_save_sent_is_not_sent_again(store: Store, snapshots: Make, here: Path) -> None:
    """A save that failed at its last step is cheap to repeat. Otherwise a store that hiccups costs the two minutes."""
    denied = stores.failing(store, StoreDenied("no"), when=lambda method, key: key == keys.snapshot(RUN, FIRST))
    one = snapshots(mixed().write(here), store=denied)
    with pytest.raises(StoreDenied):
        await one.save(FIRST)

    saved = await one.save(SECOND)

    assert (3, saved.new_bytes) == (saved.packs, saved.earlier_bytes)


async def test_a_full_store_says_so(store: Store, snapshots: Make, here: Path, there: Path) -> None:
    """The store's own error comes through, with nothing committed. Otherwise nobody learns that the disk is full."""
    mixed().write(here)
    full = stores.failing(store, StoreFull("no space"), when=lambda method, key: method == "put")

    with pytest.raises(StoreFull):
        await snapshots(here, store=full).save(FIRST)

    assert [] == await snapshots(here).list()


async def test_a_pack_that_two_files_share_is_sent_once(store: Store, snapshots: Make, here: Path, there: Path) -> None:
    """Copies cost nothing on the wire, though both are read at the same time."""
    same = os.urandom(2 * MIB)
    recording = Recording(store)

    await snapshots(tree({str(n): same for n in range(8)}).write(here), store=recording).save(FIRST)
    await snapshots(there).restore(FIRST)

    assert 1 == sum(key.startswith(keys.packs(RUN)) for key in recording.written())
    assert [] == differences(here, there)


async def test_one_changed_slice_is_one_pack(snapshots: Make, here: Path) -> None:
    """Of a large file only the slices that changed are sent. Otherwise appending a line to 10 GiB sends 10 GiB."""
    (tree({"large": b"a" * 40 * MIB}).write(here) / "large").write_bytes(os.urandom(40 * MIB))
    one = snapshots(here)
    await one.save(FIRST)
    with (here / "large").open("r+b") as file:
        file.seek(20 * MIB)
        file.write(b"changed")

    saved = await one.save(SECOND)

    assert (1, 16 * MIB) == (saved.packs, saved.new_bytes)


async def test_text_is_compressed_and_noise_is_not(snapshots: Make, here: Path) -> None:
    """What shrinks is sent small, what does not is sent as it is. Otherwise logs cost as much as weights."""
    one = snapshots(tree({"log": b"step 1 loss 0.1\n" * 100_000}).write(here))
    text = await one.save(FIRST)
    tree({"noise": os.urandom(2 * MIB)}).write(here)
    noise = await one.save(SECOND)

    assert text.new_bytes < text.bytes / 20
    assert 2 * MIB == noise.new_bytes


# --- time ------------------------------------------------------------------------------------------------------------


async def test_nothing_is_written_after_the_deadline(store: Store, snapshots: Make, here: Path) -> None:
    """A deadline that passes while packs are on their way ends the save: no further pack, no manifest, and it says how
    far it came. Otherwise a fenced attempt goes on writing into its successor's time."""
    recording = Recording(store)

    async def slow(method: str, key: str) -> None:
        await asyncio.sleep(0.15)

    recording.after = slow
    many = tree({str(n): os.urandom(MIB) for n in range(30)}).write(here)

    for _ in range(50):  # on a computer that stands still, it may pass before a pack is there
        with pytest.raises(SaveFailed, match="deadline passed after") as failed:
            await snapshots(many, store=recording).save(FIRST, deadline=time.monotonic() + 0.4)
        if "0 packs" not in str(failed.value):
            break

    written = len(recording.calls)
    assert "0 packs" not in str(failed.value)
    assert keys.snapshot(RUN, FIRST) not in await store.list("")
    await asyncio.sleep(0.3)  # long enough for anything left behind to show itself
    assert written == len(recording.calls)
    assert [] == _threads()


async def test_a_deadline_that_has_passed_writes_nothing(store: Store, snapshots: Make, here: Path) -> None:
    """Too late is too late, even for an empty directory."""
    recording = Recording(store)

    with pytest.raises(SaveFailed, match="deadline"):
        await snapshots(tree({}).write(here), store=recording).save(FIRST, deadline=time.monotonic() - 1)

    assert [] == recording.written()


async def test_in_time_is_in_time(snapshots: Make, here: Path) -> None:
    """A deadline that is far away changes nothing."""
    saved = await snapshots(mixed().write(here)).save(FIRST, deadline=time.monotonic() + 60)

    assert FIRST == saved.snapshot


async def test_cancelling_at_any_moment_commits_nothing(store: Store, snapshots: Make, here: Path) -> None:
    """Cancelled at each of its calls in turn, a save leaves neither a manifest nor a thread. Otherwise the last save
    runs beside an abandoned one that still reads the disk."""
    mixed().write(here)
    for call in range(4):
        recording = Recording(store)
        reached = asyncio.Event()

        async def stop(
            method: str, key: str, calls: int = call, at: asyncio.Event = reached, to: Any = recording
        ) -> None:
            if len(to.calls) > calls:
                at.set()
                await asyncio.sleep(3600)

        recording.before = stop
        task = asyncio.create_task(snapshots(here, store=recording).save(FIRST))
        async with asyncio.timeout(60):
            await reached.wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

        assert task.cancelled()
        assert [] == _threads()
        assert [] == await snapshots(here).list()


def _threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("snapshot")]


async def test_progress_only_grows(snapshots: Make, here: Path) -> None:
    """Progress counts what was sent, up to all of it."""
    told: list[Progress] = []

    saved = await snapshots(mixed().write(here)).save(FIRST, progress=told.append)

    assert sorted(p.bytes for p in told) == [p.bytes for p in told]
    assert saved.new_bytes == told[-1].bytes


# --- beside a running command ----------------------------------------------------------------------------------------


class Steady:
    """A pace that writes down what it was asked."""

    def __init__(self) -> None:
        self.spent: list[int] = []
        self.lowered: list[str] = []

    async def spend(self, nbytes: int) -> None:
        self.spent.append(nbytes)

    def lower(self) -> None:
        self.lowered.append(threading.current_thread().name)


async def test_a_pace_is_asked_before_anything_is_read(snapshots: Make, here: Path) -> None:
    """Every byte that is read was allowed first, and every thread that works has stepped back. Otherwise a background
    save takes the command's cores and disk."""
    pace = Steady()
    tree({"a": b"12345", "large": os.urandom(17 * MIB), "d/": {"b": b"123"}}).write(here)

    await snapshots(here).save(FIRST, pace=pace)

    assert 17 * MIB + 8 == sum(pace.spent)
    assert max(pace.spent) <= 16 * MIB
    assert pace.lowered
    assert all(name.startswith("snapshot") for name in pace.lowered)


# --- what is asked for -----------------------------------------------------------------------------------------------


async def test_excluded_paths_stay_here(snapshots: Make, here: Path, there: Path) -> None:
    """What the spec excludes is not in the snapshot, whole directories included."""
    tree({"keep": b"1", "x.tmp": b"2", "cache/": {"deep/": {"f": b"3"}}, "d/": {"y.tmp": b"4", "z": b"5"}}).write(here)

    await snapshots(here, exclude=["*.tmp", "cache/"]).save(FIRST)
    await snapshots(there).restore(FIRST)

    assert {"keep", "d"} == {path.name for path in there.iterdir()}
    assert ["z"] == [path.name for path in (there / "d").iterdir()]


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
async def test_other_mounts_are_named_and_left_alone(snapshots: Make, here: Path) -> None:
    """A mount below the directory is neither saved nor emptied by a restore; not even a bind mount, which has the same
    device number. Otherwise restoring a run wipes a shared dataset."""
    tree({"f": b"1", "data/": {}}).write(here)
    dataset = tree({"precious": b"1"}).write(here.parent / "dataset")
    mount = await asyncio.create_subprocess_exec("mount", "--bind", dataset, here / "data")
    assert 0 == await mount.wait()
    try:
        saved = await snapshots(here).save(FIRST)
        restored = await snapshots(here).restore(FIRST)
    finally:
        assert 0 == await (await asyncio.create_subprocess_exec("umount", here / "data")).wait()

    assert [(b"data", "a mount of its own")] == [(s.path, s.reason) for s in saved.skipped]
    assert () == restored.skipped
    assert ["precious"] == [path.name for path in dataset.iterdir()]


async def test_a_directory_that_is_not_there(snapshots: Make, here: Path) -> None:
    """Nothing to save is an error with a place and a next step, not an empty snapshot."""
    with pytest.raises(SaveFailed, match="here"):
        await snapshots(here).save(FIRST)


async def test_snapshots_are_listed_in_the_order_they_were_made(snapshots: Make, here: Path) -> None:
    """10 comes after 9. Otherwise the newest snapshot is an old one."""
    one = snapshots(tree({}).write(here))
    made = [SnapshotId(1, 9), SnapshotId(1, 10), SnapshotId(2, 0), SnapshotId(10, 0)]
    for snapshot in reversed(made):
        await one.save(snapshot)

    assert made == await one.list()
