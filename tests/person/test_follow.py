"""Who follows a run hears everything, and then how it ended."""

from __future__ import annotations

import asyncio

import pytest

from spotrelay.core import keys, records
from spotrelay.person import follow as following
from spotrelay.person.follow import Became, News, Said, follow
from support.stores import RUN, memory

OUTCOME = records.encode(records.Outcome("failed", 1, 160.0, 1))


@pytest.fixture(autouse=True)
def _settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "SETTLE_S", 0.3)


async def test_the_last_words_come_before_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are shipped after the outcome. Otherwise the traceback that says why it failed is never seen."""
    store, news = memory(), list[News]()
    await store.put(keys.claim(RUN, 1), records.encode(records.Claim("i-1", "token", 100.0)))
    await store.put(keys.log_segment(RUN, 1, 0), b"epoch 1\n")

    async def listen() -> None:
        async for each in follow(store, RUN, every_s=0.01):
            news.append(each)

    listening = asyncio.ensure_future(listen())
    async with asyncio.timeout(60):
        while not any(isinstance(each, Became) for each in news):
            await asyncio.sleep(0.005)
        await store.put(keys.outcome(RUN), OUTCOME)
        await asyncio.sleep(0.05)  # it has been seen by now
        await store.put(keys.log_segment(RUN, 1, 1), b"Traceback")
        await listening

    assert [b"epoch 1\n", b"Traceback"] == [each.data for each in news if isinstance(each, Said)]
    (last,) = news[-1:]
    assert isinstance(last, Became)
    assert last.seen.outcome is not None
