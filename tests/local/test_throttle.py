"""EC2's token buckets: what they refuse, what a refusal leaves, and how tests see into them."""

from __future__ import annotations

from spotrelay.local.pools import Market
from support.cloud_plane import cloud, codes, fleet, refusal, spot, started, status_of


async def test_a_throttled_call_leaves_its_token_free():
    """Throttling comes before the service: the same token may then ask for something else. Otherwise a launcher that
    widens its pools after a 503 would be refused here, and not in EC2."""
    async with cloud(throttle=True) as here:
        template = await here.template()
        here.plane.throttle.set_requests("CreateFleet", 0)
        throttled = await status_of(here.ec2.create_fleet(**fleet(template, ("m5.large", "a"), ClientToken="t")))
        here.clock.advance(1)
        answer = await here.ec2.create_fleet(**fleet(template, ("c5.large", "a"), ClientToken="t"))

        assert ("RequestLimitExceeded", 503) == throttled
        assert 1 == len(started(answer))


async def test_a_launch_beyond_the_resource_bucket_leaves_its_token_free():
    """As a 503 does: RunInstances is refused as a whole, and nothing of it is kept. Otherwise a smaller second try
    would be a mismatch."""
    async with cloud(throttle=True) as here:
        here.plane.throttle.set_resources("RunInstances", 3)
        throttled = await status_of(here.run(MinCount=4, MaxCount=4, ClientToken="t"))
        smaller = await here.run(MinCount=3, MaxCount=3, ClientToken="t")

        assert ("RequestLimitExceeded", 503) == throttled
        assert (3, 0.0) == (len(smaller), here.plane.throttle.resources_left("RunInstances"))


async def test_a_fleet_beyond_the_resource_bucket_answers_200():
    """RequestLimitExceeded for the pool being tried, and the others are not: their code says capacity, only their text
    says that it is not. The token is spent on that answer. Otherwise a launcher that knows throttling as a 503 only
    would take a storm for a want of capacity, as AWS's own ParallelCluster did."""
    async with cloud(throttle=True) as here:
        template = await here.template()
        here.plane.throttle.set_resources("RunInstances", 9)
        asked = fleet(template, ("m5.large", "a"), ("c5.large", "a"), ("r5.large", "a"), count=10, ClientToken="t")
        answer = await here.ec2.create_fleet(**asked)
        here.clock.advance(3600)
        again = await here.ec2.create_fleet(**asked)

        assert ["RequestLimitExceeded", "UnfulfillableCapacity", "UnfulfillableCapacity"] == codes(answer)
        assert {"Request limit exceeded.", "Failed to fulfill capacity. Please review errors in the response."} == {
            error["ErrorMessage"] for error in answer["Errors"]
        }
        assert ([], answer["FleetId"]) == (started(again), again["FleetId"])


async def test_a_fleet_without_capacity_first_can_be_throttled_at_the_next_pool():
    """When the empty pool cost tokens too, which nobody rules out. One pool is empty then, and of the rest nobody
    knows. Otherwise the errors of an answer would be read as one reason."""
    async with cloud(throttle=True) as here:
        here.plane.throttle.refunds = False
        here.plane.ec2.pools.set_capacity("c5.large", "us-east-1a", 0)
        here.plane.throttle.set_resources("RunInstances", 4)
        pools = [(kind, "a") for kind in ("c5.large", "m5.large", "r5.large")]
        answer = await here.ec2.create_fleet(**fleet(await here.template(), *pools, count=4))

        assert ["InsufficientInstanceCapacity", "RequestLimitExceeded", "UnfulfillableCapacity"] == codes(answer)
        assert [] == started(answer)


async def test_a_fleet_can_be_refused_as_a_whole_instead():
    """A 503 that leaves the token free: nothing documented rules it out. So a launcher must live with both, and here it
    meets both."""
    async with cloud(throttle=True) as here:
        here.plane.ec2.fleets.throttled = "refuse"
        here.plane.throttle.set_resources("RunInstances", 1)
        template = await here.template()
        refused = await status_of(here.ec2.create_fleet(**fleet(template, ("m5.large", "a"), count=2, ClientToken="t")))
        answer = await here.ec2.create_fleet(**fleet(template, ("c5.large", "a"), ClientToken="t"))

        assert ("RequestLimitExceeded", 503) == refused
        assert (1, 0.0) == (len(started(answer)), here.plane.throttle.resources_left("RunInstances"))


async def test_a_fleet_draws_from_the_bucket_of_launches():
    """One for each instance that starts, none for one that does not, and none for an answer that is repeated. Otherwise
    pacing would be tested against the wrong bucket."""
    async with cloud(throttle=True) as here:
        here.plane.ec2.pools.set_capacity("m5.large", "us-east-1a", 4)
        left = here.plane.throttle.resources_left
        asked = fleet(await here.template(), ("m5.large", "a"), count=10, ClientToken="t")
        before = left("RunInstances")
        await here.ec2.create_fleet(**asked)
        after = left("RunInstances")
        await here.ec2.create_fleet(**asked)
        here.plane.ec2.pools.drain(market=Market.SPOT)
        await refusal(here.run(InstanceMarketOptions=spot(), MinCount=5, MaxCount=5))

        assert (1000.0, 996.0, 996.0) == (before, after, left("RunInstances"))


async def test_throttling_is_switched_while_the_plane_runs():
    """Off, nothing is taken; on again, the buckets are as they were. Otherwise a test would pay for its own
    preparations out of the bucket it is about."""
    async with cloud() as here:
        await here.run(MinCount=5, MaxCount=5)
        untouched = here.plane.throttle.resources_left("RunInstances")
        here.plane.throttle.enabled = True
        here.plane.throttle.set_requests("RunInstances", 1)
        await here.run()
        refused = await refusal(here.run())
        here.plane.throttle.enabled = False
        await here.run()

        assert (1000.0, "RequestLimitExceeded", 999.0) == (
            untouched,
            refused,
            here.plane.throttle.resources_left("RunInstances"),
        )


async def test_terminations_have_buckets_of_their_own():
    """A hundred calls, and a thousand instances; a refusal ends none of them. Otherwise a clean-up of orphans could be
    half done, and look undone."""
    async with cloud(throttle=True) as here:
        ids = [instance["InstanceId"] for instance in await here.run(MinCount=5, MaxCount=5)]
        here.plane.throttle.set_resources("TerminateInstances", 4)
        refused = await status_of(here.ec2.terminate_instances(InstanceIds=ids))
        states = set((await here.states()).values())
        here.clock.advance(1)
        await here.ec2.terminate_instances(InstanceIds=ids)
        here.plane.throttle.set_requests("TerminateInstances", 0)

        assert (("RequestLimitExceeded", 503), {"running"}) == (refused, states)
        assert "RequestLimitExceeded" == await refusal(here.ec2.terminate_instances(InstanceIds=ids[:1]))
