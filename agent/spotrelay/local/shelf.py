"""Rows in the order of their launch, found by what they are without looking at each of them.

With ten thousand instances a Describe call must not make ten thousand comparisons: a filter by id, by a tag's value or
by state starts from the rows that have it. And a page must begin where the last one ended, whatever came and went in
between: a position that counts rows would skip one for each that left, so it is the number of the last row shown.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Generic, Protocol, TypeVar


class Numbered(Protocol):
    @property
    def number(self) -> int:
        """Unique, and the higher the later."""
        ...


Row = TypeVar("Row", bound=Numbered)


class Shelf(Generic[Row]):
    """`identity`: the filter under which each row has a value of its own. `marks`: the other filters that find a row,
    by name, and its value under each, as they are now."""

    def __init__(self, identity: str, marks: Callable[[Row], Mapping[str, str]]) -> None:
        self._identity, self._marks = identity, marks
        self._rows: dict[int, Row] = {}
        self._numbers: list[int] = []
        self._own: dict[str, int] = {}
        self._marked: dict[str, dict[str, list[int]]] = {}

    def add(self, row: Row, value: str) -> None:
        """`value`: under `identity`."""
        self._rows[row.number] = row
        self._own[value] = row.number
        insort(self._numbers, row.number)
        self.mark(row, self._marks(row))

    def remove(self, row: Row, value: str) -> None:
        self.unmark(row, self._marks(row))
        _take_out(self._numbers, row.number)
        del self._own[value], self._rows[row.number]

    def mark(self, row: Row, marks: Mapping[str, str]) -> None:
        for name, value in marks.items():
            insort(self._marked.setdefault(name, {}).setdefault(value, []), row.number)

    def unmark(self, row: Row, marks: Mapping[str, str]) -> None:
        """For what is about to change, while it is still as it was."""
        for name, value in marks.items():
            numbers = self._marked[name][value]
            _take_out(numbers, row.number)
            if not numbers:
                del self._marked[name][value]

    def after(self, number: int, wanted: Iterable[tuple[str, Collection[str]]] = ()) -> Iterator[Row]:
        """Rows beyond `number` among which are all that match `wanted` (filter names, and exact values any of which may
        match): the fewest that marks can tell. The shelf must not change meanwhile."""
        found = min((self._found(*each) for each in wanted), key=_size, default=[self._numbers])
        # A row has one value under each name, so that no two of the lists share a number.
        tails = [islice(each, bisect_right(each, number), None) for each in found]
        return (self._rows[each] for each in (tails[0] if len(tails) == 1 else heapq.merge(*tails)))

    def _found(self, name: str, values: Collection[str]) -> list[list[int]]:
        if name == self._identity:
            return [sorted(self._own[value] for value in set(values) if value in self._own)]
        if name not in self._marked:
            # A tag that nobody has, or a filter that nothing is kept by: then the caller's own look tells.
            return [] if name.startswith("tag:") else [self._numbers]
        return [self._marked[name][value] for value in set(values) if value in self._marked[name]]


def _size(lists: list[list[int]]) -> int:
    return sum(map(len, lists))


def _take_out(numbers: list[int], number: int) -> None:
    del numbers[bisect_left(numbers, number)]
