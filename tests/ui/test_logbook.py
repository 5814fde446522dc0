"""Windows into a log of any length: exact to the byte, and nothing else is fetched."""

from __future__ import annotations

import itertools
import random

import pytest

from spotrelay.core import keys
from spotrelay.core.errors import NotFound
from spotrelay.ui import logbook
from spotrelay.ui.logbook import Logbook, Window
from support.served import served, write_ended
from support.stores import RUN, Recording, memory


async def written(*attempts: list[bytes]) -> Recording:
    store = Recording(memory())
    for number, segments in enumerate(attempts, 1):
        for segment, data in enumerate(segments):
            await store.put(keys.log_segment(RUN, number, segment), data)
    store.calls.clear()
    return store


async def everything(book: Logbook, attempt: int, size: int) -> bytes:
    """Forwards, window by window."""
    text = b""
    while len(text) < size:
        window = await book.window(attempt, start=len(text))
        assert len(text) == window.start
        assert window.data
        text += window.data
    return text


async def test_windows_join_to_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forwards and backwards, over segments of any lengths and lines longer than a window."""
    monkeypatch.setattr(logbook, "BLOCK", 16)
    monkeypatch.setattr(logbook, "WINDOW", 40)
    monkeypatch.setattr(logbook, "MOST_SEGMENTS", 5)
    dice = random.Random(7)
    for _ in range(60):
        text = b"".join(
            bytes(dice.choices(b"abc ", k=dice.randrange(70))) + b"\n" for _ in range(dice.randrange(1, 12))
        )
        cuts = sorted({0, len(text), *(dice.randrange(len(text) + 1) for _ in range(dice.randrange(14)))})
        segments = [text[a:b] for a, b in itertools.pairwise(cuts)]
        book = Logbook(await written(segments), RUN)

        assert text == await everything(book, 1, len(text))
        backwards, end = b"", len(text)
        while end:
            window = await book.window(1, end=end)
            assert (end, len(text)) == (window.end, window.size)
            backwards, end = window.data + backwards, window.start
        assert text == backwards


async def test_a_window_is_whole_lines() -> None:
    """Where there are any. The last may be a beginning: it is all there is."""
    book = Logbook(await written([b"one\ntwo\n", b"three\nfo"]), RUN)

    assert Window(0, 16, 16, b"one\ntwo\nthree\nfo") == await book.window(1)
    assert Window(0, 14, 16, b"one\ntwo\nthree\n") == await book.window(1, end=14)
    assert Window(16, 16, 16, b"") == await book.window(1, start=99)


async def test_a_sign_is_not_cut_in_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the log's end, too, where a segment may end within one. Otherwise half the signs of a bar are boxes."""
    monkeypatch.setattr(logbook, "WINDOW", 10)
    text = "█".encode() * 20
    book = Logbook(await written([text[:31], text[31:]]), RUN)
    window = await book.window(1, start=0)

    assert "█" * 3 == window.data.decode()
    assert text == await everything(book, 1, len(text))


async def test_of_a_gigabyte_only_the_window_is_fetched() -> None:
    """A listing, and the blocks that it touches. Otherwise the end of a log takes a minute, and the memory."""

    class Huge(Recording):
        """Segments of 8 MiB, made as they are asked for."""

        async def sizes(self, prefix: str) -> dict[str, int]:
            return {keys.log_segment(RUN, 1, number): 8 << 20 for number in range(128)}

        async def get_range(self, key: str, start: int, length: int) -> bytes:
            self.calls.append(("get_range", key))
            number = int(key[-6:])
            return b"".join(
                b"%015d\n" % at for at in range(((number << 23) + start) // 16, ((number << 23) + start + length) // 16)
            )

    store = Huge(memory())
    book = Logbook(store, RUN)
    end = await book.window(1)
    middle = await book.window(1, start=600 << 20)

    assert (1 << 30, 1 << 30) == (end.end, end.size)
    assert b"%015d\n" % ((1 << 26) - 1) == end.data[-16:]
    assert b"%015d\n" % ((600 << 20) // 16) == middle.data[:16]
    assert len(store.calls) <= 2
    for number in range(300):
        await book.window(1, start=number << 20)
    assert book._kept <= logbook.CACHE


async def test_what_is_new_is_found_by_one_request() -> None:
    """And nothing new, too. Otherwise a log of a week is listed every two seconds."""
    store = await written([b"one\n"])
    book = Logbook(store, RUN)
    await book.look([1])
    store.calls.clear()
    await book.look([1])
    assert [("get_range", keys.log_segment(RUN, 1, 1))] == store.calls
    await store.put(keys.log_segment(RUN, 1, 1), b"two\n")
    await store.put(keys.log_segment(RUN, 1, 2), b"x" * (logbook.BLOCK + 5))
    await store.put(keys.log_segment(RUN, 2, 0), b"hello\n")
    await book.look([1, 2])

    assert [(1, 8 + logbook.BLOCK + 5), (2, 6)] == book.sizes()
    assert b"one\ntwo\n" == (await book.window(1, start=0)).data[:8]


async def test_what_no_agent_wrote_is_no_log() -> None:
    """Names that are none, and what lies behind a gap."""
    store = await written([b"one\n"])
    for name in ("000001x", "7", "000003", "<img>"):
        await store.put(keys.log(RUN, 1) + name, b"evil")
    await store.put("runs/demo/attempts/00000/log/000000", b"evil")
    book = Logbook(store, RUN)

    assert b"one\n" == (await book.window(1)).data
    with pytest.raises(NotFound):
        await book.window(0)


async def test_over_http_a_window_is_plain_text() -> None:
    """With its place in headers; bytes as they are, and never a type that a browser would show as a page."""
    store = memory()
    await write_ended(store, RUN)
    evil = b"<script>alert(1)</script>\xff\x00\n"
    await store.put(keys.log_segment(RUN, 1, 0), evil)
    async with served(store) as page:
        status, body, headers = await page.ask(f"/api/runs/{RUN}/log/1?start=0")
        assert (200, evil) == (status, body)
        assert ("text/plain; charset=utf-8", "nosniff") == (headers["Content-Type"], headers["X-Content-Type-Options"])
        assert ["0", "28", "28"] == [headers[f"X-Log-{name}"] for name in ("Start", "End", "Size")]
        for query, expected in (
            ("1?start=x", 400),
            ("1?end=-1", 400),
            ("1?start=99999999999999999999", 400),
            ("7", 404),
        ):
            assert expected == (await page.ask(f"/api/runs/{RUN}/log/{query}"))[0], query
