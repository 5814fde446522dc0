"""The workloads, their changes, and the comparison that every row rests on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import workloads
from bench.changes import changed
from bench.compare import differences, hashes
from bench.unchanged import many

SIZES = workloads.Sizes().smaller(256)


def both(folder: Path) -> Path:
    workloads.large(folder / "large", SIZES)
    workloads.small(folder / "small", SIZES)
    return folder


def copy(tree: Path, target: Path) -> Path:
    os.spawnlp(os.P_WAIT, "cp", "cp", "-a", str(tree), str(target))
    return target


def test_workloads_are_the_same_each_time(tmp_path: Path) -> None:
    """Two runs of the bench move the same bytes."""
    one, other = both(tmp_path / "one"), both(tmp_path / "other")

    assert [] == differences(one, other, faithful=False)
    assert (3, 2 << 20) == (len(list((one / "large").iterdir())), (one / "large" / "weights-0.bin").stat().st_size)
    assert 20_000 // 256 == sum(path.is_file() for path in (one / "small").rglob("*"))
    assert {1 << 10 <= path.stat().st_size < 32 << 10 for path in (one / "small").rglob("*.dat")} == {True}


@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (lambda tree: (tree / "small" / "part-000" / "record-00000.dat").unlink(), "is missing"),
        (lambda tree: (tree / "more").write_bytes(b""), "was not there before"),
        (lambda tree: os.truncate(tree / "large" / "weights-1.bin", 5), "has other bytes"),
        (lambda tree: flip(tree / "large" / "weights-2.bin"), "has other bytes"),
        (lambda tree: (tree / "large" / "weights-0.bin").chmod(0o600), "has another mode or time"),
        (lambda tree: os.utime(tree / "large" / "weights-0.bin", ns=(0, 1)), "has another mode or time"),
    ],
)
def test_each_difference_is_found(tmp_path: Path, harm: Callable[[Path], None], expected: str) -> None:
    """One missing name, one byte of two million, one mode. Otherwise a wrong copy is a fast one."""
    tree = both(tmp_path / "tree")
    harmed = copy(tree, tmp_path / "harmed")
    assert [] == differences(tree, harmed, faithful=True)
    harm(harmed)
    (found,) = differences(tree, harmed, faithful=True)

    assert found.endswith(expected)
    assert ("mode" in expected) == (not differences(tree, harmed, faithful=False))


def flip(path: Path) -> None:
    """Its last byte; the modification time stays."""
    before, data = path.stat(), bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_change_is_what_it_says_and_is_undone(tmp_path: Path) -> None:
    """Every contender meets the same change of the same tree. Otherwise the second one has less to do."""
    tree = both(tmp_path / "tree")
    before, aside = copy(tree, tmp_path / "before"), tmp_path / "aside"
    aside.mkdir()
    inodes = {path: path.stat().st_ino for path in tree.rglob("*")}
    old = hashes(tree)
    with changed(tree, aside, touched=7) as new:
        now = hashes(tree)
        sizes = {name: (tree / name).stat().st_size - (before / name).stat().st_size for name in now}

    different = {name for name in old if old[name] != now[name]}
    assert 2 + 7 == len(different)
    assert {"large/weights-0.bin", "large/weights-1.bin"} < different
    assert {"large/weights-1.bin": 1 << 20} == {name: size for name, size in sizes.items() if size}
    small = sum((tree / name).stat().st_size for name in different if name.startswith("small/"))
    assert (2 << 20) + (1 << 20) + small == new
    assert [] == differences(before, tree, faithful=True)
    assert inodes == {path: path.stat().st_ino for path in tree.rglob("*")}


@pytest.mark.parametrize("entries", [1, 200, 201, 202, 1000])
def test_so_many_entries_are_made(tmp_path: Path, entries: int) -> None:
    """Files and directories, to the last one: bytes an entry are divided by it."""
    assert entries == many(tmp_path / "tree", entries)
    assert entries == sum(1 for _ in (tmp_path / "tree").rglob("*"))


def test_a_tree_that_fits_nowhere_in_memory_goes_to_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the bench says so, as figures of a disk are others; afterwards nothing is left."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with workloads.room(1 << 60) as (folder, words):
        assert tmp_path == folder.parent
        assert "on disk" in words

    assert [] == list(tmp_path.iterdir())
