"""A save that is cut off: the next one begins with what it had come to, and believes nothing that the store has not
confirmed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spotrelay.core import keys, manifest
from spotrelay.core.errors import StoreUnavailable
from spotrelay.core.keys import SnapshotId
from spotrelay.core.manifest import Meta, Pack
from spotrelay.ports import Store
from spotrelay.snapshot import Snapshots, large_files, read
from spotrelay.snapshot.index import Begun, Draft, Index, Stamp
from spotrelay.snapshot.survey import Survey
from support.stores import FIRST, RUN, SECOND, Recording, memory
from support.tree import differences, tree

Make = Callable[..., Snapshots]
MIB = 1 << 20


class Reads:
    """A pace that counts what is read."""

    def __init__(self) -> None:
        self.bytes = 0

    async def spend(self, nbytes: int) -> None:
        self.bytes += nbytes

    def lower(self) -> None:
        pass


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> dict[bytes, asyncio.Event]:
    """For each path that a test names: when a save has got its row."""
    events: dict[bytes, asyncio.Event] = {}
    original = Survey.settle

    def settle(self: Survey, wanted: Any, *outcome: Any) -> None:
        original(self, wanted, *outcome)
        if wanted.path in events:
            events[wanted.path].set()

    monkeypatch.setattr(Survey, "settle", settle)
    return events


async def hanging(method: str, key: str) -> None:
    if method == "put":
        await asyncio.sleep(3600)


async def cut_off(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


@pytest.mark.parametrize("meanwhile", ["nothing", "deleted", "changed"])
async def test_bytes_that_were_on_their_way_are_sent_again(
    meanwhile: str, store: Store, snapshots: Make, here: Path, there: Path, settled: dict[bytes, asyncio.Event]
) -> None:
    """Two files hold the same bytes: the put of the first one's hangs, and the second is settled because its pack is on
    its way. Cut off there, the next save sends it, also where the first file has gone. Otherwise a snapshot is
    committed whose pack nobody has sent."""
    same = os.urandom(2 * MIB)
    tree({"a": same, "b": same}).write(here)
    recording = Recording(store)
    recording.before = hanging
    settled |= {b"a": asyncio.Event(), b"b": asyncio.Event()}
    one = snapshots(here, store=recording)
    task = asyncio.create_task(one.save(FIRST))
    async with asyncio.timeout(60):
        while not (second := [path for path, event in settled.items() if event.is_set()]):
            await asyncio.sleep(0.001)
    await cut_off(task)
    (first,) = {b"a", b"b"} - set(second)
    if meanwhile == "deleted":
        (here / os.fsdecode(first)).unlink()
    elif meanwhile == "changed":
        (here / os.fsdecode(first)).write_bytes(b"1")

    recording.before = None
    saved = await one.save(FIRST)
    await snapshots(there).restore(FIRST)

    assert 2 * MIB <= saved.new_bytes <= 2 * MIB + 1
    assert [] == differences(here, there)


async def test_what_was_settled_is_not_read_again(
    store: Store, snapshots: Make, here: Path, there: Path, settled: dict[bytes, asyncio.Event]
) -> None:
    """Cut off while the last file is sent, the next save reads that one only. Otherwise the last save of an attempt
    reads 60 GiB whose bytes had left the machine."""
    last = os.urandom(3 * MIB)
    tree({"d/": {"sent": os.urandom(2 * MIB), "small": b"1"}, "z": last}).write(here)
    recording, pace = Recording(store), Reads()

    async def hangs(_method: str, key: str) -> None:
        if key == keys.pack(RUN, blake3(last).hexdigest()):
            await asyncio.sleep(3600)

    recording.before = hangs
    settled |= {b"d/sent": asyncio.Event(), b"d/small": asyncio.Event()}
    one = snapshots(here, store=recording)
    task = asyncio.create_task(one.save(FIRST))
    async with asyncio.timeout(60):
        for event in settled.values():
            await event.wait()
    await cut_off(task)

    recording.before = None
    saved = await one.save(FIRST, pace=pace)
    await snapshots(there).restore(FIRST)

    assert (3 * MIB, 3 * MIB) == (pace.bytes, saved.new_bytes - saved.earlier_bytes)
    assert [] == differences(here, there)


async def test_what_was_sent_before_the_cut_counts_for_the_snapshot_that_is_committed(
    store: Store, snapshots: Make, here: Path
) -> None:
    """However many saves it took, and by whichever they were ended: each byte once, for the next snapshot, and none for
    the one after it. Otherwise a checkpoint whose packs had left before the notice is said to weigh nothing (P8)."""
    recording, told = Recording(store), list[int]()
    tree({}).write(here)
    one = snapshots(here, store=recording)
    await one.save(FIRST)
    (here / "a").write_bytes(os.urandom(2 * MIB))

    async def no_commit(method: str, _key: str) -> None:
        if method == "create":
            raise StoreUnavailable("away")

    recording.before = no_commit
    with pytest.raises(StoreUnavailable):
        await one.save(SECOND)
    (here / "b").write_bytes(os.urandom(3 * MIB))
    recording.before = None
    saved = await one.save(SECOND, progress=lambda progress: told.append(progress.bytes))
    nothing = await one.save(SnapshotId(1, 2))

    assert (2, 5 * MIB, 2 * MIB) == (saved.packs, saved.new_bytes, saved.earlier_bytes)
    assert (2 * MIB, 5 * MIB) == (told[0], told[-1]), "also while it is under way"
    assert (0, 0, 0) == (nothing.packs, nothing.new_bytes, nothing.earlier_bytes)


async def test_slices_of_a_large_file_are_not_read_again(
    store: Store, snapshots: Make, here: Path, there: Path
) -> None:
    """Also where a file was sent in part. Otherwise one large checkpoint is read from its beginning each time."""
    (tree({}).write(here) / "large").write_bytes(os.urandom(40 * MIB))
    recording, pace = Recording(store), Reads()
    one = snapshots(here, store=recording)
    task = await _one_slice_hangs(recording, one)
    await cut_off(task)

    recording.before = None
    saved = await one.save(FIRST, pace=pace)
    await snapshots(there).restore(FIRST)

    assert (3, saved.new_bytes - saved.earlier_bytes) == (saved.packs, pace.bytes)
    assert pace.bytes <= 16 * MIB
    assert [] == differences(here, there)


async def test_slices_of_a_file_that_changed_since_are_read_again(
    store: Store, snapshots: Make, here: Path, there: Path
) -> None:
    """What was read of the version before is nothing to begin from. Otherwise two versions become one file."""
    path = tree({}).write(here) / "large"
    path.write_bytes(os.urandom(40 * MIB))
    recording, pace = Recording(store), Reads()
    one = snapshots(here, store=recording)
    await cut_off(await _one_slice_hangs(recording, one))
    before = path.stat()
    path.write_bytes(os.urandom(40 * MIB))
    os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))

    recording.before = None
    await one.save(FIRST, pace=pace)
    await snapshots(there).restore(FIRST)

    assert 40 * MIB == pace.bytes
    assert [] == differences(here, there)


async def _one_slice_hangs(recording: Recording, one: Snapshots) -> asyncio.Task[Any]:
    """A save of three slices, of which two have arrived."""
    arrived = 0

    async def hangs(method: str, key: str) -> None:
        if method == "put" and len(recording.calls) == 1:
            await asyncio.sleep(3600)

    async def count(method: str, key: str) -> None:
        nonlocal arrived
        arrived += 1

    recording.before, recording.after = hangs, count
    task = asyncio.create_task(one.save(FIRST))
    async with asyncio.timeout(60):
        while arrived < 2:
            await asyncio.sleep(0.001)
    return task


async def test_slices_on_their_way_are_sent_again(store: Store, snapshots: Make, here: Path, there: Path) -> None:
    """Equal slices of a large file rely on the first as equal files do. Otherwise a file of zeros is half there."""
    (tree({}).write(here) / "large").write_bytes(b"1" * 48 * MIB)
    recording = Recording(store)
    recording.before = hanging
    one = snapshots(here, store=recording)
    task = asyncio.create_task(one.save(FIRST, pace=(pace := Reads())))
    async with asyncio.timeout(60):
        while pace.bytes < 48 * MIB or not recording.calls:
            await asyncio.sleep(0.001)
        while len(one._index.begun[b"large"].places) < 2:
            await asyncio.sleep(0.001)
    await cut_off(task)

    recording.before = None
    saved = await one.save(FIRST)
    await snapshots(there).restore(FIRST)

    assert 1 == saved.packs
    assert [] == differences(here, there)


async def test_a_pack_that_is_gone_since_is_sent_again(store: Store, snapshots: Make, here: Path, there: Path) -> None:
    """Confirmed, and then missing from the store: what was settled with it is read again. Otherwise somebody's
    lifecycle rule makes a snapshot that is not whole."""
    tree({"f": os.urandom(MIB), "g": os.urandom(MIB)}).write(here)
    recording = Recording(store)

    arrived = asyncio.Event()

    async def refuses(method: str, key: str) -> None:
        if len(recording.calls) > 1:
            await arrived.wait()
            raise StoreUnavailable("away")

    async def arrives(method: str, key: str) -> None:
        arrived.set()

    recording.before, recording.after = refuses, arrives
    one = snapshots(here, store=recording)
    with pytest.raises(StoreUnavailable):
        await one.save(FIRST)
    (gone,) = one.known_packs()
    await store.delete(keys.pack(RUN, gone))
    one.forget_packs([gone])

    recording.before = None
    saved = await one.save(FIRST)
    await snapshots(there).restore(FIRST)

    assert 2 * MIB == saved.new_bytes - saved.earlier_bytes
    assert [] == differences(here, there)


async def test_a_version_that_may_have_to_be_kept_is_not_forgotten(
    store: Store, snapshots: Make, here: Path, there: Path, while_read: Any
) -> None:
    """A file that was not read yet when the save was cut off still has the version of the snapshot before. Otherwise
    a file that is written all the time is torn, though a whole version of it is in the store."""
    tree({"f": b"a" * 1000}).write(here)
    recording = Recording(store)
    one = snapshots(here, store=recording)
    await one.save(FIRST)
    (here / "f").write_bytes(b"b" * 1000)
    recording.before = hanging
    task = asyncio.create_task(one.save(SECOND))
    async with asyncio.timeout(60):
        while len(recording.calls) < 3:
            await asyncio.sleep(0.001)
    await cut_off(task)
    recording.before = None
    versions = iter(range(100))
    while_read(lambda: (here / "f").write_bytes(b"%d" % next(versions) * 1000))
    saved = await one.save(SECOND)
    await snapshots(there).restore(SECOND)

    assert ((Path("f"),), ()) == (saved.kept, saved.torn)
    assert b"a" * 1000 == (there / "f").read_bytes()


def test_only_what_the_store_confirmed_is_believed() -> None:
    """A row and a slice whose pack was on its way are forgotten, those whose pack has arrived are known. Otherwise who
    relied on another's put goes on relying on it when nobody sends any more."""
    index, stamp = Index(), Stamp(5, 1, 1, 1)
    arrived, on_its_way = index.number("arrived"), index.number("on its way")
    index.packs["arrived"] = Pack("arrived", 5, 5)
    for path, number in ((b"here", arrived), (b"there", on_its_way)):
        draft = Draft(os.fsdecode(path), ["f"])
        draft.enter(0, manifest.file_row("f", Meta(0, 0, 0, 0), 5, [(0, number, 0, 5)], linked=False), stamp, 5)
        index.left[draft.path] = draft.close()
        index.begun[path] = Begun(stamp, {((0, 5),): [(0, number, 0, 5)]})

    index.take_up()

    assert ("f", "") == (index.blocks["here"].names, index.blocks["there"].names)
    assert ([((0, 5),)], []) == tuple([*index.begun[path].places] for path in (b"here", b"there"))


# --- at every call ---------------------------------------------------------------------------------------------------

# Few contents and places, so that files share packs, change into one another, and are each other's further names.
CONTENTS = {1: b"1" * 900, 2: b"2" * 901, 3: b"3" * MIB, 4: b"4" * (3 * MIB + 1)}
PLACES = ["a", "b", "d/a", "d/e/a"]
CHANGES = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(PLACES), st.sampled_from(sorted(CONTENTS))),
    st.tuples(st.just("link"), st.sampled_from(PLACES), st.sampled_from(PLACES)),
    st.tuples(st.just("rename"), st.sampled_from(PLACES), st.sampled_from(PLACES)),
    st.tuples(st.just("delete"), st.sampled_from(PLACES), st.none()),
)
CUTS = st.sampled_from(["cancelled", "cancelled on its way", "refused", "refused, but it arrived"])
ROUNDS = st.lists(st.tuples(st.lists(CHANGES, max_size=5), CUTS), min_size=1, max_size=3)


A, B, DELETED = ("write", "a", 3), ("write", "b", 3), ("delete", "a", None)


@pytest.mark.slow
@example(first=[], rounds=[([A, B], "cancelled"), ([DELETED], "cancelled")])
@example(first=[], rounds=[([A, B], "cancelled"), ([("delete", "b", None)], "cancelled")])
@example(first=[], rounds=[([A, ("write", "b", 4)], "cancelled"), ([DELETED], "cancelled")])
@given(first=st.lists(CHANGES, max_size=6), rounds=ROUNDS)
@settings(max_examples=25, deadline=None)
def test_cut_off_at_every_call_and_then_whole(
    first: list[tuple[str, str, Any]], rounds: list[tuple[list[tuple[str, str, Any]], str]]
) -> None:
    """Whatever the tree, however often and at whichever call saves are cut off: what is committed at last restores as
    the tree is. Otherwise what one save believed of another's work is what a run goes on from."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(read, "TICK_S", 0.011)  # some kernels have 10 ms
        patch.setattr(large_files, "SLICE", MIB)
        for call in range(4):
            place = Path(folder) / str(call)
            place.mkdir()
            asyncio.run(_play(place, first, rounds, call))
            shutil.rmtree(place)


async def _play(
    folder: Path, first: list[tuple[str, str, Any]], rounds: list[tuple[list[tuple[str, str, Any]], str]], call: int
) -> None:
    here, store = folder / "here", Recording(memory())
    (here / "d/e").mkdir(parents=True)
    one, reader = Snapshots(store, RUN, here), Snapshots(store.store, RUN, folder / "there")
    for change in first:
        _change(here, *change)
    number = 0
    await one.save(SnapshotId(1, number))
    for changes, how in rounds:
        for change in changes:
            _change(here, *change)
        number += await _save_cut_off(one, store, SnapshotId(1, number + 1), how, call)
    await one.save(SnapshotId(1, number + 1))
    await reader.restore(SnapshotId(1, number + 1))

    assert [] == differences(here, folder / "there")


async def _save_cut_off(one: Snapshots, store: Recording, snapshot: SnapshotId, how: str, call: int) -> bool:
    """At its `call`-th call, counted from 0; whether it was committed nevertheless."""
    begin, reached = len(store.calls), asyncio.Event()

    async def strike(method: str, key: str) -> None:
        if len(store.calls) - begin > call:
            if how.startswith("refused"):
                raise StoreUnavailable("away")
            reached.set()
            await asyncio.sleep(3600)

    store.before, store.after = (
        (None, strike) if how in ("cancelled on its way", "refused, but it arrived") else (strike, None)
    )
    task, there = asyncio.create_task(one.save(snapshot)), asyncio.create_task(reached.wait())
    await asyncio.wait([task, there], return_when=asyncio.FIRST_COMPLETED)
    if reached.is_set():
        await asyncio.sleep(0.03)  # others, which need nothing of the store, come as far as they can
    task.cancel()
    there.cancel()
    await asyncio.wait([task, there])
    with contextlib.suppress(StoreUnavailable, asyncio.CancelledError):
        task.result()
    store.before = store.after = None
    return keys.snapshot(RUN, snapshot) in await store.store.list(keys.snapshots(RUN))


def _change(here: Path, what: str, name: str, other: Any) -> None:
    path = here / name
    match what:
        case "write":
            path.write_bytes(CONTENTS[other])
        case "link" if (here / other).exists() and name != other:
            path.unlink(missing_ok=True)
            path.hardlink_to(here / other)
        case "rename" if (here / other).exists():
            (here / other).rename(path)
        case "delete":
            path.unlink(missing_ok=True)
