"""How many requests are in flight, before anything has been sent."""

from __future__ import annotations

import asyncio

import pytest

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
