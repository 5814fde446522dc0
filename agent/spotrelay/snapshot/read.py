"""Read a file so that its bytes were together in it at one moment, though somebody may be writing it.

1. Settle. A stamp (size, mtime, ctime, inode) tells a later change only if the kernel's clock has moved on since the
   last one: two writes within one tick leave the same times. So nothing is read within a tick of its last change.
2. Read what lies between two looks at the stamp. Equal stamps: nothing happened meanwhile.
3. Otherwise again, READS times in all. Then the caller takes the last consistent version, or calls it torn.

One change leaves no trace for a while: a store through mmap into a page that is dirty already. It shows once the kernel
has written the page back, or at the latest in the next save after that.
"""

from __future__ import annotations

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
# More data segments than this are read as if there were no holes, whose zeros compress to nothing: an extent each
# would make the manifest longer than the file.
MOST_SEGMENTS = 10_000


class Piece(NamedTuple):
    """`length` bytes from `offset` on are in the buffer from `at` on; between pieces are holes."""

    offset: int
    at: int
    length: int


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
    while len(found) <= MOST_SEGMENTS:
        try:
            start = os.lseek(file, end, os.SEEK_DATA)
        except OSError:  # ENXIO: only a hole follows
            return found
        end = min(os.lseek(file, start, os.SEEK_HOLE), size)
        if start >= size:
            return found
        found.append((start, end - start))
    return [(0, size)]


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


def whole(file: int, smaller_than: int, buffer: Buffer) -> Reading | None:
    """The file's content; None if it has outgrown `smaller_than` bytes, or what is left of the buffer."""
    at = buffer.filled
    for _ in range(READS):
        buffer.rewind(at)
        before = settled(file)
        if before.st_size >= min(smaller_than, buffer.left + 1):
            return None
        found = pieces(file, segments(file, before), buffer)
        after = os.fstat(file)
        if stamp(before) == stamp(after):
            break
    return Reading(before, after, found)
