"""What came of a file that was to be read: its row in the manifest, and the stamp that the next save knows it by.

A row never promises more than was seen. A file has a stamp only if its bytes were there at one moment. One that changed
under every read is kept as it was last known to be whole, or, if it never was, called torn; one that may not be read is
skipped and said so. None of these has a stamp: the next save looks at it again.
"""

from __future__ import annotations

import errno
import os
from typing import NamedTuple

from spotrelay.core import manifest
from spotrelay.core.manifest import Skipped
from spotrelay.snapshot import scan
from spotrelay.snapshot.index import Place, Stamp
from spotrelay.snapshot.read import Piece
from spotrelay.snapshot.scan import Attributes
from spotrelay.snapshot.survey import Wanted


class Outcome(NamedTuple):
    """A row, or none when the file is gone. `stamp`: None unless the row is of one moment. `size`: -1 if the row is not
    a file's.
    """

    row: bytes
    stamp: Stamp | None = None
    size: int = -1


def outcome_of(
    wanted: Wanted,
    before: os.stat_result,
    after: os.stat_result,
    attributes: Attributes,
    places: list[Place],
) -> Outcome:
    """Of one moment if nothing happened between the two looks; otherwise what was before, and if there is nothing,
    torn, as long as the bytes that were got.
    """
    stamp, size, state = scan.stamp(after), after.st_size, ""
    if scan.stamp(before) != stamp:
        if wanted.last:
            return kept(wanted)
        size = max(size, places[-1][0] + places[-1][3] if places else 0)
        state = "torn"
    path, meta = os.fsdecode(wanted.path), scan.meta(after, attributes)
    row = manifest.file_row(path, meta, size, places, state, linked=wanted.linked)
    return Outcome(row, None if state else stamp, size)


def kept(wanted: Wanted) -> Outcome:
    """Its last consistent version."""
    return Outcome(manifest.kept(wanted.last, linked=wanted.linked), None, manifest.size_of(wanted.last))


def as_it_was(wanted: Wanted) -> Outcome:
    """What it had is still there: at this moment, too."""
    return Outcome(wanted.last, None, manifest.size_of(wanted.last))


def unreadable(wanted: Wanted, error: OSError) -> Outcome:
    """One file that may not or cannot be read is said, not fatal. Anything else (no descriptors left) is."""
    if error.errno not in (errno.EACCES, errno.EPERM, errno.EIO):
        raise error
    return Outcome(manifest.row(Skipped(wanted.path, f"unreadable: {error.strerror}"), {}))


def places_of(pieces: list[Piece], number: int) -> list[Place]:
    """Where pieces of a file are, in the pack of that number."""
    return [(offset, number, at, length) for offset, at, length in pieces]
