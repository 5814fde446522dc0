"""Memory that is used again is never somebody's."""

from __future__ import annotations

from bench.s3 import memory
from bench.s3.storage import Object

MIB = 1 << 20


def test_what_is_referred_to_is_not_given_again() -> None:
    """Not while a slice of a slice lives. Otherwise one object's bytes become another's."""
    first = memory.room(4 * MIB)
    first[:] = b"1" * len(first)
    slices = list(Object([first]).slices(3 * MIB, 3 * MIB + 5))
    del first
    second = memory.room(4 * MIB)
    second[:] = b"2" * len(second)

    assert [b"11111"] == [bytes(each) for each in slices]
    assert {ord("2")} == set(second[-MIB:])


def test_what_nobody_refers_to_is_used_again() -> None:
    """For a body of about its size, and whole. Otherwise each upload pays for touching new pages."""
    memory.trim(0)
    kept = memory.room(6 * MIB)
    again = memory.room(5 * MIB)
    before = len(memory._mappings)
    del again
    other = memory.room(6 * MIB - 1)

    assert (2, 2) == (before, len(memory._mappings))
    assert (6 * MIB, 6 * MIB - 1) == (len(kept), len(other))


def test_trimming_leaves_what_is_in_use() -> None:
    memory.trim(0)
    kept = memory.room(3 * MIB)
    memory.room(3 * MIB)
    memory.trim(1 << 40)
    assert 2 == len(memory._mappings)
    memory.trim(0)

    assert 1 == len(memory._mappings)
    assert 3 * MIB == len(kept)
