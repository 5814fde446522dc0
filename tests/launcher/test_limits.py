"""What ends a run that does not end by itself, and that its owner has the first word."""

from __future__ import annotations

import pytest

from spotrelay.core.spec import Limits
from support.launcher_site import Site


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
