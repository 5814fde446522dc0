"""Is a snapshot the directory at one moment? What it takes to say so, beside a command that goes on writing.

A save reads one file now and another a minute later. Each is whole (read.py), and yet the two may never have been there
together: half of one checkpoint beside half of the next. After the command's end nobody writes. While it runs:

1. Look, read what is new, and look again. If nothing has moved between the two looks, everything that was read before
   the second was there when it began: that is the moment. A look that finds all as the last save left it is enough.
2. What has moved is read again, and looked at again: a little later, then later still (WAITS), for each time there is
   less to read. A checkpoint that is being written settles; a program that rewrites one file all the time does not.
3. A file that has only grown has not moved: what was read of it is still there, and the snapshot holds the file as it
   was at that moment or a little before. So a log never stands in the way. Grown means that its bytes begin with those
   that were read, by their hash; its size proves nothing, for a file that is written anew grows, too.
4. What never comes to rest is not committed (Restless), and tried again soon. The snapshot before it stands: it is
   older, but of one moment (P4). Only when that has happened several times in a row is it committed nevertheless, since
   a machine that dies without notice should not lose hours for the sake of a file that nobody needs; then the manifest
   calls the files that moved "moving" (P8). Who decides that is saving.py.

The definition leaves alone what the command means by its files. A moment in the middle of a checkpoint is a moment,
too: what a power failure would have left, had all been written to the disk.

No times are compared with a clock of ours, so all this holds where a file system's times are another machine's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from spotrelay.core import manifest
from spotrelay.core.errors import SnapshotError
from spotrelay.snapshot.index import FILE, Block, Draft
from spotrelay.snapshot.scan import join

# Shares of the time that there is, between looks. Most saves need the first: a look costs 2.4 s of CPU for a million
# entries, 20 ms for ten thousand.
WAITS = (0.01, 0.07, 0.13, 0.26, 0.53)
# Named in an error and in the log. The manifest names all.
NAMED = 5


class Restless(SnapshotError):
    """The directory moved at every look."""

    def __init__(self, moving: Sequence[Path]) -> None:
        named = ", ".join(map(str, moving[:NAMED])) + (", …" if len(moving) > NAMED else "")
        super().__init__(
            f"not committed: {len(moving)} paths moved at every look ({named})",
            next_step="exclude what is rewritten all the time and not needed (run.exclude)",
        )


def moved(before: Mapping[str, Block], after: Mapping[str, Block]) -> list[str]:
    """Paths that are not in both, or not as they were, in the manifest's words; and files that could not be read as
    they were at any moment."""
    found = list[str]()
    for path in before.keys() | after.keys():
        one, other = before.get(path), after.get(path)
        if one is other and (other is None or other.plain):
            continue
        old, new = dict(_rows(one)), dict(_rows(other))
        found += [
            join(path, name)
            for name in old.keys() | new.keys()
            if old.get(name) != new.get(name) or manifest.has_state(new[name])
        ]
    return sorted(found)


def _rows(block: Block | None) -> Iterator[tuple[str, bytes]]:
    return ((name, row) for name, _, row in block.entries()) if block is not None else iter(())


def marked(blocks: Mapping[str, Block], moving: Collection[str]) -> dict[str, Block]:
    """The blocks, in which files that move are called so."""
    names: dict[str, set[str]] = {}
    for path in moving:
        directory, _, name = path.rpartition("/")
        names.setdefault(directory, set()).add(name)
    return {path: _marked(path, block, names[path]) if path in names else block for path, block in blocks.items()}


def _marked(path: str, block: Block, names: Collection[str]) -> Block:
    entries = list(block.entries())
    draft = Draft(path, [name for name, _, _ in entries])
    for slot, (name, stamp, row) in enumerate(entries):
        moves = name in names and row.startswith(FILE)
        draft.enter(slot, manifest.moving(row) if moves else row, stamp, manifest.size_of(row))
    draft.plain = block.plain
    return draft.close()
