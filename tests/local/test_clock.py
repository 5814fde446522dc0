"""Time that tests hand in behaves as time does, only when told to."""

from __future__ import annotations

import asyncio

from spotrelay.local.clock import ManualClock, SystemClock, sleep


async def test_alarms_ring_in_their_order_each_at_its_moment():
    """An alarm sees its own moment, and one set by another on the way still rings. Otherwise a visibility timeout that
    follows a boot would end late, and only in tests."""
    clock = ManualClock(start=100.0)
    rung = []
    clock.call_at(130.0, lambda: rung.append(("later", clock.now())))
    clock.call_at(110.0, lambda: clock.call_at(120.0, lambda: rung.append(("chained", clock.now()))))
    clock.call_at(115.0, lambda: rung.append(("cancelled", clock.now()))).cancel()
    clock.advance(30.0)

    assert [("chained", 120.0), ("later", 130.0)] == rung


async def test_a_moment_that_is_past_comes_soon():
    """Otherwise what is due already would wait for the next advance, for ever if there is none."""
    rung = asyncio.Event()
    ManualClock(start=100.0).call_at(99.0, rung.set)

    await asyncio.wait_for(rung.wait(), 60)


async def test_sleep_takes_the_clocks_time_and_none_of_ours():
    """Otherwise tests of hours would take hours."""
    clock = ManualClock()
    sleeping = asyncio.create_task(sleep(clock, 3600))
    await asyncio.sleep(0)
    clock.advance(3599)
    await asyncio.sleep(0)
    early = sleeping.done()
    clock.advance(1)
    await asyncio.wait_for(sleeping, 60)

    assert not early


async def test_the_system_clock_rings_and_tells_unix_time():
    """The rehearsal runs on this one. Otherwise nothing in it would ever become visible again."""
    clock, rung = SystemClock(), asyncio.Event()
    before = clock.now()
    clock.call_at(before + 0.01, rung.set)
    await asyncio.wait_for(rung.wait(), 60)

    assert before + 0.009 <= clock.now()
    assert before > 1_700_000_000
