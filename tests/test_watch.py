"""The watch over the real adapter and a real HTTP server, at a hundred looks a second or more."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import aclosing
from typing import Any

import pytest
from structlog.testing import capture_logs

from spotrelay.aws.imds import InstanceMetadata
from spotrelay.core.events import Action, Notice, Rebalance, Source, Withdrawn
from spotrelay.local.imds_faults import EMPTY, GARBAGE, HANG, HUGE, RESET, WRONG_TYPES, Fault, random_faults, status
from spotrelay.watch import REBALANCE_PATH, SCHEDULED_PATH, SPOT_PATH, watch
from support.imds import INSTANCE, PATIENT_S, Clock, eventually, listening, one_instance

WITHDRAWN = Withdrawn(Source.SPOT)


@pytest.mark.parametrize(("action", "left"), [(Action.TERMINATE, 119.0), (Action.STOP, 119.0), (Action.HIBERNATE, 0.0)])
async def test_notice_of_every_action_is_told_once(action: Action, left: float) -> None:
    """The notice is told once, though it is shown on every look, with its deadline on our clock. Otherwise two
    machines race for one run, or the command is killed at the wrong moment."""
    here, ec2 = Clock(now=5000.0), Clock()
    async with one_instance(ec2) as (imds, endpoint), listening(imds, endpoint, clock=here) as ear:
        await ear.looks(3)
        imds.interrupt(INSTANCE, action, at=ec2.now + 120)
        await ear.until(1)
        await ear.looks(20)

        assert [Notice(Source.SPOT, action, 5000.0 + left)] == ear.heard


@pytest.mark.parametrize("skew", [-300.0, 300.0])
async def test_wrong_clocks_of_either_side_move_no_deadline(skew: float) -> None:
    """EC2's clock and ours are five minutes apart: the deadline is two minutes ahead all the same."""
    ec2 = Clock(now=time.time() + skew)
    async with one_instance(ec2) as (imds, endpoint), listening(imds, endpoint) as ear:
        imds.interrupt(INSTANCE, at=ec2.now + 120)
        (notice,) = await ear.until(1)

        assert isinstance(notice, Notice)
        assert notice.deadline - time.monotonic() == pytest.approx(119.0, abs=60.0)


@pytest.mark.parametrize("skew", [-300.0, 300.0])
async def test_date_that_contradicts_the_notice_yields_to_the_promise(skew: float) -> None:
    """A notice five minutes off its own service's Date, after peace: two minutes from now, not the past and not
    seven minutes."""
    here, ec2 = Clock(now=5000.0), Clock()
    async with one_instance(ec2) as (imds, endpoint), listening(imds, endpoint, clock=here) as ear:
        await ear.looks(1)
        imds.interrupt(INSTANCE, at=ec2.now + 120 + skew)

        assert [Notice(Source.SPOT, Action.TERMINATE, 5120.0)] == await ear.until(1)


async def test_withdrawn_notice_is_told_once_and_the_next_one_is_seen() -> None:
    """404 after a notice is told once, and a later notice is a notice. Otherwise the first false alarm blinds us."""
    here, ec2 = Clock(now=5000.0), Clock()
    async with one_instance(ec2) as (imds, endpoint), listening(imds, endpoint, clock=here) as ear:
        await ear.looks(1)
        imds.interrupt(INSTANCE, at=ec2.now + 120)
        await ear.until(1)
        imds.withdraw(INSTANCE)
        await ear.until(2)
        await ear.looks(5)
        imds.interrupt(INSTANCE, "stop", at=ec2.now + 90)
        await ear.until(3)

        expected = [
            Notice(Source.SPOT, Action.TERMINATE, 5119.0),
            WITHDRAWN,
            Notice(Source.SPOT, Action.STOP, 5089.0),
        ]
        assert expected == ear.heard


async def test_expired_notice_is_withdrawn_and_stays_dead() -> None:
    """EC2 goes on showing a notice that it did not carry out: withdrawn once the margin is over, armed for the next."""
    here, ec2 = Clock(now=5000.0), Clock()
    async with one_instance(ec2) as (imds, endpoint), listening(imds, endpoint, clock=here, margin=60.0) as ear:
        await ear.looks(1)
        imds.interrupt(INSTANCE, at=ec2.now + 120)
        await ear.until(1)
        here.now, ec2.now = here.now + 181, ec2.now + 181
        await ear.until(2)
        await ear.looks(5)
        imds.interrupt(INSTANCE, at=ec2.now + 120)
        await ear.until(3)

        first, second = (Notice(Source.SPOT, Action.TERMINATE, at) for at in (5119.0, 5300.0))
        assert [first, WITHDRAWN, second] == ear.heard


async def test_notice_left_over_from_before_is_none() -> None:
    """An agent that starts with an old document there says nothing. Otherwise it gives its run away at once."""
    async with one_instance() as (imds, endpoint):
        imds.interrupt(INSTANCE, at=time.time() - 3600)
        async with listening(imds, endpoint) as ear:
            await ear.looks(5)

            assert [] == ear.heard


async def test_rebalance_is_told_once_for_each_recommendation() -> None:
    """One recommendation, one event, and the next one again."""
    async with one_instance() as (imds, endpoint), listening(imds, endpoint) as ear:
        imds.rebalance(INSTANCE, at=1_700_000_000)
        await ear.until(1)
        await ear.looks(3, REBALANCE_PATH)
        imds.rebalance(INSTANCE, at=1_700_000_600)
        await ear.until(2)
        await ear.looks(3, REBALANCE_PATH)

        assert [Rebalance(), Rebalance()] == ear.heard


async def test_maintenance_is_told_when_near_and_withdrawn_when_settled() -> None:
    """An event hours away is silent; near, it is a notice; completed, it is withdrawn; canceled before, it never was
    one."""
    here, ec2 = Clock(now=5000.0), Clock()
    async with (
        one_instance(ec2) as (imds, endpoint),
        listening(imds, endpoint, clock=here, near=600.0, period=0.004) as ear,
    ):
        event = imds.schedule(INSTANCE, "system-reboot", not_before=ec2.now + 7200)
        canceled = imds.schedule(INSTANCE, "instance-stop", not_before=ec2.now + 7100)
        imds.settle(INSTANCE, canceled, "canceled")
        await ear.looks(3, SCHEDULED_PATH)
        silent = list(ear.heard)
        here.now, ec2.now = here.now + 6700, ec2.now + 6700
        await ear.until(1)
        imds.settle(INSTANCE, event)
        await ear.until(2)

        assert [] == silent
        assert [Notice(Source.SCHEDULED, Action.REBOOT, 12199.0), Withdrawn(Source.SCHEDULED)] == ear.heard


FAULTS = [status(code) for code in (301, 400, 401, 403, 405, 429, 500, 502, 503)]
FAULTS += [RESET, EMPTY, GARBAGE, WRONG_TYPES, HUGE]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.kind} {fault.status} {len(fault.body)}")
async def test_no_answer_ends_the_watch_or_counts_as_news(fault: Fault) -> None:
    """Under an answer that is none, peace stays peace and a notice stands; when it is over, both are seen. Otherwise
    the agent dies of a throttled service, or takes a fault for the end of the danger."""
    async with one_instance() as (imds, endpoint), listening(imds, endpoint) as ear:

        async def failing() -> None:
            met: list[str] = []
            imds.misbehave(INSTANCE, lambda path: met.append(path) or fault)
            await eventually(lambda: len(met) >= 20, "20 faults")
            imds.misbehave(INSTANCE, None)
            await ear.looks(1)

        await failing()
        assert [] == ear.heard
        imds.interrupt(INSTANCE, at=time.time() + 120)
        await ear.until(1)
        await failing()
        assert 1 == len(ear.heard)
        imds.withdraw(INSTANCE)

        assert WITHDRAWN == (await ear.until(2))[1]


async def test_look_that_hangs_delays_no_other_and_itself_by_its_timeout() -> None:
    """The rebalance document hangs for good and the spot document a few times: the notice is seen. Otherwise one
    stuck connection costs the two minutes."""
    async with one_instance() as (imds, endpoint), listening(imds, endpoint, timeout=30.0, look_timeout=0.3) as ear:
        await ear.looks(1)
        spot_hangs = [HANG] * 3
        imds.misbehave(
            INSTANCE,
            lambda path: (
                HANG if REBALANCE_PATH in path else spot_hangs.pop() if SPOT_PATH in path and spot_hangs else None
            ),
        )
        await eventually(lambda: not spot_hangs, "three looks that hang")
        imds.interrupt(INSTANCE, at=time.time() + 120)
        await ear.until(1)

        assert Source.SPOT is ear.heard[0].source  # type: ignore[union-attr]


async def test_service_that_is_not_there_is_waited_for() -> None:
    """Connection refused is one line in the log and a watch that goes on."""
    async with one_instance() as (_, endpoint):
        pass
    looks = 0

    async def sleep(seconds: float) -> None:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0)

    with capture_logs() as logs:
        async with (
            InstanceMetadata(endpoint, timeout=PATIENT_S) as metadata,
            aclosing(watch(metadata, sleep=sleep)) as news,
        ):
            waiting = asyncio.ensure_future(anext(news))
            await eventually(lambda: looks >= 100, "100 looks")
            assert not waiting.done()
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)

    assert [("metadata.failed", 1)] * 3 == [(line["event"], line["failures"]) for line in logs]


async def test_token_that_ends_while_watching_is_no_event() -> None:
    """Tokens end every six hours, the run does not: not one look is lost."""
    ec2 = Clock()
    with capture_logs() as logs:
        async with one_instance(ec2) as (imds, endpoint), listening(imds, endpoint) as ear:
            for _ in range(5):
                await ear.looks(2)
                ec2.now += 21600
            imds.interrupt(INSTANCE, at=ec2.now + 120)
            await ear.until(1)

    assert [] == logs


async def test_outage_is_told_at_growing_intervals_and_when_it_ends() -> None:
    """An outage of hours is a handful of lines: the first failure, reminders ever rarer, and the recovery. One line a
    look would be 86,400 a day on a disk that the run needs."""
    here = Clock(now=0.0)
    with capture_logs() as logs:
        async with one_instance() as (imds, endpoint), listening(imds, endpoint, clock=here, period=0.001) as ear:
            spot_fails = lambda path: status(503) if SPOT_PATH in path else None  # noqa: E731
            imds.misbehave(INSTANCE, spot_fails)
            for second in (0, 59, 60, 179, 180, 419, 420, 899, 900, 1859, 1860, 3779, 3780, 7000):
                here.now = float(second)
                await ear.looks(1)
            imds.misbehave(INSTANCE, None)
            await ear.looks(2)

    spot = [line for line in logs if line["path"] == SPOT_PATH]  # a stalled computer may time out another look
    assert [0, 60, 180, 420, 900, 1860, 3780] == [line["seconds"] for line in spot[:-1]]
    assert "metadata.recovered" == spot[-1]["event"]


async def test_service_that_fails_every_other_time_is_not_told_every_other_time() -> None:
    """Flapping is failing: one line of failure and one of recovery, then silence for the interval."""
    here = Clock(now=0.0)
    with capture_logs() as logs:
        async with one_instance() as (imds, endpoint), listening(imds, endpoint, clock=here) as ear:
            turn = 0

            def flap(path: str) -> Fault | None:
                nonlocal turn
                turn += SPOT_PATH in path
                return status(503) if SPOT_PATH in path and turn % 2 else None

            imds.misbehave(INSTANCE, flap)
            await ear.looks(30)

    assert ["metadata.failed", "metadata.recovered"] == [line["event"] for line in logs]


async def test_bug_of_ours_is_logged_with_its_traceback_and_survived() -> None:
    """An adapter that breaks its contract is a bug; the watch says so and looks again (P6)."""

    class Broken:
        looks = 0

        async def text(self, path: str) -> str | None:
            self.looks += 1
            raise ZeroDivisionError(path)

        def server_now(self) -> float | None:
            return None

    metadata = Broken()
    with capture_logs() as logs:
        async with aclosing(watch(metadata, period=0.001)) as news:
            waiting = asyncio.ensure_future(anext(news))
            await eventually(lambda: metadata.looks >= 10, "10 looks")
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)

    assert [True, True, True] == [line["exc_info"] for line in logs]


async def test_leaving_the_watch_ends_its_tasks() -> None:
    """A reader that goes leaves nothing behind. Otherwise a machine that has handed over still asks for ever."""
    before = asyncio.all_tasks()
    async with one_instance() as (imds, endpoint), InstanceMetadata(endpoint, timeout=PATIENT_S) as metadata:
        imds.rebalance(INSTANCE)
        async with aclosing(watch(metadata, period=0.01)) as news:
            assert Rebalance() == await anext(news)
            assert 3 == len([task for task in asyncio.all_tasks() - before if "_keep_looking" in repr(task)])

        assert [] == [task for task in asyncio.all_tasks() - before if "_keep_looking" in repr(task)]


@pytest.mark.parametrize("polls", [1_000, pytest.param(10_000, marks=pytest.mark.slow)])
async def test_no_notice_is_missed_under_random_faults(polls: int) -> None:
    """A third of all requests fails in some way, hanging included, while notices come and go: each is told once, each
    withdrawal once, nothing else is, and the watch goes on. A missed notice is a lost run."""
    asyncio.get_running_loop().set_debug(False)  # it trebles the time of so many requests
    chance = random.Random(20261123)
    looks = 0

    async def sleep(seconds: float) -> None:
        """The spot document as fast as it goes, the others now and then."""
        nonlocal looks
        looks += seconds <= 1
        await asyncio.sleep(0 if seconds <= 1 else 0.05)

    async def pass_looks(number: int) -> None:
        end = looks + number
        await eventually(lambda: looks >= end, f"{number} looks")

    options: dict[str, Any] = {"period": 1.0, "sleep": sleep, "timeout": 0.03}
    with capture_logs():
        async with one_instance() as (imds, endpoint), listening(imds, endpoint, **options) as ear:
            imds.misbehave(INSTANCE, random_faults(20261123, rate=0.33, hang=True))
            expected: list[type] = []
            while looks < polls:
                await pass_looks(chance.randrange(30))
                assert expected == [type(event) for event in ear.heard]
                imds.interrupt(INSTANCE, chance.choice(["terminate", "stop", "hibernate"]), at=time.time() + 120)
                expected.append(Notice)
                await ear.until(len(expected))
                await pass_looks(chance.randrange(30))
                assert expected == [type(event) for event in ear.heard]
                imds.withdraw(INSTANCE)
                expected.append(Withdrawn)
                await ear.until(len(expected))

    assert len(expected) > polls // 100
