"""A save beside a running command has budgets, and keeps them; when it must be done, it is done."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable

import pytest

from spotrelay.snapshot.pace import BRISK, BURST, FULL, GENTLE, NICE, Budget, Gait
from support.imds import eventually

MIB = 1 << 20
CORES = 2


class Meter:
    """A clock that the budget's own waits move, and the CPU time that pieces take. `waking`: what each wait takes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.cpu = self.waking = 0.0
        self.waits = 0

        class Timeout:
            def __init__(this, seconds: float) -> None:
                this.seconds = seconds

            async def __aenter__(this) -> None:
                self.now += this.seconds
                self.cpu += self.waking
                self.waits += 1
                assert self.waits < 10_000, "it wakes up and waits again, and never gets on"
                raise TimeoutError

            async def __aexit__(this, *_: object) -> None: ...

        monkeypatch.setattr(asyncio, "timeout", Timeout)

    def budget(self, gait: Gait, **how: float) -> Budget:
        return Budget(gait, clock=lambda: self.now, cpu=lambda: self.cpu, cores=CORES, **how)

    async def send(self, budget: Budget, pieces: int, *, nbytes: int = 16 * MIB, cpu: float = 0.0) -> float:
        """Seconds that so many pieces took."""
        began = self.now
        for _ in range(pieces):
            await budget.spend(nbytes)
            self.cpu += cpu
        return self.now - began


@pytest.fixture
def meter(monkeypatch: pytest.MonkeyPatch) -> Meter:
    return Meter(monkeypatch)


@pytest.mark.parametrize("gait", [GENTLE, BRISK])
async def test_cpu_that_is_used_is_a_share_of_the_machine(gait: Gait, meter: Meter) -> None:
    """Whatever a piece costs (text costs ten times what noise costs). Otherwise a command that uses every core is
    slowed by what its files are made of."""
    budget = meter.budget(gait)

    took = await meter.send(budget, 100, nbytes=1, cpu=0.05)

    assert pytest.approx(gait.cpu * CORES * took, rel=0.1) == meter.cpu


async def test_waiting_is_not_what_has_to_be_waited_for(meter: Meter) -> None:
    """To wake up and look takes CPU, too, and is within the share. Otherwise who waits pays for its last look with the
    next one: a save beside the command does not get on, and takes its whole share of the machine for it."""
    meter.waking = 0.0003
    budget = meter.budget(GENTLE)

    took = await meter.send(budget, 100, nbytes=1, cpu=0.05)

    assert pytest.approx(GENTLE.cpu * CORES * took, rel=0.1) == meter.cpu
    assert 100 >= meter.waits


async def test_one_waits_for_all() -> None:
    """The others do not count what is owed again and again. Otherwise each more slice in flight costs CPU for which
    there is no budget."""
    counts = list[int]()

    def cpu() -> float:
        counts.append(1)
        return 0.0

    budget = Budget(Gait(1.0, 1.0), cpu=cpu)
    tasks = [asyncio.create_task(budget.spend(2 * BURST)) for _ in range(4)]
    await eventually(tasks[0].done, "the first, which owes nothing yet")
    at_first, first, second = 1, 1, 1
    budget.hurry(FULL)
    counted = len(counts)
    await asyncio.gather(*tasks)

    assert at_first + first + second == counted


async def test_bytes_are_so_many_a_second(meter: Meter) -> None:
    """But for the first, which go together: they show what the line carries. Otherwise the command shares its disk and
    network with a save that takes all it can get."""
    budget = meter.budget(GENTLE)
    burst = BURST // (16 * MIB) + 1

    assert 0 == await meter.send(budget, burst)
    took = await meter.send(budget, 50)

    assert pytest.approx(GENTLE.bytes_s, rel=0.1) == 50 * 16 * MIB / took
    assert pytest.approx(took) == budget.waited_s


async def test_what_was_not_used_is_not_saved_up(meter: Meter) -> None:
    """A minute in which nothing had to be read buys one burst. Otherwise it buys a minute without a limit."""
    budget = meter.budget(GENTLE)
    await meter.send(budget, 10)
    meter.now += 3600

    assert 1.0 < await meter.send(budget, 10)


async def test_save_is_done_within_its_time(meter: Meter) -> None:
    """Far more than a gentle pace can do: it goes faster and faster in the second half. Otherwise a machine that dies
    without notice loses hours where the spec says minutes."""
    budget = meter.budget(GENTLE, within_s=150)

    took = await meter.send(budget, 1500, cpu=0.02)  # 24 GiB, 30 s of CPU

    assert 75 < took < 150


async def test_save_that_is_small_stays_gentle(meter: Meter) -> None:
    """What fits into the first half keeps to the share all the time."""
    budget = meter.budget(GENTLE, within_s=150)

    took = await meter.send(budget, 30, cpu=0.02)

    assert pytest.approx(0.6 / (GENTLE.cpu * CORES), rel=0.1) == took


async def test_who_waits_is_let_go_when_it_must_hurry() -> None:
    """At once, not after what it would have waited. Otherwise a notice finds the save asleep."""
    budget, passed = Budget(Gait(1.0, 1.0)), list[int]()

    async def work(number: int) -> None:
        await budget.spend(2 * BURST)
        passed.append(number)

    tasks = [asyncio.create_task(work(number)) for number in range(4)]
    await eventually(lambda: len(passed) == 1, "the first, which owes nothing yet")
    budget.hurry(FULL)
    await asyncio.gather(*tasks)

    assert 4 == len(passed)


def test_threads_are_nicer_than_the_command() -> None:
    """That thread alone. Otherwise the watch for notices is as nice, and comes too late."""
    seen = list[int]()

    def work() -> None:
        Budget(GENTLE).lower()
        seen.append(os.getpriority(os.PRIO_PROCESS, 0))

    before = os.getpriority(os.PRIO_PROCESS, 0)
    _in_a_thread(work)

    assert ([max(NICE, before)], before) == (seen, os.getpriority(os.PRIO_PROCESS, 0))


def _in_a_thread(work: Callable[[], None]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
