"""Stores for tests: in memory, in a folder; one that remembers what it was asked, one that dies or refuses at a chosen
call. And the names of a run and its snapshots."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from spotrelay.aws.store import open_store
from spotrelay.core.keys import SnapshotId
from spotrelay.ports import BrowsableStore, Store

RUN = "demo"
FIRST, SECOND, THIRD = SnapshotId(1, 0), SnapshotId(1, 1), SnapshotId(2, 0)
METHODS = ("get", "get_stream", "get_range", "put", "put_stream", "create", "list", "folders", "sizes", "times")
METHODS += ("delete",)
WRITES = ("put", "put_stream", "create", "delete")


def memory() -> Store:
    return open_store("memory://")


class Recording:
    """Passes every call on. `calls`: method and first argument, in order. `before`/`after`: hooks around each call."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.calls: list[tuple[str, str]] = []
        self.before: Callable[[str, str], Awaitable[None]] | None = None
        self.after: Callable[[str, str], Awaitable[None]] | None = None

    def __getattr__(self, method: str) -> Any:
        if method not in METHODS:
            raise AttributeError(method)

        async def call(key: str, *arguments: Any) -> Any:
            self.calls.append((method, key))
            if self.before is not None:
                await self.before(method, key)
            answer = await getattr(self.store, method)(key, *arguments)
            if self.after is not None:
                await self.after(method, key)
            return answer

        return call

    def written(self) -> list[str]:
        return [key for method, key in self.calls if method in WRITES]


class Dies(BaseException):
    """As final as SIGKILL: no `except Exception` stops it."""


def dying(store: Store, at: int, *, arrived: bool) -> Recording:
    """The `at`-th call (from 0) never returns. Whether it `arrived` tells a lost answer from a lost request."""
    wrapped = Recording(store)

    async def strike(_method: str, _key: str) -> None:
        if len(wrapped.calls) > at:
            raise Dies

    if arrived:
        wrapped.after = strike
    else:
        wrapped.before = strike
    return wrapped


def failing(store: Store, error: Exception, *, when: Callable[[str, str], bool]) -> Recording:
    """Raises `error` for the calls that `when` (method, key) picks."""
    wrapped = Recording(store)

    async def refuse(method: str, key: str) -> None:
        if when(method, key):
            raise error

    wrapped.before = refuse
    return wrapped


async def everything(store: Store) -> dict[str, bytes]:
    return {key: await store.get(key) for key in await store.list("")}


def in_folder(path: Path) -> BrowsableStore:
    return open_store(path.as_uri())
