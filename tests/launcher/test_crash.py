"""The launcher dies at every call of the outside world, before its effect and after, and is called again.

The calls are counted from a story that runs through, so a call that is added to the code is added to this test. Each
time exactly one living instance must be there for the attempt, assigned, and nothing left in the queue.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from spotrelay.core.errors import StoreUnavailable
from spotrelay.core.spec import Limits
from support.launcher_site import Died, Fuse, Site

Story = Callable[[Site, str], tuple[str, int]]


def first_attempt(site: Site, name: str) -> tuple[str, int]:
    run = site.begin(name)
    site.post(run, 1)
    return run, 1


def noticed(site: Site, name: str) -> tuple[str, int]:
    run = site.begin(name)
    site.notice(run, 1, site.owned(run))
    return run, 2


def died(site: Site, name: str) -> tuple[str, int]:
    run = site.begin(name)
    site.kill(site.owned(run))
    return run, 2


def died_unclaimed(site: Site, name: str) -> tuple[str, int]:
    run = site.begin(name)
    site.ask(run, 1)
    site.kill(site.live(run, 1)[0])
    return run, 1


def no_capacity_at_first(site: Site, name: str) -> tuple[str, int]:
    run = site.begin(name)
    site.do(lambda: site.plane.faults.refuse("CreateFleet", "InsufficientInstanceCapacity", status=400, times=2))
    site.post(run, 1)
    return run, 1


STORIES: list[Story] = [first_attempt, noticed, died, died_unclaimed, no_capacity_at_first]


def crashes(site: Site, story: Story, *, after: bool, error: type[BaseException]) -> Iterator[tuple[str, int, str]]:
    """The story once for each of its calls, each time with a crash at another one. The run, attempt and call."""
    for number in itertools.count(1):
        site.fuse = Fuse()
        run, attempt = story(site, f"{story.__name__.replace('_', '-')}-{number}")
        site.fuse = Fuse(number, after, error)
        site.settle()
        if not site.fuse.blown:
            assert number > 5
            return
        yield run, attempt, f"{'after' if after else 'before'} {site.fuse.calls[number - 1]} ({number})"


@pytest.mark.parametrize(
    ("after", "error"),
    [(False, Died), (True, Died), (False, StoreUnavailable)],
    ids=["dies before", "dies after", "no answer"],
)
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_crash_at_any_call_leaves_one_assigned_instance(
    site: Site, story: Story, after: bool, error: type[BaseException]
) -> None:
    """Neither two machines for one attempt (P1) nor none (P3)."""
    for run, attempt, where in crashes(site, story, after=after, error=error):
        launched = site.live(run, attempt)

        assert [(run, attempt)] == [site.assigned(instance) for instance in launched], where
        assert [] == site.bodies(), where


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_crash_while_concluding_leaves_one_outcome(site: Site, after: bool) -> None:
    """A run at its limit gets its outcome, and no successor, wherever the launcher dies."""

    def at_the_limit(there: Site, name: str) -> tuple[str, int]:
        run = there.begin(name, limits=Limits(attempts=1))
        there.kill(there.owned(run))
        return run, 2

    for run, attempt, where in crashes(site, at_the_limit, after=after, error=Died):
        assert "limit" == site.outcome(run), where
        assert [] == site.launched(run, attempt), where


@pytest.mark.parametrize("lost", [1, 2, 3, 6])
def test_answer_of_create_fleet_is_lost(site: Site, lost: int) -> None:
    """The instance starts and the connection is reset, again and again. The same token finds it; another would have
    started another."""
    run = site.begin()
    site.do(lambda: site.plane.faults.lose_answer("CreateFleet", times=lost))
    site.post(run, 1)
    site.settle()

    (instance,) = site.launched(run, 1)
    assert (run, 1) == site.assigned(instance.id)


@pytest.mark.parametrize("lost", [1, 2, 3, 4])
def test_answer_of_the_bell_is_lost(site: Site, lost: int) -> None:
    """The bell is rung and its answer lost: some bells too many, and one hunt."""
    run = site.begin()
    site.do(lambda: site.plane.faults.lose_answer("SendMessage", times=lost))
    site.do(lambda: site.plane.faults.refuse("CreateFleet", "InsufficientInstanceCapacity", status=400, times=3))
    site.post(run, 1)
    site.settle()

    assert 1 == len(site.launched(run, 1))
