"""No capacity, no answer, no permission: what the launcher does when EC2 gives no instance."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from spotrelay.core import keys, records
from spotrelay.core.keys import Member
from spotrelay.core.messages import MOST_RINGS, ResumeRequest
from spotrelay.core.spec import Instance
from spotrelay.launcher.ec2 import Launch
from spotrelay.launcher.rhythm import FAST_S, HOLD_S, LONGEST_REST_S
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


def hunting(site: Site, until_s: float) -> list[float]:
    """Plays a run's hunt until it has waited so long. The rests between its wakes."""
    began, rests = site.clock.now(), list[float]()
    while site.clock.now() - began < until_s:
        before = site.clock.now()
        assert site.sleep()
        rests.append(site.clock.now() - before)
        assert site.deliver()
    return rests


def test_no_capacity_is_no_failure(site: Site) -> None:
    """It rings again, at once in the first minute and then ever later, up to a minute. Failed instead, the message
    would be a dead letter after a few tries, and the run lost while EC2 is full."""
    run = site.begin()
    drained(site)

    assert [] == site.ask(run, 1)
    assert {0.0} == set(hunting(site, FAST_S - HOLD_S))
    patient = hunting(site, 3600)[2:]
    assert sorted(patient[:10]) == pytest.approx(patient[:10], rel=0.4)
    assert all(45 <= rest <= LONGEST_REST_S for rest in patient[-20:])
    assert 1 == len(site.bodies())


def test_hunt_of_two_days_never_becomes_a_dead_letter(site: Site) -> None:
    """Each wake is a new message: none is received twice, so none counts as failing."""
    run = site.begin()
    drained(site)
    site.post(run, 1)
    site.advance(0)
    hunting(site, FAST_S)
    for _ in range(60):
        site.advance(2880)
        assert site.deliver()

        assert [0] == [message.received for message in site.do(lambda: list(site.queue.messages.values()))]

    full_again(site, "m5.large", "us-east-1a")
    site.settle()
    assert 1 == len(site.live(run, 1))


@pytest.mark.parametrize("opens_s", [0.1, 0.7, 1.9, 2.3, 10.05, 31.6, 55.0])
@pytest.mark.parametrize(("kind", "zone"), [("m5.large", "us-east-1c"), ("c5.large", "us-east-1b")])
def test_pool_that_opens_in_the_first_minute_is_taken_within_a_second(
    site: Site, opens_s: float, kind: str, zone: str
) -> None:
    """What opens now is gone in a moment; and the predecessor still saves, so that the next machine boots for free."""
    run = site.begin()
    drained(site)
    opened = site.clock.now() + opens_s
    site.do(lambda: site.clock.call_at(opened, lambda: site.plane.ec2.pools.set_capacity(kind, zone, 1)))
    site.post(run, 1)
    site.settle()

    (instance,) = site.launched(run, 1)
    assert (kind, zone) == (instance.type, instance.zone)
    assert instance.launched_at - opened <= 1.0


def test_runs_that_want_the_same_share_a_call(site: Site) -> None:
    """EC2 admits fifty fleet calls and then five a second. A call for each of a thousand runs would take minutes."""
    runs = [site.begin() for _ in range(10)]
    site.invoke(*(ResumeRequest(run, 1).encode() for run in runs))

    assert 1 == site.plane.calls["CreateFleet"]
    assert [1] * 10 == [len(site.live(run, 1)) for run in runs]


def test_runs_that_want_other_pools_do_not_share(site: Site) -> None:
    """Nor does one get what another asked for."""
    small, large = site.begin(on=Instance(types=("t3.micro",))), site.begin(on=Instance(types=("m5.xlarge",)))
    site.invoke(ResumeRequest(small, 1).encode(), ResumeRequest(large, 1).encode())

    assert ["t3.micro", "m5.xlarge"] == [i.type for run in (small, large) for i in site.launched(run, 1)]


def test_half_a_fleet_serves_who_waits_longest(site: Site) -> None:
    """Partial capacity goes to whom it is missed by most; the others hunt on, and none is forgotten."""
    drained(site)
    first, second = site.begin(), site.begin()
    site.ask(first, 1)
    site.advance(FAST_S)
    full_again(site, "m5.large", "us-east-1a")
    site.do(site.queue.purge)
    site.invoke(ResumeRequest(second, 1).encode(), ResumeRequest(first, 1, 1).encode())

    assert [1, 0] == [len(site.live(run, 1)) for run in (first, second)]
    full_again(site, "m5.large", "us-east-1b")
    site.settle()
    assert [1, 1] == [len(site.live(run, 1)) for run in (first, second)]


def test_pool_that_evicted_us_comes_last(site: Site) -> None:
    """It took a machine a moment ago and is about to take the next; unless nothing else is left."""
    run = site.begin()
    owner = site.owned(run)
    (before,) = site.launched(run, 1)
    site.kill(owner)
    site.settle()

    (after,) = site.launched(run, 2)
    assert (before.type, before.zone) != (after.type, after.zone)


def test_why_a_run_waits_is_written_down(site: Site) -> None:
    """Otherwise a person sees only that nothing happens."""
    run = site.begin()
    drained(site)
    site.ask(run, 1)

    told = site.read(records.Hunt, keys.hunt(run))
    assert told is not None
    assert "the pool is full" in told.why
    assert "m5.large in us-east-1a: InsufficientInstanceCapacity" in " ".join(told.errors)
    assert (1, "spot", False) == (told.attempt, told.market, told.person)


def test_end_of_the_wait_is_written_down(site: Site) -> None:
    """A person mended the role, and an instance boots. Told on that somebody must do something, they would do it
    again, or stop the run."""
    run = site.begin()
    site.do(lambda: site.plane.faults.refuse("CreateFleet", "UnauthorizedOperation", status=403))
    site.ask(run, 1)
    site.settle()

    (instance,) = site.live(run, 1)
    told = site.read(records.Hunt, keys.hunt(run))
    assert told is not None
    assert (False, 0.0, instance) == (told.person, told.next_at, told.why.split()[0])


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


def test_copies_of_who_waits_for_its_turn_ring_no_bells_of_their_own(site: Site) -> None:
    """In a storm a run waits for an hour, and its request, EC2's two events and each sweep ask for it. If each kept a
    chain of bells going, there would be ten times the messages, each a dozen reads."""
    run = site.begin()
    site.do(lambda: site.plane.faults.refuse("CreateFleet", "RequestLimitExceeded", status=503, times=1000))
    site.ask(run, 1)
    (bell,) = site.bodies()
    for _ in range(3):
        site.ask(run, 1)

    assert [bell] == site.bodies()
    site.do(site.plane.faults.clear)
    site.settle()
    assert 1 == len(site.launched(run, 1))


def test_hunt_that_is_damaged_only_spares_no_work(site: Site) -> None:
    """hunt.json is for people; a run does not hang on it."""
    run = site.begin()
    site.objects.put(keys.hunt(run), b"?")
    site.ask(run, 1)

    assert 1 == len(site.live(run, 1))


def test_forged_number_of_rings_silences_no_hunt(site: Site) -> None:
    """A message with the largest number makes every true bell an older copy; so its own must go on ringing."""
    run = site.begin()
    drained(site)
    site.ask(run, 1)
    site.ask(run, 1, MOST_RINGS)
    hunting(site, FAST_S)

    full_again(site, "m5.large", "us-east-1a")
    site.settle()
    assert 1 == len(site.live(run, 1))


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


def test_type_that_is_never_on_spot_may_be_had_on_demand(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What spot does not offer is noted for a day. Left out on demand as well, the only machine that there is would
    not be asked for until the note is forgotten."""
    run = site.begin(on=Instance(types=TYPES, on_demand="after 0s"))
    drained(site)
    site.do(lambda: site.plane.ec2.pools.set_capacity("m5.large", "us-east-1a", 1, Market.ON_DEMAND))
    real = site.ec2.create_fleet

    def without_spot(request: dict[str, Any], token: str) -> Launch:
        launch = real(request, token)
        if request["TargetCapacitySpecification"]["DefaultTargetCapacityType"] == "on-demand":
            return launch
        none = [replace(e, code="InvalidFleetConfiguration") if e.type == "m5.large" else e for e in launch.errors]
        return replace(launch, errors=none)

    monkeypatch.setattr(site.ec2, "create_fleet", without_spot)
    site.post(run, 1)
    for _ in range(30):
        site.deliver()
        site.sleep()

    assert [("m5.large", "on-demand")] == [(each.type, each.market) for each in site.launched(run, 1)]


def test_quota_is_waited_for(site: Site) -> None:
    """A dying spot instance counts for a minute more: the quota is full just when a successor is wanted."""
    run = site.begin()
    site.do(lambda: site.plane.ec2.pools.quota.update({Market.SPOT: 2}))
    site.kill(site.owned(run))
    site.deliver()
    assert [] == site.live(run, 2)

    site.settle()

    assert 1 == len(site.live(run, 2))


@pytest.mark.parametrize("code", ["InternalError", "Unavailable"])
@pytest.mark.parametrize("action", ["CreateFleet", "DescribeInstances"])
def test_no_answer_rings_and_asks_the_same_again(site: Site, action: str, code: str) -> None:
    """Failed messages would come back after six minutes and then never; with another token, a call that did arrive
    would be doubled."""
    run = site.begin()
    owner = site.owned(run)
    site.kill(owner)
    site.do(lambda: site.plane.faults.refuse(action, code, status=503, times=4))

    site.settle()

    assert 1 == len(site.launched(run, 2))
    assert [keys.seat(Member(run, 2, 0))] == [k for k in site.objects.list(keys.launches(run, 2)) if "answer" not in k]


def test_call_that_is_never_answered_is_given_up(site: Site) -> None:
    """EC2 has been seen to answer one token with InternalError for hours. What it launched has the fleet's tag; when
    there is nothing, another token gets past it."""
    run = site.begin()
    tokens = set[str]()

    def the_first(params: Mapping[str, Any]) -> bool:
        tokens.add(params["ClientToken"])
        return len(tokens) == 1

    site.do(lambda: site.plane.faults.refuse("CreateFleet", "InternalError", status=500, times=10_000, when=the_first))
    site.post(run, 1)
    site.settle()

    assert 1 == len(site.live(run, 1))
    assert 2 == len(tokens)


@pytest.mark.parametrize("times", [1, 2, 7])
def test_throttled_is_not_launched(site: Site, times: int) -> None:
    """A refusal at the door, for sure: no other launcher has to find out what became of it."""
    run = site.begin()
    site.do(lambda: site.plane.faults.refuse("CreateFleet", "RequestLimitExceeded", status=503, times=times))
    site.post(run, 1)
    site.settle()

    assert 1 == len(site.launched(run, 1))
    assert "fleet.unanswered" not in site.log


@pytest.mark.parametrize("code", ["UnauthorizedOperation", "InvalidLaunchTemplateName.NotFoundException"])
def test_what_only_a_person_can_mend_is_asked_at_long_intervals(site: Site, code: str) -> None:
    """A role without permission: 300 s apart, until somebody mends it; and then it goes on without being asked."""
    run = site.begin()
    site.do(lambda: site.plane.faults.refuse("CreateFleet", code, status=403, times=2))
    site.ask(run, 1)
    told = site.read(records.Hunt, keys.hunt(run))

    assert told is not None
    assert told.person
    assert "needs.person" in site.log
    assert [300.0, 300.0] == [next_round(site), next_round(site)]
    assert 1 == len(site.live(run, 1))


def test_refusal_of_no_known_kind_is_answered_by_a_new_request(site: Site) -> None:
    """A code nobody foresaw refuses this request for ever: only another one, from the next step, can get past it."""
    run = site.begin()
    site.do(lambda: site.plane.faults.refuse("CreateFleet", "BrandNewCode", status=400))
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
    site.settle()

    assert 1 == len(site.live(run, 1))


def test_other_parameters_under_a_token_are_stepped_over(site: Site) -> None:
    """The launch template's version that an intent names is gone or changed: its token is burnt, not the run."""
    run = site.begin()
    site.do(lambda: site.plane.faults.refuse("CreateFleet", "IdempotentParameterMismatch"))

    site.ask(run, 1)

    assert 1 == len(site.live(run, 1))


def test_launches_go_on_after_ten_thousand_steps(site: Site) -> None:
    """A week without capacity. Steps that outgrow their digits must still be counted."""
    run = site.begin()
    nothing = records.Answer("elsewhere", site.clock.now())
    told = records.Hunt(1, 9_990, site.clock.now(), site.clock.now(), "full")
    site.objects.put(keys.hunt(run), records.encode(told))
    for step in range(9_980, 10_005):
        seat = records.Seat("f-0123456789abcdef0123", site.clock.now(), site.clock.now())
        site.objects.create(keys.seat(Member(run, 1, step)), records.encode(seat))
        site.objects.create(keys.answer(run, 1, step), records.encode(nothing))

    site.ask(run, 1)

    assert 1 == len(site.live(run, 1))
    assert site.objects.get(keys.seat(Member(run, 1, 10_005)))


def test_the_bell_carries_no_more_than_the_names(site: Site) -> None:
    """A bell is a message like others: everything it leads to is read from the bucket."""
    run = site.begin()
    drained(site)
    site.ask(run, 1)

    assert [{"resume": {"run": run, "attempt": 1, "rings": 1}}] == [json.loads(body) for body in site.bodies()]
