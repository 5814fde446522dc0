"""What ends a run that does not end by itself, and that its owner has the first word."""

from __future__ import annotations

import pytest

from spotrelay.core import keys, records
from spotrelay.core.limits import reached
from spotrelay.core.spec import Instance, Limits, Run, Spec
from spotrelay.launcher.rhythm import LONGEST_REST_S
from spotrelay.local.pools import Market
from support.launcher_site import Site

NOW = 1_800_000_000.0


def test_attempts_are_limited(site: Site) -> None:
    """Otherwise a run that can never end is paid for until somebody looks."""
    run = site.begin(limits=Limits(attempts=1))
    site.kill(site.owned(run))
    site.settle()

    assert "limit" == site.outcome(run)
    assert [] == site.launched(run, 2)


def test_hours_are_limited(site: Site) -> None:
    run = site.begin(limits=Limits(hours=2))
    owner = site.owned(run)
    site.advance(2 * 3600 + 1)
    site.kill(owner)
    site.settle()

    assert "limit" == site.outcome(run)


def test_crash_loop_ends_the_run(site: Site) -> None:
    """Three machines in a row that die under it and leave nothing. Otherwise the hundredth dies the same death."""
    run = site.begin(limits=Limits(fruitless=3))
    for attempt in (1, 2, 3):
        assert site.outcome(run) is None
        site.kill(site.owned(run, attempt))
        site.settle()

    assert "limit" == site.outcome(run)
    assert [] == site.launched(run, 4)


def test_run_turns_to_on_demand_when_its_patience_is_over(site: Site) -> None:
    """No sooner than the person said, and no later than the next look. Otherwise it costs three times what they
    allowed, or waits though they would pay."""
    run = site.begin(on=Instance(on_demand="after 30m"))
    site.do(lambda: site.plane.ec2.pools.drain(market=Market.SPOT))
    began = site.clock.now()
    site.post(run, 1)
    site.settle()
    (launched,) = site.launched(run, 1)

    assert Market.ON_DEMAND is launched.market
    assert 1800 < site.clock.now() - began < 1800 + 2 * LONGEST_REST_S


def test_cancel_without_an_owner_ends_the_run(site: Site) -> None:
    """Nobody runs, so nobody but the launcher can write the outcome; the wait for capacity ends with it."""
    run = site.begin()
    site.do(site.plane.ec2.pools.drain)
    site.ask(run, 1)
    site.cancel(run)
    site.settle()

    assert "stopped" == site.outcome(run)
    assert [] == site.launched(run, 1)


@pytest.mark.parametrize("ends", ["finish", "hand_over", "kill"])
def test_owner_that_is_still_saving_may_end_the_run_itself(site: Site, ends: str) -> None:
    """Its command may succeed in its last seconds. A limit written meanwhile would deny it for ever."""
    run = site.begin(limits=Limits(attempts=1))
    owner = site.owned(run)
    site.notice(run, 1, owner)
    site.deliver()
    assert site.outcome(run) is None

    match ends:
        case "finish":
            site.finish(run, 1)
        case "hand_over":
            site.hand_over(run, 1, owner)
        case "kill":
            site.kill(owner)
    site.settle()

    assert ("succeeded" if ends == "finish" else "limit") == site.outcome(run)
    assert [] == site.launched(run, 2)


# --- the limits by themselves


def limited(**limits: float) -> Spec:
    return Spec(Run("r", ("true",), "/job"), limits=Limits(**limits))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("limits", "attempt", "used", "told"),
    [
        ({}, 100, {}, None),
        ({}, 101, {}, "limits.attempts = 100 is reached"),
        ({"attempts": 3}, 4, {}, "limits.attempts = 3 is reached"),
        ({}, 5, {"fruitless": 4}, None),
        (
            {},
            6,
            {"fruitless": 5},
            "limits.fruitless = 5 is reached: 5 attempts in a row ended without notice and left no snapshot",
        ),
        ({"fruitless": 0}, 50, {"fruitless": 49}, None),
        ({"hours": 2}, 2, {"began": NOW - 7200}, None),
        ({"hours": 2}, 2, {"began": NOW - 7201}, "limits.hours = 2 is reached"),
        ({"hours": 2}, 1, {}, None),  # not begun: its hours have not either
        ({"dollars": 40}, 2, {"dollars": 39.99}, None),
        ({"dollars": 40}, 2, {"dollars": 41.2}, "limits.dollars = 40 is reached: 41.20 spent"),
        (
            {"dollars": 0.5},
            2,
            {"dollars": 0.5, "unpriced_s": 5400},
            "limits.dollars = 0.5 is reached: 0.50 spent, and the price of 1.5 machine hours is not known",
        ),
        ({"dollars": 40}, 2, {"dollars": 1, "unpriced_s": 3600}, None),
        (
            {"dollars": 40},
            2,
            {"dollars": 1, "unpriced_s": 5400},
            "limits.dollars = 40 cannot be held: 1.00 spent, and the price of 1.5 machine hours is not known",
        ),
        ({}, 2, {"dollars": 1e6, "unpriced_s": 1e6}, None),
    ],
)
def test_limit_is_told_with_its_field_and_what_was_used(
    limits: dict[str, float], attempt: int, used: dict[str, float], told: str | None
) -> None:
    """A person reads which line of run.toml ended the run, and by how much. A price that nobody knows is said too:
    otherwise a limit in dollars would hold nothing, and nobody would know."""
    assert told == reached(limited(**limits), attempt, records.Ledger(**used), NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize("cancelled", [False, True], ids=["limit", "stopped"])
def test_outcome_names_what_the_run_has(site: Site, cancelled: bool) -> None:
    """The last attempt died before it restored anything. Its data is that of the attempts before it, and somebody who
    is told of none would believe it lost."""
    run = site.begin(limits=Limits(attempts=100 if cancelled else 2))
    for attempt, snapshot in enumerate(["0-0", "1-7"], 1):
        site.objects.create(keys.snapshot(run, keys.SnapshotId.parse(snapshot)), b"")
        owner = site.live(run, attempt)[0] if attempt > 1 else site.owned(run)
        assert attempt == 1 or site.boot(owner)
        if attempt == 2 and cancelled:
            site.cancel(run)
        site.kill(owner)
        site.settle()

    told = site.read(records.Outcome, keys.outcome(run))
    assert told is not None
    assert ("stopped" if cancelled else "limit", 2, "1-7") == (told.result, told.attempt, told.snapshot)


def test_run_that_is_stopped_before_it_began_keeps_its_first_snapshot(site: Site) -> None:
    run = site.begin()
    site.objects.create(keys.snapshot(run, keys.SnapshotId(0, 0)), b"")
    site.cancel(run)
    site.ask(run, 1)

    told = site.read(records.Outcome, keys.outcome(run))
    assert told is not None
    assert "0-0" == told.snapshot
