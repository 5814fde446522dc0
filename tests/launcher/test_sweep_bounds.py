"""What a sweep costs: reads, memory, seconds."""

from __future__ import annotations

import itertools

from spotrelay.core import keys
from support.estate import Around, Estate


def test_instance_at_work_costs_one_read(estate: Estate) -> None:
    """In a warm environment: 100 runs for 39 cents a month, which is what the module says."""
    for _ in range(5):
        estate.owner(estate.open())
    read: list[str] = []
    warm = estate.a_sweep(objects=Around(estate.objects, read.append))
    warm.once(estate.clock.now() + 50)
    cold = len(read)
    read.clear()
    warm.once(estate.clock.now() + 50)

    assert (15, 5) == (cold, len(read))


def test_memory_is_of_what_there_is(estate: Estate) -> None:
    """An environment may live for hours, and a stack for years."""
    warm = estate.a_sweep()
    for _ in range(3):
        run = estate.open()
        owner = estate.owner(run)
        warm.once(estate.clock.now() + 50)
        assert len(warm._witness._known) == 2
        estate.die(owner)
        estate.finish(run, 1)
        warm.once(estate.clock.now() + 50)

    assert {} == warm._witness._known


def test_it_ends_in_time_and_says_what_it_left_out(estate: Estate) -> None:
    """A Lambda that is killed at its limit logs nothing, and is called again for the same."""
    for number in range(150):
        estate.objects.put(keys.open_run(f"late-{number}"), b"")
    spent = itertools.count()
    estate.sweep(now=lambda: estate.clock.now() + next(spent) * 0.2)

    assert ["open runs"] == [each["what"] for each in estate.heard_of("sweep.left_out")]
    assert 1 == len(estate.heard_of("sweep.done"))
