"""Checkpoints that are renamed over one another while a slow save has them open."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from spotrelay.core.keys import SnapshotId
from spotrelay.snapshot import Snapshots
from spotrelay.snapshot.pack import SLICE
from support.stores import FIRST
from support.tree import tree

Make = Callable[..., Snapshots]
SECOND = SnapshotId(1, 1)
SLICES = 3


class Stepwise:
    """A pace.Pace at which something happens before each piece; `pieces`: how many bytes each has."""

    def __init__(self, happens: Callable[[int], None]) -> None:
        self.pieces: list[int] = []
        self._happens = happens

    async def spend(self, nbytes: int) -> None:
        self.pieces.append(nbytes)
        self._happens(len(self.pieces))

    async def rest(self, seconds: float) -> None: ...

    def lower(self) -> None: ...


def checkpoint(directory: Path, fill: bytes, slices: int = SLICES) -> None:
    """As a training job writes it."""
    (directory / "tmp").write_bytes(fill * (slices * SLICE))
    (directory / "tmp").rename(directory / "f")


async def test_what_was_replaced_is_not_read_to_its_end(snapshots: Make, here: Path, there: Path) -> None:
    """The new file is read in its place, and the old one let go. Otherwise each checkpoint that the command writes
    beside a gentle save takes its room twice, for as long as a save takes, and is read and sent for nobody."""
    here.mkdir()
    checkpoint(here, b"a")
    pace = Stepwise(lambda number: checkpoint(here, b"b", 1) if number == 2 else None)

    saved = await snapshots(here).save(FIRST, pace=pace)
    await snapshots(there).restore(FIRST)

    read_of_the_first, given_up, read_of_the_second = [SLICE] * 3
    assert [read_of_the_first, given_up, read_of_the_second] == pace.pieces
    assert ((), ()) == (saved.kept, saved.torn)
    assert b"b" * SLICE == (there / "f").read_bytes()


async def test_what_is_replaced_at_every_read_is_kept(snapshots: Make, here: Path, there: Path) -> None:
    """Its version of before, and the manifest says so. Otherwise it is one that was read in part."""
    tree({"f": b"a" * SLICE}).write(here)
    snapshotter = snapshots(here)
    await snapshotter.save(FIRST)
    checkpoint(here, b"b")

    saved = await snapshotter.save(SECOND, pace=Stepwise(lambda number: checkpoint(here, bytes([number]))))
    await snapshots(there).restore(SECOND)

    assert ((Path("f"),), ()) == (saved.kept, saved.torn)
    assert b"a" * SLICE == (there / "f").read_bytes()


async def test_what_is_replaced_at_every_read_and_new_is_torn(snapshots: Make, here: Path, there: Path) -> None:
    """With nothing to fall back on it is read to its end. Otherwise the snapshot lacks bytes that were there."""
    here.mkdir()
    checkpoint(here, b"a")

    saved = await snapshots(here).save(FIRST, pace=Stepwise(lambda number: checkpoint(here, bytes([number]))))
    await snapshots(there).restore(FIRST)

    assert ((), (Path("f"),)) == (saved.kept, saved.torn)
    assert SLICES * SLICE == (there / "f").stat().st_size
