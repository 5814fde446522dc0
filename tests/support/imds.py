"""One simulated instance, its metadata over real HTTP, and an ear on its watch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from spotrelay.aws.imds import InstanceMetadata
from spotrelay.local.imds import InstanceDocuments, MetadataService
from spotrelay.watch import SPOT_PATH, News, watch

INSTANCE = "i-0123456789abcdef0"
TOKEN = ("PUT", "/latest/api/token")
# For a question whose answer is not in doubt: asker and asked are one process here, and a stall hits both.
PATIENT_S = 60.0


@dataclass
class Clock:
    """A clock that a test sets. Starts at a moment that is not now, so that nobody reads the wall clock unseen."""

    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


async def eventually(holds: Callable[[], bool], what: str, timeout: float = PATIENT_S) -> None:
    """Waits until `holds()`; fails with `what` after `timeout` seconds."""
    end = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < end, f"never happened: {what}"
        await asyncio.sleep(0.002)


@asynccontextmanager
async def one_instance(
    clock: Callable[[], float] = time.time, **documents: Any
) -> AsyncIterator[tuple[MetadataService, str]]:
    """The service and the endpoint of the only instance in it."""
    async with MetadataService(clock=clock) as imds:
        yield imds, imds.add(InstanceDocuments(INSTANCE, **documents))


@dataclass
class Ear:
    """Keeps what a watch tells, in order."""

    imds: MetadataService
    heard: list[News] = field(default_factory=list)

    async def until(self, count: int) -> list[News]:
        """All that was heard, once it is `count` events or more."""
        await eventually(lambda: len(self.heard) >= count, f"{count} events; heard {self.heard}")
        return self.heard

    async def looks(self, count: int, path: str = SPOT_PATH) -> None:
        """Returns after the `count`th look at `path` from now has been answered, and what it said was told."""
        seen = self.seen(path) + count + 1  # when the next one arrives, the one before was dealt with
        await eventually(lambda: self.seen(path) >= seen, f"{count} more looks at {path}")

    def seen(self, path: str) -> int:
        return self.imds.requests(INSTANCE).count(("GET", f"/latest/{path}"))


@asynccontextmanager
async def listening(
    imds: MetadataService, endpoint: str, *, timeout: float = PATIENT_S, **options: Any
) -> AsyncIterator[Ear]:
    """A watch over the real adapter, at 100 looks a second if `options` do not say otherwise."""
    options = {"period": 0.01, "look_timeout": PATIENT_S, **options}
    ear = Ear(imds)
    async with InstanceMetadata(endpoint, timeout=timeout, clock=options.get("clock", time.monotonic)) as metadata:

        async def listen() -> None:
            async for event in watch(metadata, **options):
                ear.heard.append(event)

        task = asyncio.create_task(listen())
        try:
            yield ear
            assert not task.done(), "the watch ended by itself"
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
