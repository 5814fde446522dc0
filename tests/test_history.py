"""What an earlier attempt leaves, and that nothing it does too late ever counts (P1)."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotrelay.core import keys, records
from spotrelay.core.errors import AlreadyExists
from spotrelay.core.keys import SnapshotId
from spotrelay.core.records import RecordInvalid
from spotrelay.history import History
from spotrelay.ports import Store
from support.stores import memory

RUN = "r"


async def commit(store: Store, attempt: int, number: int) -> SnapshotId:
    snapshot = SnapshotId(attempt, number)
    await store.create(keys.snapshot(RUN, snapshot), b"manifest")
    return snapshot


async def fix(store: Store, attempt: int, base: SnapshotId | None) -> None:
    record = records.Base(str(base) if base else None, 1.0, f"i-{attempt}")
    await store.create(keys.base(RUN, attempt), records.encode(record))


async def test_nothing_saved_is_nothing_to_restore() -> None:
    assert await History(memory(), RUN).newest_allowed(1) is None


async def test_first_attempt_begins_from_the_person_s_snapshot() -> None:
    store = memory()
    first = await commit(store, 0, 0)

    assert first == await History(store, RUN).newest_allowed(1)


async def test_newest_of_the_predecessor_is_the_base() -> None:
    """Numbers count as numbers: ten is newer than nine."""
    store = memory()
    for number in (8, 9, 10):
        await commit(store, 1, number)

    assert SnapshotId(1, 10) == await History(store, RUN).newest_allowed(2)


async def test_what_a_snapshot_came_of() -> None:
    """The newest first, along the bases, without what was fenced. Otherwise a checkpoint is put back that another life
    of the directory had written."""
    store = memory()
    ids = [await commit(store, 0, 0), await commit(store, 1, 0), await commit(store, 1, 1)]
    await fix(store, 1, ids[0])
    await fix(store, 2, ids[1])
    fenced, here = ids[2], await commit(store, 2, 0)
    newer = await commit(store, 2, 1)
    history = History(store, RUN)

    assert [here, ids[1], ids[0]] == await history.before(newer)
    assert fenced not in await history.before(newer)
    assert [] == await history.before(ids[0])


async def test_late_snapshot_of_a_fenced_attempt_does_not_count() -> None:
    """Attempt 1 was given up, attempt 2 began from 1-0, and then 1-1 arrives. Restored, it would undo what 2 has done
    and mix two lives of one directory."""
    store = memory()
    first = await commit(store, 1, 0)
    await fix(store, 2, first)
    await commit(store, 1, 1)
    history = History(store, RUN)

    assert [first, first] == [await history.newest_allowed(attempt) for attempt in (2, 3)]

    second = await commit(store, 2, 0)
    await commit(store, 1, 2)
    assert second == await history.newest_allowed(3)


async def test_attempt_that_began_from_nothing_fences_too() -> None:
    """Attempt 2 found no snapshot and began anew. What 1 commits afterwards was not seen, and must not appear."""
    store = memory()
    await fix(store, 2, None)
    await commit(store, 1, 0)

    assert await History(store, RUN).newest_allowed(3) is None


async def test_attempt_that_left_nothing_is_passed_over() -> None:
    """It claimed and died before it fixed its base: what was before it stands."""
    store = memory()
    first = await commit(store, 1, 0)

    assert first == await History(store, RUN).newest_allowed(4)


async def test_later_attempts_do_not_count_for_an_earlier_one() -> None:
    store = memory()
    first = await commit(store, 1, 0)
    await commit(store, 2, 0)

    assert first == await History(store, RUN).newest_allowed(1)


async def test_stray_object_beside_the_snapshots_is_passed_over() -> None:
    """A folder marker, somebody's note: no reason to lose a run."""
    store = memory()
    first = await commit(store, 1, 0)
    await store.put(keys.snapshots(RUN) + "README", b"")

    assert first == await History(store, RUN).newest_allowed(2)


@pytest.mark.parametrize("data", [b"", b"{}", b'{"snapshot": "../../x", "at": 1, "instance": "i"}'])
async def test_damaged_base_is_refused(data: bytes) -> None:
    """It may have said anything. To go on from a guess would be to choose a life of the directory at random."""
    store = memory()
    await commit(store, 1, 0)
    await store.put(keys.base(RUN, 2), data)

    with pytest.raises(RecordInvalid, match=keys.base(RUN, 2)):
        await History(store, RUN).newest_allowed(2)


async def test_what_is_not_written_is_none() -> None:
    history = History(memory(), RUN)
    found = [
        await history.base(1),
        await history.claim(1),
        await history.status(1),
        await history.handover(1),
        await history.outcome(),
    ]

    assert [None] * 5 == found
    assert await history.cancelled() is None


async def test_cancel_is_an_object_whatever_it_holds() -> None:
    store = memory()
    await store.put(keys.cancel(RUN), b"")

    assert records.Cancel() == await History(store, RUN).cancelled()


class Model:
    """Attempts that look, fix their base and commit, each step of one between any steps of others. `at`: when each
    snapshot was committed and each base was fixed, by a clock that counts steps."""

    def __init__(self) -> None:
        self.store = memory()
        self.history = History(self.store, RUN)
        self.clock = itertools.count()
        self.looked: dict[int, SnapshotId | None] = {}
        self.bases: dict[int, tuple[int, SnapshotId | None]] = {}
        self.commits: dict[SnapshotId, int] = {}

    async def look(self, attempt: int) -> None:
        self.looked[attempt] = await self.history.newest_allowed(attempt)

    async def fix(self, attempt: int) -> None:
        """What it saw when it looked, which may be a while ago."""
        if attempt not in self.looked:
            return
        try:
            await fix(self.store, attempt, self.looked[attempt])
        except AlreadyExists:
            return
        self.bases[attempt] = next(self.clock), self.looked[attempt]

    async def commit(self, attempt: int) -> None:
        """An attempt saves when it has restored, and knows of no fence."""
        if attempt not in self.bases and attempt != 0:
            return
        number = sum(snapshot.attempt == attempt for snapshot in self.commits)
        self.commits[await commit(self.store, attempt, number)] = next(self.clock)

    async def check(self, attempt: int) -> None:
        newest = await self.history.newest_allowed(attempt)
        fences = {number: fence for number, fence in self.bases.items() if number <= attempt}
        # The promise: what an attempt commits after a later one has fixed its base is never seen again.
        for number, (at, _) in fences.items():
            if newest is not None and newest.attempt < number:
                assert self.commits[newest] < at
        # And what counts is not lost: the last one to begin goes on from its base, or from what it has saved itself.
        if fences and (base := fences[max(fences)][1]) is not None:
            assert newest is not None
            assert newest >= base
        own = [snapshot for snapshot in self.commits if snapshot.attempt == attempt]
        if own:
            assert max(own) == newest


@given(
    st.lists(st.tuples(st.sampled_from(["look", "fix", "commit", "begin"]), st.integers(0, 4)), min_size=5, max_size=40)
)
async def test_fence_holds_in_any_interleaving(steps: list[tuple[str, int]]) -> None:
    """Four attempts that do not know of each other, at any pace. One late snapshot that is restored, and hours of the
    newer attempt's work are gone."""
    model = Model()
    for act, attempt in steps:
        if act == "begin":
            await model.look(attempt)
            await model.fix(attempt)
        elif attempt or act == "commit":
            await getattr(model, act)(attempt)
        for each in range(1, 6):
            await model.check(each)
