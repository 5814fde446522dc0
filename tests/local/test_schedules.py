"""A schedule rings a queue at its rate, by whichever clock: the reconciler's sweep, in a rehearsal and in a test."""

from __future__ import annotations

import asyncio
import json

import pytest

from spotrelay.local.server import ControlPlane
from support.cloud_plane import Cloud, cloud, eventually

SWEEP = {"sweep": {}}


def bodies(here: Cloud) -> list[object]:
    return [json.loads(message.body) for message in here.plane.sqs.queue("requests").messages.values()]


async def test_a_schedule_rings_at_its_rate_with_its_constant():
    """For the first time after one period, and then each. Otherwise a reconciler would sweep at once, or never."""
    async with cloud() as here:
        await here.queue()
        here.plane.events.schedule(60, "requests", SWEEP)
        here.clock.advance(59)
        early = bodies(here)
        here.clock.advance(1)
        first = bodies(here)
        here.clock.advance(150)

        assert ([], [SWEEP], [SWEEP] * 3) == (early, first, bodies(here))


async def test_a_cancelled_schedule_is_silent():
    """That one only. Otherwise a test of a missing sweep would need a cloud of its own."""
    async with cloud() as here:
        await here.queue()
        cancelled = here.plane.events.schedule(60, "requests", {"sweep": {"by": "one"}})
        here.plane.events.schedule(60, "requests", SWEEP)
        here.clock.advance(60)
        cancelled.cancel()
        here.clock.advance(60)

        assert [{"sweep": {"by": "one"}}, SWEEP, SWEEP] == bodies(here)


async def test_closing_the_plane_ends_its_schedules():
    """Otherwise a rehearsal that is over would go on ringing, and a test's loop never be idle."""
    async with cloud() as here:
        await here.queue()
        here.plane.events.schedule(60, "requests", SWEEP)
        await here.plane.close()
        here.clock.advance(3600)

        assert [] == bodies(here)


async def test_a_schedule_runs_by_the_computers_clock_too():
    """Again and again. Otherwise it would work in tests and not in the rehearsal."""
    plane = ControlPlane()
    plane.sqs.create_queue({"QueueName": "requests"})
    plane.events.schedule(0.01, "requests", SWEEP)
    async with asyncio.timeout(60):
        await eventually(True, lambda: len(plane.sqs.queue("requests").messages) >= 3)
    await plane.close()
    sent = len(plane.sqs.queue("requests").messages)
    await asyncio.sleep(0.05)  # five periods, in which nothing may come

    assert sent == len(plane.sqs.queue("requests").messages)


async def test_scheduled_messages_are_lost_and_doubled_like_any_event():
    """EventBridge promises best effort for these as well. Otherwise a sweep would be tested as if it were certain."""
    async with cloud() as here:
        await here.queue()
        here.plane.events.schedule(60, "requests", SWEEP)
        here.plane.events.loss = 1.0
        here.clock.advance(60)
        lost = bodies(here)
        here.plane.events.loss, here.plane.events.doubling = 0.0, 1.0
        here.clock.advance(60)

        assert ([], [SWEEP] * 2) == (lost, bodies(here))
        assert [SWEEP] == here.plane.events.undelivered


async def test_a_schedule_without_a_period_is_refused():
    """When it is made. Otherwise it would ring without end at one moment."""
    async with cloud() as here:
        with pytest.raises(ValueError, match="period"):
            here.plane.events.schedule(0, "requests", SWEEP)
