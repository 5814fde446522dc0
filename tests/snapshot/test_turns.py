"""How many requests are in flight, before anything has been sent."""

from __future__ import annotations

import asyncio

import pytest

from spotrelay.snapshot import turns as subject
from spotrelay.snapshot.turns import AT_FIRST, Turns

MOST = 16


async def in_flight(turns: Turns) -> int:
    """How many get a turn if everybody wants one."""
    asked = [asyncio.create_task(turns.take()) for _ in range(2 * MOST)]
    done, waiting = await asyncio.wait(asked, timeout=0.01)
    for each in waiting:
        each.cancel()
    await asyncio.wait(waiting)
    return len(done)


@pytest.mark.parametrize(("answered_after_s", "at_once"), [(0.002, AT_FIRST), (0.1, MOST)])
async def test_a_line_that_is_far_is_filled_at_once(answered_after_s: float, at_once: int) -> None:
    """A store that takes 100 ms to say next to nothing is asked for all there may be, and one next door for a few.
    Otherwise a restore from S3 spends half a second finding out what the list has told it, or one from next door holds
    memory for nothing."""
    turns = Turns(MOST)
    turns.answered(answered_after_s)

    assert at_once == await in_flight(turns)


async def test_who_waits_gets_a_turn_when_the_line_is_found_to_be_far() -> None:
    """The answer may come when packs are on their way already. Otherwise it helps only the next restore."""
    turns = Turns(MOST)
    asked = [asyncio.create_task(turns.take()) for _ in range(MOST)]
    await asyncio.wait(asked, timeout=0.01)
    turns.answered(0.1)

    async with asyncio.timeout(60):
        await asyncio.gather(*asked)


class Clock:
    """The module's, which goes on only when told."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


async def test_what_passes_before_the_first_pack_has_arrived_is_not_the_lines_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A line that 4 packs fill gets one try with 8, whatever went before: a scan, or an hour in which nothing was sent.
    Otherwise the first packs look slow, 8 as if they paid, and a save holds 256 MiB where 128 send as fast.
    """
    monkeypatch.setattr(subject, "time", clock := Clock())
    turns = Turns(MOST)
    clock.now += 3600
    await turns.take()
    for _ in range(1 + 2 * AT_FIRST + 2 * 2 * AT_FIRST):
        clock.now += 0.01
        turns.moved(16 << 20, 0.04)

    assert 2 * AT_FIRST - 1 == await in_flight(turns)


async def test_a_pause_is_not_the_lines_time_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """As above, between two saves."""
    monkeypatch.setattr(subject, "time", clock := Clock())
    turns = Turns(MOST)
    for _ in range(3):  # each too short to tell anything
        await turns.take()
        clock.now += 3600
        for _ in range(AT_FIRST):
            turns.moved(16 << 20, 0.04)
        turns.end()

    assert AT_FIRST == await in_flight(turns)
