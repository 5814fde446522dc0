"""Who follows a run hears everything, and then how it ended."""

from __future__ import annotations

import asyncio

from spotrelay.core import keys, records
from spotrelay.core.errors import NotFound
from spotrelay.person.follow import Became, News, Said, follow
from spotrelay.person.log import SETTLE_S
from support.imds import Clock
from support.stores import RUN, Recording, memory

OUTCOME = records.encode(records.Outcome("failed", 1, 160.0, 1))


async def test_the_last_words_come_before_the_end() -> None:
    """They are shipped after the outcome, by a command that had long been silent, while who follows sleeps. Otherwise
    the traceback that says why it failed is never seen."""
    store, news, clock = Recording(memory()), list[News](), Clock()
    await store.put(keys.claim(RUN, 1), records.encode(records.Claim("i-1", "token", 100.0)))
    await store.put(keys.log_segment(RUN, 1, 0), b"epoch 1\n")
    words, quiet_looks = keys.log_segment(RUN, 1, 1), 0

    async def look(method: str, key: str) -> None:
        nonlocal quiet_looks
        clock.now += SETTLE_S / 20
        if (method, key) != ("get", words):
            return
        quiet_looks += 1
        if quiet_looks == 10:
            await store.store.put(keys.outcome(RUN), OUTCOME)
        if quiet_looks == 13:  # it has been seen; and at the end of this look the computer goes to sleep
            await store.store.put(words, b"Traceback")
            clock.now += 10 * SETTLE_S
            raise NotFound(words)

    store.before = look
    async with asyncio.timeout(60):
        async for each in follow(store, RUN, every_s=0, now=clock):
            news.append(each)

    assert [b"epoch 1\n", b"Traceback"] == [each.data for each in news if isinstance(each, Said)]
    (last,) = news[-1:]
    assert isinstance(last, Became)
    assert last.seen.outcome is not None
