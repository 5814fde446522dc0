"""The sweep over whole estates, twice at once, dying at any call: who must stay stays, and who must go goes."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spotrelay.launcher.crew import Threads
from spotrelay.launcher.pools import STACK_TAG
from spotrelay.local.instances import Reason
from support.estate import HOUR, MINUTE, Estate, estate_in
from support.launcher_site import Died, Fuse


def troubled(estate: Estate) -> tuple[list[str], list[str], list[str]]:
    """Something of everything. Who must stay, who must go, and the runs that shall have one machine in the end."""
    runs = [estate.open() for _ in range(6)]
    stay = [estate.owner(runs[0]), estate.machine(tags={}), estate.assign(estate.machine(age=MINUTE), runs[1])]
    go = [
        estate.assign(estate.machine(age=HOUR), runs[2]),
        estate.in_fleet(runs[3], age=HOUR),
        estate.owner(runs[4], silent=HOUR),
        estate.assign(estate.machine(age=HOUR), runs[0]),
    ]
    estate.die(estate.owner(runs[5], silent=HOUR))
    return stay, go, runs


def machines_of(estate: Estate, run: str) -> list[str]:
    return [instance for attempt in (1, 2, 3) for instance in estate.live(run, attempt)]


def test_two_sweeps_at_once_come_to_the_same_end(estate: Estate) -> None:
    """SQS delivers the schedule's message twice, to two environments."""
    stay, go, runs = troubled(estate)
    threads = [threading.Thread(target=estate.sweep, kwargs={"crew": Threads(4)}) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    estate.settle()

    assert [True] * len(stay) == [estate.lives(each) for each in stay]
    assert [False] * len(go) == [estate.lives(each) for each in go]
    assert [1] * len(runs) == [len(machines_of(estate, run)) for run in runs]


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_sweep_that_dies_at_any_call_is_finished_by_the_next(tmp_path: Path, after: bool) -> None:
    """Its environment is gone in the middle, as at a time-out, and nothing but what is written remains."""
    with estate_in(tmp_path) as estate:
        for number in itertools.count(1):
            estate.anew(tmp_path / str(number))
            stay, go, runs = troubled(estate)
            estate.fuse = Fuse(number, after)
            with contextlib.suppress(Died):
                estate.sweep()
            blown, estate.fuse = estate.fuse, Fuse()
            estate.advance(2 * MINUTE)
            estate.sweep()
            estate.settle()
            where = blown.calls[number - 1 : number]

            assert [True] * len(stay) == [estate.lives(each) for each in stay], where
            assert [False] * len(go) == [estate.lives(each) for each in go], where
            assert [1] * len(runs) == [len(machines_of(estate, run)) for run in runs], where
            if not blown.blown:
                assert number > 50
                return


class Kind(NamedTuple):
    """A condition that an instance can be in, as `Estate` makes it, and what the sweep owes it."""

    make: Callable[[Estate], str]
    stays: bool
    # An owner in the middle of its run, and whether it was heard of.
    heard: bool | None = None


def publishing(estate: Estate) -> str:
    run = estate.open()
    owner = estate.owner(run)
    estate.finish(run, 1)
    return owner


def ending(estate: Estate) -> str:
    run = estate.open()
    owner = estate.owner(run)
    estate.heard(owner, run, gone_in=60)
    return owner


def kept(estate: Estate) -> str:
    run = estate.open(keep_alive=True)
    owner = estate.owner(run, silent=24 * HOUR)
    estate.finish(run, 1)
    return owner


def finished(estate: Estate) -> str:
    run = estate.open()
    owner = estate.owner(run, silent=HOUR)
    estate.finish(run, 1)
    return owner


def fenced(estate: Estate) -> str:
    run = estate.open()
    owner = estate.owner(run, silent=HOUR)
    estate.claim("i-00000000000000001", run, 2, ago=0)
    return owner


def loser(estate: Estate) -> str:
    run = estate.open()
    estate.owner(run)
    return estate.assign(estate.machine(age=HOUR), run)


def stopped(estate: Estate) -> str:
    owner = estate.owner(estate.open(), silent=HOUR)
    estate.do(lambda: estate.plane.ec2.instance_gone(owner, Reason.ITSELF))
    return owner


KINDS = {
    "at work": Kind(lambda e: e.owner(e.open()), stays=True, heard=True),
    "at work on spot": Kind(lambda e: e.owner(e.open(), spot=True), stays=True, heard=True),
    "quiet": Kind(lambda e: e.owner(e.open(), silent=20 * MINUTE), stays=True, heard=True),
    "told to go": Kind(ending, stays=True, heard=True),
    "publishing": Kind(publishing, stays=True, heard=True),
    "kept": Kind(kept, stays=True),
    "booting": Kind(lambda e: e.assign(e.machine(age=5 * MINUTE), e.open()), stays=True),
    "just launched": Kind(lambda e: e.in_fleet(e.open(), age=30), stays=True),
    "untagged": Kind(lambda e: e.machine(tags={}), stays=True),
    "untagged and silent": Kind(lambda e: e.owner(e.open(), silent=HOUR, tags={}), stays=True),
    "of another stack": Kind(lambda e: e.machine(tags={STACK_TAG: "other"}), stays=True),
    "silent": Kind(lambda e: e.owner(e.open(), silent=HOUR), stays=False, heard=False),
    "finished": Kind(finished, stays=False),
    "fenced": Kind(fenced, stays=False),
    "loser": Kind(loser, stays=False),
    "stillborn": Kind(lambda e: e.assign(e.machine(age=HOUR), e.open()), stays=False),
    "unwanted": Kind(lambda e: e.in_fleet(e.open(), age=HOUR), stays=False),
    "booted by a person": Kind(lambda e: e.machine(age=HOUR), stays=True),
    "stopped": Kind(stopped, stays=False),
}


@pytest.mark.slow
def test_no_estate_makes_it_end_an_owner_or_leave_an_orphan(tmp_path: Path) -> None:
    """Whatever there is at once, however far a sweep before this one came: who must stay stays through all of it, and
    after one whole sweep who must go is gone."""
    examples = itertools.count()

    @given(st.lists(st.sampled_from(sorted(KINDS)), max_size=12), st.integers(0, 80), st.booleans())
    @settings(max_examples=60, suppress_health_check=list(HealthCheck))
    def holds(names: list[str], dies_at: int, after: bool) -> None:
        estate.anew(tmp_path / f"example {next(examples)}")
        kinds = [KINDS[name] for name in names]
        there = [kind.make(estate) for kind in kinds]
        silent = sum(kind.heard is False for kind in kinds)
        # Losers come with an owner at work; who publishes has no outcome that anybody would look for yet.
        owners = sum(kind.heard is not None for kind in kinds) + names.count("loser")
        most_are_silent = silent >= 3 and 2 * silent > owners
        estate.fuse = Fuse(dies_at, after)
        with contextlib.suppress(Died):
            estate.sweep()
        stay = [kind.stays or (kind.heard is False and most_are_silent) for kind in kinds]
        assert all(estate.lives(each) for each, stays in zip(there, stay, strict=True) if stays)
        estate.fuse = Fuse()
        estate.sweep()

        assert stay == [estate.lives(each) for each in there]

    with estate_in(tmp_path) as estate:
        holds()
