"""What we know without reading: directories as they were at the last save or restore, and packs that the store has.

It lives in memory. An agent that starts anew restores first, and a restore fills it; where the directory is still on
its disk, the packs of the newest snapshot are known and no file is.

A million files have to fit beside a command that wants the memory for itself. So there are no objects for files: a
`Block` has all of one directory's entries in four values, whose rows are ready to be written into the next manifest.
About 200 bytes an entry (measured with a million: 205), and what is unchanged is compared a directory at a time.
A `Draft` is a block in the making.

A save that is cut off (a notice, a deadline, a store that fails) leaves what it had found in `left` and `begun`, and
the next one takes it up, so that nothing is read twice. Believed is a row whose every pack the store has confirmed. Not
one that was settled because its pack was on its way: two files hold the same bytes, the first is still being sent, the
second relies on it, and then nobody sends any more.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate, chain, count
from typing import NamedTuple

from spotrelay.core import manifest
from spotrelay.core.manifest import Pack

FILE, DIRECTORY = b'{"kind":"file"', b'{"kind":"directory"'


class Stamp(NamedTuple):
    """While it stays the same, the entry does: ctime moves with content, mode, owner, links and attributes."""

    size: int
    mtime: int
    ctime: int
    inode: int


# Offset in the file, the pack's number, offset in the pack, length.
Place = tuple[int, int, int, int]

# Equal to none: to be looked at again.
NEVER = Stamp(-1, -1, -1, -1)


class Block(NamedTuple):
    """The entries of one directory, without what its directories hold."""

    names: str  # in the order of their bytes, "/" between them
    stamps: array[int]  # four numbers a name
    rows: bytes  # a line a name
    cuts: tuple[tuple[str, int], ...]  # directories, and where their rows end
    packs: tuple[int, ...]  # numbers of the packs that rows use
    files: int
    file_bytes: int
    # False if rows depend on more than their stamps: on other names of the same file, or on what could not be read.
    plain: bool = True

    def set_stamp(self, slot: int, stamp: Stamp) -> None:
        self.stamps[4 * slot : 4 * slot + 4] = array("q", stamp)

    def entries(self) -> Iterator[tuple[str, Stamp, bytes]]:
        """Name, stamp and row."""
        numbers = iter(self.stamps)
        names, rows = self.names.split("/"), self.rows.split(b"\n")  # of none, one each: there is no stamp for it
        for name, stamp, row in zip(names, map(Stamp, numbers, numbers, numbers, numbers), rows, strict=False):
            yield name, stamp, row + b"\n"


def stamps_of(stamps: Iterable[Iterable[int]]) -> array[int]:
    return array("q", chain.from_iterable(stamps))


class Draft:
    """What becomes a block once each of its names has a row or is known to have vanished."""

    def __init__(self, path: str, names: list[str]) -> None:
        self.path, self.names = path, names
        self.rows: list[bytes] = [b""] * len(names)
        self.stamps: list[Stamp] = [NEVER] * len(names)
        self.sizes: dict[int, int] = {}  # of files, by slot
        self.waiting = 0
        self.plain = True

    def enter(self, slot: int, row: bytes, stamp: Stamp | None = None, size: int = -1) -> None:
        """`size`: a file's. No `stamp`: it will be looked at again."""
        self.rows[slot] = row
        self.stamps[slot] = stamp or NEVER
        self.plain &= stamp is not None
        if size >= 0:
            self.sizes[slot] = size
        else:
            self.sizes.pop(slot, None)

    def append(self, name: str, row: bytes, size: int) -> int:
        """One more name, whose stamp is not known yet; its slot."""
        self.names.append(name)
        self.rows.append(row)
        self.stamps.append(NEVER)
        if size >= 0:
            self.sizes[len(self.rows) - 1] = size
        return len(self.rows) - 1

    def drop(self, slot: int) -> None:
        self.enter(slot, b"", NEVER)

    def close(self) -> Block:
        there = [slot for slot, row in enumerate(self.rows) if row]
        rows = b"".join(self.rows)
        return Block(
            "/".join([self.names[slot] for slot in there]),
            stamps_of([self.stamps[slot] for slot in there]),
            rows,
            tuple(self._cuts()) if DIRECTORY in rows else (),
            tuple(sorted(manifest.packs_of(rows))),
            len(self.sizes),
            sum(self.sizes.values()),
            self.plain,
        )

    def _cuts(self) -> Iterator[tuple[str, int]]:
        for slot, end in enumerate(accumulate(map(len, self.rows))):
            if self.rows[slot].startswith(DIRECTORY):
                yield self.names[slot], end


@dataclass(slots=True)
class Begun:
    """A large file that was read in part while its stamp was `stamp`: the places of the windows that were sent."""

    stamp: Stamp
    places: dict[tuple[tuple[int, int], ...], list[Place]] = field(default_factory=dict)


@dataclass(slots=True)
class Index:
    """`blocks` by path; `packs` that the store has; `numbers`: what packs are called in rows, those that are on their
    way included. `left` and `begun` (by path): what a save was at when it was cut off."""

    blocks: dict[str, Block] = field(default_factory=dict)
    packs: dict[str, Pack] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    unused: Iterator[int] = field(default_factory=count)
    left: dict[str, Block | Draft] = field(default_factory=dict)
    begun: dict[bytes, Begun] = field(default_factory=dict)

    @classmethod
    def of_packs(cls, packs: Mapping[str, Pack]) -> Index:
        """Of a store's packs, and no file."""
        return cls({}, dict(packs), {digest: number for number, digest in enumerate(packs)}, count(len(packs)))

    def number(self, digest: str) -> int:
        """The pack's number, a new one if it has none. For several threads: both calls are one step each."""
        known = self.numbers.get(digest)
        return self.numbers.setdefault(digest, next(self.unused)) if known is None else known

    def take_up(self) -> None:
        """What was left counts from now on, as far as the store has it. For a worker thread: with a million files in
        one directory, a second."""
        sure = {self.numbers[digest] for digest in self.packs}
        for path, found in self.left.items():
            if isinstance(found, Draft) or not sure.issuperset(found.packs):
                self.blocks[path] = _surely(path, found, self.blocks.get(path), sure)
            else:
                self.blocks[path] = found
        self.left = {}
        for begun in self.begun.values():
            begun.places = {
                window: places
                for window, places in begun.places.items()
                if sure.issuperset(number for _, number, _, _ in places)
            }

    def succeeded_by(self, blocks: dict[str, Block]) -> Index:
        """The index after a save: packs that no row uses may go from the store at any time, so they are forgotten."""
        used = {number for block in blocks.values() for number in block.packs}
        numbers = {digest: number for digest, number in self.numbers.items() if number in used}
        return Index(blocks, {digest: self.packs[digest] for digest in numbers}, numbers, self.unused)

    def forget(self, gone: Collection[str]) -> None:
        """Packs that the store has no longer, and with them the files that need one."""
        for digest in gone:
            self.packs.pop(digest, None)
        lost = {self.numbers.pop(digest) for digest in gone if digest in self.numbers}
        for path, block in self.blocks.items():
            if not lost.isdisjoint(block.packs):
                self.blocks[path] = _without(path, block, lost)


def _surely(path: str, found: Block | Draft, before: Block | None, sure: set[int]) -> Block:
    """The rows that the store has all packs for; in place of others those of `before`, which say what is to be kept if
    the file cannot be read."""
    if isinstance(found, Draft):
        entries = list(zip(found.names, found.stamps, found.rows, strict=True))
    else:
        entries = list(found.entries())
    old = {name: (stamp, row) for name, stamp, row in before.entries()} if before is not None else {}
    draft = Draft(path, [name for name, _, _ in entries])
    for slot, (name, new_stamp, new_row) in enumerate(entries):
        for stamp, row in ((new_stamp, new_row), old.get(name, (NEVER, b""))):
            if row and sure.issuperset(manifest.packs_of(row)):
                draft.enter(slot, row, stamp, stamp.size if row.startswith(FILE) else -1)
                break
    draft.plain = False
    return draft.close()


def _without(path: str, block: Block, lost: set[int]) -> Block:
    entries = list(block.entries())
    draft = Draft(path, [name for name, _, _ in entries])
    for slot, (_, stamp, row) in enumerate(entries):
        if lost.isdisjoint(manifest.packs_of(row)):
            draft.enter(slot, row, stamp, stamp.size if row.startswith(FILE) else -1)
    draft.plain = False
    return draft.close()
