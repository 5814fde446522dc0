"""Two minutes of drama, in plain numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotrelay.core.deadline import LEAST_SHARE, RESERVE_S, SAVE_FLOOR_S, SHORTEST_S, Plan, plan

SECONDS = st.floats(0, 1e6)


@pytest.mark.parametrize(
    ("what", "left", "estimate", "expected"),
    [
        ("nothing much to save: the child has nearly all", 120, 0, Plan(92, 115, 120)),
        ("a second to save: its share is the least there is", 120, 1, Plan(92, 115, 120)),
        ("twenty seconds to save, and half as much again", 120, 20, Plan(85, 115, 120)),
        ("a minute to save", 120, 60, Plan(25, 115, 120)),
        ("more than there is: the child keeps its least", 120, 100, Plan(23, 115, 120)),
        ("hopeless: the same, what is saved early stands", 120, 100_000, Plan(23, 115, 120)),
        ("seen late", 60, 10, Plan(40, 55, 60)),
        ("half a minute", 30, 4, Plan(19, 25, 30)),
        ("half a minute and a long save", 30, 40, Plan(5, 25, 30)),
        ("ten seconds: the reserve is cut as well", 10, 0, Plan(3, 8, 10)),
        ("one second: it is tried as if there were ten", 1, 0, Plan(3, 8, 10)),
        ("hibernation, now", 0, 50, Plan(1.6, 8, 10)),
        ("past already", -300, 0, Plan(3, 8, 10)),
        ("scheduled, five minutes ahead", 300, 60, Plan(205, 295, 300)),
    ],
)
def test_seconds_are_divided(what: str, left: float, estimate: float, expected: Plan) -> None:
    """Child, save, reserve. Too much for one, and another's work is lost with the machine."""
    planned = plan(now=0.0, gone_at=left, save_estimate_s=estimate)

    assert pytest.approx((expected.kill_at, expected.commit_by, expected.gone_at)) == (
        planned.kill_at,
        planned.commit_by,
        planned.gone_at,
    ), what


@pytest.mark.parametrize(
    ("what", "checkpoint", "estimate", "kill_at"),
    [
        ("it ends in time anyway", 10, 20, 85),
        ("it needs just what is left", 68, 20, 85),
        ("it needs more, the save has some to give", 80, 20, 115 * 100 / 130),
        ("both need all there is: half each", 92, 115 / 1.5, 57.5),
        ("a checkpoint beyond all bounds: the save keeps its least", 10_000, 20, 92),
        ("as good as nothing to save", 110, 0, 92),
    ],
)
def test_command_that_is_known_to_be_slow_gets_its_part(
    what: str, checkpoint: float, estimate: float, kill_at: float
) -> None:
    """What earlier attempts took counts on both sides. Otherwise a command that needs 80 s is killed at 70 each time,
    and the run never gets on."""
    planned = plan(now=0.0, gone_at=120.0, save_estimate_s=estimate, checkpoint_s=checkpoint)

    assert pytest.approx(kill_at) == planned.kill_at, what


@given(
    now=SECONDS,
    left=st.floats(-1e6, 1e6),
    estimate=SECONDS | st.just(float("inf")),
    checkpoint=SECONDS | st.just(0.0),
)
def test_order_and_shares_hold_whatever_the_numbers(
    now: float, left: float, estimate: float, checkpoint: float
) -> None:
    """Killed before the commit, committed before the end, and each side keeps its share (P4)."""
    planned = plan(now=now, gone_at=now + left, save_estimate_s=estimate, checkpoint_s=checkpoint)
    seconds = planned.gone_at - now
    reserve, usable = planned.gone_at - planned.commit_by, planned.commit_by - now
    least = usable * LEAST_SHARE - 1e-6

    assert now <= planned.kill_at <= planned.commit_by <= planned.gone_at
    assert SHORTEST_S - 1e-6 <= seconds
    assert min(RESERVE_S, seconds * LEAST_SHARE) == pytest.approx(reserve, abs=1e-6)
    assert planned.kill_at - now >= least
    assert planned.commit_by - planned.kill_at >= least
    if not checkpoint:
        assert planned.commit_by - planned.kill_at >= min(SAVE_FLOOR_S, usable * (1 - LEAST_SHARE)) - 1e-6


@given(now=SECONDS, left=st.floats(SHORTEST_S, 1e5), estimate=SECONDS)
def test_deadline_is_not_moved(now: float, left: float, estimate: float) -> None:
    """With time left, the end is EC2's."""
    assert now + left == plan(now=now, gone_at=now + left, save_estimate_s=estimate).gone_at


@given(left=st.floats(SHORTEST_S, 1e4), small=SECONDS, more=SECONDS)
def test_a_longer_save_never_kills_later(left: float, small: float, more: float) -> None:
    earlier = plan(now=0, gone_at=left, save_estimate_s=small + more).kill_at

    assert earlier <= plan(now=0, gone_at=left, save_estimate_s=small).kill_at
