"""Spot or on demand: the policies as a table, and the promise of a deadline as a property."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotrelay.core.spec import Instance, Run, Save, Spec
from spotrelay.launcher.market import CHANGEOVER_S, QUOTA_S, market, next_change_at

HOUR_S = 3600.0
NOON = 1922356800.0  # 2030-12-01T12:00:00Z
EVERY_S = 300.0


def on(**instance: object) -> Spec:
    return Spec(Run("r", ("true",), "/job"), save=Save(EVERY_S), instance=Instance(**instance))  # type: ignore[arg-type]


def due(work_hours: float) -> Spec:
    return on(on_demand="finish_by", finish_by="2030-12-01T12:00:00Z", work_hours=work_hours)


@pytest.mark.parametrize(
    ("instance", "waited_s", "expected", "change_after_s"),
    [
        ({"market": "on-demand"}, 0, "on-demand", None),
        ({"market": "on-demand", "on_demand": "after 30m"}, 0, "on-demand", None),
        ({}, 0, "spot", None),
        ({}, 1e9, "spot", None),
        ({"on_demand": "after 30m"}, 0, "spot", 1800),
        ({"on_demand": "after 30m"}, 1800, "spot", 1800),
        ({"on_demand": "after 30m"}, 1801, "on-demand", None),
        ({"on_demand": "after 0s"}, 0, "spot", 0),
        ({"on_demand": "after 0s"}, 1, "on-demand", None),
    ],
)
def test_policy_by_the_time_that_the_hunt_took(
    instance: dict[str, str], waited_s: float, expected: str, change_after_s: float | None
) -> None:
    """What the person wrote. Otherwise it costs three times as much as they allowed, or waits though they would pay."""
    asked = {"since": 1000.0, "now": 1000.0 + waited_s, "worked_s": 0.0}

    assert expected == market(on(**instance), **asked)
    assert (None if change_after_s is None else 1000.0 + change_after_s) == next_change_at(on(**instance), **asked)


@pytest.mark.parametrize(
    ("work_hours", "worked_s", "left_s", "expected"),
    [
        (6, 0, 24 * HOUR_S, "spot"),
        (6, 0, 6 * HOUR_S + 2 * CHANGEOVER_S + EVERY_S + 1, "spot"),
        (6, 0, 6 * HOUR_S + 2 * CHANGEOVER_S + EVERY_S - 1, "on-demand"),
        (6, 5 * HOUR_S, 6 * HOUR_S, "spot"),
        (6, 5 * HOUR_S, 1 * HOUR_S, "on-demand"),
        (6, 9 * HOUR_S, 1 * HOUR_S, "spot"),  # it takes longer than was said: only the deadline is left to go by
        (6, 9 * HOUR_S, 60, "on-demand"),
        (6, 0, -HOUR_S, "on-demand"),  # late is late, and each hour of waiting is later
    ],
)
def test_deadline_turns_to_on_demand_when_the_slack_is_used_up(
    work_hours: float, worked_s: float, left_s: float, expected: str
) -> None:
    """Not sooner: it is the dearer way. Not later: then the deadline cannot be met on any market."""
    assert expected == market(due(work_hours), since=0.0, now=NOON - left_s, worked_s=worked_s)


def test_moment_of_the_change_is_told() -> None:
    """A person who waits wants to know for what. It is the moment from which on the answer is another."""
    spec = due(6)
    change = next_change_at(spec, since=0.0, now=NOON - 24 * HOUR_S, worked_s=HOUR_S)

    assert NOON - 5 * HOUR_S - 2 * CHANGEOVER_S - EVERY_S == change
    assert change is not None
    assert "spot" == market(spec, since=0.0, now=change, worked_s=HOUR_S)
    assert "on-demand" == market(spec, since=0.0, now=change + 1, worked_s=HOUR_S)
    assert next_change_at(spec, since=0.0, now=change + 1, worked_s=HOUR_S) is None


@pytest.mark.parametrize(
    ("on_demand", "waited_s", "expected"),
    [
        ("never", 1e9, "spot"),
        ("after 30m", QUOTA_S, "spot"),
        ("after 30m", QUOTA_S + 1, "on-demand"),
        ("after 1m", 61, "on-demand"),
    ],
)
def test_spot_quota_is_not_waited_for(on_demand: str, waited_s: float, expected: str) -> None:
    """It passes when machines end, not when capacity comes: longer than EC2 takes to forget the last one is in vain.
    Where on-demand instances are not allowed, they are not taken."""
    spec = on(on_demand=on_demand)

    assert expected == market(spec, since=0.0, now=waited_s, worked_s=0.0, spot_quota_refused=True)


@given(
    work_s=st.floats(60, 100 * HOUR_S),
    slack_s=st.floats(2 * CHANGEOVER_S + EVERY_S, 100 * HOUR_S),
    weather=st.lists(st.tuples(st.floats(0, 5 * HOUR_S), st.floats(0, 5 * HOUR_S), st.booleans()), max_size=40),
)
def test_deadline_is_met_whatever_spot_does(
    work_s: float, slack_s: float, weather: list[tuple[float, float, bool]]
) -> None:
    """Waits for capacity and works on spot as long as the weather lets it, with or without notice before each end; once
    on demand, it works to its end. Each way to a machine takes what is reserved for it, and a death throws back by as
    much as one save. Otherwise finish_by is a wish."""
    now, worked, spec = NOON - work_s - slack_s, 0.0, due(work_s / HOUR_S)
    for wait_s, works_s, noticed in weather:
        since = now
        change = next_change_at(spec, since=since, now=now, worked_s=worked)
        if change is None:
            break
        if now + wait_s > change:
            now = change  # the hunt is told when to look again
            break
        now += wait_s
        done = min(works_s, work_s - worked)
        now += CHANGEOVER_S + done
        worked += done if noticed or worked + done >= work_s else max(0.0, done - EVERY_S)
        if worked >= work_s:
            break
    if worked < work_s:
        now += CHANGEOVER_S + work_s - worked  # on demand

    assert now <= NOON + 1e-3


@given(
    work_hours=st.floats(0.1, 100),
    steps=st.lists(st.tuples(st.floats(0, 10 * HOUR_S), st.floats(0, 1)), max_size=30),
)
def test_on_demand_is_for_good(work_hours: float, steps: list[tuple[float, float]]) -> None:
    """Slack only shrinks, since nobody works more than an hour an hour. Otherwise a run that was late once changes to
    and fro, and each change costs what it has not."""
    spec, now, worked, seen = due(work_hours), NOON - 50 * HOUR_S, 0.0, list[str]()
    for passed_s, share in steps:
        now, worked = now + passed_s, worked + passed_s * share
        seen.append(market(spec, since=now, now=now + 1, worked_s=worked))

    assert sorted(seen, reverse=True) == seen
