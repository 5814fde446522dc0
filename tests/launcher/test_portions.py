"""Work in portions: each has its turn, and a service that is away is not asked for all of it."""

from __future__ import annotations

import itertools

from spotrelay.core.errors import StoreUnavailable
from spotrelay.launcher.crew import Alone
from spotrelay.launcher.portions import Portions


def test_nothing_is_left_out_for_ever() -> None:
    """With time for half of them, the tail of the list must not be the same tail each time."""
    seen = set[int]()
    for _ in range(50):
        time = itertools.count()
        Portions("items", seen.add, Alone(), lambda *_, **__: None, time.__next__).of(range(128), until=1)

    assert set(range(128)) == seen


def test_store_that_is_away_is_not_waited_for_a_hundred_times() -> None:
    """Each call has ten seconds of patience. A portion without one answer is the last."""
    tried = list[int]()

    def work(item: int) -> None:
        tried.append(item)
        raise StoreUnavailable("away")

    Portions("items", work, Alone(), lambda *_, **__: None, lambda: 0.0).of(range(640), until=1)

    assert 64 == len(tried)
