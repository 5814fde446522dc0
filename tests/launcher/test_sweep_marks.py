"""The marks below open/: by them the sweep knows which runs may still need somebody, and it takes them away."""

from __future__ import annotations

import itertools
from typing import ClassVar

from spotrelay.core import keys, records
from spotrelay.core.spec import Run, Spec
from support.estate import HOUR, MINUTE, Around, Estate


def test_mark_goes_after_the_outcome(estate: Estate) -> None:
    """Otherwise every run there ever was would be read every five minutes."""
    over, open_ = estate.open(), estate.open()
    estate.finish(over, 1)
    estate.sweep()

    assert (False, True) == (estate.marked_open(over), estate.marked_open(open_))
    assert [] == estate.launched(over, 1)


def test_mark_stays_until_the_books_are_closed(estate: Estate) -> None:
    """The next sweep comes back to them. Damaged ones nobody can close: then it goes. Otherwise what a run cost is
    never written, or it is looked at for ever."""

    class Books:
        answers: ClassVar[list[bool]] = [False, True]

        def over(self, run: str) -> records.Cancel | None:
            return None

        def settled(self, run: str, outcome: records.Outcome) -> bool:
            if run == broken:
                raise records.RecordInvalid("garbled")
            return self.answers.pop(0)

    over, broken = estate.open(), estate.open()
    estate.finish(over, 1)
    estate.finish(broken, 1)
    estate.sweep(limits=Books())
    assert (True, False) == (estate.marked_open(over), estate.marked_open(broken))
    estate.sweep(limits=Books())

    assert not estate.marked_open(over)


def test_mark_without_a_run_goes_half_an_hour_later(estate: Estate) -> None:
    """Whoever made it died before it wrote the run; or is just about to."""
    estate.objects.put(keys.open_run("lonely"), b"")
    warm = estate.a_sweep()
    warm.once(estate.clock.now() + 50)
    estate.advance(29 * MINUTE)
    warm.once(estate.clock.now() + 50)
    assert estate.marked_open("lonely")
    estate.advance(2 * MINUTE)
    warm.once(estate.clock.now() + 50)

    assert not estate.marked_open("lonely")


def test_mark_comes_back_with_its_run(estate: Estate) -> None:
    """It was begun in the very moment in which the mark was taken away."""
    estate.objects.put(keys.open_run("late"), b"")
    looks = itertools.count(1)

    def on_get(key: str) -> None:
        if key == keys.spec("late") and next(looks) == 3:
            estate.objects.create(key, Spec(Run("late", ("true",), "/job")).encode())

    warm = estate.a_sweep(objects=Around(estate.objects, on_get))
    warm.once(estate.clock.now() + 50)
    estate.advance(HOUR)
    warm.once(estate.clock.now() + 50)

    assert estate.marked_open("late")


def test_what_is_no_run_is_passed_over(estate: Estate) -> None:
    """A bucket holds what people put there, and a name becomes part of keys."""
    for name in ("-", "Not A Run", "a/b", "x" * 200):
        estate.objects.put(keys.open_run(name), b"")
    read: list[str] = []
    estate.sweep(objects=Around(estate.objects, read.append))

    assert [] == read
