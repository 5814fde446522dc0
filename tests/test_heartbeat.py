"""What others see of an attempt, and what they have to say to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

import pytest

from spotrelay import heartbeat
from spotrelay.core import keys, records
from spotrelay.core.errors import StoreUnavailable
from spotrelay.core.events import Action, Event, Fenced, Halted, Notice, Source, Stopped
from spotrelay.heartbeat import UNTOLD_S, Heartbeat
from spotrelay.history import History
from spotrelay.ports import Store
from support.attempts import RUN, based, claimed
from support.imds import eventually
from support.stores import Recording, failing, memory


@pytest.fixture(autouse=True)
def _quick_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_S", 0.01)


@dataclass
class Heard:
    beats: Heartbeat
    events: list[Event] = field(default_factory=list)
    statuses: int = 0


@asynccontextmanager
async def beating(
    store: Store, *, asked: bool = False, over: Callable[[], str | None] = lambda: None
) -> AsyncIterator[Heard]:
    """The heart of attempt 1, heard until the end of the block."""

    def status() -> records.Status:
        heard.statuses += 1
        return records.Status("i-00000000000000001", "running", time.time())

    beats = Heartbeat(History(store, RUN), 1, status, asked=lambda: asked, over=over, clock=lambda: 1000.0)
    heard = Heard(beats)

    async def listen() -> None:
        async with aclosing(beats.events()) as events:
            async for event in events:
                heard.events.append(event)

    listening = asyncio.create_task(listen())
    try:
        yield heard
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def some_beats(heard: Heard) -> None:
    before = heard.statuses
    await eventually(lambda: heard.statuses > before + 3, "some beats")


async def test_status_is_written_and_replaced() -> None:
    """A person and the launcher see where the attempt is. Otherwise a healthy run looks dead."""
    store = memory()
    async with beating(store) as heard:
        await some_beats(heard)

        assert "running" == records.decode(records.Status, await store.get(keys.status(RUN, 1)), key="").phase


async def test_beat_comes_at_once_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A notice is told when it comes. Otherwise the launcher sees for 15 s no reason for the request that it gets."""
    monkeypatch.setattr(heartbeat, "BEAT_S", 3600)
    async with beating(memory()) as heard:
        await eventually(lambda: heard.statuses == 1, "the first beat")
        heard.beats.beat()
        await eventually(lambda: heard.statuses == 2, "the second beat")


@pytest.mark.parametrize("error", [StoreUnavailable("away"), OSError("disk"), RuntimeError("a bug")])
async def test_store_that_fails_neither_ends_the_heart_nor_fences(error: Exception) -> None:
    """A beat that fails is one beat. Otherwise a store that is away for a minute kills a healthy command (P6)."""
    bad = True
    store = memory()
    async with beating(failing(store, error, when=lambda _method, _key: bad)) as heard:
        await some_beats(heard)
        assert [] == heard.events
        bad = False
        await based(store, 2)
        await claimed(store, 2)
        await eventually(lambda: bool(heard.events), "what the store has to say")

        assert [Fenced()] == heard.events


async def test_claim_that_nobody_asked_for_is_a_notice() -> None:
    """EC2 told the launcher what it failed to tell here. Otherwise the machine is taken with all that it has not saved;
    or its command is killed, while its successor waits for just that."""
    store = memory()
    await claimed(store, 2)
    async with beating(store) as heard:
        await some_beats(heard)

        assert [Notice(Source.SUCCESSOR, Action.TERMINATE, 1000.0 + UNTOLD_S)] == heard.events


async def test_claim_of_the_successor_that_was_asked_for_does_not_fence() -> None:
    """It waits for what is still being saved. Otherwise a successor that comes quickly ends the checkpoint that it came
    for."""
    store = memory()
    await claimed(store, 2)
    async with beating(store, asked=True) as heard:
        await some_beats(heard)

        assert [] == heard.events


@pytest.mark.parametrize("began", [2, 3])
async def test_successor_that_began_without_us_fences(began: int) -> None:
    """Its base is fixed: nothing that is saved now can count. Otherwise a machine that EC2 forgot works on for
    nothing; also where the second attempt went before it began, and the third did."""
    store = memory()
    for number in range(2, began + 1):
        await claimed(store, number)
    await based(store, began)
    async with beating(store, asked=True) as heard:
        await some_beats(heard)

        assert [Fenced()] == heard.events


async def test_cancel_is_told_once() -> None:
    """A person's stop is one event. Otherwise each beat begins to stop again."""
    store = memory()
    async with beating(store) as heard:
        await some_beats(heard)
        await store.put(keys.cancel(RUN), b"")
        await eventually(lambda: bool(heard.events), "the stop")
        await some_beats(heard)

        assert [Stopped()] == heard.events


async def test_cancel_that_must_be_at_once_is_told_as_such() -> None:
    """And after one that was patient as well: whoever has waited long enough says so."""
    store = memory()
    async with beating(store) as heard:
        await some_beats(heard)
        await store.put(keys.cancel(RUN), b"")
        await eventually(lambda: bool(heard.events), "the stop")
        await store.put(keys.cancel(RUN), records.encode(records.Cancel(now=True)))
        await eventually(lambda: len(heard.events) > 1, "the halt")
        await some_beats(heard)

        assert [Stopped(), Halted()] == heard.events


async def test_run_that_is_out_of_hours_is_stopped() -> None:
    """limits.hours holds while an attempt runs, and says so. Otherwise an on-demand run goes on for ever."""
    limit: str | None = None
    async with beating(memory(), over=lambda: limit) as heard:
        await some_beats(heard)
        assert [] == heard.events
        limit = "limits.hours = 2 is reached"
        await eventually(lambda: bool(heard.events), "the stop")

        assert [Stopped("limit", "limits.hours = 2 is reached")] == heard.events


async def test_cancel_of_a_limit_says_which() -> None:
    """What the launcher's sweep found out. Otherwise a person is told to have stopped what no person did."""
    store = memory()
    cancel = records.Cancel("limit", "limits.dollars = 40 is reached: 41.20 spent", 1.0)
    await store.put(keys.cancel(RUN), records.encode(cancel))
    async with beating(store) as heard:
        await eventually(lambda: bool(heard.events), "the stop")

        assert [Stopped("limit", "limits.dollars = 40 is reached: 41.20 spent")] == heard.events


async def test_person_s_cancel_comes_before_a_limit() -> None:
    """Who stopped a run that is out of hours as well is told that they did."""
    store = memory()
    await store.put(keys.cancel(RUN), b"")
    async with beating(store, over=lambda: "limits.hours = 2 is reached") as heard:
        await eventually(lambda: bool(heard.events), "the stop")
        await some_beats(heard)

        assert [Stopped()] == heard.events


async def test_damaged_object_of_another_attempt_is_no_reason_to_end() -> None:
    """Garbage under a later claim's name is logged. Otherwise whoever can write to the bucket can kill by a typo."""
    store = Recording(memory())
    await store.put(keys.claim(RUN, 2), b"{garbage")
    async with beating(store) as heard:
        await some_beats(heard)

        assert [] == heard.events
