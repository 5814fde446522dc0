"""Saves beside a command that writes: committed is the directory at one moment, or nothing, or it says so (P4, P8)."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from spotrelay.core.keys import SnapshotId
from spotrelay.core.manifest import File
from spotrelay.snapshot import Snapshots
from spotrelay.snapshot.still import WAITS, Restless
from spotrelay.snapshot.survey import Survey
from support.stores import FIRST, SECOND
from support.tree import differences, tree

Make = Callable[..., Snapshots]
MIB = 1 << 20
SOON_S = 0.15


async def test_files_that_must_match_do(
    snapshots: Make, here: Path, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint of two files is written anew when the first one was read: both are of the same one. Otherwise the
    model of one step goes on with the optimizer of another."""
    path = tree({"model": b"1" * MIB, "optimizer": b"1" * 2 * MIB}).write(here)
    original, left = Survey.settle, iter(["the first time"])

    def settle(self: Survey, wanted: Any, *outcome: Any) -> None:
        original(self, wanted, *outcome)
        if next(left, None):
            (path / "model").write_bytes(b"2" * MIB)
            (path / "optimizer").write_bytes(b"2" * 2 * MIB)

    monkeypatch.setattr(Survey, "settle", settle)

    saved = await snapshots(here).save(FIRST, still=SOON_S)
    await snapshots(there).restore(FIRST)

    assert (3, ()) == (saved.looks, saved.moving)
    assert [] == differences(here, there)


@pytest.mark.parametrize(
    "change",
    [
        lambda here, n: (here / "f").write_bytes(b"%d" % n * 1000),
        lambda here, n: (here / f"new-{n}").touch(),
        lambda here, n: (here / "e").rename(here / "d") if n % 2 else (here / "d").rename(here / "e"),
        lambda here, n: ((here / "link").unlink(), (here / "link").symlink_to(str(n))),
        lambda here, n: ((here / "tmp").write_bytes(b"%d" % n), (here / "tmp").replace(here / "f")),
        lambda here, n: (here / f"gone-{n}").unlink(),
    ],
    ids=["rewritten", "created", "renamed", "linked", "replaced", "deleted"],
)
async def test_what_never_comes_to_rest_is_not_committed(
    change: Callable[[Path, int], Any], snapshots: Make, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever moves at every look: nothing is committed, and the snapshot before it stands (P4). Otherwise the newest
    state is one that never was."""
    tree({"f": b"1", "e/": {"g": b"1"}, "link": b"", **{f"gone-{n}": b"" for n in range(9)}}).write(here)
    one, numbers = snapshots(here), itertools.count(1)
    await one.save(FIRST)
    _before_each_look(monkeypatch, lambda: change(here, next(numbers)))

    with pytest.raises(Restless, match="moved at every look"):
        await one.save(SECOND, still=SOON_S)

    assert [FIRST] == await one.list()
    assert 1 + len(WAITS) == next(numbers) - 1


def _before_each_look(monkeypatch: pytest.MonkeyPatch, change: Callable[[], Any]) -> None:
    original = Snapshots._look

    async def look(self: Snapshots, *arguments: Any, **how: Any) -> Any:
        change()
        return await original(self, *arguments, **how)

    monkeypatch.setattr(Snapshots, "_look", look)


async def test_what_is_committed_anyway_says_so(
    snapshots: Make, here: Path, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it has to be, a file that moves is called so in the manifest, others are not, and it is restored. Otherwise
    nobody can tell the snapshot from one that is of one moment (P8)."""
    tree({"f": b"1", "g": b"1"}).write(here)
    one, numbers = snapshots(here), itertools.count(1)
    _before_each_look(monkeypatch, lambda: (here / "f").write_bytes(b"%d" % next(numbers) * 1000))

    saved = await one.save(FIRST, still=SOON_S, anyway=True)
    await snapshots(there).restore(FIRST)
    entries = (await one.read_manifest(FIRST)).entries

    assert (Path("f"),) == saved.moving
    assert {b"f": "moving", b"g": ""} == {entry.path: entry.state for entry in entries if isinstance(entry, File)}
    assert [] == differences(here, there)


async def test_what_moved_once_is_not_called_so_for_ever(
    snapshots: Make, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next save, of a directory at rest, has no word of it. Otherwise a mark says nothing."""
    tree({"f": b"1"}).write(here)
    one, numbers = snapshots(here), itertools.count(1)
    with monkeypatch.context() as patch:
        _before_each_look(patch, lambda: (here / "f").write_bytes(b"%d" % next(numbers) * 1000))
        await one.save(FIRST, still=SOON_S, anyway=True)

    saved = await one.save(SECOND, still=SOON_S)

    assert (1, ()) == (saved.looks, saved.moving)
    assert [""] == [entry.state for entry in (await one.read_manifest(SECOND)).entries if isinstance(entry, File)]


async def test_a_kept_file_is_not_of_this_moment(snapshots: Make, here: Path, while_read: Any) -> None:
    """A file that changes under every read has its version of the snapshot before: that is whole, and too old for the
    others. Otherwise rows that stay the same pass for files that do."""
    tree({"f": b"a" * 1000, "g": b"1"}).write(here)
    one = snapshots(here)
    await one.save(FIRST)
    (here / "f").write_bytes(b"b" * 1000)
    versions = itertools.count(1)
    while_read(lambda: (here / "f").write_bytes(b"%d" % next(versions) * 1000))

    with pytest.raises(Restless, match=r"\(f\)"):
        await one.save(SECOND, still=SOON_S)


async def test_nothing_new_is_one_look(snapshots: Make, here: Path) -> None:
    """Where nothing has changed, one look says so. Otherwise each save of a million files costs two."""
    one = snapshots(tree({"f": b"1", "d/": {"g": b"1"}}).write(here))
    first = await one.save(FIRST, still=SOON_S)

    second = await one.save(SECOND, still=SOON_S)

    assert (2, 1) == (first.looks, second.looks)


# --- logs ------------------------------------------------------------------------------------------------------------

sizes = pytest.mark.parametrize("size", [1000, 3 * MIB, 16 * MIB + 5], ids=["small", "large", "slices"])


@sizes
async def test_a_file_that_only_grows_does_not_move(
    size: int, snapshots: Make, here: Path, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log grows between looks: committed is what it was at one of them, with all else. Otherwise a program that logs
    is never saved while it runs."""
    tree({"log": os.urandom(size), "f": b"1"}).write(here)
    one = snapshots(here)
    _before_each_look(monkeypatch, lambda: _append(here / "log", b"one more line\n"))

    saved = await one.save(FIRST, still=SOON_S)
    await snapshots(there).restore(FIRST)

    assert (2, ()) == (saved.looks, saved.moving)
    assert (here / "log").read_bytes().removesuffix(b"one more line\n") == (there / "log").read_bytes()


@sizes
async def test_a_file_that_is_written_anew_and_longer_has_moved(
    size: int, snapshots: Make, here: Path, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Growth is when the old bytes are still there, and nothing else is. Otherwise a checkpoint that is written over
    the last one passes for a log."""
    tree({"f": os.urandom(size)}).write(here)
    one, number = snapshots(here), itertools.count(1)

    def anew() -> None:
        with (here / "f").open("r+b") as file:
            file.write(bytes([next(number)]))
            file.seek(0, os.SEEK_END)
            file.write(b"and more")

    _before_each_look(monkeypatch, anew)

    with pytest.raises(Restless):
        await one.save(FIRST, still=SOON_S)


@sizes
async def test_a_log_that_grows_under_every_read(
    size: int, snapshots: Make, here: Path, there: Path, while_read: Any
) -> None:
    """So fast that no read meets it at rest: it is what it was at one of them, neither kept nor torn. Otherwise the
    busiest log is the one that is lost."""
    begin = os.urandom(size)
    tree({"log": begin}).write(here)
    while_read(lambda: _append(here / "log", b"one more line\n"))
    one = snapshots(here)
    for number in range(3):
        saved = await one.save(SnapshotId(1, number), still=SOON_S)
        await snapshots(there).restore(SnapshotId(1, number))
        restored = (there / "log").read_bytes()

        assert ((), (), ()) == (saved.kept, saved.torn, saved.moving)
        assert (here / "log").read_bytes().startswith(restored)
        assert len(restored) > len(begin)
        begin = restored


@sizes
async def test_written_anew_and_growing_under_every_read_is_kept(
    size: int, snapshots: Make, here: Path, there: Path, while_read: Any
) -> None:
    """A file that is being written over looks like a log that is being written; the version that the last snapshot has
    tells them apart. Otherwise the beginning of a checkpoint takes the place of a whole one."""
    before = os.urandom(size)
    tree({"f": before}).write(here)
    one = snapshots(here)
    await one.save(FIRST)
    (here / "f").write_bytes(os.urandom(size))
    while_read(lambda: _append(here / "f", b"more"))
    saved = await one.save(SECOND)
    await snapshots(there).restore(SECOND)

    assert ((Path("f"),), ()) == (saved.kept, saved.torn)
    assert before == (there / "f").read_bytes()


def _append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


# --- real writers ----------------------------------------------------------------------------------------------------

# Writes a checkpoint of three files when it is told, and into its log all the time.
PROGRAM = """
import itertools, os, select, sys
log = open("log", "a")
print("ready", flush=True)
for step in itertools.count(1):
    while not select.select([sys.stdin], [], [], 0.002)[0]:
        log.write(f"step {step}\\n")
        log.flush()
    if not sys.stdin.readline():
        break
    for part, size in (("model", 250_000), ("optimizer", 3_000_000)):
        with open(part, "wb") as file:
            file.write(b"%08d" % step * size)
    with open("latest.tmp", "w") as file:
        file.write(str(step))
    os.replace("latest.tmp", "latest")
    print("done", flush=True)
"""


@contextlib.contextmanager
def program(directory: Path) -> Iterator[Callable[[], None]]:
    """A real one; called, it writes its next checkpoint."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()

        def checkpoint() -> None:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "done\n"

        yield checkpoint
        process.stdin.close()


async def test_a_real_program_is_saved_as_it_once_was(
    snapshots: Make, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program writes a checkpoint whenever the first of its files has been read, and logs all the time: each snapshot
    holds one step in all files, and its log. Otherwise what is resumed from is a state that it was never in."""
    here.mkdir()
    one, original, told = snapshots(here), Survey.settle, iter(())
    with program(here) as checkpoint:
        checkpoint()

        def settle(self: Survey, wanted: Any, *outcome: Any) -> None:
            original(self, wanted, *outcome)
            if wanted.path == b"model" and next(told, None):
                checkpoint()

        monkeypatch.setattr(Survey, "settle", settle)
        for number in range(3):
            told = iter(["once"])
            saved = await one.save(SnapshotId(1, number), still=SOON_S)
            there = tmp_path / str(number)
            await snapshots(there).restore(saved.snapshot)
            held = [(there / part).read_bytes()[:8] for part in ("model", "optimizer")]
            log = (there / "log").read_bytes()

            assert [b"%08d" % int((there / "latest").read_text())] * 2 == held
            assert () == saved.moving
            assert (here / "log").read_bytes().startswith(log)
            checkpoint()
