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
SLICES = 6


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


def open_files() -> list[str]:
    """Of this process, by name; with what the kernel says of one that has none left."""
    return [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]


async def test_what_was_replaced_is_not_read_to_its_end(snapshots: Make, here: Path, there: Path) -> None:
    """The new file is read in its place, and the old one let go. Otherwise each checkpoint that the command writes
    beside a gentle save takes its room twice, for as long as a save takes, and is read and sent for nobody."""
    here.mkdir()
    checkpoint(here, b"a")
    held = list[str]()

    def replace(number: int) -> None:
        if number == 2:
            checkpoint(here, b"b", 1)
            held.extend(path for path in open_files() if path.startswith(str(here / "f")))

    pace = Stepwise(replace)

    one_at_a_time = 2 * SLICE >> 20

    saved = await snapshots(here, memory_mib=one_at_a_time).save(FIRST, pace=pace)
    await snapshots(there).restore(FIRST)

    read, under_way, paid_for, of_the_second = 1, 1, 1, 1
    assert len(pace.pieces) <= read + under_way + paid_for + of_the_second < SLICES
    assert [] == held
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
