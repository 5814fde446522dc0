"""What a launcher believes is left of EC2's buckets, on a clock that stands still until it is moved."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spotrelay.launcher.pace import CALLS, INSTANCES, LONGEST_DELAY_S, Bucket, Pace


class Clock:
    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


def pace(waiting: int = 0) -> tuple[Pace, Clock]:
    clock = Clock()
    return Pace(clock, lambda: waiting), clock


def test_whole_burst_is_granted_and_then_the_refill() -> None:
    """A thousand instances at once, shared by calls; then two a second."""
    given_out, clock = pace()

    assert [50] * 20 == [given_out.grant(50) for _ in range(20)]
    assert 0 == given_out.grant(50)
    clock.at += 10
    assert 20 == given_out.grant(50)


def test_calls_run_out_when_nobody_shares() -> None:
    """Fifty runs that share nothing are fifty calls; the next ones come at five a second."""
    alone, clock = pace()
    granted = [alone.grant(1) for _ in range(60)]
    clock.at += 1

    assert 50 == sum(granted)
    assert [1] * 5 + [0] == [alone.grant(1) for _ in range(6)]


def test_what_did_not_launch_is_given_back() -> None:
    """A hunt where nothing is to be had would otherwise use up what others could launch."""
    hunting, clock = pace()
    for _ in range(100):
        clock.at += 1
        hunting.accepted(unused=hunting.grant(50))

    assert 50 == hunting.grant(50)


def test_second_refusal_in_a_row_is_one_of_instances() -> None:
    """EC2 does not say which bucket is empty. Believing in instances that are not there would burn all the calls."""
    refused, clock = pace()
    refused.refused()
    clock.at += 1
    assert 10 == refused.grant(10)
    refused.refused()
    clock.at += 1

    assert 2 == refused.grant(10)


def test_delay_grows_with_who_waits_and_with_refusals() -> None:
    """Ten thousand that come back together are refused together."""
    few, many = pace(10)[0], pace(9000)[0]
    assert few.delay_s() <= 5
    first = [many.delay_s() for _ in range(50)]
    for _ in range(5):
        many.refused()
    later = [many.delay_s() for _ in range(50)]

    assert 90 <= min(first) <= max(first) <= 190
    assert {LONGEST_DELAY_S} == set(later)


@given(st.lists(st.tuples(st.floats(0, 50), st.integers(1, 80))))
def test_never_more_than_burst_and_refill(steps: list[tuple[float, int]]) -> None:
    """Whatever is asked for and when: what is granted fits into the documented buckets."""
    granting, clock = pace()
    began, instances, calls = clock.at, 0, 0
    for wait, wanted in steps:
        clock.at += wait
        granted = granting.grant(wanted)
        instances, calls = instances + granted, calls + (granted > 0)

        passed = clock.at - began
        assert 0 <= granted <= wanted
        assert instances <= INSTANCES.size + passed * INSTANCES.refill + 1e-6
        assert calls <= CALLS.size + passed * CALLS.refill + 1e-6


def test_clock_that_goes_back_gives_nothing() -> None:
    """Lambda's hosts correct their clocks."""
    bucket = Bucket(CALLS, 1000.0)
    bucket.take(50, 1000.0)

    assert 0 == bucket.left(900.0)
