"""The spot request behind an instance, from its launch to its deletion: what a reconciler reads out of it."""

from __future__ import annotations

from typing import Any

import pytest

from spotrelay.local.instances import Reason
from spotrelay.local.spot_requests import Cause
from support.cloud_plane import Cloud, base64_text, cloud, fleet, refusal, spot, started, tagged

DOOMED = "instance-terminated-no-capacity"


async def launched(here: Cloud, **params: Any) -> str:
    """A running spot instance, which ends only when the test says so."""
    here.plane.ec2.instances.on_terminate = lambda identity: None
    [instance] = await here.run(InstanceMarketOptions=spot(), **params)
    here.plane.ec2.instances.running(instance["InstanceId"])
    return instance["InstanceId"]


async def said(here: Cloud, instance: str) -> tuple[str, str, str]:
    """Status and state of its request, and the instance's state."""
    [request] = await here.spot_requests(instance_id=[instance])
    return request["Status"]["Code"], request["State"], (await here.states())[instance]


async def test_a_doomed_instance_runs_while_its_request_is_closed():
    """For the two minutes of the notice, as the user guide's footnote says. Otherwise a reconciler that takes `closed`
    for `gone` would launch a second owner beside a live first."""
    async with cloud() as here:
        identity = await launched(here)
        before = await said(here, identity)
        here.clock.advance(60)
        here.plane.ec2.interrupt_warning(identity, at=here.clock.now() + 120)
        [request] = await here.spot_requests(instance_id=[identity])
        noticed = await said(here, identity)
        here.plane.ec2.instance_gone(identity, Reason.SPOT_INTERRUPTION)

        assert ("fulfilled", "active", "running") == before
        assert (DOOMED, "closed", "running") == noticed
        assert here.clock.now() == request["Status"]["UpdateTime"].timestamp()
        assert (DOOMED, "closed", "terminated") == await said(here, identity)


@pytest.mark.parametrize(
    ("cause", "marked", "ended"),
    [
        ("capacity", (DOOMED, "closed"), (DOOMED, "closed")),
        ("price", ("marked-for-termination", "active"), ("instance-terminated-by-price", "closed")),
    ],
)
async def test_the_cause_of_an_interruption_decides_what_is_said(
    cause: Cause, marked: tuple[str, str], ended: tuple[str, str]
):
    """Both before and after. Otherwise a reconciler would know one of the two words only."""
    async with cloud() as here:
        identity = await launched(here)
        here.plane.ec2.interrupt_warning(identity, cause=cause)
        noticed = await said(here, identity)
        here.plane.ec2.instance_gone(identity, Reason.SPOT_INTERRUPTION)

        assert ((*marked, "running"), (*ended, "terminated")) == (noticed, await said(here, identity))


async def test_an_interruption_can_be_called_off():
    """The request is `fulfilled` again and the instance lives on. Otherwise nobody would test that a run goes on after
    a notice that expired."""
    async with cloud() as here:
        identity = await launched(here)
        here.plane.ec2.interrupt_warning(identity, at=here.clock.now() + 120)
        here.plane.ec2.instance_spared(identity)

        assert ("fulfilled", "active", "running") == await said(here, identity)


async def test_an_instance_that_a_person_ends_closes_its_request():
    """Once it is gone; by TerminateInstances or by a shutdown of its own. Otherwise it would look open for ever."""
    async with cloud() as here:
        identity = await launched(here)
        await here.ec2.terminate_instances(InstanceIds=[identity])
        ending = await said(here, identity)
        here.plane.ec2.instance_gone(identity, Reason.USER)

        assert ("fulfilled", "active", "shutting-down") == ending
        assert ("instance-terminated-by-user", "closed", "terminated") == await said(here, identity)


async def test_requests_are_found_by_what_they_are():
    """By instance, status, state and tag, alone and together; ids nobody has find nothing. Otherwise a reconciler would
    have to read all of them."""
    async with cloud() as here:
        doomed = await launched(here, TagSpecifications=tagged("spot-instances-request", run="digits"))
        other = await launched(here)
        here.plane.ec2.interrupt_warning(doomed)

        async def found(**filters: list[str]) -> list[str]:
            return [request["InstanceId"] for request in await here.spot_requests(**filters)]

        assert [doomed] == await found(status_code=[DOOMED, "marked-for-termination"])
        assert [other] == await found(state=["active"])
        assert [doomed, other] == await found(instance_id=[other, doomed, "i-00000000000000000"])
        assert [] == await found(instance_id=["i-00000000000000000"])
        assert [doomed] == await found(**{"tag:run": ["digits"]})
        assert [] == await found(**{"tag:run": ["digits"]}, state=["active"])


async def test_a_request_has_tags_of_its_own():
    """From the launch, from a fleet's template, and from CreateTags; the instance's are not among them. Otherwise a
    filter by the stack's tag would find requests here that EC2 does not show."""
    async with cloud() as here:
        identity = await launched(here, TagSpecifications=tagged("spot-instances-request", run="a") + tagged(run="b"))
        template = await here.template(
            UserData=base64_text(""), TagSpecifications=tagged("spot-instances-request", stack="s")
        )
        [of_fleet] = started(
            await here.ec2.create_fleet(**fleet(template, ("m5.large", "a"), TagSpecifications=tagged(run="c")))
        )
        [request] = await here.spot_requests(instance_id=[identity])
        await here.ec2.create_tags(Resources=[request["SpotInstanceRequestId"]], Tags=[{"Key": "run", "Value": "d"}])
        tags = {each["InstanceId"]: each["Tags"] for each in await here.spot_requests()}

        assert {identity: [{"Key": "run", "Value": "d"}], of_fleet: [{"Key": "stack", "Value": "s"}]} == tags
        assert [identity] == [each["InstanceId"] for each in await here.spot_requests(**{"tag:run": ["d"]})]
        assert [] == await here.spot_requests(**{"tag:run": ["a"]})


async def test_a_request_shows_the_price_it_would_pay_at_most():
    """The on-demand price unless the launch said less; it is not the price that is paid. Otherwise a cost computed from
    it would be three times too high, and nobody would notice here."""
    async with cloud() as here:
        await launched(here)
        await here.run(InstanceMarketOptions=spot(MaxPrice="0.05"))

        assert ["0.096000", "0.050000"] == [request["SpotPrice"] for request in await here.spot_requests()]


async def test_requests_outlive_their_instances_by_hours():
    """Four hours; DescribeInstances forgets after one. Then they are gone by id as well. Otherwise a doctor's report on
    last night would be possible here only, or there only."""
    async with cloud() as here:
        identity = await launched(here)
        [request] = await here.spot_requests()
        here.plane.ec2.instance_gone(identity, Reason.SPOT_INTERRUPTION)
        here.clock.advance(4 * 3600 - 1)
        shown = (len(await here.spot_requests()), await here.states())
        here.clock.advance(1)
        by_id = here.ec2.describe_spot_instance_requests(SpotInstanceRequestIds=[request["SpotInstanceRequestId"]])

        assert (1, {}) == shown
        assert [] == await here.spot_requests()
        assert "InvalidSpotInstanceRequestID.NotFound" == await refusal(by_id)


async def test_a_new_request_is_invisible_as_long_as_its_instance():
    """Otherwise a reconciler would find the request of an instance that is not there."""
    async with cloud() as here:
        here.plane.ec2.instances.describe_lag_s = 5.0
        await here.run(InstanceMarketOptions=spot())
        early = await here.spot_requests()
        here.clock.advance(5)

        assert (0, 1) == (len(early), len(await here.spot_requests()))


async def test_pages_of_requests_show_each_once():
    """Though some are deleted in between. Otherwise the reconciler would miss one for each."""
    async with cloud() as here:
        ids = [each["InstanceId"] for each in await here.run(InstanceMarketOptions=spot(), MinCount=12, MaxCount=12)]
        for identity in ids[:4]:
            here.plane.ec2.instance_gone(identity, Reason.SPOT_INTERRUPTION)
        first = await here.ec2.describe_spot_instance_requests(MaxResults=6)
        here.clock.advance(4 * 3600)
        rest = await here.ec2.describe_spot_instance_requests(MaxResults=6, NextToken=first["NextToken"])

        assert ids == [each["InstanceId"] for each in first["SpotInstanceRequests"] + rest["SpotInstanceRequests"]]
        assert "NextToken" not in rest
