"""DescribeInstanceStatus: the checks from outside, which say that a machine hangs when it cannot say so itself."""

from __future__ import annotations

from typing import Any

from support.cloud_plane import Cloud, cloud, refusal


async def statuses(here: Cloud, **params: Any) -> dict[str, tuple[str, str]]:
    """(instance status, system status) by id."""
    answer = await here.ec2.describe_instance_status(**params)
    return {
        each["InstanceId"]: (each["InstanceStatus"]["Status"], each["SystemStatus"]["Status"])
        for each in answer["InstanceStatuses"]
    }


async def test_checks_take_minutes_and_then_pass():
    """Until then they say `initializing`. Otherwise a machine that boots would be taken for one that is well."""
    async with cloud() as here:
        [instance] = await here.run()
        identity = instance["InstanceId"]
        here.plane.ec2.instances.running(identity)
        early = await statuses(here)
        here.clock.advance(120)

        assert {identity: ("initializing", "initializing")} == early
        assert {identity: ("ok", "ok")} == await statuses(here)


async def test_a_check_that_fails_says_which_and_since_when():
    """The instance's own or the system's; or nothing, when the check has no data. Otherwise a dead host could not be
    told from a hanging program."""
    async with cloud() as here:
        ids = [each["InstanceId"] for each in await here.run(MinCount=3, MaxCount=3)]
        here.clock.advance(300)
        here.plane.ec2.statuses.set(ids[0], "instance", "impaired")
        here.plane.ec2.statuses.set(ids[1], "system", "insufficient-data")
        failed = here.clock.now()
        here.clock.advance(60)
        impaired = [{"Name": "instance-status.status", "Values": ["impaired"]}]
        [shown] = (await here.ec2.describe_instance_status(Filters=impaired))["InstanceStatuses"]

        assert {
            ids[0]: ("impaired", "ok"),
            ids[1]: ("ok", "insufficient-data"),
            ids[2]: ("ok", "ok"),
        } == await statuses(here)
        [detail] = shown["InstanceStatus"]["Details"]
        assert (ids[0], "reachability", "failed", failed) == (
            shown["InstanceId"],
            detail["Name"],
            detail["Status"],
            detail["ImpairedSince"].timestamp(),
        )
        here.plane.ec2.statuses.set(ids[0], "instance", "ok")
        assert ("ok", "ok") == (await statuses(here))[ids[0]]


async def test_only_running_instances_are_shown_unless_asked():
    """Also by id: one that is gone is simply not in the answer. Otherwise `no status` would be taken for `no such
    instance`."""
    async with cloud() as here:
        running, ended = [each["InstanceId"] for each in await here.run(MinCount=2, MaxCount=2)]
        here.clock.advance(300)
        await here.ec2.terminate_instances(InstanceIds=[ended])

        assert {running} == set(await statuses(here))
        assert {running} == set(await statuses(here, InstanceIds=[running, ended]))
        assert {running: ("ok", "ok"), ended: ("not-applicable", "not-applicable")} == await statuses(
            here, IncludeAllInstances=True
        )


async def test_statuses_come_in_pages_and_ids_in_hundreds():
    """Otherwise a reconciler with more than a hundred machines would fail in EC2 only."""
    async with cloud() as here:
        ids = [each["InstanceId"] for each in await here.run(MinCount=101, MaxCount=101)]
        first = await here.ec2.describe_instance_status(MaxResults=100)
        rest = await here.ec2.describe_instance_status(MaxResults=100, NextToken=first["NextToken"])

        assert ids == [each["InstanceId"] for each in first["InstanceStatuses"] + rest["InstanceStatuses"]]
        assert "InvalidRequest" == await refusal(here.ec2.describe_instance_status(InstanceIds=ids))
        assert 100 == len(await statuses(here, InstanceIds=ids[1:]))


async def test_a_status_of_nobody_is_refused():
    """By id; a filter finds nothing. Otherwise a typing error would read like `not running`."""
    async with cloud() as here:
        unknown = "i-0123456789abcdef0"

        assert "InvalidInstanceID.NotFound" == await refusal(here.ec2.describe_instance_status(InstanceIds=[unknown]))
        assert "InvalidParameterCombination" == await refusal(
            here.ec2.describe_instance_status(InstanceIds=[unknown], MaxResults=5)
        )
