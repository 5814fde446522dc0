"""The sweep over whole estates: real calls to the simulated EC2, a real store, and the real step that it asks with."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spotrelay.core import keys, records
from spotrelay.core.errors import StoreDenied, StoreUnavailable
from spotrelay.core.keys import Member
from spotrelay.core.spec import Instance as On
from spotrelay.core.spec import Limits as At
from spotrelay.core.spec import Run, Spec
from spotrelay.launcher.crew import Alone, Threads
from spotrelay.launcher.ec2 import Ec2
from spotrelay.launcher.objects import Folder, Objects
from spotrelay.launcher.pools import FLEET_TAG, STACK_TAG
from spotrelay.launcher.portions import Portions
from spotrelay.launcher.sweep import Limits, Sweep
from spotrelay.local.instances import Reason
from support.launcher_site import STACK, Died, Fuse, Site

MINUTE, HOUR = 60.0, 3600.0
UP = ("pending", "running")


class Estate(Site):
    """A site with a sweep, and instances in whatever condition. `said`: what the sweep logged."""

    def __init__(self, objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(objects, monkeypatch)
        self.looker = Ec2()
        self.said: list[tuple[str, dict[str, Any]]] = []
        self._fleets = itertools.count(1)

    def close(self) -> None:
        for client in (self.looker._caller, self.looker._looker):
            client.close()
        super().close()

    def a_sweep(self, objects: Objects | None = None, limits: Limits | None = None, **other: Any) -> Sweep:
        """A new one, as in a cold environment."""
        return Sweep(
            self.fuse.on(objects or self.objects),
            self.fuse.on(self.inventory),
            self.fuse.on(self.looker),
            lambda requests: self.succession().ensure(requests),
            **{
                "stack": STACK,
                "crew": Alone(),
                "log": lambda event, **fields: self.said.append((event, fields)),
                "now": self.clock.now,
                "limits": limits,
                **other,
            },
        )

    def sweep(self, **other: Any) -> None:
        self.a_sweep(**other).once(self.clock.now() + 50)

    def anew(self, folder: Path) -> None:
        """Another store, and an account in which nothing lives: a new site takes longer than most tests."""
        for instance in [each.id for each in self.do(lambda: list(self.plane.ec2.instances))]:
            self.kill(instance)
        self.do(self.queue.messages.clear)
        self.objects, self.fuse = Folder(folder), Fuse()

    # ---- what there is

    def machine(self, *, age: float = 24 * HOUR, tags: dict[str, str] | None = None, spot: bool = False) -> str:
        tags = {STACK_TAG: STACK} if tags is None else tags
        asked: dict[str, Any] = {
            "ImageId": "ami-0123456789abcdef0",
            "InstanceType": "m5.large",
            "MinCount": 1,
            "MaxCount": 1,
            "TagSpecifications": [
                {"ResourceType": "instance", "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
            ],
            **({"InstanceMarketOptions": {"MarketType": "spot"}} if spot else {}),
        }

        def launch() -> str:
            (launched,) = self.plane.ec2.call("RunInstances", asked)["Instances"]
            self.plane.ec2.instances.known(launched["InstanceId"]).launched_at -= age
            return str(launched["InstanceId"])

        return self.do(launch)

    def open(self, *, keep_alive: bool = False, dollars: float = 0.0) -> str:
        run = next(self._names)
        self.objects.put(keys.open_run(run), b"")
        spec = Spec(Run(run, ("true",), "/job"), limits=At(dollars=dollars), instance=On(keep_alive=keep_alive))
        self.objects.create(keys.spec(run), spec.encode())
        return run

    def unmarked(self) -> str:
        """Begun before there were marks; or the laptop died before it made one."""
        run = self.open()
        self.objects.delete(keys.open_run(run))
        return run

    def assign(self, instance: str, run: str, attempt: int = 1) -> str:
        self.objects.create(keys.assignment(instance), records.encode(records.Assignment(run, attempt)))
        return instance

    def claim(self, instance: str, run: str, attempt: int = 1, *, ago: float = 24 * HOUR) -> None:
        claim = records.Claim(instance, f"token of {instance}", self.clock.now() - ago)
        self.objects.create(keys.claim(run, attempt), records.encode(claim))

    def heard(self, instance: str, run: str, attempt: int = 1, *, ago: float = 5, gone_in: float | None = None) -> None:
        gone_at = None if gone_in is None else self.clock.now() + gone_in
        status = records.Status(instance, "running", self.clock.now() - ago, gone_at=gone_at)
        self.objects.put(keys.status(run, attempt), records.encode(status))

    def owner(self, run: str, attempt: int = 1, *, silent: float = 5, **machine: Any) -> str:
        """At work since yesterday, and heard of so long ago."""
        instance = self.assign(self.machine(**machine), run, attempt)
        self.claim(instance, run, attempt)
        self.heard(instance, run, attempt, ago=silent)
        return instance

    def in_fleet(self, run: str, *, age: float, written: bool = True) -> str:
        """Launched, and its launcher died before it assigned it."""
        identity = f"f-{next(self._fleets):020x}"
        if written:
            fleet = records.Fleet("token", self.clock.now() - age, {}, [str(Member(run, 1, 0))])
            self.objects.create(keys.fleet(identity), records.encode(fleet))
        return self.machine(age=age, tags={STACK_TAG: STACK, FLEET_TAG: identity})

    def die(self, instance: str) -> None:
        """And EC2's event is lost."""
        self.kill(instance)
        self.do(self.queue.messages.clear)

    # ---- what has come of it

    def state(self, instance: str) -> str:
        return self.do(lambda: self.plane.ec2.instances.known(instance)).state.label

    def lives(self, instance: str) -> bool:
        return self.state(instance) in UP

    def heard_of(self, event: str) -> list[dict[str, Any]]:
        return [fields for name, fields in self.said if name == event]

    def marked_open(self, run: str) -> bool:
        return self.objects.get(keys.open_run(run)) is not None


@contextmanager
def estate_in(folder: Path) -> Iterator[Estate]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        there = Estate(Folder(folder), monkeypatch)
        try:
            yield there
        finally:
            there.close()


@pytest.fixture
def estate(tmp_path: Path) -> Iterator[Estate]:
    with estate_in(tmp_path) as there:
        yield there


class Around:
    """A store whose reads can be watched, and turned into something else. `on_get` sees each key first."""

    def __init__(self, objects: Objects, on_get: Callable[[str], None]) -> None:
        self._objects, self._on_get = objects, on_get

    def get(self, key: str) -> bytes | None:
        self._on_get(key)
        return self._objects.get(key)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objects, name)


def refusing(error: Exception, *words: str) -> Callable[[str], None]:
    def on_get(key: str) -> None:
        if any(word in key for word in words):
            raise error

    return on_get


class TestInstances:
    def test_owner_at_work_and_what_is_not_ours_are_left(self, estate: Estate) -> None:
        """The sweep's first promise. It is better to burn than to take somebody's work of days."""
        run = estate.open()
        owner = estate.owner(run)
        others = [estate.machine(tags={}), estate.machine(tags={STACK_TAG: "other"}), estate.owner("x-1", tags={})]
        estate.sweep()

        assert all(estate.lives(each) for each in (owner, *others))
        assert [("sweep.done", {"instances": 1, "looked_at": 1, "ended": 0, "asked": 0})] == [
            (event, {name: value for name, value in fields.items() if name != "seconds"})
            for event, fields in estate.said
        ]

    def test_one_that_never_came_up_is_ended_and_replaced(self, estate: Estate) -> None:
        """Its agent cannot say so. Nobody else would ever ask for its run again."""
        run = estate.open()
        stillborn = estate.assign(estate.machine(age=HOUR), run)
        estate.sweep()

        (successor,) = estate.live(run, 1)
        assert ("terminated", True) == (estate.state(stillborn), estate.lives(successor))
        assert [stillborn] == [each["instance"] for each in estate.heard_of("orphan.terminated")]

    def test_young_one_is_waited_for(self, estate: Estate) -> None:
        """A second machine for the same attempt would be paid for and turned away."""
        run = estate.open()
        booting = estate.assign(estate.machine(age=5 * MINUTE), run)
        estate.sweep()

        assert [booting] == [each.id for each in estate.launched(run, 1)]
        assert estate.lives(booting)

    def test_one_whose_launcher_died_is_assigned(self, estate: Estate) -> None:
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

    def test_one_that_nobody_wants_is_ended_and_its_fleet_asked_for(self, estate: Estate) -> None:
        """Its agent gave up after ten minutes, or never came up: an assignment would not be read any more."""
        run = estate.unmarked()
        unwanted = estate.in_fleet(run, age=HOUR)
        estate.sweep()

        assert "terminated" == estate.state(unwanted)
        assert 1 == len(estate.live(run, 1))

    def test_one_of_another_store_is_left_to_a_person(self, estate: Estate) -> None:
        """A stack that was given another bucket finds no assignment of any instance: all of them, at work, would look
        like orphans."""
        strange = estate.in_fleet("elsewhere", age=HOUR, written=False)
        estate.sweep()

        assert estate.lives(strange)
        assert [[strange]] == [each["instances"] for each in estate.heard_of("needs.person")]

    def test_silent_owner_is_ended_and_succeeded(self, estate: Estate) -> None:
        """Hung, or cut off for good. Ending it is graceful, so that an agent that lives after all may save."""
        estate.owner(estate.open())
        run = estate.open()
        silent = estate.owner(run, silent=HOUR)
        estate.sweep()

        assert "terminated" == estate.state(silent)
        assert 1 == len(estate.live(run, 2))

    def test_when_most_are_silent_it_is_not_they(self, estate: Estate) -> None:
        """A bucket policy gone wrong silences every agent, and each of them is at work."""
        runs = [estate.open() for _ in range(4)]
        silent = [estate.owner(run, silent=HOUR) for run in runs[:3]]
        estate.owner(runs[3])
        estate.sweep()

        assert all(estate.lives(each) for each in silent)
        assert ["3 of 4 owners are silent"] == [
            each["why"].partition(":")[0] for each in estate.heard_of("needs.person")
        ]
        assert [] == estate.live(runs[0], 2)

    def test_half_of_many_silent_are_ended(self, estate: Estate) -> None:
        """The others show that store and role are well."""
        runs = [estate.open() for _ in range(6)]
        silent = [estate.owner(run, silent=HOUR) for run in runs[:3]]
        for run in runs[3:]:
            estate.owner(run)
        estate.sweep()

        assert not any(estate.lives(each) for each in silent)

    def test_kept_instance_stays(self, estate: Estate) -> None:
        """A person asked for it, and is looking at what the run left."""
        run = estate.open(keep_alive=True)
        kept = estate.owner(run, silent=24 * HOUR)
        estate.finish(run, 1)
        estate.sweep()

        assert estate.lives(kept)
        assert [] == estate.heard_of("needs.person")

    def test_stopped_one_is_ended_and_succeeded(self, estate: Estate) -> None:
        """Somebody stopped it in the console: its disk is paid for, and its run waits."""
        run = estate.open()
        stopped = estate.owner(run, silent=HOUR)
        estate.do(lambda: estate.plane.ec2.instance_gone(stopped, Reason.ITSELF))
        estate.do(estate.queue.messages.clear)
        assert estate.state(stopped) == "stopped"
        estate.sweep()

        assert "terminated" == estate.state(stopped)
        assert 1 == len(estate.live(run, 2))

    def test_protected_one_is_left_to_a_person(self, estate: Estate) -> None:
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

    @pytest.mark.parametrize("thing", ["instances/", "claim.json", "status.json", "outcome.json", "run.json"])
    def test_nothing_is_done_on_a_read_that_failed(self, estate: Estate, thing: str) -> None:
        """ "Not there" and "no answer" are not the same: the one ends instances, the other must not."""
        run = estate.open()
        silent = estate.owner(run, silent=HOUR)
        estate.sweep(objects=Around(estate.objects, refusing(StoreUnavailable("away"), thing)))

        assert estate.lives(silent)
        assert [] == estate.launched(run, 2)

    def test_one_damaged_object_stops_nobody_else(self, estate: Estate) -> None:
        """And a person is told of it."""
        damaged = estate.machine()
        estate.objects.put(keys.assignment(damaged), b"{")
        orphan = estate.assign(estate.machine(), "a")
        estate.sweep()

        assert (True, False) == (estate.lives(damaged), estate.lives(orphan))
        assert [keys.assignment(damaged)] == [each["why"].split()[0] for each in estate.heard_of("needs.person")]

    def test_store_that_denies_calls_a_person_once(self, estate: Estate) -> None:
        """Not once for each of thousands of instances."""
        orphans = [estate.assign(estate.machine(), "a") for _ in range(5)]
        estate.sweep(objects=Around(estate.objects, refusing(StoreDenied("denied"), "instances/")))

        assert all(estate.lives(each) for each in orphans)
        assert [("instances", 5)] == [(each["what"], each["count"]) for each in estate.heard_of("needs.person")]

    def test_one_that_claims_at_the_last_moment_is_spared(self, estate: Estate) -> None:
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

    def test_memory_ends_nobody(self, estate: Estate) -> None:
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


class TestRuns:
    def test_request_that_was_lost(self, estate: Estate) -> None:
        """The laptop wrote the run and died before it asked for the first attempt."""
        run = estate.open()
        estate.sweep()

        assert 1 == len(estate.live(run, 1))

    def test_death_without_a_word(self, estate: Estate) -> None:
        """EC2's event never came. (P3)"""
        run = estate.open()
        estate.die(estate.owner(run, silent=HOUR))
        estate.sweep()

        assert 1 == len(estate.live(run, 2))

    def test_death_of_an_instance_that_ec2_has_forgotten(self, estate: Estate) -> None:
        """The launcher was away for a day."""
        run = estate.open()
        estate.die(estate.owner(run))
        estate.advance(24 * HOUR)
        estate.sweep()

        assert 1 == len(estate.live(run, 2))

    def test_notice_whose_request_was_lost(self, estate: Estate) -> None:
        """The owner was told to go and said so in its heartbeat: its successor boots while it saves."""
        run = estate.open()
        owner = estate.owner(run)
        estate.heard(owner, run, gone_in=100)
        estate.sweep()

        assert (True, 1) == (estate.lives(owner), len(estate.live(run, 2)))

    def test_spot_request_that_is_marked(self, estate: Estate) -> None:
        """EC2 says it there too, when notice and event are both lost."""
        run = estate.open()
        owner = estate.owner(run, spot=True)
        estate.do(lambda: estate.plane.ec2.interrupt_warning(owner, at=estate.clock.now() + 120))
        estate.do(estate.queue.messages.clear)
        estate.sweep()

        assert (True, 1) == (estate.lives(owner), len(estate.live(run, 2)))

    def test_hand_over_whose_request_was_lost(self, estate: Estate) -> None:
        """Of a kept instance: it stays, and its run goes on elsewhere."""
        run = estate.open(keep_alive=True)
        kept = estate.owner(run, silent=HOUR)
        estate.hand_over(run, 1, kept)
        estate.sweep()

        assert (True, 1) == (estate.lives(kept), len(estate.live(run, 2)))

    def test_run_without_a_mark_whose_owner_goes(self, estate: Estate) -> None:
        """Nothing but its instance tells of it."""
        run = estate.unmarked()
        estate.owner(estate.open())
        estate.owner(run, silent=HOUR)
        estate.sweep()

        assert 1 == len(estate.live(run, 2))

    def test_run_that_waits_for_capacity_is_left_to_its_bell(self, estate: Estate) -> None:
        """Each sweep would otherwise begin one hunt more for every run that waits. (In its fast first minute one may
        begin; the bells of both come to be one.)"""
        run, began = estate.open(), estate.clock.now()
        estate.do(estate.plane.ec2.pools.drain)
        estate.post(run, 1)
        for minute in range(20):
            while estate.clock.now() < began + minute * MINUTE:
                assert estate.sleep()
                estate.deliver()
            if minute < 5:
                estate.sweep()
        bells = estate.bodies()
        estate.sweep()

        assert 1 == len(bells)
        assert bells == estate.bodies()

    def test_mark_goes_after_the_outcome(self, estate: Estate) -> None:
        """Otherwise every run there ever was would be read every five minutes."""
        over, open_ = estate.open(), estate.open()
        estate.finish(over, 1)
        estate.sweep()

        assert (False, True) == (estate.marked_open(over), estate.marked_open(open_))
        assert [] == estate.launched(over, 1)

    def test_mark_stays_until_the_books_are_closed(self, estate: Estate) -> None:
        """The next sweep comes back to them. Damaged ones nobody can close: then it goes. Otherwise what a run cost is
        never written, or it is looked at for ever."""

        class Books:
            answers: ClassVar[list[bool]] = [False, True]

            def over(self, run: str) -> records.Cancel | None:
                return None

            def settled(self, run: str, outcome: records.Outcome) -> bool:
                if run == broken:
                    raise records.RecordInvalid("garbled")
                return self.answers.pop(0)

        over, broken = estate.open(), estate.open()
        estate.finish(over, 1)
        estate.finish(broken, 1)
        estate.sweep(limits=Books())
        assert (True, False) == (estate.marked_open(over), estate.marked_open(broken))
        estate.sweep(limits=Books())

        assert not estate.marked_open(over)

    def test_mark_without_a_run_goes_half_an_hour_later(self, estate: Estate) -> None:
        """Whoever made it died before it wrote the run; or is just about to."""
        estate.objects.put(keys.open_run("lonely"), b"")
        warm = estate.a_sweep()
        warm.once(estate.clock.now() + 50)
        estate.advance(29 * MINUTE)
        warm.once(estate.clock.now() + 50)
        assert estate.marked_open("lonely")
        estate.advance(2 * MINUTE)
        warm.once(estate.clock.now() + 50)

        assert not estate.marked_open("lonely")

    def test_mark_comes_back_with_its_run(self, estate: Estate) -> None:
        """It was begun in the very moment in which the mark was taken away."""
        estate.objects.put(keys.open_run("late"), b"")
        looks = itertools.count(1)

        def on_get(key: str) -> None:
            if key == keys.spec("late") and next(looks) == 3:
                estate.objects.create(key, Spec(Run("late", ("true",), "/job")).encode())

        warm = estate.a_sweep(objects=Around(estate.objects, on_get))
        warm.once(estate.clock.now() + 50)
        estate.advance(HOUR)
        warm.once(estate.clock.now() + 50)

        assert estate.marked_open("late")

    def test_what_is_no_run_is_passed_over(self, estate: Estate) -> None:
        """A bucket holds what people put there, and a name becomes part of keys."""
        for name in ("-", "Not A Run", "a/b", "x" * 200):
            estate.objects.put(keys.open_run(name), b"")
        read: list[str] = []
        estate.sweep(objects=Around(estate.objects, read.append))

        assert [] == read

    def test_limit_of_a_run_at_work_cancels_it(self, estate: Estate) -> None:
        """Its agent sees the cancel object, saves, and records why. Of a run without such a limit nobody asks: that
        would cost ten times as much as the rest of the sweep."""
        dear, cheap, waiting, free = (estate.open(dollars=dollars) for dollars in (1, 1, 1, 0))
        for run in (dear, cheap, free):
            estate.owner(run)
        asked = []

        class Dollars:
            def over(self, run: str) -> records.Cancel | None:
                asked.append(run)
                return records.Cancel("limit", "limits.dollars = 1 is reached", 1.0) if run == dear else None

        estate.sweep(limits=Dollars())
        estate.sweep(limits=Dollars())

        assert records.Cancel("limit", "limits.dollars = 1 is reached", 1.0) == estate.read(
            records.Cancel, keys.cancel(dear)
        )
        assert (None, None) == tuple(estate.objects.get(keys.cancel(run)) for run in (cheap, waiting))
        assert {dear, cheap} == set(asked)
        assert 1 == len(estate.heard_of("run.cancelled"))

    def test_limit_that_cannot_be_known_stops_nothing_else(self, estate: Estate) -> None:
        class Broken:
            def over(self, run: str) -> records.Cancel | None:
                raise ZeroDivisionError(run)

        estate.owner(estate.open(dollars=1))
        run = estate.open()
        estate.sweep(limits=Broken())

        assert 1 == len(estate.live(run, 1))
        assert ["limits"] == [each["what"] for each in estate.heard_of("needs.person")]


class TestTime:
    def test_instance_at_work_costs_one_read(self, estate: Estate) -> None:
        """In a warm environment: 100 runs for 39 cents a month, which is what the module says."""
        for _ in range(5):
            estate.owner(estate.open())
        read: list[str] = []
        warm = estate.a_sweep(objects=Around(estate.objects, read.append))
        warm.once(estate.clock.now() + 50)
        cold = len(read)
        read.clear()
        warm.once(estate.clock.now() + 50)

        assert (15, 5) == (cold, len(read))

    def test_memory_is_of_what_there_is(self, estate: Estate) -> None:
        """An environment may live for hours, and a stack for years."""
        warm = estate.a_sweep()
        for _ in range(3):
            run = estate.open()
            owner = estate.owner(run)
            warm.once(estate.clock.now() + 50)
            assert len(warm._witness._known) == 2
            estate.die(owner)
            estate.finish(run, 1)
            warm.once(estate.clock.now() + 50)

        assert {} == warm._witness._known

    def test_it_ends_in_time_and_says_what_it_left_out(self, estate: Estate) -> None:
        """A Lambda that is killed at its limit logs nothing, and is called again for the same."""
        for number in range(150):
            estate.objects.put(keys.open_run(f"late-{number}"), b"")
        spent = itertools.count()
        estate.sweep(now=lambda: estate.clock.now() + next(spent) * 0.2)

        assert ["open runs"] == [each["what"] for each in estate.heard_of("sweep.left_out")]
        assert 1 == len(estate.heard_of("sweep.done"))

    def test_nothing_is_left_out_for_ever(self) -> None:
        """With time for half of them, the tail of the list must not be the same tail each time."""
        seen = set[int]()
        for _ in range(50):
            time = itertools.count()
            Portions("items", seen.add, Alone(), lambda *_, **__: None, time.__next__).of(range(128), until=1)

        assert set(range(128)) == seen

    def test_store_that_is_away_is_not_waited_for_a_hundred_times(self) -> None:
        """Each call has ten seconds of patience. A portion without one answer is the last."""
        tried = list[int]()

        def work(item: int) -> None:
            tried.append(item)
            raise StoreUnavailable("away")

        Portions("items", work, Alone(), lambda *_, **__: None, lambda: 0.0).of(range(640), until=1)

        assert 64 == len(tried)

    @pytest.mark.parametrize("action", ["DescribeInstances", "DescribeSpotInstanceRequests", "TerminateInstances"])
    def test_ec2_that_is_away_is_left_to_the_next_sweep(self, estate: Estate, action: str) -> None:
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

    def test_ec2_that_refuses_to_count_calls_a_person(self, estate: Estate) -> None:
        """Nothing would ever be found again, and everything seem well."""
        estate.do(lambda: estate.plane.faults.refuse("DescribeInstances", "UnauthorizedOperation", status=403))
        estate.sweep()

        assert ["instances"] == [each["what"] for each in estate.heard_of("needs.person")]

    def test_store_that_is_away_ends_nothing_and_asks_for_nothing(self, estate: Estate) -> None:
        run = estate.open()
        orphans = [estate.assign(estate.machine(age=HOUR), run) for _ in range(3)]
        estate.sweep(objects=Around(estate.objects, refusing(StoreUnavailable("away"), "/")))

        assert all(estate.lives(each) for each in orphans)
        assert 3 == len(estate.launched(run, 1))
        assert [] == estate.heard_of("needs.person")


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
