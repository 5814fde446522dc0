"""One call for many: what becomes of its members when it meets two launchers, half an answer, or a damaged object."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from spotrelay.core import keys
from spotrelay.core.keys import Member
from spotrelay.core.messages import ResumeRequest
from spotrelay.launcher.decision import TAKEOVER_S
from spotrelay.launcher.ec2 import Launch
from spotrelay.launcher.objects import Objects
from support.launcher_site import Died, Fuse, Site


def machines(site: Site) -> list[str]:
    return [each.id for each in site.do(lambda: list(site.plane.ec2.instances))]


def one_call(site: Site, *runs: str) -> list[int]:
    return site.invoke(*(ResumeRequest(run, 1).encode() for run in runs))


@contextmanager
def after_create_fleet(site: Site, then: Callable[[Launch], None]) -> Iterator[None]:
    """`then` sees what EC2 launched before the launcher does."""
    real = site.ec2.create_fleet

    def call(request: dict[str, Any], token: str) -> Launch:
        launch = real(request, token)
        then(launch)
        return launch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site.ec2, "create_fleet", call)
        yield


# --- half an answer


def test_call_that_is_turned_away_does_not_say_that_the_one_before_launched_nothing(site: Site) -> None:
    """The answer is lost, and the same call is throttled when it is made again: still it may have launched. Believed
    to have launched nothing, it leaves a machine that nobody wants, and a second one is paid for."""
    run, calls = site.begin(), list[str]()

    def but_the_first(params: Any) -> bool:
        calls.append(params["ClientToken"])
        return len(calls) > 1

    site.do(lambda: site.plane.faults.lose_answer("CreateFleet"))
    site.do(
        lambda: site.plane.faults.refuse("CreateFleet", "RequestLimitExceeded", status=503, times=2, when=but_the_first)
    )
    site.post(run, 1)
    site.settle()

    assert machines(site) == site.live(run, 1)
    assert 1 == len(machines(site))


@pytest.mark.parametrize(("code", "status"), [("InternalError", 500), ("RequestLimitExceeded", 503)])
def test_fleet_that_cannot_be_taken_over_does_not_multiply_its_bells(site: Site, code: str, status: int) -> None:
    """EC2 is away, and each member's bell comes in a batch of its own. Were all members rung for at each of them, five
    bells would be twenty-five, and then a hundred and twenty-five, every fifteen seconds."""
    runs, faults = [site.begin() for _ in range(5)], site.plane.faults
    site.do(lambda: faults.refuse("CreateFleet", "InternalError", status=500, times=3))
    one_call(site, *runs)
    site.do(lambda: faults.refuse("CreateFleet", code, status=status, times=None))
    until = site.clock.now() + TAKEOVER_S + 120
    while site.clock.now() < until:
        if not site.deliver(1):
            assert 5 == len(site.bodies())
            assert site.sleep()

    site.do(faults.clear)
    site.settle()
    assert [1] * 5 == [len(site.live(run, 1)) for run in runs]
    assert 5 == len(machines(site))


# --- two launchers at one fleet


class Late:
    """A store in which `meanwhile` happens before one object is created."""

    def __init__(self, objects: Objects, key: str, meanwhile: Callable[[], object]) -> None:
        self._objects, self._key, self._meanwhile = objects, key, meanwhile

    def create(self, key: str, data: bytes) -> bool:
        if key == self._key:
            self._meanwhile()
        return self._objects.create(key, data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objects, name)


@pytest.mark.parametrize("taker_dies", [False, True], ids=["taker comes to its end", "taker dies after its call"])
def test_seat_that_comes_after_the_takeover_loses_no_machine(site: Site, taker_dies: bool) -> None:
    """The store takes a minute for one of two seats; meanwhile another launcher makes the call for the first alone.
    With two seats the token no longer fits: what it launched is found by its tag, and each run has one machine."""
    first, second = site.begin(), site.begin()

    def die(_: Launch) -> None:
        if taker_dies:
            raise Died("after create_fleet")

    def take_over() -> None:
        site.fuse = Fuse()
        site.advance(TAKEOVER_S + 1)
        with after_create_fleet(site, die):
            site.ask(first, 1)

    objects = site.objects
    site.objects = Late(objects, keys.seat(Member(second, 1, 0)), take_over)
    maker = site.succession()
    site.objects = objects
    maker.ensure([ResumeRequest(first, 1), ResumeRequest(second, 1)])
    site.settle()

    assert [1, 1] == [len(site.live(run, 1)) for run in (first, second)]
    assert 2 == len(machines(site))


# --- damaged objects


def test_damaged_assignment_takes_no_other_member_with_it(site: Site) -> None:
    """Somebody wrote there first. The run that would have had the machine gets another one; and the rest of the fleet
    is not left without answers until all of their messages are dead letters."""
    first, second = site.begin(), site.begin()

    def damage(launch: Launch) -> None:
        if len(launch.started) == 2:
            site.objects.put(keys.assignment(min(each.instance for each in launch.started)), b"{}")

    with after_create_fleet(site, damage):
        assert [] == one_call(site, first, second)
    site.settle()

    assert [1, 1] == [len(site.live(run, 1)) for run in (first, second)]


def test_damaged_seat_takes_no_other_member_with_it(site: Site) -> None:
    """The launcher died after its call, and one member's seat cannot be read any more: its own messages fail, for a
    person to see, and the others' do not."""
    first, second = site.begin(), site.begin()

    def die(_: Launch) -> None:
        raise Died("after create_fleet")

    with after_create_fleet(site, die):
        one_call(site, first, second)
    site.objects.put(keys.seat(Member(first, 1, 0)), b"{}")
    site.advance(TAKEOVER_S)

    assert [0] == one_call(site, first, second)
    assert 1 == len(site.live(second, 1))
