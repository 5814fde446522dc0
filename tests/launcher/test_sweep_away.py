"""The sweep where store or EC2 do not answer, deny, or hold what is damaged: no answer is not an empty one."""

from __future__ import annotations

import pytest

from spotrelay.core import keys
from spotrelay.core.errors import StoreDenied, StoreUnavailable
from support.estate import HOUR, Around, Estate, refusing


@pytest.mark.parametrize("thing", ["instances/", "claim.json", "status.json", "outcome.json", "run.json"])
def test_nothing_is_done_on_a_read_that_failed(estate: Estate, thing: str) -> None:
    """ "Not there" and "no answer" are not the same: the one ends instances, the other must not."""
    run = estate.open()
    silent = estate.owner(run, silent=HOUR)
    estate.sweep(objects=Around(estate.objects, refusing(StoreUnavailable("away"), thing)))

    assert estate.lives(silent)
    assert [] == estate.launched(run, 2)


def test_one_damaged_object_stops_nobody_else(estate: Estate) -> None:
    """And a person is told of it."""
    damaged = estate.machine()
    estate.objects.put(keys.assignment(damaged), b"{")
    orphan = estate.assign(estate.machine(), "a")
    estate.sweep()

    assert (True, False) == (estate.lives(damaged), estate.lives(orphan))
    assert [keys.assignment(damaged)] == [each["why"].split()[0] for each in estate.heard_of("needs.person")]


def test_store_that_denies_calls_a_person_once(estate: Estate) -> None:
    """Not once for each of thousands of instances."""
    orphans = [estate.assign(estate.machine(), "a") for _ in range(5)]
    estate.sweep(objects=Around(estate.objects, refusing(StoreDenied("denied"), "instances/")))

    assert all(estate.lives(each) for each in orphans)
    assert [("instances", 5)] == [(each["what"], each["count"]) for each in estate.heard_of("needs.person")]


@pytest.mark.parametrize("action", ["DescribeInstances", "DescribeSpotInstanceRequests", "TerminateInstances"])
def test_ec2_that_is_away_is_left_to_the_next_sweep(estate: Estate, action: str) -> None:
    """No answer about the estate is not an empty one, or every run would get a second owner."""
    run, other = estate.open(), estate.open()
    estate.owner(run, spot=True)
    orphan = estate.assign(estate.machine(age=HOUR), other)
    estate.do(lambda: estate.plane.faults.refuse(action, "InternalError", status=500, times=99))
    estate.sweep()
    estate.do(estate.plane.faults.clear)
    assert estate.launched(run, 2) == []
    assert estate.heard_of("sweep.unanswered")
    assert not estate.heard_of("needs.person")
    estate.sweep()

    assert not estate.lives(orphan)
    assert 1 == len(estate.live(other, 1))


def test_ec2_that_refuses_to_count_calls_a_person(estate: Estate) -> None:
    """Nothing would ever be found again, and everything seem well."""
    estate.do(lambda: estate.plane.faults.refuse("DescribeInstances", "UnauthorizedOperation", status=403))
    estate.sweep()

    assert ["instances"] == [each["what"] for each in estate.heard_of("needs.person")]


def test_store_that_is_away_ends_nothing_and_asks_for_nothing(estate: Estate) -> None:
    run = estate.open()
    orphans = [estate.assign(estate.machine(age=HOUR), run) for _ in range(3)]
    estate.sweep(objects=Around(estate.objects, refusing(StoreUnavailable("away"), "/")))

    assert all(estate.lives(each) for each in orphans)
    assert 3 == len(estate.launched(run, 1))
    assert [] == estate.heard_of("needs.person")
