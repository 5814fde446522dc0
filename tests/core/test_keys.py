"""Names of objects: what sorts as text sorts as numbers, and what a name says can be read back from it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotrelay.core import keys
from spotrelay.core.keys import Member, SnapshotId

NAMES = st.from_regex(keys.RUN_NAME, fullmatch=True)
ATTEMPTS = st.integers(0, keys.LAST_ATTEMPT)
SNAPSHOTS = st.builds(SnapshotId, ATTEMPTS, st.integers(0, keys.LAST_SNAPSHOT))
STEPS = st.integers(0, 9_999)


@given(NAMES, st.lists(SNAPSHOTS, max_size=20))
def test_manifests_list_in_the_order_they_were_made(name: str, snapshots: list[SnapshotId]) -> None:
    """The newest is the last of a listing. Otherwise snapshot 10 is older than snapshot 9."""
    listing = sorted(keys.snapshot(name, snapshot) for snapshot in snapshots)

    assert [keys.snapshot(name, snapshot) for snapshot in sorted(snapshots)] == listing


@given(NAMES, st.lists(st.tuples(ATTEMPTS, STEPS)))
def test_launches_list_in_the_order_of_their_steps(name: str, steps: list[tuple[int, int]]) -> None:
    seats = [keys.seat(Member(name, *step)) for step in sorted(steps)]

    assert sorted(seats) == seats


@given(NAMES, st.lists(SNAPSHOTS, unique=True))
def test_a_listing_reads_back_as_its_snapshots(name: str, snapshots: list[SnapshotId]) -> None:
    listing = [keys.snapshot(name, snapshot) for snapshot in snapshots]

    assert sorted(snapshots) == keys.snapshots_among(listing)


@pytest.mark.parametrize(
    "stray",
    [
        "",
        "00001-0000001.json.zst.bak",
        "00001-0000001.json.zst#123",
        "00001-0000001",
        "1-1.json.zst",
        "notes.txt",
        "٠٠٠٠١-٠٠٠٠٠٠١.json.zst",
        "00001-0000001.json.zst\n",
    ],
)
def test_stray_object_among_the_manifests_is_passed_over(stray: str) -> None:
    """Somebody's note in the bucket, or the console's folder marker, must not keep a run from its snapshots; and what
    only resembles a manifest's name must not be taken for the newest one."""
    good = keys.snapshot("r", SnapshotId(1, 0))

    assert [SnapshotId(1, 0)] == keys.snapshots_among([good, keys.snapshots("r") + stray])


@given(SNAPSHOTS)
def test_snapshot_s_word_is_read_back(snapshot: SnapshotId) -> None:
    assert snapshot == SnapshotId.parse(str(snapshot))


@pytest.mark.parametrize(
    "text", ["", "1", "1-", "-1", "1-2-3", "a-b", "1-2\n", " 1-2", "123456-1", "1-12345678", "١-٢"]
)
def test_what_is_no_snapshot_s_word_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a snapshot"):
        SnapshotId.parse(text)


@given(NAMES, st.integers(1, keys.LAST_ATTEMPT), st.integers(0, 10**9 - 1))
def test_member_s_word_is_read_back(name: str, attempt: int, step: int) -> None:
    member = Member(name, attempt, step)

    assert member == Member.parse(str(member))


@pytest.mark.parametrize("text", ["", "r", "r/1", "r/0/0", "r/1/0/0", "R/1/0", "../1/0", "r/1/-1", "r/1/0\n", "r/1/٢"])
def test_what_is_no_member_s_word_is_refused(text: str) -> None:
    """It becomes part of keys."""
    with pytest.raises(ValueError, match="member"):
        Member.parse(text)


@given(NAMES, NAMES, ATTEMPTS)
def test_no_run_s_objects_lie_in_another_s(one: str, other: str, attempt: int) -> None:
    """`a` is no prefix of `a-1`. Otherwise the hunt, or the snapshots, of one run are taken for another's."""
    if one == other:
        return
    own = [keys.spec(one), keys.claim(one, attempt), keys.snapshot(one, SnapshotId(1, 1)), keys.pack(one, "0" * 64)]

    assert not [key for key in own if key.startswith(keys.run(other))]
    assert not keys.seat(Member(one, attempt, 0)).startswith(keys.launches(other, attempt))


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a_b", "a.b", "a/b", "..", "a\n", "ü", "a" * 41])
def test_what_cannot_be_a_run_s_name(name: str) -> None:
    """A name becomes part of keys, paths and tags."""
    assert not keys.RUN_NAME.fullmatch(name)
