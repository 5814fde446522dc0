"""EC2's answers as the launcher reads them, over the wire: each refusal is one of the table's, or no answer at all."""

from __future__ import annotations

import pytest

from spotrelay.core.keys import Member
from spotrelay.launcher import ec2
from spotrelay.launcher.ec2 import Launch, Life, Started, Unanswered
from spotrelay.launcher.pools import Ground, Place, for_members, request
from spotrelay.launcher.refusals import Action
from spotrelay.local.instances import Instance, Reason
from support.launcher_site import STACK, TYPES, ZONES, Site

GROUND = Ground("relay", "1", ZONES, TYPES, STACK)
FLEET = "f-0123456789abcdef0123"


def call(site: Site, members: int = 1, token: str = "token") -> Launch:
    everyone = [Member(f"r{number}", 1, 0) for number in range(members)]
    words = request(GROUND, GROUND.places(()), "spot", FLEET)
    return site.ec2.create_fleet(for_members(words, everyone), token)


def instances(site: Site) -> list[Instance]:
    return site.do(lambda: list(site.plane.ec2.instances))


def test_instances_and_where_they_are(site: Site) -> None:
    launch = call(site, 3)

    assert [Started(each.id, each.type, each.zone) for each in instances(site)] == list(launch.started)
    assert launch.refusal is None


def test_half_of_what_was_asked_for(site: Site) -> None:
    """EC2 gives what it has and says why there is no more, in one answer."""
    site.do(site.plane.ec2.pools.drain)
    site.do(lambda: site.plane.ec2.pools.set_capacity("c5.large", "us-east-1a", 2))
    launch = call(site, 3)

    assert 2 == len(launch.started)
    assert launch.refusal is not None
    assert Action.ELSEWHERE is launch.refusal.action


def test_same_token_is_the_same_instances(site: Site) -> None:
    assert call(site, 2).started == call(site, 2).started
    assert 2 == len(instances(site))


@pytest.mark.parametrize(
    ("code", "status", "action"),
    [
        ("InsufficientInstanceCapacity", 500, Action.ELSEWHERE),
        ("MaxSpotInstanceCountExceeded", 400, Action.ON_DEMAND),
        ("VcpuLimitExceeded", 400, Action.LATER),
        ("NeverHeardOf", 400, Action.LATER),
        ("UnauthorizedOperation", 403, Action.PERSON),
        ("IdempotentParameterMismatch", 400, Action.BURNT),
        ("RequestLimitExceeded", 503, Action.PACE),
    ],
)
def test_refusal_is_an_answer(site: Site, code: str, status: int, action: Action) -> None:
    """Nothing was launched, for sure: the SDK makes one attempt, so that no earlier one hides behind the refusal."""
    site.do(lambda: site.plane.faults.refuse("CreateFleet", code, status=status))

    launch = call(site)

    assert launch.refusal is not None
    assert ((), action) == (launch.started, launch.refusal.action)
    assert [code] == [error.code for error in launch.errors]


@pytest.mark.parametrize(("code", "status"), [("InternalError", 500), ("Anything", 503)])
def test_what_is_no_answer_may_have_launched(site: Site, code: str, status: int) -> None:
    """Only the same token may be used again. Another would double what an unheard call has started."""
    site.do(lambda: site.plane.faults.refuse("CreateFleet", code, status=status))

    with pytest.raises(Unanswered):
        call(site)


def test_lost_connection_is_no_answer(site: Site) -> None:
    site.do(lambda: site.plane.faults.lose_answer("CreateFleet"))

    with pytest.raises(Unanswered):
        call(site)
    assert 1 == len(instances(site))
    assert [each.id for each in instances(site)] == [each.instance for each in site.ec2.started_by(FLEET)]


def test_errors_name_their_pools(site: Site) -> None:
    """What cannot be had in one zone is remembered of that zone."""
    site.do(site.plane.ec2.pools.drain)
    launch = call(site)

    tried = [(error.type, error.zone) for error in launch.errors if error.code == "InsufficientInstanceCapacity"]
    assert 3 == len(tried)
    assert {Place(*pool) for pool in tried} <= set(GROUND.places(()))


def test_life_of_an_instance(site: Site) -> None:
    """Ending is not yet dead: an agent there is still saving. Not shown is neither."""
    (started,) = call(site).started
    instance = started.instance

    seen = [site.ec2.lives([instance])]
    site.do(lambda: site.plane.ec2.instance_shutting_down(instance, Reason.USER))
    seen.append(site.ec2.lives([instance]))
    site.kill(instance)
    seen.append(site.ec2.lives([instance]))
    site.advance(3601)
    seen.append(site.ec2.lives([instance]))

    assert [{instance: Life.ALIVE}, {instance: Life.ENDING}, {instance: Life.DEAD}, {}] == seen


def test_lives_of_many_are_asked_in_parts(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """EC2 refuses a filter of more than 200 values; and one id that it does not show must not hide the others."""
    monkeypatch.setattr(ec2, "FILTER_VALUES", 2)
    started = [each.instance for each in call(site, 5).started]

    assert dict.fromkeys(started, Life.ALIVE) == site.ec2.lives(["i-0123456789abcdef0", *started])


def test_spot_request_tells_before_the_instance_ends(site: Site) -> None:
    """EC2 marks the request and lets the instance run on for two minutes: a witness when the notice was lost."""
    first, second = (each.instance for each in call(site, 2).started)
    site.do(lambda: site.plane.ec2.interrupt_warning(first))

    assert {first} == site.ec2.marked([first, second])
    assert {first: Life.ALIVE, second: Life.ALIVE} == site.ec2.lives([first, second])


def test_marks_of_many_are_asked_in_parts(site: Site) -> None:
    """EC2 counts the values of all filters of a call together. A sweep over two hundred would learn nothing."""
    (first, *others) = [each.instance for each in call(site, 201).started]
    site.do(lambda: site.plane.ec2.interrupt_warning(first))

    assert {first} == site.ec2.marked([*others, first])


def test_tags_survive_the_instance(site: Site) -> None:
    """They are how a death before the assignment is told apart from somebody else's."""
    (started,) = call(site).started
    site.kill(started.instance)

    expected = {"spotrelay:run": "r0", "spotrelay:attempt": "1", "spotrelay:fleet": FLEET, "spotrelay:stack": STACK}
    assert expected.items() <= site.ec2.tags(started.instance).items()
    assert {} == site.ec2.tags("i-0123456789abcdef0")
