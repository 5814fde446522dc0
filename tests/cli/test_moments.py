"""When a rehearsal interrupts."""

from __future__ import annotations

import pytest

from spotrelay.cli.moments import EARLIEST_S, LATEST_S, Moment, moments, seconds
from spotrelay.core.errors import UsageError


@pytest.mark.parametrize(
    ("text", "expected"),
    [("10", 10), ("10s", 10), (" 1.5s ", 1.5), ("500ms", 0.5), ("2m", 120), ("1h", 3600), ("0", 0)],
)
def test_times(text: str, expected: float) -> None:
    """A number, or a number with its unit. Otherwise 500ms are 500 s."""
    assert expected == seconds(text)


@pytest.mark.parametrize("text", ["", "x", "-1s", "10 s", "1d", "1h30m", "٣s", "inf", "1e3", "9" * 400])
def test_what_is_no_time(text: str) -> None:
    """It is refused, with what to write. Otherwise a slip means an hour of waiting."""
    with pytest.raises(UsageError, match="not a time") as caught:
        seconds(text)

    assert "10s" in caught.value.next_step


def test_given_moments_come_first_and_random_ones_fill_up() -> None:
    """As they were given, then up to the number. Otherwise a test of one moment tests another."""
    found = moments(["3s", "1s:no-notice"], 4, notice=True, seed=7)

    assert [Moment(3.0), Moment(1.0, notice=False)] == found[:2]
    assert all(EARLIEST_S <= moment.after_s <= LATEST_S and moment.notice for moment in found[2:])
    assert 4 == len(found)


def test_a_seed_makes_random_moments_the_same_again() -> None:
    """Otherwise what failed once cannot be looked at twice."""
    assert moments([], 3, notice=True, seed=7) == moments([], 3, notice=True, seed=7)
    assert moments([], 3, notice=True, seed=7) != moments([], 3, notice=True, seed=8)


def test_kinds() -> None:
    """--no-notice is for all that do not say otherwise. Otherwise a mixed rehearsal cannot be asked for."""
    assert [Moment(1.0, notice=False), Moment(1.0)] == moments(["1s", "1s:notice"], None, notice=False, seed=None)
    assert 1 == len(moments([], None, notice=True, seed=None))
    assert [] == moments([], 0, notice=True, seed=None)


def test_what_the_program_says() -> None:
    """A moment of the program's own, colons and slashes in its words too, is no time. Otherwise nothing can be
    interrupted within a checkpoint."""
    plain, dying, path = moments(["/saving/", "/a: b:c/:no-notice", "//tmp/x/"], None, notice=True, seed=None)

    assert [("saving", True), ("a: b:c", False), ("/tmp/x", True)] == [
        (moment.said.pattern, moment.notice) for moment in (plain, dying, path) if moment.said
    ]
    with pytest.raises(UsageError, match="unterminated"):
        moments(["/(/"], None, notice=True, seed=None)


@pytest.mark.parametrize(("after", "count"), [(["1s", "2s"], 1), (["1s:soon"], None), (["1s:"], 0)])
def test_contradictions_are_refused(after: list[str], count: int | None) -> None:
    """More moments than interruptions, kinds that there are not. Otherwise one of the two is silently ignored."""
    with pytest.raises(UsageError):
        moments(after, count, notice=True, seed=None)
