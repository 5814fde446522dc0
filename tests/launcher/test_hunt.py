"""No capacity, no answer, no permission: what the launcher does when EC2 gives no instance."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from spotrelay.core import keys, records
from spotrelay.core.spec import Instance
from spotrelay.local.pools import Market
from support.launcher_site import TYPES, ZONES, Site


def drained(site: Site) -> None:
    site.do(site.plane.ec2.pools.drain)


def full_again(site: Site, kind: str, zone: str) -> None:
    site.do(lambda: site.plane.ec2.pools.set_capacity(kind, zone, 1))


def next_round(site: Site) -> float:
    """To the next bell, through it, and how long that was."""
    before = site.clock.now()
    assert site.sleep()
    assert site.deliver()
    return site.clock.now() - before


def test_no_capacity_is_no_failure(site: Site) -> None:
    """It rings again later, ever later up to SQS's longest delay. Failed instead, the message would be a dead letter
    after a few tries, and the run lost while EC2 is full."""
    run = site.begin()
    drained(site)

    assert [] == site.ask(run, 1)
    waits = [next_round(site) for _ in range(12)]

    assert all(later >= 1.3 * earlier for earlier, later in list(pairwise(waits))[:5])
    assert all(675 <= wait <= 900 for wait in waits[7:])
    assert 1 == len(site.bodies())


def test_capacity_that_comes_back_is_taken(site: Site) -> None:
    """Hours later, by the bell alone."""
    run = site.begin()
    drained(site)
    site.ask(run, 1)
    for _ in range(10):
        next_round(site)

    for kind in TYPES:
        for zone in ZONES:
            full_again(site, kind, zone)
    site.settle()

    assert 1 == len(site.live(run, 1))


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("kind", ["c5.large", "m5.large", "g6.xlarge"])
def test_the_only_pool_with_room_is_found(site: Site, kind: str, zone: str) -> None:
    """EC2 tries three pools a call and always prefers the cheapest. A hunt that lists all of them each time never
    reaches the others, whatever the order."""
    run = site.begin(on=Instance(types=(*TYPES, "g6.xlarge")))
    drained(site)
    full_again(site, kind, zone)

    site.ask(run, 1)
    for _ in range(3):
        if not site.live(run, 1):
            next_round(site)

    assert [(kind, zone)] == [(each.type, each.zone) for each in site.launched(run, 1)]


def test_duplicates_do_not_multiply_the_bells(site: Site) -> None:
    """While a run waits for capacity each copy of a message is answered by the bell that hangs already. Otherwise the
    copies double with every round."""
    run = site.begin()
    drained(site)
    site.post(run, 1, copies=5)
    site.deliver()
    for _ in range(4):
        next_round(site)
        site.post(run, 1)
        site.deliver()

    assert 1 == len(site.bodies())


def test_bell_that_comes_early_is_not_taken_for_a_duplicate(site: Site) -> None:
    """Two clocks and a slow call lie between the bell and the note of when it is due. Were the bell dropped for being
    a second early, nothing would ever ring again."""
    run = site.begin()
    drained(site)
    site.ask(run, 1)
    (bell,) = site.bodies()
    full_again(site, "m5.large", "us-east-1a")

    site.invoke(bell)

    assert 1 == len(site.live(run, 1))


def test_on_demand_is_asked_for_where_the_spec_says_so(site: Site) -> None:
    run = site.begin(on=Instance(types=("m5.large",), market="on-demand"))
    site.do(lambda: site.plane.ec2.pools.drain(market=Market.SPOT))

    site.ask(run, 1)

    assert ["on-demand"] == [each.market for each in site.launched(run, 1)]


def test_quota_is_waited_for(site: Site) -> None:
    """A dying spot instance counts for a minute more: the quota is full just when a successor is wanted."""
    run = site.begin()
    site.do(lambda: site.plane.ec2.pools.quota.update({Market.SPOT: 2}))
    site.kill(site.owned(run))
    site.deliver()
    assert [] == site.live(run, 2)

    site.settle()

    assert 1 == len(site.live(run, 2))


@pytest.mark.parametrize(
    ("code", "status"), [("RequestLimitExceeded", 503), ("InternalError", 500), ("Unavailable", 503)]
)
@pytest.mark.parametrize("action", ["CreateFleet", "DescribeInstances"])
def test_throttled_rings_and_asks_the_same_again(site: Site, action: str, code: str, status: int) -> None:
    """A storm empties EC2's buckets. Failed messages would come back after six minutes and then never; with another
    token, a call that did arrive would be doubled."""
    run = site.begin()
    owner = site.owned(run)
    site.kill(owner)
    # The death event asks for the owner's tags only when there is no assignment, so Describe is for its life here.
    site.do(lambda: site.plane.faults.refuse(action, code, status=status, times=4))

    assert site.deliver()
    assert "resume.unanswered" == site.log[-1]
    site.settle()

    assert 1 == len(site.launched(run, 2))
    assert [keys.intent(run, 2, 0)] == [k for k in site.objects.list(keys.launches(run, 2)) if "answer" not in k]


@pytest.mark.parametrize("code", ["UnauthorizedOperation", "InvalidLaunchTemplateName.NotFoundException"])
def test_what_only_a_person_can_mend_is_asked_at_long_intervals(site: Site, code: str) -> None:
    """A role without permission: 900 s apart, until somebody mends it; and then it goes on without being asked."""
    run = site.begin()
    site.do(lambda: site.plane.faults.refuse("CreateFleet", code, status=403, times=2))
    site.ask(run, 1)

    assert [900.0, 900.0] == [next_round(site), next_round(site)]
    assert 1 == len(site.live(run, 1))


def test_refusal_of_no_known_kind_is_answered_by_a_new_request(site: Site) -> None:
    """A code nobody foresaw refuses this request for ever: only another one, from the next step, can get past it."""
    run = site.begin()
    site.do(lambda: site.plane.faults.refuse("CreateFleet", "InvalidFleetConfig", status=400))
    site.ask(run, 1)
    next_round(site)

    assert 1 == len(site.live(run, 1))
    answer = site.read(records.Answer, keys.answer(run, 1, 0))
    assert answer is not None
    assert "later" == answer.kind


@pytest.mark.parametrize("policy", ["refuse", "instances"])
def test_burnt_token_is_stepped_over(site: Site, policy: str) -> None:
    """The instance behind the token is dead. EC2 refuses the token, or gives the dead instance, by the account's age:
    either way the next step launches, in the same call."""
    run = site.begin()
    site.do(lambda: setattr(site.plane.ec2.fleets, "dead_token", policy))
    site.ask(run, 1)
    (dead,) = site.live(run, 1)
    (site.objects._root / keys.answer(run, 1, 0)).unlink()  # as if the launcher had died before it
    site.kill(dead)

    site.ask(run, 1)

    assert 1 == len(site.live(run, 1))


def test_other_parameters_under_a_token_are_stepped_over(site: Site) -> None:
    """The launch template's version that an intent names is gone or changed: its token is burnt, not the run."""
    run = site.begin()
    site.do(lambda: site.plane.faults.refuse("CreateFleet", "IdempotentParameterMismatch"))

    site.ask(run, 1)

    assert 1 == len(site.live(run, 1))


def test_launches_go_on_after_ten_thousand_steps(site: Site) -> None:
    """A hundred days without capacity at 900 s a step. Steps that outgrow their digits must still be counted."""
    run = site.begin()
    nothing = records.Answer("elsewhere", site.clock.now())
    for step in (9_999, 10_004):
        intent = records.Intent("t", run, 1, {}, site.clock.now())
        site.objects.create(keys.intent(run, 1, step), records.encode(intent))
        site.objects.create(keys.answer(run, 1, step), records.encode(nothing))

    site.ask(run, 1)

    assert 1 == len(site.live(run, 1))


def test_the_bell_carries_no_more_than_the_names(site: Site) -> None:
    """A bell is a message like others: everything it leads to is read from the bucket."""
    run = site.begin()
    drained(site)
    site.ask(run, 1)

    assert [{"resume": {"run": run, "attempt": 1, "rings": 1}}] == [json.loads(body) for body in site.bodies()]
