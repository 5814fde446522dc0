"""The log is what the command wrote, whoever asks for which part of it, and whenever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotrelay.core import keys, records
from spotrelay.core.errors import NotFound, StoreError
from spotrelay.person import log as logs
from spotrelay.person.log import Log, Piece, Position
from spotrelay.ports import BrowsableStore
from support.imds import Clock
from support.stores import RUN, Recording, memory

SEGMENTS = st.lists(st.lists(st.binary(max_size=6).map(lambda raw: raw.replace(b"\0", b"\n")), max_size=4), max_size=4)


async def written(*attempts: Sequence[bytes]) -> BrowsableStore:
    """A store with these attempts, each with these segments."""
    store = memory()
    for number, segments in enumerate(attempts, 1):
        await store.put(keys.claim(RUN, number), b"{}")
        for which, data in enumerate(segments):
            await store.put(keys.log_segment(RUN, number, which), data)
    return store


async def joined(pieces: AsyncIterator[Piece]) -> bytes:
    return b"".join([piece.data async for piece in pieces])


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LOOK_S", 0.002)
    monkeypatch.setattr(logs, "SETTLE_S", 0.05)


async def test_all_attempts_joined_are_the_bytes_that_were_written() -> None:
    """In their order, an attempt without a word included, and names that are no segments passed over. Otherwise a
    pipe gets other bytes than the command wrote."""
    store = await written([b"a\xff", b"b\n"], [], [b"c"])
    await store.put(keys.log(RUN, 1) + "notes.txt", b"somebody's")
    await store.put(keys.log_segment(RUN, 3, 1_000_000), b"e")
    await store.put(keys.log_segment(RUN, 3, 999_999), b"d")

    assert b"a\xffb\ncde" == await joined(Log(store, RUN).read())
    assert b"cde" == await joined(Log(store, RUN, 3).read())
    assert {1: {0: 2, 1: 2}, 3: {0: 1, 999_999: 1, 1_000_000: 1}} == await Log(store, RUN).segments()


async def test_what_is_missing_is_said() -> None:
    """A segment that somebody deleted leaves a gap with its numbers. Otherwise a log reads as if nothing had been
    there."""
    store = await written([b"a", b"b", b"c", b"d"])
    await store.delete(keys.log_segment(RUN, 1, 1), keys.log_segment(RUN, 1, 2))

    pieces = [piece async for piece in Log(store, RUN).read()]

    assert ["", "attempt 1: segments 1 to 2 are missing"] == [piece.gap for piece in pieces]


async def test_no_such_attempt() -> None:
    """It is said which there are."""
    with pytest.raises(NotFound, match="1 to 2"):
        await joined(Log(await written([b"a"], [b"b"]), RUN, 7).read())


async def test_what_no_writer_of_ours_makes_is_not_read_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terabyte under a segment's name is refused by its name."""
    monkeypatch.setattr(logs, "LARGEST", 10)

    with pytest.raises(StoreError, match="log/000000"):
        await joined(Log(await written([b"x" * 11]), RUN).read())


@given(attempts=SEGMENTS, lines=st.integers(0, 12))
def test_the_last_lines_are_those_of_tail(attempts: list[list[bytes]], lines: int) -> None:
    """However they lie in segments and attempts."""

    async def last() -> tuple[bytes, bytes]:
        log = Log(await written(*attempts), RUN)
        return await joined(log.read(await log.tail(lines))), await joined(log.read())

    with asyncio.Runner() as runner:
        tail, everything = runner.run(last())

    kept = everything.split(b"\n")
    ended = kept.pop() == b"" if everything.endswith(b"\n") else False
    assert b"\n".join(kept[max(0, len(kept) - lines) :] if lines else []) + (b"\n" if ended and lines else b"") == tail


@pytest.mark.usefixtures("_quick")
async def test_who_follows_gets_each_word_once_until_the_run_is_over() -> None:
    """Across an attempt that writes nothing, words that come late after a hand-over, and the last ones, which are
    shipped after the outcome. Otherwise the line that says why it failed is the one that is missing."""
    inner, heard, clock = await written([b"one "]), list[bytes](), Clock()
    store, quiet_looks = Recording(inner), 0

    async def look(method: str, key: str) -> None:
        """The last words come at the end of a look, while who follows sleeps."""
        nonlocal quiet_looks
        clock.now += logs.SETTLE_S / 10
        if (method, key) == ("get", keys.log_segment(RUN, 3, 1)) and await inner.list(keys.outcome(RUN)):
            quiet_looks += 1
            if quiet_looks == 3:
                await inner.put(key, b"five")
                clock.now += 10 * logs.SETTLE_S
                raise NotFound(key)

    store.before = look

    async def follow() -> None:
        async for piece in Log(store, RUN, clock=clock).follow():
            heard.append(piece.data)

    async def said(words: bytes) -> None:
        while b"".join(heard) != words:
            await asyncio.sleep(0.001)

    following = asyncio.ensure_future(follow())
    async with asyncio.timeout(60):
        await said(b"one ")
        await store.put(keys.log_segment(RUN, 1, 1), b"two ")
        await said(b"one two ")
        await store.put(keys.claim(RUN, 2), b"{}")
        await store.put(keys.claim(RUN, 3), b"{}")
        await store.put(keys.log_segment(RUN, 1, 2), b"three ")
        await store.put(keys.log_segment(RUN, 3, 0), b"four ")
        await said(b"one two three four ")
        await store.put(keys.outcome(RUN), records.encode(records.Outcome("succeeded", 3, 1.0)))
        await following

    assert b"one two three four five" == b"".join(heard)


@pytest.mark.usefixtures("_quick")
async def test_who_follows_before_the_first_word_waits_for_it() -> None:
    """A run that waits for its first machine has a log, too: it will come."""
    store = memory()
    following = asyncio.ensure_future(joined(Log(store, RUN).follow()))
    await asyncio.sleep(0.01)
    await store.put(keys.log_segment(RUN, 1, 0), b"first")
    await asyncio.sleep(0.01)
    await store.put(keys.outcome(RUN), b"{}")

    async with asyncio.timeout(60):
        assert b"first" == await following


@pytest.mark.usefixtures("_quick")
async def test_one_attempt_is_followed_to_its_own_end() -> None:
    """Its hand-over, not the run's outcome, which may be days away."""
    store = await written([b"a"], [b"b"])
    await store.put(keys.handover(RUN, 1), b"{}")

    async with asyncio.timeout(60):
        assert b"a" == await joined(Log(store, RUN, 1).follow())


@pytest.mark.usefixtures("_quick")
async def test_who_follows_from_the_end_hears_only_what_is_new() -> None:
    """`--tail 0 --follow`."""
    store = await written([b"old\n", b"older\n"])
    log = Log(store, RUN)
    start = await log.tail(0)
    await store.put(keys.log_segment(RUN, 1, 2), b"new")
    await store.put(keys.outcome(RUN), b"{}")

    assert Position(1, 2) == start == await Log(await written([b"old\n", b"older\n"]), RUN).end()
    assert b"new" == await joined(log.follow(start))


async def test_no_more_is_under_way_than_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the length of the log. Otherwise a gigabyte of it is a gigabyte of memory."""
    monkeypatch.setattr(logs, "AHEAD_BYTES", 30)
    store, most, under_way = Recording(await written([b"x" * 10] * 40)), 0, 0

    async def before(method: str, _key: str) -> None:
        nonlocal under_way, most
        under_way += method == "get"
        most = max(most, under_way)
        await asyncio.sleep(0.001)

    async def after(method: str, _key: str) -> None:
        nonlocal under_way
        under_way -= method == "get"

    store.before, store.after = before, after

    assert b"x" * 400 == await joined(Log(store, RUN).read())
    assert 1 < most <= 3


async def test_who_looks_away_leaves_nothing_behind() -> None:
    """A closed pipe ends the reading that goes on ahead."""
    reading = Log(await written([b"x"] * 40), RUN).read()
    async for _ in reading:
        break
    await reading.aclose()

    assert [] == [task for task in asyncio.all_tasks() if task is not asyncio.current_task() and not task.done()]
