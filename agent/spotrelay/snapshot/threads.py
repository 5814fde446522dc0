"""A few threads for blocking calls, and none of them left when the block ends, not even if it is cancelled.

asyncio.to_thread's own pool would outlive a cancelled save, with threads that still read the directory; here leaving
the block waits for the calls that have begun (each a slice at most) and drops the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Threads:
    def __init__(self, most: int, *, first: Callable[[], None] | None = None) -> None:
        """`first` is called once in each thread."""
        self._pool = ThreadPoolExecutor(most, thread_name_prefix="snapshot", initializer=first)

    async def run(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: call(*args, **kwargs))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ending = asyncio.ensure_future(asyncio.to_thread(self._pool.shutdown, cancel_futures=True))
        cancelled = None
        while not ending.done():
            try:
                await asyncio.shield(ending)
            except asyncio.CancelledError as again:  # once more, while we wait: the threads still have to end
                cancelled = again
        if cancelled is not None:
            raise cancelled
