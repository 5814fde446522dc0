"""Surroundings that fail for a while are waited out, within bounds; what cannot pass comes at once."""

from __future__ import annotations

import asyncio
import time

import pytest
import tenacity

from spotrelay import patience
from spotrelay.core.errors import (
    AlreadyExists,
    ManifestInvalid,
    NotFound,
    QueueError,
    StoreDenied,
    StoreFull,
    StoreUnavailable,
)
from spotrelay.patience import patiently


class Flaky:
    """Raises `error` for the first `times` calls."""

    def __init__(self, error: BaseException, times: int = 10**9) -> None:
        self.error, self.times, self.calls = error, times, list[float]()

    async def __call__(self) -> str:
        self.calls.append(time.monotonic())
        if len(self.calls) <= self.times:
            raise self.error
        return "done"


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits in miniature; that there are any is what counts here."""
    monkeypatch.setattr(patience, "_WAIT", tenacity.wait_fixed(0.01))


@pytest.mark.parametrize(
    "error", [StoreUnavailable("slow down"), StoreDenied("no role yet"), QueueError("away"), OSError(5, "I/O")]
)
async def test_what_passes_is_waited_out(error: Exception) -> None:
    """An outage of S3, or a role that IAM does not know yet. Given up at once, the machine's work would go with it."""
    flaky = Flaky(error, times=5)

    assert "done" == await patiently(flaky, what="claim", for_s=60)
    assert 6 == len(flaky.calls)


@pytest.mark.parametrize("error", [NotFound("x"), AlreadyExists("x"), StoreFull("x"), ManifestInvalid("x"), KeyError()])
async def test_what_does_not_pass_comes_at_once(error: Exception) -> None:
    """An answer is an answer. Asked again for ten minutes, it would be the same, and paid for."""
    flaky = Flaky(error)

    with pytest.raises(type(error)):
        await patiently(flaky, what="claim", for_s=60)
    assert 1 == len(flaky.calls)


@pytest.mark.parametrize(("for_s", "calls"), [(0.0, 1), (39.0, 1), (50.0, 2), (200.0, 5)])
async def test_patience_ends_with_the_last_error_and_tries_no_later(
    for_s: float, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who gives it thirty seconds plans with them: a wait that would end later is not begun (P4, P5)."""
    now = 1000.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(patience, "_WAIT", tenacity.wait_fixed(40))
    monkeypatch.setattr(patience.asyncio, "sleep", sleep)
    monkeypatch.setattr(tenacity.time, "monotonic", lambda: now)
    flaky = Flaky(StoreUnavailable("down"))

    with pytest.raises(StoreUnavailable, match="down"):
        await patiently(flaky, what="handover", for_s=for_s)
    assert calls == len(flaky.calls)


async def test_cancelled_is_cancelled() -> None:
    """A deadline cancels what waits. Patience that outlived it would write after the end (P4)."""
    flaky = Flaky(StoreUnavailable("down"))
    waiting = asyncio.create_task(patiently(flaky, what="last save", for_s=600))
    async with asyncio.timeout(60):
        while not flaky.calls:
            await asyncio.sleep(0)
    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting
    tries = len(flaky.calls)
    await asyncio.sleep(0.03)  # three waits long: one that went on would show
    assert tries == len(flaky.calls)
