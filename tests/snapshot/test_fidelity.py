"""restore(save(tree)) == tree, for every tree that a file system can hold."""

# ruff: noqa: PTH101, PTH113, PTH114, PTH115, PTH123, PTH208 - names of any bytes, which pathlib does not have
from __future__ import annotations

import asyncio
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotrelay.core.keys import SnapshotId
from spotrelay.core.manifest import Skipped
from spotrelay.snapshot import Snapshots, read
from support import stores
from support.stores import FIRST, RUN, SECOND
from support.tree import differences, dressed, link, looks, pipe, same_as, sparse, tree

Make = Callable[..., Snapshots]

MIB = 1 << 20

# --- any tree --------------------------------------------------------------------------------------------------------

names = st.one_of(
    st.sampled_from([b"a", b"b", b"model", b"-", b"#1", b"a b", b"\xff\xfe", b"new\nline", b"\xc3\xa9", b"..."]),
    st.binary(min_size=1, max_size=40).map(lambda raw: raw.replace(b"/", b"_").replace(b"\0", b"_")),
    st.integers(1, 255).map(lambda length: b"n" * length),
).filter(lambda name: name not in (b".", b".."))
modes = st.integers(0, 0o777)
# Times that ext4, xfs and tmpfs can all keep.
times = st.integers(-(2**31) * 10**9, 2**33 * 10**9)
attributes = st.dictionaries(st.sampled_from([b"user.a", b"user.\xff"]), st.binary(max_size=50), max_size=2)
targets = st.sampled_from([b".", b"..", b"a", b"/etc/passwd", b"nowhere/\xff", b"a/b/" * 50])
contents = st.one_of(
    st.binary(max_size=200),
    st.just(b""),
    st.integers(1, 3 * MIB).map(lambda size: b"\x01\x02" * (size // 2)),
    st.builds(
        lambda at, data: sparse(at + len(data) + 70_000, (at, data)), st.integers(0, 3 * MIB), st.binary(max_size=99)
    ),
)
leaves = st.one_of(
    st.builds(lambda what, mode, mtime, xattrs: dressed(what, mode=mode, mtime=mtime, xattrs=xattrs),
              contents, modes, times, attributes),
    st.builds(lambda target, mtime: dressed(link(target), mtime=mtime), targets, times),
    st.builds(lambda mode, mtime: dressed(pipe(), mode=mode, mtime=mtime), modes, times),
)  # fmt: skip
directories = st.recursive(
    st.dictionaries(names, leaves, max_size=4),
    lambda below: st.dictionaries(
        names,
        leaves
        | st.builds(
            # u+rwx, or who is not root could neither save it nor look at the result.
            lambda what, mode, mtime, xattrs: dressed(what, mode=mode | 0o700, mtime=mtime, xattrs=xattrs),
            below, modes, times, attributes,
        ),
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(literal=directories, changed=directories)
async def test_restore_undoes_save(literal: dict[bytes, Any], changed: dict[bytes, Any]) -> None:
    """Whatever the tree, a restore brings it back, on a fresh machine and over what another attempt left. Otherwise a
    command meets a directory on its second machine that it has never seen."""
    with tempfile.TemporaryDirectory() as base:
        store = stores.memory()
        here, there = tree(literal).write(Path(base, "here")), tree(changed).write(Path(base, "there"))
        # Not root cannot save what it cannot read: that is another promise.
        await asyncio.to_thread(_readable, here)
        before = looks(here)

        saved = await Snapshots(store, RUN, here).save(FIRST)
        await Snapshots(store, RUN, there).restore(FIRST)

        assert [] == differences(here, there)
        assert before == looks(here)
        assert ((), (), ()) == (saved.kept, saved.torn, saved.skipped)


def _readable(root: Path) -> None:
    if os.geteuid() == 0:
        return
    for directory, _, files in os.walk(os.fsencode(root)):
        for name in files:
            path = directory + b"/" + name
            if not os.path.islink(path):
                os.chmod(path, os.lstat(path).st_mode | 0o400)


@settings(max_examples=25, deadline=None)
@given(chain=st.lists(directories, min_size=2, max_size=4))
async def test_incremental_chains_lose_nothing(chain: list[dict[bytes, Any]]) -> None:
    """Save, change, save, …: the last snapshot alone restores the last state. Otherwise what the index believes to be
    unchanged comes back from an older day."""
    with tempfile.TemporaryDirectory() as base:
        store, here = stores.memory(), Path(base, "here")
        one = Snapshots(store, RUN, here)
        for number, literal in enumerate(chain):
            if here.exists() and number % 2:
                await asyncio.to_thread(_rewrite_in_place, here)
            else:
                shutil.rmtree(here, ignore_errors=True)
                tree(literal).write(here)
                await asyncio.to_thread(_readable, here)
            await one.save(SnapshotId(1, number))

        await Snapshots(store, RUN, Path(base, "there")).restore(SnapshotId(1, len(chain) - 1))

        assert [] == differences(here, Path(base, "there"))


def _rewrite_in_place(root: Path) -> None:
    """Same size, same time of change: only ctime tells."""
    for directory, _, files in os.walk(os.fsencode(root)):
        for name in sorted(files):
            path = directory + b"/" + name
            status = os.lstat(path)
            if os.path.isfile(path) and not os.path.islink(path) and 0 < status.st_size < 1000:
                os.chmod(path, 0o600)
                with open(path, "r+b") as file:
                    file.write(b"!")
                os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))


# --- what a generator seldom finds -----------------------------------------------------------------------------------


async def test_hard_links_stay_one_file(snapshots: Make, here: Path, there: Path) -> None:
    """Names of one file are names of one file again, across directories, for small and large ones. Otherwise a write
    through one name no longer shows under the other."""
    big = os.urandom(2 * MIB)
    tree({"a/": {"one": b"x", "big": big}, "b/": {"two": same_as("a/one"), "big": same_as("a/big")}}).write(here)

    saved = await snapshots(here).save(FIRST)
    await snapshots(there).restore(FIRST)

    assert [] == differences(here, there)
    assert (there / "a/one").stat().st_ino == (there / "b/two").stat().st_ino
    assert 2 == saved.files


PLACES = ["a", "b/one", "b/deep/one", "b/deep/two", "b/z", "c"]
relinks = st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(PLACES)), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(chain=st.lists(relinks, min_size=1, max_size=3))
async def test_names_of_one_file_in_any_place(chain: list[list[tuple[str, str]]]) -> None:
    """Whichever of a file's names lies higher, comes first, or is new: every save restores. Otherwise `latest` beside
    the folder that it belongs to makes a snapshot that looks good, and that no machine can restore."""
    with tempfile.TemporaryDirectory() as base:
        store, here = stores.memory(), Path(base, "here")
        one = Snapshots(store, RUN, here)
        tree({"a": b"1", "b/": {"one": b"2", "deep/": {"one": b"3", "two": b"4"}, "z": b"5"}, "c": b"6"}).write(here)
        for number, pairs in enumerate(chain):
            for name, other in pairs:
                if name != other:
                    (here / name).unlink()
                    (here / name).hardlink_to(here / other)
            await one.save(SnapshotId(1, number))
            there = Path(base, f"there-{number}")
            await Snapshots(store, RUN, there).restore(SnapshotId(1, number))

            assert [] == differences(here, there)


async def test_a_file_of_several_names_is_read_once(
    snapshots: Make, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the walk meets a name that is not the first in path order. Otherwise each save reads a checkpoint of
    many gigabytes again, because `latest` is another name of it."""
    tree({"b/": {"one": b"x" * 100}, "latest": same_as("b/one")}).write(here)
    one, opened = snapshots(here), list[Any]()
    await asyncio.sleep(2 * read.TICK_S)  # younger than a tick of its clock, a file may change and look the same
    await one.save(FIRST)
    open_file = os.open
    monkeypatch.setattr(os, "open", lambda path, *how, **named: opened.append(path) or open_file(path, *how, **named))
    await one.save(SECOND)

    assert [here, "b"] == opened


async def test_links_never_leave_the_tree_in_a_save(snapshots: Make, here: Path, there: Path, tmp_path: Path) -> None:
    """Symlinks are kept, not followed: to nowhere, to themselves, to the outside. Otherwise /etc is in the bucket."""
    tree({"secret": b"not ours"}).write(tmp_path / "outside")
    tree({
        "out": link(tmp_path / "outside"), "loop": link("loop"), "none": link("nowhere"), "up": link(".."),
        "d/": {"self": link("../d")},
    }).write(here)  # fmt: skip

    await snapshots(here).save(FIRST)
    await snapshots(there).restore(FIRST)

    assert [] == differences(here, there)
    assert os.fspath(tmp_path / "outside") == os.readlink(there / "out")


async def test_holes_stay_holes(snapshots: Make, here: Path, there: Path) -> None:
    """A sparse file takes the blocks of its data only, on the wire and on the disk. Otherwise a 3 GiB memory map with
    a few pages in it costs 3 GiB of the two minutes."""
    size = 3 << 30
    tree({"map": sparse(size, (0, b"head"), (size // 2, b"middle" * 1000), (size - 5, b"tail\n"))}).write(here)

    saved = await snapshots(here).save(FIRST)
    await snapshots(there).restore(FIRST)

    assert [] == differences(here, there)
    assert size == saved.bytes == (there / "map").stat().st_size
    assert saved.new_bytes < 100_000
    assert (there / "map").stat().st_blocks * 512 < 100_000


async def test_more_holes_than_are_kept_lose_the_smallest(
    snapshots: Make, here: Path, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of more islands than there may be extents keeps its largest holes, and every byte. Otherwise a disk image
    of 100 GiB with some in it comes back as 100 GiB, to a disk that has no room for it."""
    monkeypatch.setattr(read, "MOST_SEGMENTS", 4)
    near = [(at << 20, b"near") for at in range(1, 20)]
    far = [(at << 30, b"far") for at in range(1, 4)]
    tree({"image": sparse(4 << 30, *near, *far)}).write(here)

    await snapshots(here).save(FIRST)
    await snapshots(there).restore(FIRST)

    kept = (there / "image").stat()
    assert (4 << 30, True) == (kept.st_size, kept.st_blocks * 512 < 32 * MIB)
    with (there / "image").open("rb") as file:
        assert 4 == len(read.segments(file.fileno(), kept))
        assert [data for _, data in near + far] == [os.pread(file.fileno(), len(data), at) for at, data in near + far]


async def test_a_file_that_is_one_hole(snapshots: Make, here: Path, there: Path) -> None:
    """No data at all is no reason to lose the size. Otherwise a preallocated file is empty after a hand-over."""
    tree({"hole": sparse(5 * MIB), "small": sparse(5000)}).write(here)

    await snapshots(here).save(FIRST)
    await snapshots(there).restore(FIRST)

    assert [] == differences(here, there)


@pytest.mark.slow
async def test_three_real_gibibytes(tmp_path: Path) -> None:
    """Beyond what 32 bits count, every byte comes back. Otherwise the weights that matter are those that break."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    await asyncio.to_thread(_write_blocks, here / "weights", 3 << 10)

    store = stores.in_folder(tmp_path / "store")
    saved = await Snapshots(store, RUN, here).save(FIRST)
    await Snapshots(store, RUN, there).restore(FIRST)

    assert 3 << 30 == saved.bytes
    same = await asyncio.create_subprocess_exec("cmp", here / "weights", there / "weights")
    assert 0 == await same.wait()


def _write_blocks(path: Path, count: int) -> None:
    block = os.urandom(MIB)
    with path.open("wb") as file:
        for number in range(count):
            file.write(number.to_bytes(8, "big") + block[8:])


async def test_the_directory_itself_is_kept(snapshots: Make, here: Path, there: Path) -> None:
    """Mode, time and attributes of the execution directory are part of it; an empty one is a tree, too."""
    tree({}).write(here)
    os.setxattr(here, "user.run", b"demo")
    here.chmod(0o750)
    os.utime(here, ns=(10**18 + 7, 10**18 + 7))

    await snapshots(here).save(FIRST)
    await snapshots(there).restore(FIRST)

    assert [] == differences(here, there)


async def test_what_cannot_be_kept_is_named(snapshots: Make, here: Path, there: Path) -> None:
    """A socket is not in the snapshot, and the save says so. Otherwise it is lost and nobody knows (P8)."""
    tree({"kept": b"1"}).write(here)
    before = Path.cwd()
    os.chdir(here)  # a socket's path is 108 bytes at most
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("sock")
    finally:
        os.chdir(before)

    saved = await snapshots(here).save(FIRST)
    await snapshots(there).restore(FIRST)

    assert (Skipped(b"sock", "a socket"),) == saved.skipped
    assert ["kept"] == os.listdir(there)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
async def test_devices_are_named_not_read(snapshots: Make, here: Path) -> None:
    """A device is skipped with its reason. Otherwise a save reads /dev/zero until the deadline."""
    tree({}).write(here)
    os.mknod(here / "zero", 0o20600, os.makedev(1, 5))

    saved = await snapshots(here).save(FIRST)

    assert (Skipped(b"zero", "a device"),) == saved.skipped


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
async def test_root_gives_files_back_to_their_owners(snapshots: Make, here: Path, there: Path) -> None:
    """Owner and set-id bits survive when root restores. Otherwise the run's user cannot write its own checkpoint."""
    tree({"d/": {"f": b"1"}, "l": link("d")}).write(here)
    for path in (here, here / "d", here / "d/f", here / "l"):
        os.chown(path, 1234, 4321, follow_symlinks=False)
    (here / "d/f").chmod(0o6751)

    await snapshots(here).save(FIRST)
    await snapshots(there).restore(FIRST)

    assert [] == differences(here, there)
    assert (1234, 4321) == ((there / "d/f").stat().st_uid, (there / "l").lstat().st_gid)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
async def test_everything_can_become_one_owner_s(snapshots: Make, here: Path, there: Path) -> None:
    """Whole trees of another computer: large files, small ones, links, pipes, and nobody's set-id bits; and what is
    saved next is what lies there. Otherwise the run's user meets files of a stranger's number."""
    large = os.urandom(2 * MIB)
    tree({"d/": {"f": b"1", "pipe": pipe()}, "large": large, "l": link("d"), "empty": b""}).write(here)
    os.chown(here / "d/f", 1234, 4321)
    (here / "d/f").chmod(0o6751)
    await snapshots(here).save(FIRST)
    one = snapshots(there)
    await one.restore(FIRST, owner=(2345, 5432))
    saved = await one.save(SECOND)
    await snapshots(here).restore(SECOND)

    assert {(2345, 5432)} == {
        (path.lstat().st_uid, path.lstat().st_gid) for path in (there, *there.rglob("*"), here, *here.rglob("*"))
    }
    assert 0o751 == stat.S_IMODE((there / "d/f").stat().st_mode)
    assert (0, large) == (saved.new_bytes, (here / "large").read_bytes())


async def test_a_second_save_sends_only_a_manifest(snapshots: Make, here: Path) -> None:
    """Nothing changed, nothing sent. Otherwise the last save of two minutes begins from zero."""
    tree({"small": b"1", "large": os.urandom(2 * MIB), "d/": {"e": b""}}).write(here)
    one = snapshots(here)
    first = await one.save(FIRST)

    second = await one.save(SECOND)

    assert (2, 0, 0) == (first.packs, second.packs, second.new_bytes)
    assert (first.files, first.bytes) == (second.files, second.bytes)


async def test_after_a_restore_the_next_save_is_incremental(snapshots: Make, here: Path, there: Path) -> None:
    """What came from the store is not sent back to it. Otherwise each attempt pays for the whole directory once."""
    tree({"small": b"1", "large": os.urandom(2 * MIB), "l": link("small")}).write(here)
    await snapshots(here).save(FIRST)
    successor = snapshots(there)
    await successor.restore(FIRST)
    (there / "small").write_bytes(b"2")

    saved = await successor.save(SECOND)

    assert (1, 1) == (saved.packs, saved.new_bytes)
