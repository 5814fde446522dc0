"""Pages are told what has changed, and the store is asked once for all of them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from spotrelay.core import keys, records
from spotrelay.core.errors import StoreUnavailable
from spotrelay.ui import board as boards
from spotrelay.ui import poller as polling
from spotrelay.ui.board import Row
from spotrelay.ui.events import Events
from support.served import Event, claim, put, served, write_ended, write_running
from support.stores import Recording, failing, memory
from support.story import until


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOOK_S", "OPEN_S", "VIEW_S", "VIEW_OVER_S", "NAMES_S"):
        monkeypatch.setattr(polling, name, 0.05)


async def told(events: AsyncIterator[Event], name: str, fits: Any = lambda _: True) -> Any:
    """The data of the first such event; and its id, or the next that comes."""
    async with asyncio.timeout(60):
        async for event in events:
            if event.name == name and fits(event.data):
                return event.data
    raise AssertionError(f"no {name}")


def rows(data: Any) -> dict[str, str]:
    return {row["name"]: row["state"] for row in data["rows"]}


async def test_a_run_is_seen_to_appear_to_run_and_to_end() -> None:
    """By its row alone, as it changes. Otherwise a person has to reload, or is sent ten thousand rows for one."""
    store = memory()
    await write_ended(store, "old")
    async with served(store) as page, page.events() as events:
        await told(events, "runs", lambda data: rows(data).get("old") == "succeeded")
        await write_running(store, "fresh")
        seen = await told(events, "runs", lambda data: rows(data).get("fresh") == "running")
        assert ["fresh"] == list(rows(seen))
        await write_ended(store, "fresh", result="failed")
        await store.delete(keys.open_run("fresh"))
        await told(events, "runs", lambda data: rows(data) == {"fresh": "failed"})
        await store.delete(keys.outcome("old"))
        assert ["old"] == (await told(events, "runs", lambda data: data["gone"]))["gone"]


async def test_a_page_that_was_away_is_told_what_it_missed() -> None:
    """By the id it had last; one of another server, or garbage, begins anew. Otherwise a laptop that slept shows
    yesterday, or fetches everything each time."""
    store = memory()
    for name in ("one", "two"):
        await write_ended(store, name)
    async with served(store) as page:
        last, known = "", dict[str, str]()
        async with page.events() as events:
            async for event in events:
                known |= rows(event.data) if event.name == "runs" else {}
                last = event.id
                if last and known and all(known.values()):
                    break
        async with page.events() as events:  # somebody else's, meanwhile
            await write_ended(store, "three")
            await told(events, "runs", lambda data: rows(data).get("three"))
        async with page.events(**{"Last-Event-ID": last}) as events:
            missed = await told(events, "runs")
            assert (False, {"three": "succeeded"}) == (missed["whole"], rows(missed))
        async with page.events(f"?since={last}") as events:
            assert {"three": "succeeded"} == rows(await told(events, "runs"))
        for strange in ("x", "deadbeef.1", "\u00b2.\u00b2", f"{last.partition('.')[0]}.-1", "." * 1000):
            async with page.events("", **{"Last-Event-ID": strange.encode("ascii", "replace").decode()}) as events:
                whole = await told(events, "runs")
                assert (True, {"one", "two", "three"}) == (whole["whole"], set(rows(whole)))


async def test_the_run_in_view_is_told_with_its_log() -> None:
    """Each time anything of it changes."""
    store = memory()
    await write_running(store, "demo")
    async with served(store) as page, page.events("?run=demo") as events:
        story = await told(events, "run")
        assert ("running", 1) == (story["state"], len(story["legs"]))
        await store.put(keys.log_segment("demo", 1, 0), b"epoch 1\n")
        assert [[1, 8]] == await told(events, "log", lambda data: data)
        await put(store, keys.claim("demo", 2), claim(2))
        await told(events, "run", lambda data: len(data["legs"]) == 2)


async def test_an_end_that_a_resume_took_away_is_still_its_attempt_s() -> None:
    """Who stopped it and went on sees one that was stopped. Otherwise the page says that its machine died."""
    store = memory()
    await write_running(store, "demo")
    await put(store, keys.past_outcome("demo", 1, 150.0), records.Outcome("stopped", 1, 150.0))
    await put(store, keys.claim("demo", 2), claim(2))
    await put(store, keys.base("demo", 2), records.Base(None, 160.0, "i-2"))
    async with served(store) as page, page.events("?run=demo") as events:
        first = (await told(events, "run"))["legs"][0]

        assert ("stopped", 150.0) == (first["end"], first["left_at"])


async def test_nothing_is_asked_when_nobody_looks() -> None:
    """A page that was left open in a tab is one thing; a server that was left running costs nothing."""
    store = Recording(memory())
    await write_running(store, "demo")
    async with served(store) as page:
        async with page.events("?run=demo") as events:
            await told(events, "run")
        await until(lambda: not page.site.poller._tasks, what="nobody watches")
        store.calls.clear()
        await asyncio.sleep(0.3)  # six looks

        assert [] == store.calls


async def test_two_pages_cost_what_one_does() -> None:
    """One poller for all. Otherwise each tab that is open doubles the bill."""
    store = Recording(memory())
    await write_running(store, "demo")
    async with served(store) as page, page.events("?run=demo") as one, page.events("?run=demo") as two:
        await told(one, "run")
        await told(two, "run")
        assert {"", "demo"} == set(page.site.poller._tasks)
        async with page.events("?run=demo") as three:
            await told(three, "run")
        await asyncio.sleep(0.1)
        assert {"", "demo"} == set(page.site.poller._tasks), "the others still look"


async def test_requests_are_bounded_whatever_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of forty open runs five have their turn at each look, and each comes to its turn: what the header promises."""
    monkeypatch.setattr(polling, "OPEN_A_LOOK", 5)
    monkeypatch.setattr(polling, "OPEN_S", 0.0)
    monkeypatch.setattr(polling, "LOOK_S", 1000.0)
    monkeypatch.setattr(polling, "NAMES_S", 1000.0)
    store = Recording(memory())
    for number in range(40):
        await write_running(store, f"run-{number:02d}")
    async with served(store) as page, page.events() as events:
        poller = page.site.poller
        await told(events, "runs", lambda data: "running" in rows(data).values())
        for look in range(1, 8):
            assert 5 * look == len(poller._looked)
            store.calls.clear()
            await poller._look_at_board()
            assert len(store.calls) <= 1 + 5 * 6

        assert 40 == len(poller._looked)


@pytest.mark.parametrize("attempts", [1, 20])
async def test_a_run_in_view_costs_the_same_however_old_it_is(attempts: int) -> None:
    """Twelve requests a look at most, each for another object: what the header promises. Otherwise the run that one
    looks at longest costs most to look at."""
    store = Recording(memory())
    await store.put(keys.spec("demo"), b'{"run": {"name": "demo", "command": ["true"], "directory": "/tmp/demo"}}')
    for number in range(1, attempts + 1):
        await put(store, keys.claim("demo", number), claim(number))
        await put(store, keys.base("demo", number), records.Base(None, 1.0, "i"))
        await put(store, keys.status("demo", number), records.Status("i", "running", time.time(), running_since=2.0))
        if number < attempts:
            handover = records.Handover("i", "interrupted", 3.0, None, None, True, 0, None)
            await put(store, keys.handover("demo", number), handover)
            await put(store, keys.ledger("demo", number), records.Ledger(number))
    view = polling.View(store, "demo")
    await view.look(time.time())
    store.calls.clear()
    await view.look(time.time())

    assert {1} == set(Counter(store.calls).values())
    # Of the run, of its newest attempt, and the next piece of two attempts' logs.
    assert 6 + 4 + min(attempts, 2) == len(store.calls)


async def test_a_store_that_is_away_is_said_and_waited_for() -> None:
    """What was known stays on the page. Otherwise a minute without network is an empty list."""
    away = False
    store = failing(memory(), StoreUnavailable("no answer"), when=lambda method, key: away)
    await write_ended(store.store, "demo")
    async with served(store) as page, page.events("?run=demo") as events:
        await told(events, "run")
        away = True
        assert "no answer" in await told(events, "trouble", lambda data: data)
        assert ["demo"] == list(page.site.poller.board.rows)
        away = False
        await told(events, "trouble", lambda data: data == "")


async def test_a_hostile_bucket_is_shown_as_text() -> None:
    """Its words travel as JSON, whatever they are; a page gets no event that it did not ask for. Otherwise a message
    with a line break in it writes the next event."""
    evil = "</script><img src=x onerror=alert(1)>\n\nevent: runs\ndata: {}\n\n\u2028\x00"
    store = memory()
    await store.put("runs/<img src=x>/run.json", b"")
    await store.put(keys.open_run("demo"), b"")
    await put(store, keys.claim("demo", 1), records.Claim(evil, "t", time.time(), evil, evil, evil))
    await store.put(keys.status("demo", 1), b"{" * 100_000)
    await put(store, keys.outcome("demo"), records.Outcome("failed", 1, 5.0, message=evil))
    async with served(store) as page, page.events("?run=demo") as events:
        seen = await told(events, "runs", lambda data: rows(data).get("demo"))
        assert ["demo"] == [row["name"] for row in seen["rows"]]
        assert evil == seen["rows"][0]["note"]
        story = await told(events, "run")
        assert evil == story["outcome"]["message"]
        assert keys.status("demo", 1) in story["trouble"]


@pytest.mark.parametrize("name", ["", "..", "A", "x" * 41, "%2e%2e%2f", "a/b", "\u00fc"])
async def test_a_name_that_is_none_is_not_looked_for(name: str) -> None:
    """It would become part of keys, and of paths where the store is a folder."""
    store = Recording(memory())
    async with served(store) as page:
        status, _, _ = await page.ask(f"/api/events?run={name}")

        assert 404 == status
        assert [] == store.calls


def test_of_ten_thousand_runs_a_page_is_told_what_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them by one message, once; then a row for a row, and nothing for what was only seen again. Otherwise each
    heartbeat of one run costs every page a megabyte, and the server the second in which it answers nobody."""
    documents = Counter[str]()

    def documented(each: Row) -> dict[str, Any]:
        documents[each.name] += 1
        return document(each)

    document = boards._document
    monkeypatch.setattr(boards, "_document", documented)
    rows = [
        Row(f"run-{n:05d}", "succeeded", 3, 1e9 + n, "g5.xlarge \u00b7 us-east-1a \u00b7 spot") for n in range(10_000)
    ]
    poller = polling.Poller(memory())
    poller.board.put(rows, 1)

    def message(since: int, now: int) -> bytes:
        return Events(poller)._encode(Events(poller)._gather(None, since, first=not since), now)

    assert 10_000 * 150 > len(message(0, 1)) > 10_000 * 100
    assert (10_000, {1}) == (len(documents), set(documents.values()))
    documents.clear()
    assert not poller.board.put([replace(each) for each in rows], 2), "nobody is woken"
    assert poller.board.put([Row("run-00000", "failed")], 3)
    assert len(message(2, 3)) < 300
    assert {"run-00000": 1} == documents


async def test_a_fault_of_ours_is_said_and_looked_past() -> None:
    """Otherwise the page stands still, and looks like runs that do."""
    broken = False
    store = failing(memory(), RuntimeError("a bug"), when=lambda method, key: broken)
    await write_ended(store.store, "demo")
    async with served(store) as page, page.events("?run=demo") as events:
        await told(events, "run")
        broken = True
        assert "a fault of spotrelay: RuntimeError: a bug" == await told(events, "trouble", lambda data: data)
        broken = False
        await told(events, "trouble", lambda data: data == "")
        assert page.site.poller.board.rows
