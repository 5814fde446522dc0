"""Packs on their way to the store: buffers to fill, sealed under their number, and each pack sent once.

What small files (small_files.py) and large ones (large_files.py) have in common. Memory: a buffer for each turn,
whatever the tree; those that were sent are filled again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from spotrelay.core import keys
from spotrelay.ports import Store
from spotrelay.snapshot.index import Index
from spotrelay.snapshot.pace import Pace
from spotrelay.snapshot.pack import Buffer, Packed
from spotrelay.snapshot.turns import Turns


@dataclass(slots=True)
class Tally:
    """What was sent since the last commit, by however many saves; `new_bytes` as stored."""

    packs: int = 0
    new_bytes: int = 0


class Sending:
    """`index` says which packs the store has; what is sent joins them. Raises StoreError."""

    def __init__(
        self,
        store: Store,
        run: str,
        index: Index,
        turns: Turns,
        pace: Pace | None,
        tally: Tally,
        tell: Callable[[], None],
    ) -> None:
        self._store, self._run, self._index, self._turns = store, run, index, turns
        self._pace, self._tally, self._tell = pace, tally, tell
        self._claimed: set[str] = set()
        self._buffers: list[Buffer] = []

    def buffer(self) -> Buffer:
        """Whoever fails does not give it back: the store may still be reading from it."""
        try:  # of several threads, one gets the last
            buffer = self._buffers.pop()
        except IndexError:
            return Buffer()
        buffer.rewind(0)
        return buffer

    def take_back(self, buffer: Buffer) -> None:
        """What it holds was sent, or need not be."""
        self._buffers.append(buffer)

    def seal(self, buffer: Buffer) -> tuple[Packed | None, int]:
        """In a worker thread. None, and no number, if there is nothing in it."""
        if not buffer.filled:
            return None, 0
        packed = buffer.seal(self._turns.pays)
        return packed, self._index.number(packed.pack.hash)

    async def spend(self, nbytes: int) -> None:
        if self._pace is not None:
            await self._pace.spend(nbytes)

    async def send(self, packed: Packed) -> None:
        """Once, though two files hold the same bytes: whoever comes second relies on the first, whose failure fails
        all.
        """
        digest = packed.pack.hash
        if digest in self._index.packs or digest in self._claimed:
            return
        self._claimed.add(digest)
        began = time.monotonic()
        await self._store.put(keys.pack(self._run, digest), packed.stored)
        self._turns.moved(packed.pack.stored, time.monotonic() - began)
        self._index.packs[digest] = packed.pack
        self._tally.packs += 1
        self._tally.new_bytes += packed.pack.stored
        self._tell()
