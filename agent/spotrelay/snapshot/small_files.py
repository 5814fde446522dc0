"""Small files, many to a pack: read in one worker thread, sealed when all are, sent if the store does not have it.

A tree of 20,000 small files is 20,000 times the calls for one, so these are few: a file that nobody is writing is read
by a glance (glance.py), and only what turns out otherwise as read.py has it. Rows come last, for the pack's name is the
hash of all that is in it.

A log grows from look to look, and must not keep a save from being of one moment (still.py): so it is remembered what
files that are written now held, and one that has only grown since stays as it was.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import NamedTuple

from spotrelay.core import manifest
from spotrelay.snapshot import glance, read, scan
from spotrelay.snapshot.descent import Descent
from spotrelay.snapshot.glance import Glance
from spotrelay.snapshot.index import Stamp
from spotrelay.snapshot.lane import Lane
from spotrelay.snapshot.outcome import Outcome, as_it_was, outcome_of, places_of, unreadable
from spotrelay.snapshot.pack import SMALL, Buffer, Packed
from spotrelay.snapshot.read import Piece, Prefix
from spotrelay.snapshot.scan import Attributes
from spotrelay.snapshot.send import Sending
from spotrelay.snapshot.survey import Wanted
from spotrelay.snapshot.threads import Threads
from spotrelay.snapshot.turns import Turns

# A file that was written so short a time before a save may be a log. Of so many, the first that are met, it is
# remembered what they held: 100 bytes each, and a second hash.
YOUNG_S = 60.0
MOST_HELD = 1_000

# What came of a file: its row, its stamp, its size, as in Outcome. From any thread.
Settle = Callable[[Wanted, bytes, Stamp | None, int], None]


class Outgrown(NamedTuple):
    """It was small when it was found, or there is no room left for it in the pack."""


class SmallFiles:
    """`held`: what small files that are written now held when they were read last; by path, of this save and earlier
    ones. `again`: this is not the save's first look, and a file that has only grown since stays as it was. Raises
    StoreError and OSError."""

    def __init__(
        self,
        root: int,
        sending: Sending,
        turns: Turns,
        threads: Threads,
        lane: Lane,
        held: dict[bytes, Prefix],
        *,
        again: bool,
    ) -> None:
        self._root, self._sending, self._turns, self._threads, self._lane = root, sending, turns, threads, lane
        self._held, self._again = held, again
        self._began, self._remembered = time.time(), 0

    async def save(self, files: list[Wanted], settle: Settle) -> list[Wanted]:
        """Within a turn, which the caller has taken and this gives back. What has outgrown being small comes back."""
        try:
            await self._sending.spend(sum(wanted.size for wanted in files))
            buffer, readings = await self._lane.run(self._read, files)
            packed = await self._threads.run(self._settle, files, readings, buffer, settle)
            if packed is not None:
                await self._sending.send(packed)
            self._sending.take_back(buffer)
        finally:
            self._turns.end()
        return [wanted for wanted, reading in zip(files, readings, strict=True) if isinstance(reading, Outgrown)]

    # --- in a worker thread ------------------------------------------------------------------------------------------

    def _read(self, files: list[Wanted]) -> tuple[Buffer, list[_Came]]:
        """One pack of many files."""
        buffer = self._sending.buffer()
        with Descent(self._root) as down:
            return buffer, [self._glance(down, each, buffer) or self._one(down, each, buffer) for each in files]

    def _settle(self, files: list[Wanted], came: list[_Came], buffer: Buffer, settle: Settle) -> Packed | None:
        """Rows are made when all are read, for the pack's name is the hash of all."""
        packed, number = self._sending.seal(buffer)
        for wanted, reading in zip(files, came, strict=True):
            match reading:
                case Glance():
                    settle(wanted, *_seen(wanted, reading, number))
                case _Small(before, after, pieces, attributes):
                    settle(wanted, *outcome_of(wanted, before, after, attributes, places_of(pieces, number)))
                case Outcome():
                    settle(wanted, *reading)
        return packed

    def _glance(self, down: Descent, wanted: Wanted, buffer: Buffer) -> Glance | None:
        if wanted.seen is None or self._again:
            return None
        try:
            directory = down.directory(os.fsencode(wanted.draft.path))
        except OSError:
            return None
        got = glance.at(directory, wanted.name, wanted.seen, buffer)
        if got is not None and (self._held or self._is_young(got.status)):
            self._remember(wanted, got.status, [Piece(0, got.at, got.status.st_size)], buffer, got.at)
        return got

    def _one(self, down: Descent, wanted: Wanted, buffer: Buffer) -> Outcome | Outgrown | _Small:
        at, known = buffer.filled, self._held.get(wanted.path)
        try:
            file = read.open_file(down, wanted.path)
            if file is None:
                return Outcome(b"")
            try:
                reading = read.whole(file, SMALL, buffer, known if wanted.last else read.NOTHING)
                attributes = scan.xattrs(file)
            finally:
                os.close(file)
        except OSError as error:
            return unreadable(wanted, error)
        if reading is None:
            return Outgrown()
        was_whole = wanted.last and not manifest.has_state(wanted.last)
        if self._again and was_whole and read.begins(known, reading.pieces, buffer, at):
            buffer.rewind(at)
            return as_it_was(wanted)
        consistent = scan.stamp(reading.before) == scan.stamp(reading.after)
        if consistent or not wanted.last:  # or it is kept, and holds what it held
            self._remember(wanted, reading.after if consistent else None, reading.pieces, buffer, at)
        return _Small(*reading, attributes)

    def _remember(
        self, wanted: Wanted, status: os.stat_result | None, pieces: list[Piece], buffer: Buffer, at: int
    ) -> None:
        """What the row says that the file holds, if it will probably grow. `status`: if that was consistent."""
        self._held.pop(path := wanted.path, None)
        if status is None or not self._is_young(status) or self._remembered >= MOST_HELD:
            return
        if (prefix := read.prefix_of(pieces, buffer, at)) is not None:
            self._held[path] = prefix
            self._remembered += 1
            if len(self._held) > MOST_HELD:
                self._held.pop(next(iter(self._held)), None)

    def _is_young(self, status: os.stat_result) -> bool:
        return self._began - status.st_mtime < YOUNG_S


class _Small(NamedTuple):
    before: os.stat_result
    after: os.stat_result
    pieces: list[Piece]
    attributes: Attributes


_Came = Outcome | Outgrown | Glance | _Small


def _seen(wanted: Wanted, got: Glance, number: int) -> Outcome:
    """What a glance has shown, of one moment."""
    path, size = scan.join(wanted.draft.path, wanted.name), got.status.st_size
    places = [(0, number, got.at, size)] if size else []
    row = manifest.file_row(path, scan.meta(got.status, got.attributes), size, places, linked=wanted.linked)
    return Outcome(row, scan.stamp(got.status), size)
