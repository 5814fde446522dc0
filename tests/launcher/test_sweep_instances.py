"""Which instances the sweep ends, and whom it leaves: real calls to the simulated EC2, a real store, and the real step
that it asks with."""

from __future__ import annotations

import itertools

from spotrelay.core import keys
from spotrelay.launcher.pools import STACK_TAG
from spotrelay.local.instances import Reason
from support.estate import HOUR, MINUTE, Around, Estate
from support.launcher_site import Fuse


def test_owner_at_work_and_what_is_not_ours_are_left(estate: Estate) -> None:
    """The sweep's first promise. It is better to burn than to take somebody's work of days."""
    run = estate.open()
    owner = estate.owner(run)
    others = [estate.machine(tags={}), estate.machine(tags={STACK_TAG: "other"}), estate.owner("x-1", tags={})]
    estate.sweep()

    assert all(estate.lives(each) for each in (owner, *others))
    assert [("sweep.done", {"instances": 1, "looked_at": 1, "ended": 0, "asked": 0})] == [
        (event, {name: value for name, value in fields.items() if name != "seconds"}) for event, fields in estate.said
    ]


def test_one_that_never_came_up_is_ended_and_replaced(estate: Estate) -> None:
    """Its agent cannot say so. Nobody else would ever ask for its run again."""
    run = estate.open()
    stillborn = estate.assign(estate.machine(age=HOUR), run)
    estate.sweep()

    (successor,) = estate.live(run, 1)
    assert ("terminated", True) == (estate.state(stillborn), estate.lives(successor))
    assert [stillborn] == [each["instance"] for each in estate.heard_of("orphan.terminated")]


def test_young_one_is_waited_for(estate: Estate) -> None:
    """A second machine for the same attempt would be paid for and turned away."""
    run = estate.open()
    booting = estate.assign(estate.machine(age=5 * MINUTE), run)
    estate.sweep()

    assert [booting] == [each.id for each in estate.launched(run, 1)]
    assert estate.lives(booting)


def test_one_whose_launcher_died_is_assigned(estate: Estate) -> None:
    """Killed between EC2's answer and the assignment, and the message lost with it: the machine waits ten minutes
    for a word, and the sweep brings it."""
    run = estate.unmarked()
    estate.fuse = Fuse()
    estate.ask(estate.open(), 1)
    estate.fuse = Fuse(estate.fuse.calls.index("create_fleet") + 1, after=True)
    estate.ask(run, 1)
    estate.do(estate.queue.messages.clear)
    estate.fuse = Fuse()
    (instance,) = estate.live(run, 1)
    assert estate.assigned(instance) is None
    estate.advance(2 * MINUTE)
    estate.sweep()

    assert [instance] == estate.live(run, 1)
    assert (run, 1) == estate.assigned(instance)
    assert [] == estate.heard_of("orphan.terminated")


def test_one_that_nobody_wants_is_ended_and_its_fleet_asked_for(estate: Estate) -> None:
    """Its agent gave up after ten minutes, or never came up: an assignment would not be read any more."""
    run = estate.unmarked()
    unwanted = estate.in_fleet(run, age=HOUR)
    estate.sweep()

    assert "terminated" == estate.state(unwanted)
    assert 1 == len(estate.live(run, 1))


def test_one_of_another_store_is_left_to_a_person(estate: Estate) -> None:
    """A stack that was given another bucket finds no assignment of any instance: all of them, at work, would look
    like orphans."""
    strange = estate.in_fleet("elsewhere", age=HOUR, written=False)
    estate.sweep()

    assert estate.lives(strange)
    assert [[strange]] == [each["instances"] for each in estate.heard_of("needs.person")]


def test_silent_owner_is_ended_and_succeeded(estate: Estate) -> None:
    """Hung, or cut off for good. Ending it is graceful, so that an agent that lives after all may save."""
    estate.owner(estate.open())
    run = estate.open()
    silent = estate.owner(run, silent=HOUR)
    estate.sweep()

    assert "terminated" == estate.state(silent)
    assert 1 == len(estate.live(run, 2))


def test_when_most_are_silent_it_is_not_they(estate: Estate) -> None:
    """A bucket policy gone wrong silences every agent, and each of them is at work."""
    runs = [estate.open() for _ in range(4)]
    silent = [estate.owner(run, silent=HOUR) for run in runs[:3]]
    estate.owner(runs[3])
    estate.sweep()

    assert all(estate.lives(each) for each in silent)
    assert ["3 of 4 owners are silent"] == [each["why"].partition(":")[0] for each in estate.heard_of("needs.person")]
    assert [] == estate.live(runs[0], 2)


def test_half_of_many_silent_are_ended(estate: Estate) -> None:
    """The others show that store and role are well."""
    runs = [estate.open() for _ in range(6)]
    silent = [estate.owner(run, silent=HOUR) for run in runs[:3]]
    for run in runs[3:]:
        estate.owner(run)
    estate.sweep()

    assert not any(estate.lives(each) for each in silent)


def test_kept_instance_stays(estate: Estate) -> None:
    """A person asked for it, and is looking at what the run left."""
    run = estate.open(keep_alive=True)
    kept = estate.owner(run, silent=24 * HOUR)
    estate.finish(run, 1)
    estate.sweep()

    assert estate.lives(kept)
    assert [] == estate.heard_of("needs.person")


def test_stopped_one_is_ended_and_succeeded(estate: Estate) -> None:
    """Somebody stopped it in the console: its disk is paid for, and its run waits."""
    run = estate.open()
    stopped = estate.owner(run, silent=HOUR)
    estate.do(lambda: estate.plane.ec2.instance_gone(stopped, Reason.ITSELF))
    estate.do(estate.queue.messages.clear)
    assert estate.state(stopped) == "stopped"
    estate.sweep()

    assert "terminated" == estate.state(stopped)
    assert 1 == len(estate.live(run, 2))


def test_protected_one_is_left_to_a_person(estate: Estate) -> None:
    """And does not keep the others of its batch."""
    protected, other = estate.in_fleet("a", age=HOUR), estate.in_fleet("b", age=HOUR)
    estate.do(
        lambda: estate.plane.faults.refuse(
            "TerminateInstances",
            "OperationNotPermitted",
            times=9,
            when=lambda asked: protected in asked["InstanceIds"],
        )
    )
    estate.sweep()

    assert (True, False) == (estate.lives(protected), estate.lives(other))
    assert [protected] == [each["instance"] for each in estate.heard_of("needs.person")]


def test_one_that_claims_at_the_last_moment_is_spared(estate: Estate) -> None:
    """Between the look and the end lie seconds, in which a slow machine may come up after all."""
    run = estate.open()
    slow = estate.assign(estate.machine(age=HOUR), run)
    looks = itertools.count(1)

    def on_get(key: str) -> None:
        if key == keys.claim(run, 1) and next(looks) == 2:
            estate.claim(slow, run, ago=0)

    estate.sweep(objects=Around(estate.objects, on_get))

    assert estate.lives(slow)
    assert [slow] == [each.id for each in estate.launched(run, 1)]


def test_memory_ends_nobody(estate: Estate) -> None:
    """A person removed the run and began another of its name. What the warm environment remembers of the first
    one's claim says of the second one's owner that it lost."""
    warm, run = estate.a_sweep(), estate.open()
    first = estate.owner(run)
    warm.once(estate.clock.now() + 50)
    estate.die(first)
    for key in (keys.claim(run, 1), keys.status(run, 1)):
        estate.objects.delete(key)
    second = estate.owner(run)
    warm.once(estate.clock.now() + 50)

    assert estate.lives(second)
