"""One successor, whoever asks how often: what is launched, refused and concluded, and why."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from spotrelay.core import keys, records
from spotrelay.core.messages import ResumeRequest
from spotrelay.launcher import succession
from spotrelay.launcher.decision import SICK_STEPS
from spotrelay.local.instances import Reason
from support.launcher_site import Fuse, Site, site_in


def test_first_attempt_gets_an_instance_that_knows_its_run(site: Site) -> None:
    """The request leads to one instance, assigned by an object and tagged for people. Nothing else tells it its run."""
    run = site.begin()

    assert [] == site.ask(run, 1)

    (instance,) = site.launched(run, 1)
    assert (run, 1) == site.assigned(instance.id)
    assert {"Name": f"{run} #1"}.items() <= instance.tags.items()
    assert "spot" == instance.market


@pytest.mark.parametrize("copies", range(2, 6))
def test_duplicates_launch_once(site: Site, copies: int) -> None:
    """SQS delivers at least once, in one batch or later. Otherwise each copy costs a machine."""
    run = site.begin()
    site.post(run, 1, copies=copies)

    site.settle()
    site.ask(run, 1)

    assert 1 == len(site.launched(run, 1))


def test_duplicates_at_once_launch_once(site: Site) -> None:
    """Five execution environments with the same request, none knowing of the other. Otherwise two machines race."""
    run = site.begin()
    launchers = [site.succession() for _ in range(5)]
    together = threading.Barrier(5)

    def launch(launcher: succession.Succession) -> None:
        together.wait(60)
        launcher.ensure([ResumeRequest(run, 1)])

    threads = [threading.Thread(target=launch, args=(launcher,)) for launcher in launchers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    (instance,) = site.launched(run, 1)
    assert (run, 1) == site.assigned(instance.id)


def test_successor_is_launched_while_its_predecessor_saves(site: Site) -> None:
    """The hunt begins at the notice, and the successor is told to wait for the hand-over. Otherwise the minutes of a
    boot are added to each interruption."""
    run = site.begin()
    owner = site.owned(run)
    site.notice(run, 1, owner)
    site.settle()

    assert 1 == len(site.live(run, 2))
    assert site.objects.get(keys.death(run, 1)) is None


def test_successor_of_a_dead_owner_need_not_wait(site: Site) -> None:
    """It died without a word: EC2's event alone brings the next, who is told that nobody is left to wait for."""
    run = site.begin()
    owner = site.owned(run)
    site.kill(owner)
    site.settle()

    assert 1 == len(site.live(run, 2))
    assert records.Death(owner, site.clock.now()) == site.read(records.Death, keys.death(run, 1))


@pytest.mark.parametrize("booted", [True, False], ids=["it waits already", "it is booting"])
def test_successor_that_came_before_is_told_of_the_death(site: Site, booted: bool) -> None:
    """EC2 warned, the successor came, and then the owner died before it could say anything. Otherwise the successor
    waits for three minutes of silence, for nothing."""
    run = site.begin()
    owner = site.owned(run)
    site.do(lambda: site.plane.ec2.interrupt_warning(owner))
    site.settle()
    if booted:
        assert site.boot(site.live(run, 2)[0])
    site.kill(owner)
    site.settle()

    assert records.Death(owner, site.clock.now()) == site.read(records.Death, keys.death(run, 1))
    assert 1 == len(site.launched(run, 2))


def test_forged_end_of_a_healthy_owner_is_not_written_down(site: Site) -> None:
    """Every instance may write to the queue. Only EC2 itself is believed about a death."""
    run = site.begin()
    owner = site.owned(run)
    site.do(lambda: site.plane.ec2.interrupt_warning(owner))
    site.settle()
    assert site.boot(site.live(run, 2)[0])
    forged = {"instance-id": owner, "state": "terminated"}
    kind = "EC2 Instance State-change Notification"
    site.invoke(json.dumps({"source": "aws.ec2", "detail-type": kind, "detail": forged}))

    assert site.objects.get(keys.death(run, 1)) is None


def test_owner_that_is_being_stopped_is_not_yet_gone(site: Site) -> None:
    """Shutting down, an agent still saves. A successor that is told not to wait would begin from older work."""
    run = site.begin()
    owner = site.owned(run)
    site.do(lambda: site.plane.ec2.instance_shutting_down(owner, Reason.USER))
    site.ask(run, 2)

    assert 1 == len(site.live(run, 2))
    assert site.objects.get(keys.death(run, 1)) is None


def test_request_before_its_evidence_waits_for_it(site: Site) -> None:
    """The request may overtake the status that explains it. Refused at once, the successor would be lost."""
    run = site.begin()
    owner = site.owned(run)
    site.ask(run, 2)
    assert [] == site.launched(run, 2)

    site.notice(run, 1, owner)
    site.settle()

    assert 1 == len(site.launched(run, 2))


@pytest.mark.parametrize("attempt", [2, 3, 500, 99_999])
def test_forged_request_is_refused(site: Site, attempt: int) -> None:
    """Whoever may write to the queue may ask for anything. A successor of a healthy attempt would fence it."""
    run = site.begin()
    site.owned(run)
    site.post(run, attempt)

    site.settle()

    assert "resume.refused" == site.log[-1]
    assert [] == site.launched(run, attempt)


def test_refused_request_takes_no_fresh_one_with_it(site: Site) -> None:
    """Both in one batch, before the owner's status is there. The true one would be lost with the forged one."""
    run = site.begin()
    owner = site.owned(run)
    site.invoke(ResumeRequest(run, 2).encode(), ResumeRequest(run, 2, 60).encode())
    status = records.Status(owner, "draining", site.clock.now(), gone_at=site.clock.now() + 120)
    site.objects.put(keys.status(run, 1), records.encode(status))
    site.settle()

    assert 1 == len(site.launched(run, 2))


def test_seat_whose_fleet_is_gone_is_stepped_over(site: Site) -> None:
    """Somebody tidied up below fleets/. The attempt would wait for ever for an answer that nobody can give."""
    run = site.begin()
    seat = records.Seat("f-0123456789abcdef0123", site.clock.now(), site.clock.now())
    site.objects.create(keys.seat(keys.Member(run, 1, 0)), records.encode(seat))
    site.post(run, 1)
    site.settle()

    assert 1 == len(site.live(run, 1))


def test_stale_request_is_dropped(site: Site) -> None:
    """Fourteen days late, out of order: what has an owner, or had one, gets no other."""
    run = site.begin()
    site.kill(site.owned(run))
    site.settle()
    site.boot(site.live(run, 2)[0])

    site.ask(run, 1)
    site.ask(run, 2)
    site.settle()

    assert [1, 1] == [len(site.launched(run, attempt)) for attempt in (1, 2)]


def test_reordered_requests_make_one_chain(site: Site) -> None:
    """The request for attempt 3 before that for 2: each is kept until its time, and none is launched twice."""
    run = site.begin()
    site.do(lambda: setattr(site.queue, "unordered", True))
    owner = site.owned(run)
    site.post(run, 3, copies=2)
    site.notice(run, 1, owner)
    site.deliver()
    site.hand_over(run, 1, owner)
    (second,) = site.live(run, 2)
    site.boot(second)
    site.notice(run, 2, second)
    site.settle()

    assert [1, 1, 1, 0] == [len(site.launched(run, attempt)) for attempt in (1, 2, 3, 4)]


@pytest.mark.parametrize("run", ["nobody", "run-1"])
def test_unknown_and_finished_runs_get_nothing(site: Site, run: str) -> None:
    """A message for a run that is over, or never was, is no failure: a dead letter would wake somebody for nothing."""
    site.begin("run-1")
    site.finish("run-1", 1)

    assert [] == site.ask(run, 1)

    assert [] == site.launched(run, 1)
    assert site.log[-1] in ("resume.unknown_run", "resume.run_over")


# --- dead before the claim


def test_instance_that_dies_before_its_claim_is_replaced(site: Site) -> None:
    """Spot takes machines while they boot. The attempt is not used up, and the next machine comes at once."""
    run = site.begin()
    site.ask(run, 1)
    site.kill(site.live(run, 1)[0])
    before = site.clock.now()
    site.deliver()

    (replacement,) = site.live(run, 1)
    assert (run, 1) == site.assigned(replacement)
    assert before == site.clock.now()


def test_image_that_never_boots_does_not_burn_money(site: Site) -> None:
    """Machines that die one after the other before they claim are launched ever more slowly. At full speed a broken
    image costs a minute of an instance every minute, for ever."""
    run = site.begin()
    site.ask(run, 1)
    began = site.clock.now()
    for number in range(1, 8):
        site.kill(site.live(run, 1)[0])
        site.settle()
        assert number + 1 == len(site.launched(run, 1))

    gaps = [
        b.launched_at - a.launched_at for a, b in zip(site.launched(run, 1), site.launched(run, 1)[1:], strict=False)
    ]
    assert gaps == sorted(gaps)
    assert 0 == gaps[0]
    assert 900 <= gaps[-1]
    assert site.clock.now() > began


def test_image_that_never_boots_is_told_to_a_person(site: Site) -> None:
    """Nobody else can mend it, and each try is paid for. A single machine that spot takes while it boots is no news."""
    run, told = site.begin(), list[bool]()
    site.ask(run, 1)
    for _ in range(SICK_STEPS + 1):
        site.kill(site.live(run, 1)[0])
        site.deliver()
        hunt = site.read(records.Hunt, keys.hunt(run))
        told.append(hunt is not None and hunt.person)
        site.settle()

    assert [False] * SICK_STEPS + [True] == told
    assert 1 == site.log.count("needs.person")


def test_death_before_the_assignment_was_written(site: Site) -> None:
    """The launcher died right after CreateFleet, then the instance did: its tags say whose it was."""
    site.ask(site.begin(), 1)
    run, died_at = site.begin(), site.fuse.calls.index("create_fleet") + 1
    site.fuse = Fuse(died_at, after=True)
    assert [0] == site.ask(run, 1)
    site.fuse = Fuse()
    (lost,) = site.launched(run, 1)
    assert site.assigned(lost.id) is None

    site.kill(lost.id)
    site.settle()

    (replacement,) = site.live(run, 1)
    assert (run, 1) == site.assigned(replacement)


def test_instance_of_somebody_else_is_nobody(site: Site) -> None:
    """The account has other instances, and they die too."""
    params = {"ImageId": "ami-0123456789abcdef0", "InstanceType": "m5.large", "MinCount": 1, "MaxCount": 1}
    answer = site.do(lambda: site.plane.ec2.launches.run_instances(params))
    site.kill(answer["Instances"][0]["InstanceId"])

    site.settle()

    assert [] == site.bodies()


# --- EC2's own slowness


def test_new_instance_that_describe_does_not_show_is_not_dead(site: Site) -> None:
    """Describe is behind by seconds. Absent taken for dead would launch another for every duplicate."""
    run = site.begin()
    site.do(lambda: setattr(site.plane.ec2.instances, "describe_lag_s", 30.0))
    site.post(run, 1, copies=3)
    site.settle()

    assert 1 == len(site.launched(run, 1))


def test_owner_that_ec2_has_forgotten_is_dead(site: Site) -> None:
    """An hour after its end EC2 knows an instance no more; the event that was late still gets its successor."""
    run = site.begin()
    site.do(lambda: setattr(site.plane.events, "latency_s", 7200.0))
    site.kill(site.owned(run))
    site.advance(7200.0)
    site.settle()

    assert 1 == len(site.live(run, 2))


def test_run_of_a_name_that_was_used_before(tmp_path: Path) -> None:
    """EC2 remembers the tokens of an earlier run that somebody removed. With its token, the new run would be given a
    machine that is long dead and forgotten, and wait for it for ever."""
    with site_in(tmp_path / "first") as site:
        site.kill(site.owned(site.begin("again")))
        site.settle()
        site.advance(3601)
        site.objects = type(site.objects)(tmp_path / "second")

        site.ask(site.begin("again"), 1)

        assert [1, 1] == [len(site.live("again", attempt)) for attempt in (1, 2)]
