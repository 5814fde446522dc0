"""What nobody will restore goes; what anybody may restore, or a save relies on, stays, whoever dies when."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from spotrelay.core import keys
from spotrelay.core.errors import ManifestInvalid, StoreUnavailable
from spotrelay.core.keys import SnapshotId
from spotrelay.ports import Store
from spotrelay.snapshot import Snapshots
from spotrelay.snapshot.housekeeping import KEEP, Disowned, Housekeeping, Tidied
from support import stores
from support.stores import RUN, Recording
from support.tree import differences, tree

Make = Callable[..., Snapshots]
MIB = 1 << 20


def owning(
    store: Store,
    snapshots: Snapshots,
    *,
    attempt: int = 1,
    base: SnapshotId | None = None,
    owned: Callable[[], bool] = lambda: True,
) -> Housekeeping:
    return Housekeeping(store, RUN, attempt, snapshots, base=base, owned=owned)


async def saved_times(one: Snapshots, here: Path, times: int, *, attempt: int = 1, first: int = 0) -> None:
    """So many snapshots, each with a file that no other has."""
    for number in range(first, first + times):
        (here / "state").write_bytes(b"%d-" % attempt * (number + 1))
        await one.save(SnapshotId(attempt, number))


async def packs(store: Store) -> set[str]:
    return {key.rpartition("/")[2] for key in await store.list(keys.packs(RUN))}


async def test_old_snapshots_go_and_what_is_left_is_whole(
    store: Store, snapshots: Make, here: Path, there: Path
) -> None:
    """The newest stay, and the one that the attempt began from. Otherwise a run that checkpoints for a week pays for
    every checkpoint it ever wrote."""
    first = SnapshotId(0, 0)
    one = snapshots(tree({"data": os.urandom(2 * MIB)}).write(here))
    await one.save(first)
    await saved_times(one, here, 6)
    keeper = owning(store, one, base=first)

    tidied = [await keeper.round() for _ in range(3)]

    kept = [first, *(SnapshotId(1, number) for number in (3, 4, 5))]
    assert [Tidied(3, 0, 0), Tidied(0, 3, 0), Tidied()] == tidied
    assert kept == await one.list()
    assert len(kept) == len(await packs(store)), "one with the data, and one for each state"
    for snapshot in kept:
        await snapshots(there).restore(snapshot)
    assert [] == differences(here, there)


async def test_packs_of_a_save_that_was_abandoned_go_when_nobody_relies_on_them(
    store: Store, snapshots: Make, here: Path
) -> None:
    """As long as the next save would refer to them they stay; when it did not, they go. Otherwise the last save commits
    a snapshot without its bytes, or what was sent in vain stays for ever."""
    refused = stores.failing(
        store, StoreUnavailable("no"), when=lambda _, key: key == keys.snapshot(RUN, stores.SECOND)
    )
    one = snapshots(tree({"state": b"one"}).write(here), store=refused)
    await one.save(stores.FIRST)
    (here / "large").write_bytes(os.urandom(2 * MIB))
    with pytest.raises(StoreUnavailable):
        await one.save(stores.SECOND)
    keeper = owning(store, one)

    assert [Tidied(), Tidied()] == [await keeper.round(), await keeper.round()]
    assert 2 == len(await packs(store))

    (here / "large").unlink()
    await one.save(SnapshotId(1, 2))

    assert [Tidied(), Tidied(packs=1)] == [await keeper.round(), await keeper.round()]
    assert 1 == len(await packs(store))


async def test_suspicion_ends_with_the_deletion_and_with_a_round_that_failed(
    store: Store, snapshots: Make, here: Path
) -> None:
    """A pack that was deleted and sent again waits a whole round anew, and so does one over whose head a round failed:
    what it was in between, nobody saw. Otherwise a pack goes that somebody has just sent."""
    refuses, pack = [False], keys.pack(RUN, "0" * 64)
    weak = stores.failing(store, StoreUnavailable("away"), when=lambda method, _: method == "list" and refuses[0])
    one = snapshots(tree({"state": b"one"}).write(here))
    await one.save(stores.FIRST)
    await store.put(pack, b"somebody's")
    keeper = owning(weak, one)
    assert [Tidied(), Tidied(packs=1)] == [await keeper.round(), await keeper.round()]

    await store.put(pack, b"somebody's")
    assert Tidied() == await keeper.round()

    refuses[0] = True
    with pytest.raises(StoreUnavailable):
        await keeper.round()
    refuses[0] = False
    assert [Tidied(), Tidied(packs=1)] == [await keeper.round(), await keeper.round()]


async def test_what_was_sent_since_the_last_round_is_spared(store: Store, snapshots: Make, here: Path) -> None:
    """Whoever has just sent a pack has a whole period to commit it. Otherwise a rule that is wrong somewhere else costs
    a snapshot at once."""
    one = snapshots(tree({"state": b"one"}).write(here))
    await one.save(stores.FIRST)
    keeper = owning(store, one)
    await keeper.round()
    await store.put(keys.pack(RUN, "0" * 64), b"somebody's")

    assert [Tidied(), Tidied(packs=1)] == [await keeper.round(), await keeper.round()]


async def test_attempt_without_a_snapshot_of_its_own_deletes_nothing(store: Store, snapshots: Make, here: Path) -> None:
    """What it began from is the newest there is. Otherwise nothing is left of a run whose second machine dies early."""
    await saved_times(snapshots(tree({}).write(here)), here, 5)

    assert Tidied() == await owning(store, snapshots(here), attempt=2, base=SnapshotId(1, 4)).round()
    assert 5 == len(await snapshots(here).list())


async def test_late_snapshot_of_a_predecessor_goes(store: Store, snapshots: Make, here: Path) -> None:
    """It can never be restored. Otherwise it lies there as if it could."""
    one = snapshots(tree({}).write(here))
    await saved_times(one, here, 3)
    await saved_times(one, here, 1, attempt=2)

    await owning(store, one, attempt=2, base=SnapshotId(1, 1)).round()

    assert [SnapshotId(1, 1), SnapshotId(2, 0)] == await one.list()


async def test_snapshot_of_a_successor_ends_it(store: Store, snapshots: Make, here: Path) -> None:
    """Whose run it is, the successor says. Otherwise a machine that was given up deletes what its successor began
    from."""
    one = snapshots(tree({}).write(here))
    await saved_times(one, here, 6)
    await saved_times(one, here, 1, attempt=2)

    with pytest.raises(Disowned):
        await owning(store, one).round()
    assert 7 == len(await one.list())


@pytest.mark.parametrize("asked", range(3))
async def test_nothing_is_deleted_once_it_may_be_another_s(
    asked: int, store: Store, snapshots: Make, here: Path
) -> None:
    """Asked before the first look and before each deletion. Otherwise an agent that slept for an hour in the middle of
    a round goes on with it."""
    one = snapshots(tree({}).write(here))
    await saved_times(one, here, 6)
    recording, answers = Recording(store), 2 * [True] + asked * [True] + [False]
    keeper = owning(recording, one, owned=lambda: answers.pop(0))
    await keeper.round()
    recording.calls.clear()
    await saved_times(one, here, 3, first=6)

    with pytest.raises(Disowned):
        await keeper.round()
    assert asked // 2 == [method for method, _ in recording.calls].count("delete"), "manifests first, then packs"


async def test_manifest_that_cannot_be_read_ends_the_round(store: Store, snapshots: Make, here: Path) -> None:
    """What it needs is not known. Otherwise damage to one object becomes the loss of others."""
    one = snapshots(tree({}).write(here))
    await saved_times(one, here, 6)
    whole = await store.get(keys.snapshot(RUN, SnapshotId(1, 5)))
    await store.put(keys.snapshot(RUN, SnapshotId(1, 5)), whole[:-20])

    for _ in range(3):
        with pytest.raises(ManifestInvalid):
            await owning(store, one).round()
    assert (6, 6) == (len(await one.list()), len(await packs(store)))


async def test_manifests_go_before_their_packs(store: Store, snapshots: Make, here: Path) -> None:
    """And no pack, where a manifest would not go. Otherwise there is a snapshot that is not whole (P2)."""
    one = snapshots(tree({}).write(here))
    await saved_times(one, here, 6)
    refusing = stores.failing(store, StoreUnavailable("no"), when=lambda method, _: method == "delete")
    keeper = owning(refusing, one)

    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await keeper.round()

    assert {keys.snapshot(RUN, SnapshotId(1, 0))} == {key for method, key in refusing.calls if method == "delete"}
    assert 6 == len(await packs(store))


async def test_pack_that_somebody_took_is_sent_again(store: Store, snapshots: Make, here: Path, there: Path) -> None:
    """The listing shows what is missing, and the directory still has it. Otherwise every later snapshot refers to it,
    and none can be restored."""
    one = snapshots(tree({"large": os.urandom(2 * MIB), "state": b"1"}).write(here))
    await one.save(stores.FIRST)
    await store.delete(keys.pack(RUN, min(one.known_packs())))

    tidied = await owning(store, one).round()
    saved = await one.save(stores.SECOND)
    await snapshots(there).restore(stores.SECOND)

    assert (1, 1) == (tidied.missing, saved.packs)
    assert [] == differences(here, there)


async def test_cancelled_round_leaves_no_deletion_behind_it(store: Store, snapshots: Make, here: Path) -> None:
    """A request that is under way is waited for. Otherwise it overtakes the last save, and takes what that has just
    sent."""
    one = snapshots(tree({}).write(here))
    await saved_times(one, here, 6)
    recording, begun, may_end = Recording(store), asyncio.Event(), asyncio.Event()

    async def slow(method: str, _key: str) -> None:
        if method == "delete":
            begun.set()
            await may_end.wait()

    recording.before = slow
    task = asyncio.create_task(owning(recording, one).round())
    await begun.wait()
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    may_end.set()
    await asyncio.wait([task])

    assert task.cancelled()
    assert KEEP == len(await one.list())


async def test_requests_of_a_round_are_few(store: Store, snapshots: Make, here: Path) -> None:
    """Two listings, each kept manifest read once ever, a deletion for a thousand names. Otherwise tidying costs more
    than the mess."""
    recording = Recording(store)
    one = snapshots(tree({}).write(here))
    await saved_times(one, here, 8)
    keeper = owning(recording, one)

    def asked() -> list[str]:
        calls = [method for method, _ in recording.calls]
        recording.calls.clear()
        return calls

    await keeper.round()
    assert ["list", "list", *KEEP * ["get"], "delete"] == asked()
    await keeper.round()
    assert ["list", "list", "delete"] == asked()
    await keeper.round()
    assert ["list", "list"] == asked()
