"""Where bodies lie. The server works on the cores that are measured, so what it touches it has touched before.

First touching a GiB costs 0.1 CPU s in huge pages, 0.4 in pages of 4 KiB, 0.8 in a shared mapping; and once memory is
in pieces, a huge page may take the kernel a second of moving others about, which some contender would pay for. So large
mappings are kept and used again.
"""

from __future__ import annotations

import mmap
import sys

# Smaller ones are malloc's affair.
OWN_MAPPING = 2 << 20
KEPT = 4 << 30
_mappings: list[mmap.mmap] = []


def _references(thing: object) -> int:
    return sys.getrefcount(thing)


# What a mapping has that is in a list and in a loop, while no memoryview refers to it, nor any slice of one. The number
# differs between versions of Python. A weak reference would see the first memoryview die, but not its slices.
UNUSED = next(_references(each) for each in [object()])


def room(size: int) -> memoryview:
    """So many writable bytes, given back when nobody refers to them."""
    if size < OWN_MAPPING:
        return memoryview(bytearray(size))
    for mapping in _mappings:
        if size <= len(mapping) < 2 * size and _references(mapping) == UNUSED:
            return memoryview(mapping)[:size]
    mapping = mmap.mmap(-1, -(-size // OWN_MAPPING) * OWN_MAPPING, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    mapping.madvise(mmap.MADV_HUGEPAGE)
    _mappings.append(mapping)
    return memoryview(mapping)[:size]


def warm(size: int, each: int = 16 << 20) -> None:
    """Touch so much, for bodies of half of `each` and up to it."""
    pieces = [room(each) for _ in range(size // each)]
    for piece in pieces:
        piece[:] = bytes(len(piece))


def trim(most: int = KEPT) -> None:
    """Give back what nobody refers to, if there is more than so much in all."""
    if sum(map(len, _mappings)) > most:
        _mappings[:] = [mapping for mapping in _mappings if _references(mapping) != UNUSED]
