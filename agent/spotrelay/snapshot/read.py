"""Read a file so that its bytes were together in it at one moment, though somebody may be writing it.

1. Settle. A stamp (size, mtime, ctime, inode) tells a later change only if the kernel's clock has moved on since the
   last one: two writes within one tick leave the same times. So nothing is read within a tick of its last change.
2. Read what lies between two looks at the stamp. Equal stamps: nothing happened meanwhile.
3. Otherwise again, READS times in all. Then the caller takes the last consistent version, or calls it torn.
4. A file that only grows under each read is as it was at the read before: that its new content begins with the old one
   proves it. Also with the last consistent version, if there is one: a file that is written anew grows, too.

One change leaves no trace for a while: a store through mmap into a page that is dirty already. It shows once the kernel
has written the page back, or at the latest in the next save after that.
"""

from __future__ import annotations

import heapq
import os
import stat
import time
from typing import NamedTuple

from spotrelay.snapshot import descent
from spotrelay.snapshot.descent import Descent
from spotrelay.snapshot.pack import Buffer
from spotrelay.snapshot.scan import gone, stamp

# A file that changes under three reads is being written all the time; a fourth would only cost seconds of the two
# minutes.
READS = 3
# The kernel stamps files with its tick, 10 ms at CONFIG_HZ=100 (1 to 4 ms elsewhere): twice that.
TICK_S = 0.02
# Of one file. Each is an extent: 30 bytes in the manifest, and 300 in memory while the file is read. Where there are
# more, the smallest holes are read as the zeros that they are: without any, a file may find no room on the disk that it
# came from.
MOST_SEGMENTS = 100_000


class Piece(NamedTuple):
    """`length` bytes from `offset` on are in the buffer from `at` on; between pieces are holes."""

    offset: int
    at: int
    length: int


class Prefix(NamedTuple):
    """What a file was known to hold: `size` bytes without a hole, and their hash."""

    size: int
    digest: str


NOTHING = Prefix(0, "")


class Reading(NamedTuple):
    """What was read between two looks at the file; they differ if it is torn."""

    before: os.stat_result
    after: os.stat_result
    pieces: list[Piece]


def open_file(down: Descent, path: bytes) -> int | None:
    """A descriptor for reading; None if there is no regular file any more. Raises PermissionError."""
    try:
        file = down.open(path, descent.READ)
    except OSError as error:
        if not gone(error):
            raise
        return None
    if stat.S_ISREG(os.fstat(file).st_mode):
        return file
    os.close(file)
    return None


def settled(file: int) -> os.stat_result:
    """Its status, once that is old enough to show the next change."""
    status = os.fstat(file)
    age = time.time() - status.st_ctime_ns / 1e9
    if 0 <= age < TICK_S:  # a time in the future is a clock that was set: no wait would end it
        time.sleep(TICK_S - age)
        status = os.fstat(file)
    return status


def segments(file: int, status: os.stat_result) -> list[tuple[int, int]]:
    """(offset, length) of what is data, in order."""
    size = status.st_size
    if status.st_blocks * 512 >= size:  # no room for a hole
        return [(0, size)] if size else []
    found: list[tuple[int, int]] = []
    end = 0
    while True:
        try:
            start = os.lseek(file, end, os.SEEK_DATA)
        except OSError:  # ENXIO: only a hole follows
            break
        end = min(os.lseek(file, start, os.SEEK_HOLE), size)
        if start >= size:
            break
        found.append((start, end - start))
        if len(found) >= 2 * MOST_SEGMENTS:
            found = _over_small_holes(found)
    return _over_small_holes(found)


def _over_small_holes(found: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """No more of them than there may be."""
    if len(found) <= MOST_SEGMENTS:
        return found

    def hole_after(number: int) -> int:
        return found[number + 1][0] - sum(found[number])

    stay = sorted(heapq.nlargest(MOST_SEGMENTS - 1, range(len(found) - 1), key=hole_after))
    firsts, lasts = [0, *(number + 1 for number in stay)], [*stay, len(found) - 1]
    return [(found[a][0], sum(found[b]) - found[a][0]) for a, b in zip(firsts, lasts, strict=True)]


def windows(found: list[tuple[int, int]], slice_size: int) -> list[list[tuple[int, int]]]:
    """The segments, cut at multiples of `slice_size` and gathered by slice. So a change in place touches one slice,
    and the islands of a sparse file share one.
    """
    gathered: dict[int, list[tuple[int, int]]] = {}
    for start, length in found:
        at, end = start, start + length
        while at < end:
            number = at // slice_size
            cut = min(end, (number + 1) * slice_size)
            gathered.setdefault(number, []).append((at, cut - at))
            at = cut
    return list(gathered.values())


def pieces(file: int, wanted: list[tuple[int, int]], buffer: Buffer) -> list[Piece]:
    """What is there of it, into the buffer: a file that shrank has less."""
    found = []
    for offset, length in wanted:
        at = buffer.filled
        if got := buffer.read(file, offset, length):
            found.append(Piece(offset, at, got))
    return found


def whole(file: int, smaller_than: int, buffer: Buffer, known: Prefix | None = None) -> Reading | None:
    """The file's content; None if it has outgrown `smaller_than` bytes, or what is left of the buffer. `known`: a file
    that begins with this may grow."""
    at, reading, held = buffer.filled, None, None
    for _ in range(READS):
        earlier, before_that = reading, held
        buffer.rewind(at)
        before = settled(file)
        if before.st_size >= min(smaller_than, buffer.left + 1):
            return None
        found = pieces(file, segments(file, before), buffer)
        reading = Reading(before, os.fstat(file), found)
        if stamp(reading.before) == stamp(reading.after):
            return reading
        held = prefix_of(found, buffer, at) if begins(known, found, buffer, at) else None
        if held is not None and held.size != before.st_size:  # it shrank
            held = None
    assert reading is not None
    if earlier is None or before_that is None or not begins(before_that, reading.pieces, buffer, at):
        return reading
    buffer.rewind(at + before_that.size)
    return Reading(earlier.before, earlier.before, earlier.pieces)


def prefix_of(found: list[Piece], buffer: Buffer, at: int) -> Prefix | None:
    """What was read from `at` on; None if there are holes in it."""
    dense = not found or (len(found) == 1 and not found[0].offset)
    return Prefix(buffer.filled - at, buffer.digest(at, buffer.filled)) if dense else None


def begins(known: Prefix | None, found: list[Piece], buffer: Buffer, at: int) -> bool:
    """Whether what was read begins with `known`."""
    if known is None or not known.size:
        return known is not None
    long_enough = bool(found) and not found[0].offset and found[0].length >= known.size
    return long_enough and buffer.digest(at, at + known.size) == known.digest
