"""Faults for a long storm: by chance, until further notice, and the same ones again for the same seed."""

from __future__ import annotations

from collections import Counter

import pytest
from botocore.exceptions import ConnectionClosedError

from spotrelay.local.clock import ManualClock
from spotrelay.local.faults import Faults
from spotrelay.local.server import AnswerLost, ControlPlane
from spotrelay.local.wire import AwsError
from support.cloud_plane import IMAGE, cloud, status_of

ONE = {"ImageId": IMAGE, "InstanceType": "m5.large", "MinCount": 1, "MaxCount": 1}


def outcomes(faults: Faults, count: int = 1000) -> list[str]:
    """What befalls so many calls."""
    seen = []
    for _ in range(count):
        try:
            faults.before("CreateFleet", {})
            seen.append("lost" if faults.after("CreateFleet", {}).lost else "answered")
        except AwsError as error:
            seen.append(error.code)
    return seen


def storm(seed: int) -> Faults:
    faults = Faults(seed)
    faults.refuse("CreateFleet", "InternalError", status=500, times=None, chance=0.2)
    faults.lose_answer("CreateFleet", times=None, chance=0.1)
    return faults


def test_faults_by_chance_come_at_their_rate_and_again_for_their_seed():
    """Each kind by its own. Otherwise a storm that found a fault could not be had again."""
    seen = outcomes(storm(7))
    share = {what: count / 1000 for what, count in Counter(seen).items()}

    assert seen == outcomes(storm(7))
    assert seen != outcomes(storm(8))
    assert {"InternalError": pytest.approx(0.2, abs=0.05), "lost": pytest.approx(0.08, abs=0.03)} == {
        what: share[what] for what in ("InternalError", "lost")
    }


def test_a_fault_without_end_lasts_until_it_is_cleared():
    """And one that has a number is spent by the calls it hits. Otherwise `times` would count something else."""
    faults = Faults()
    faults.refuse("CreateFleet", "Unavailable", times=3, chance=0.5)
    limited = Counter(outcomes(faults, 100))
    faults.refuse("CreateFleet", "Unavailable", times=None)
    endless = Counter(outcomes(faults, 100))
    faults.clear()

    assert (3, 100, 100) == (limited["Unavailable"], endless["Unavailable"], outcomes(faults, 100).count("answered"))


async def test_faults_by_chance_reach_the_wire():
    """Refused, lost and answered, by the parameters picked. Otherwise the storm would only be in here."""
    async with cloud() as here:
        here.plane.faults.refuse(
            "RunInstances", "InternalError", status=500, times=None, when=lambda p: p["InstanceType"] == "m5.large"
        )
        here.plane.faults.lose_answer("RunInstances", times=None, when=lambda p: p["InstanceType"] == "c5.large")

        assert [("InternalError", 500)] * 3 == [await status_of(here.run()) for _ in range(3)]
        for _ in range(2):
            with pytest.raises(ConnectionClosedError):
                await here.run(InstanceType="c5.large")
        assert 1 == len(await here.run(InstanceType="r5.large"))
        assert 3 == len(await here.states())


async def test_faults_do_not_move_the_ids_of_the_instances():
    """They are drawn apart. Otherwise no two storms with other faults could be compared."""
    ids = []
    for chance in (0.0, 0.5):
        plane = ControlPlane(clock=ManualClock())
        plane.faults.delay_answer("DescribeInstances", 1, times=None, chance=chance)
        for _ in range(20):
            plane.faults.after("DescribeInstances", {})
        ids.append(plane.perform("RunInstances", ONE)["Instances"][0]["InstanceId"])

    assert ids[0] == ids[1]


async def test_a_call_from_within_meets_the_same_faults():
    """It is counted, refused, or its answer lost with the instance started. Otherwise a storm without HTTP would be a
    storm in fair weather."""
    plane = ControlPlane(clock=ManualClock())
    plane.faults.refuse("RunInstances", "InternalError", status=500)
    plane.faults.lose_answer("RunInstances")
    asked = {**ONE, "ClientToken": "t"}
    with pytest.raises(AwsError, match="InternalError"):
        plane.perform("RunInstances", asked)
    with pytest.raises(AnswerLost):
        plane.perform("RunInstances", asked)
    [again] = plane.perform("RunInstances", asked)["Instances"]

    assert ([again["InstanceId"]], 3) == ([each.id for each in plane.ec2.instances], plane.calls["RunInstances"])
