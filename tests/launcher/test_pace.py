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


def test_nobody_goes_for_less_than_many_can_share() -> None:
    """While ten wait, one that goes for each instance that flows in uses up a call for each, and two objects."""
    shared, clock = pace()
    for _ in range(20):
        shared.grant(50)
    clock.at += 2

    assert 0 == shared.grant(10)
    assert 4 == shared.grant(4)
    clock.at += 5
    assert 10 == shared.grant(10)


def test_call_refused_at_the_door_leaves_the_instances() -> None:
    """There is another bucket for calls, smaller, and full again in seconds."""
    refused, clock = pace()
    refused.refused(turned_away=True)

    assert 0 == refused.grant(10)
    clock.at += 1
    assert 10 == refused.grant(10)


def test_second_refusal_in_a_row_is_one_of_instances_too() -> None:
    """EC2 does not say which bucket is empty. Believing in instances that are not there would burn all the calls."""
    refused, clock = pace()
    refused.refused(turned_away=True)
    clock.at += 1
    assert 10 == refused.grant(10)
    refused.refused(turned_away=True)
    clock.at += 1

    assert 0 == refused.grant(10)


def test_launch_that_was_refused_empties_the_instances() -> None:
    refused, clock = pace()
    refused.refused(turned_away=False)

    assert 0 == refused.grant(1)
    clock.at += 10
    assert 10 == refused.grant(10)


def test_several_come_to_share_what_none_of_them_sees() -> None:
    """Five environments, each as if alone, at one bucket that holds nothing but what flows in: nearly all of that is
    launched, and few calls are refused. Without a share each would be refused four times out of five."""
    clock, launched, refused = Clock(), 0, 0
    true = Bucket(INSTANCES, clock())
    true.take(INSTANCES.size, clock())
    everybody = [Pace(clock, lambda: 0) for _ in range(5)]
    for _ in range(6000):
        clock.at += 0.5
        for one in everybody:
            granted = one.grant(10)
            if granted and true.left(clock()) < granted:
                one.refused(turned_away=False)
                refused += 1
            elif granted:
                true.take(granted, clock())
                one.accepted(unused=0)
                launched += granted

    assert launched > 0.95 * 3000 * INSTANCES.refill
    assert refused < 0.5 * launched / 10


def test_share_is_never_so_small_that_a_run_waits_for_long() -> None:
    """After the storm, or when somebody else's launches were what it met."""
    beaten, clock = pace()
    for _ in range(50):
        beaten.refused(turned_away=True)
    clock.at += 8

    assert 1 == beaten.grant(1)


def test_delay_is_the_time_in_which_all_that_wait_are_served() -> None:
    """Ten thousand that come back together are refused together; and two need not wait."""
    few, many = pace(10)[0], pace(1000)[0]
    for each in (few, many):
        each.refused(turned_away=False)

    assert few.delay_s() <= 9
    delays = [many.delay_s() for _ in range(50)]
    assert 250 <= min(delays) <= max(delays) <= 505
    many.refused(turned_away=True)
    many.accepted(unused=0)
    many.refused(turned_away=True)
    assert max(many.delay_s() for _ in range(50)) <= 205
    assert LONGEST_DELAY_S == pace(100_000)[0].delay_s()


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
