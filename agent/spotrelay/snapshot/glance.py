"""Small files that nobody is writing, which are most: read by as few calls as there can be.

read.py wants two looks with the bytes between them. Here the walk's look is the first, where it came late enough to
show the next change (read.py, 1). So what the second one finds equal is the file that the walk saw: regular, whole,
without a hole. That makes open, read, list attributes, look, close. Whatever turns out otherwise (it has changed or
vanished, may not be read, something else has its name) is left to read.py.
"""

from __future__ import annotations

import os
from operator import attrgetter
from typing import NamedTuple

from spotrelay.snapshot import descent, scan
from spotrelay.snapshot.pack import Buffer
from spotrelay.snapshot.scan import Attributes

_looks = attrgetter("st_size", "st_mtime_ns", "st_ctime_ns", "st_ino")


class Glance(NamedTuple):
    """The file's bytes are in the buffer from `at` on."""

    status: os.stat_result
    attributes: Attributes
    at: int


def at(directory: int, name: str, seen: os.stat_result, buffer: Buffer) -> Glance | None:
    """`directory`: a descriptor of it. `seen`: what the walk saw. None: nothing is known, and nothing in the buffer."""
    if seen.st_size > buffer.left:
        return None
    try:
        file = os.open(name, descent.READ, dir_fd=directory)
    except OSError:
        return None
    begin = buffer.filled
    try:
        buffer.read(file, 0, seen.st_size)
        attributes = scan.xattrs(file)
        status = os.fstat(file)
    except OSError:
        pass
    else:
        if _looks(status) == _looks(seen) and buffer.filled - begin == seen.st_size:
            return Glance(status, attributes, begin)
    finally:
        os.close(file)
    buffer.rewind(begin)
    return None
