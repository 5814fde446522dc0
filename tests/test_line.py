"""What the wire carried, seen from what was put through it."""

from __future__ import annotations

import asyncio

import pytest

from spotrelay.core.errors import StoreUnavailable
from spotrelay.line import LEAST_BYTES, Line
from support.stores import Recording, failing, memory


class Wire(Recording):
    """A store whose clock stands still until the test moves it."""

    def __init__(self) -> None:
        super().__init__(memory())
        self.now = 0.0


async def put(line: Line, wire: Wire, *, seconds: float, size: int = LEAST_BYTES, times: int = 1) -> None:
    """So many puts together, over that time."""
    gate = asyncio.Event()

    async def hold(_method: str, _key: str) -> None:
        await gate.wait()

    wire.before = hold
    tasks = [asyncio.create_task(line.put(str(n), b"x" * size)) for n in range(times)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    wire.now += seconds
    gate.set()
    await asyncio.gather(*tasks)


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def line(wire: Wire) -> Line:
    return Line(wire, clock=lambda: wire.now)  # type: ignore[arg-type]


async def test_puts_that_share_the_wire_are_one_window(line: Line, wire: Wire) -> None:
    """All bytes over the time in which any was under way. Otherwise four connections look like a quarter of the
    wire."""
    await put(line, wire, seconds=2, times=4)

    assert 4 * LEAST_BYTES / 2 == line.rate


async def test_pauses_do_not_count(line: Line, wire: Wire) -> None:
    """A save that waits for its pace says nothing about the wire."""
    await put(line, wire, seconds=1)
    wire.now += 3600
    await put(line, wire, seconds=1)

    assert LEAST_BYTES == line.rate


async def test_best_counts_and_is_forgotten_slowly(line: Line, wire: Wire) -> None:
    """The wire is not slower for one window in which the command used it, nor as fast for ever as it once was."""
    await put(line, wire, seconds=1)
    await put(line, wire, seconds=2)
    assert line.rate is not None
    assert 0.9 * LEAST_BYTES < line.rate < LEAST_BYTES
    for _ in range(60):
        await put(line, wire, seconds=2)

    assert pytest.approx(LEAST_BYTES / 2, rel=0.01) == line.rate


async def test_small_and_failed_puts_tell_nothing(wire: Wire) -> None:
    """How long a request takes is not what the wire carries."""
    line = Line(failing(memory(), StoreUnavailable("no"), when=lambda *_: True), clock=lambda: wire.now)  # type: ignore[arg-type]
    with pytest.raises(StoreUnavailable):
        await line.put("a", b"x" * LEAST_BYTES)
    small = Line(wire, clock=lambda: wire.now)  # type: ignore[arg-type]
    await put(small, wire, seconds=1, size=LEAST_BYTES - 1)

    assert (None, None) == (line.rate, small.rate)


async def test_everything_else_is_the_store_s(line: Line) -> None:
    """It stands in for the store wherever snapshots need one."""
    await line.as_store().create("a", b"1")
    await line.put("b", b"2")

    assert (["a", "b"], b"1") == (await line.as_store().list(""), await line.as_store().get("a"))
