"""Files that vanish, grow, shrink or change under the reader, at exactly the worst moment or all the time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from spotrelay.core.keys import SnapshotId
from spotrelay.core.manifest import Skipped
from spotrelay.snapshot import Snapshots, descent, read, scan
from spotrelay.snapshot.exclude import Exclusions
from spotrelay.snapshot.scan import Listing
from support.stores import FIRST, SECOND
from support.tree import differences, same_as, tree

Make = Callable[..., Snapshots]
MIB = 1 << 20


@pytest.fixture
def before_open(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """Calls `change` once, after the walk has seen everything and before the first file is opened."""
    original = os.open

    def inject(change: Callable[[], Any]) -> None:
        left, one_at_a_time = [change], threading.Lock()

        def open_file(path: Any, flags: int, *arguments: Any, **named: Any) -> int:
            if flags == descent.READ:
                with one_at_a_time:  # files are read in several threads: none is opened while the change is made
                    while left:
                        left.pop()()
            return original(path, flags, *arguments, **named)

        monkeypatch.setattr(os, "open", open_file)

    return inject


sizes = pytest.mark.parametrize("size", [1000, 3 * MIB], ids=["small", "large"])
# A small file that was settled when the walk saw it is read in another way (glance.py).
ages = pytest.mark.parametrize("age", [0.0, 3 * read.TICK_S], ids=["just written", "settled"])


@ages
@sizes
async def test_a_change_while_reading_is_read_again(
    size: int, age: float, snapshots: Make, here: Path, there: Path, while_read: Any
) -> None:
    """A file that changes under the first read is read once more. Otherwise half of one checkpoint and half of the
    next are restored as one."""
    tree({"f": b"a" * size}).write(here)
    await asyncio.sleep(age)
    while_read(lambda: (here / "f").write_bytes(b"b" * size), 1)

    saved = await snapshots(here).save(FIRST)
    await snapshots(there).restore(FIRST)

    assert ((), ()) == (saved.kept, saved.torn)
    assert b"b" * size == (there / "f").read_bytes()


@sizes
async def test_always_changing_keeps_the_last_consistent_version(
    size: int, snapshots: Make, here: Path, there: Path, while_read: Any
) -> None:
    """If no read is consistent, the snapshot has the version of the one before, and says so. Otherwise torn bytes
    replace good ones."""
    tree({"f": b"a" * size}).write(here)
    one = snapshots(here)
    await one.save(FIRST)
    (here / "f").write_bytes(b"b" * size)
    counter = iter(range(1000))
    while_read(lambda: (here / "f").write_bytes(b"%d" % next(counter) * size), 1000)

    saved = await one.save(SECOND)
    await snapshots(there).restore(SECOND)

    assert ((Path("f"),), ()) == (saved.kept, saved.torn)
    assert b"a" * size == (there / "f").read_bytes()


async def test_what_was_kept_is_read_again_next_time(snapshots: Make, here: Path, there: Path, while_read: Any) -> None:
    """A kept version lasts until the file holds still. Otherwise it is the last one for ever."""
    tree({"f": b"a"}).write(here)
    one = snapshots(here)
    await one.save(FIRST)
    (here / "f").write_bytes(b"b")
    while_read(lambda: (here / "f").write_bytes(b"c"), 1 + read.READS)
    await one.save(SECOND)

    saved = await one.save(SnapshotId(1, 2))
    await snapshots(there).restore(SnapshotId(1, 2))

    assert () == saved.kept
    assert b"c" == (there / "f").read_bytes()


@ages
@sizes
async def test_torn_without_an_earlier_version_is_said(
    size: int, age: float, snapshots: Make, here: Path, there: Path, while_read: Any
) -> None:
    """With nothing to fall back on the bytes are kept as read and the manifest calls them torn (P8)."""
    tree({"f": b"a" * size}).write(here)
    await asyncio.sleep(age)
    while_read(lambda: (here / "f").write_bytes(os.urandom(size)), 1000)

    saved = await snapshots(here).save(FIRST)
    await snapshots(there).restore(FIRST)

    assert ((), (Path("f"),)) == (saved.kept, saved.torn)
    assert size == (there / "f").stat().st_size


@sizes
@pytest.mark.parametrize("factor", [0.0, 0.5, 2.0, 3000.0])
async def test_growing_and_shrinking_under_the_read(
    *, size: int, factor: float, snapshots: Make, here: Path, there: Path, while_read: Any
) -> None:
    """A file that is longer or shorter than it was when found, or no longer small, comes back as it was at its end."""
    tree({"f": b"a" * size, "g": b"another"}).write(here)
    while_read(lambda: os.truncate(here / "f", min(int(size * factor), 4 * MIB)), 1)

    await snapshots(here).save(FIRST)
    await snapshots(there).restore(FIRST)

    assert [] == differences(here, there)


@sizes
async def test_vanishing_after_the_walk(size: int, snapshots: Make, here: Path, there: Path, before_open: Any) -> None:
    """A file that is deleted before it is read is simply not there. Otherwise a command that cleans up fails saves."""
    tree({"f": b"a" * size, "kept": b"1", "d/": {"g": b"b" * size}}).write(here)
    before_open(lambda: ((here / "f").unlink(), (here / "d/g").unlink(), (here / "d").rmdir()))

    saved = await snapshots(here).save(FIRST)
    await snapshots(there).restore(FIRST)

    assert {b"", b"kept", b"d"} == {e.path for e in (await snapshots(here).read_manifest(FIRST)).entries}
    assert 1 == saved.files


async def test_the_first_name_vanishes_the_second_inherits(
    snapshots: Make, here: Path, there: Path, before_open: Any
) -> None:
    """A file whose first name is deleted before it is read lives on in its other names. Otherwise the manifest points
    to a file that it does not hold."""
    tree({"a": b"x", "b": same_as("a"), "c": same_as("a"), "d": same_as("a")}).write(here)
    before_open(lambda: ((here / "a").unlink(), (here / "b").unlink()))

    await snapshots(here).save(FIRST)
    await snapshots(there).restore(FIRST)

    assert {"c", "d"} == {path.name for path in there.iterdir()}
    assert b"x" == (there / "c").read_bytes()
    assert (there / "c").stat().st_ino == (there / "d").stat().st_ino


async def test_a_directory_vanishes_during_the_walk(
    snapshots: Make, here: Path, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the listing and the look a directory may go."""
    tree({"d/": {"f": b"1"}, "e": b"2"}).write(here)
    original = scan.listed

    def listed(file: int, path: str, exclude: Exclusions) -> Listing:
        found = original(file, path, exclude)
        if not path and (here / "d").exists():
            (here / "d/f").unlink()
            (here / "d").rmdir()
        return found

    monkeypatch.setattr(scan, "listed", listed)

    await snapshots(here).save(FIRST)
    await snapshots(there).restore(FIRST)

    assert ["e"] == [path.name for path in there.iterdir()]


@pytest.mark.parametrize("other", ["pipe", "link", "directory", "socket"])
async def test_a_file_becomes_something_else(
    other: str, snapshots: Make, here: Path, before_open: Any, tmp_path: Path
) -> None:
    """What took a file's place since the walk is neither followed nor waited for. Otherwise a symlink swapped in at
    the right moment puts /etc/shadow into the bucket, and a FIFO stops the save until the deadline."""
    tree({"f": b"1", "g": b"2"}).write(here)
    (tmp_path / "secret").write_bytes(b"secret")
    makers = {
        "pipe": os.mkfifo,
        "link": lambda path: path.symlink_to(tmp_path / "secret"),
        "directory": lambda path: path.mkdir(),
        "socket": lambda path: os.mknod(path, stat.S_IFSOCK | 0o600),
    }
    before_open(lambda: ((here / "f").unlink(), makers[other](here / "f")))

    async with asyncio.timeout(60):
        await snapshots(here).save(FIRST)

    assert {b"", b"g"} == {e.path for e in (await snapshots(here).read_manifest(FIRST)).entries}


async def test_a_real_writer_never_leaves_a_mixture_unsaid(snapshots: Make, here: Path, tmp_path: Path) -> None:
    """With a writer that rewrites a file all the time, each snapshot holds one of its versions, or says that it does
    not. Otherwise weights of two steps are mixed."""
    tree({"f": bytes(200_000)}).write(here)
    one = snapshots(here)
    await one.save(FIRST)
    with _writer(here / "f"):
        for number in range(1, 9):
            saved = await one.save(SnapshotId(1, number))
            there = tmp_path / f"there{number}"
            await snapshots(there).restore(SnapshotId(1, number))

            assert () == saved.torn
            assert 1 == len(set((there / "f").read_bytes()))


@contextlib.contextmanager
def _writer(path: Path) -> Iterator[None]:
    """Rewrites the file in two halves, over and over, resting now and then for as long as a read takes."""
    stop = threading.Event()

    def write() -> None:
        value = 0
        while not stop.is_set():
            value += 1
            with path.open("r+b") as file:
                file.write(bytes([value % 256]) * 100_000)
                file.flush()
                file.write(bytes([value % 256]) * 100_000)
            # The pause is the race: every third version is left alone for longer than a tick.
            stop.wait(0.05 if value % 3 == 0 else 0.001)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


async def test_unreadable_files_are_named(snapshots: Make, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that may not be read is skipped with its reason; everything else is saved. Otherwise one stray file of
    root's loses the run."""
    tree({"mine": b"1", "theirs": b"2"}).write(here)
    original = os.open

    def open_file(path: Any, *arguments: Any, **named: Any) -> int:
        if os.fsencode(path) == b"theirs":
            raise PermissionError(13, "Permission denied")
        return original(path, *arguments, **named)

    monkeypatch.setattr(os, "open", open_file)

    saved = await snapshots(here).save(FIRST)

    assert (Skipped(b"theirs", "unreadable: Permission denied"),) == saved.skipped
    assert 1 == saved.files


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
async def test_unreadable_for_real(snapshots: Make, here: Path) -> None:
    """As above, with a mode of 000 on a file and on a directory."""
    tree({"f": b"1", "d/": {"g": b"2"}}).write(here)
    (here / "f").chmod(0)
    (here / "d").chmod(0)

    saved = await snapshots(here).save(FIRST)
    (here / "d").chmod(0o700)

    assert [b"d", b"f"] == [entry.path for entry in saved.skipped]


async def test_a_change_that_only_ctime_shows(snapshots: Make, here: Path, there: Path) -> None:
    """Same size, same time of change put back: the inode's own clock still tells. Otherwise `cp -p` over a checkpoint
    goes unnoticed."""
    tree({"f": b"old"}).write(here)
    one = snapshots(here)
    await one.save(FIRST)
    before = (here / "f").stat()
    (here / "f").write_bytes(b"new")
    os.utime(here / "f", ns=(before.st_mtime_ns, before.st_mtime_ns))

    await one.save(SECOND)
    await snapshots(there).restore(SECOND)

    assert b"new" == (there / "f").read_bytes()


def test_nothing_is_read_within_a_tick_of_its_last_change(tmp_path: Path) -> None:
    """The kernel's clock has moved on when the status is taken, so the next change gets another time. Otherwise a
    change in the same tick looks like none, on kernels that stamp by the tick."""
    path = tmp_path / "f"
    for _ in range(5):
        path.write_bytes(b"1")
        file = os.open(path, os.O_RDONLY)
        try:
            status = read.settled(file)
            # A millisecond for what floats lose of seconds since 1970.
            assert time.time() - status.st_ctime_ns / 1e9 >= read.TICK_S - 0.001
        finally:
            os.close(file)


async def test_one_tick_is_enough_to_see_a_change(snapshots: Make, here: Path, there: Path) -> None:
    """A file rewritten at the same size right after a save is seen as changed, though the kernel's clock ticks only
    every few milliseconds. Otherwise a fast loop's last step is lost now and then."""
    tree({"f": b"0000"}).write(here)
    one = snapshots(here)
    for number in range(20):
        (here / "f").write_bytes(b"%04d" % number)
        await one.save(SnapshotId(1, number))
    await snapshots(there).restore(SnapshotId(1, 19))

    assert b"0019" == (there / "f").read_bytes()
