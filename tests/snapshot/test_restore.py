"""A restore makes the directory what the snapshot holds, in place, or fails and says so."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from spotrelay.core import keys
from spotrelay.core.errors import RestoreFailed, StoreUnavailable
from spotrelay.core.manifest import Extent
from spotrelay.ports import Store
from spotrelay.snapshot import Progress, Snapshots, restore
from support import stores
from support.stores import FIRST, RUN
from support.tree import differences, dressed, link, looks, tree

Make = Callable[..., Snapshots]
MIB = 1 << 20


async def test_what_was_there_is_gone(snapshots: Make, here: Path, there: Path) -> None:
    """What another attempt left is removed, whatever kind it has, without following its links. Otherwise stale files
    mix with the snapshot's, or a link empties a directory elsewhere."""
    outside = tree({"precious": b"1"}).write(there.parent / "outside")
    tree({"new": b"1", "swap": b"file"}).write(here)
    tree({"old": b"2", "swap/": {"deep/": {"f": b"3"}}, "out": link(outside), "new": link(outside / "precious")}).write(
        there
    )
    await snapshots(here).save(FIRST)

    await snapshots(there).restore(FIRST)

    assert [] == differences(here, there)
    assert b"1" == (outside / "precious").read_bytes()


async def test_read_only_directories_are_no_obstacle(snapshots: Make, here: Path, there: Path) -> None:
    """What an earlier restore has made read-only is emptied by the next one, root or not."""
    tree({"d/": dressed({"f": b"1", "e/": dressed({"g": b"2"}, mode=0o500)}, mode=0o500)}).write(here)
    await snapshots(here).save(FIRST)

    for _ in range(2):
        await snapshots(there).restore(FIRST)

    assert [] == differences(here, there)


async def test_the_directory_is_rebuilt_in_place(snapshots: Make, here: Path, there: Path) -> None:
    """The directory itself is never replaced: it may be a mount point, and somebody may stand in it."""
    await snapshots(tree({"f": b"1"}).write(here)).save(FIRST)
    inode = tree({"old": b"1"}).write(there).stat().st_ino

    await snapshots(there).restore(FIRST)

    assert inode == there.stat().st_ino


async def test_excluded_paths_survive(snapshots: Make, here: Path, there: Path) -> None:
    """What is excluded is not ours to delete, nor to write, even if an older snapshot has it."""
    tree({"f": b"1", "cache/": {"theirs": b"old"}, "d/": {"keep.log": b"old"}}).write(here)
    await snapshots(here).save(FIRST)
    tree({"gone": b"1", "cache/": {"mine": b"2"}, "d/": {"keep.log": b"3", "gone": b"4"}, "e/": {"x.log": b"5"}}).write(
        there
    )

    restored = await snapshots(there, exclude=["cache/", "*.log"]).restore(FIRST)

    assert [b"cache", b"d/keep.log"] == [entry.path for entry in restored.skipped]
    assert {"f": None, "cache": ["mine"], "d": ["keep.log"], "e": ["x.log"]} == {
        path.name: [inner.name for inner in path.iterdir()] if path.is_dir() else None for path in there.iterdir()
    }
    assert (b"3", b"2") == ((there / "d/keep.log").read_bytes(), (there / "cache/mine").read_bytes())


async def test_a_missing_directory_is_made(snapshots: Make, here: Path, there: Path) -> None:
    """A fresh machine has no directory yet."""
    await snapshots(tree({"f": b"1"}).write(here)).save(FIRST)

    restored = await snapshots(there / "some/where").restore(FIRST)

    assert (1, 1) == (restored.files, restored.bytes)
    assert [] == differences(here, there / "some/where")


async def test_no_such_snapshot(snapshots: Make, there: Path) -> None:
    """Without a manifest nothing is touched."""
    tree({"f": b"mine"}).write(there)
    before = looks(there)

    with pytest.raises(RestoreFailed, match="there is no such object"):
        await snapshots(there).restore(FIRST)

    assert before == looks(there)


async def test_a_missing_pack_is_found_before_anything_is_touched(
    store: Store, snapshots: Make, here: Path, there: Path
) -> None:
    """The manifest's packs are looked for first. Otherwise a directory is emptied for a snapshot that cannot be had."""
    await snapshots(tree({"f": b"1"}).write(here)).save(FIRST)
    [pack] = await store.list(keys.packs(RUN))
    await store.delete(pack)
    before = looks(tree({"mine": b"1"}).write(there))

    with pytest.raises(RestoreFailed, match="1 of its 1 packs are missing"):
        await snapshots(there).restore(FIRST)

    assert before == looks(there)


async def test_a_store_that_fails_midway(store: Store, snapshots: Make, here: Path, there: Path) -> None:
    """An unfinished restore raises, the store is as it was, and the next one succeeds. Otherwise the command starts in
    half a directory, or a passing fault ends the run."""
    await snapshots(tree({str(n): os.urandom(2 * MIB) for n in range(4)}).write(here)).save(FIRST)
    before = await stores.everything(store)
    down = stores.failing(
        store,
        StoreUnavailable("503"),
        when=lambda method, key: key.startswith(keys.packs(RUN)) and method.startswith("get"),
    )

    with pytest.raises(StoreUnavailable, match="503"):  # unchanged: whoever sees it can wait and try again
        await snapshots(there, store=down).restore(FIRST)

    assert before == await stores.everything(store)
    await snapshots(there).restore(FIRST)
    assert [] == differences(here, there)


async def test_a_snapshot_that_can_never_fit(
    snapshots: Make, here: Path, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More data than the file system has room for in all is refused while the directory is still as it was."""
    await snapshots(tree({"f": b"12"}).write(here)).save(FIRST)
    before = looks(tree({"mine": b"1"}).write(there))
    small = os.statvfs_result((1, 1, 1, 1, 1, 1, 1, 1, 1, 255))
    monkeypatch.setattr(os, "fstatvfs", lambda _: small)

    with pytest.raises(RestoreFailed, match="has 2 bytes, the whole file system 1"):
        await snapshots(there).restore(FIRST)

    assert before == looks(there)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
async def test_a_full_disk(snapshots: Make, here: Path, there: Path) -> None:
    """A disk that fills up under the restore is a RestoreFailed with a next step. Otherwise the command starts."""
    tree({str(n): os.urandom(MIB) for n in range(3)}).write(here)
    await snapshots(here).save(FIRST)
    there.mkdir()
    mount = await asyncio.create_subprocess_exec("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", there)
    assert 0 == await mount.wait()
    try:
        (there / "keep.me").write_bytes(bytes(2 * MIB))
        with pytest.raises(RestoreFailed, match=r"No space left.*more disk"):
            await snapshots(there, exclude=["keep.me"]).restore(FIRST)
    finally:
        assert 0 == await (await asyncio.create_subprocess_exec("umount", there)).wait()


async def test_without_root_files_become_the_restorers_own(
    snapshots: Make, here: Path, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may not give files away restores what becomes theirs, and set-id bits do not come along when the owner is
    another. Otherwise a user's pull makes a set-uid program of a stranger's file."""
    monkeypatch.setattr(restore, "PRIVILEGED", False)
    tree({"f": b"1"}).write(here)
    if os.geteuid() == 0:
        os.chown(here / "f", 1234, 1234)
    (here / "f").chmod(0o4755)

    await snapshots(here).save(FIRST)
    await snapshots(there).restore(FIRST)

    assert os.geteuid() == (there / "f").stat().st_uid
    assert (0o755 if os.geteuid() == 0 else 0o4755) == (there / "f").stat().st_mode & 0o7777


async def test_progress_reaches_its_total(snapshots: Make, here: Path, there: Path) -> None:
    """The total is known from the first report on, and reached by the last."""
    await snapshots(tree({str(n): os.urandom(2 * MIB) for n in range(4)}).write(here)).save(FIRST)
    told: list[Progress] = []

    await snapshots(there).restore(FIRST, progress=told.append)

    assert {8 * MIB} == {p.total for p in told}
    assert 8 * MIB == told[-1].bytes


def test_neighbours_among_the_packs_belong_to_different_files() -> None:
    """Each pack once, the longest files first. Otherwise all threads of a restore wait for the lock of one
    file after the other."""

    def places(*paths: bytes) -> restore.Places:
        return [(path, Extent(0, f"{number}", 0, 1)) for number, path in enumerate(paths)]

    parts = {"a": places(b"1"), "b": places(b"2"), "c": places(b"2"), "d": places(b"1", b"3"), "e": places(b"2")}

    assert ["b", "a", "c", "d", "e"] == list(restore._side_by_side(parts))
    many = {f"{number}": places(b"%d" % (number // 2)) for number in range(20)}
    assert sorted(many) == sorted(restore._side_by_side(many))
