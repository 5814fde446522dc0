"""Many small waits at once: a few threads for what a launcher reads and writes.

A decision takes about ten calls to the store, each some ten milliseconds of waiting and one of work. Ten requests of a
batch one after the other would be a second; side by side they are a tenth of that. Two crews are needed where one
kind of work waits for the other: a task never waits for its own crew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Crew(Protocol):
    def map(self, work: Callable[[T], R], items: Iterable[T]) -> Sequence[R]:
        """The results in order. Raises what the first of them raised, when all have ended."""
        ...


class Threads:
    def __init__(self, size: int) -> None:
        self._pool = ThreadPoolExecutor(size, thread_name_prefix="launcher")

    def map(self, work: Callable[[T], R], items: Iterable[T]) -> Sequence[R]:
        futures = [self._pool.submit(work, item) for item in items]
        for future in futures:
            future.exception()
        return [future.result() for future in futures]


class Alone:
    """One after the other: for a test that counts calls."""

    def map(self, work: Callable[[T], R], items: Iterable[T]) -> Sequence[R]:
        return [work(item) for item in items]
