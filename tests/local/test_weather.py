"""Pools that open and close by themselves: repeatable, by the clock, and seen by launches as EC2 shows them."""

from __future__ import annotations

from typing import Any

from spotrelay.local.pools import Market, Pool
from support.cloud_plane import Cloud, cloud, codes, fleet, started

POOLS = [Pool(kind, f"us-east-1{letter}", Market.SPOT) for kind in ("c5.large", "m5.large") for letter in "abc"]


async def has_room(here: Cloud, template: str, pool: Pool) -> bool:
    """Whether a launch in this pool alone starts anything."""
    answer = await here.ec2.create_fleet(**fleet(template, (pool.type, pool.zone[-1])))
    assert started(answer) or ["InsufficientInstanceCapacity"] == codes(answer)
    return bool(started(answer))


async def test_a_shortage_closes_k_of_n_pools():
    """By chance, the others are open. Otherwise a storm in bad weather would be written pool by pool."""
    async with cloud() as here:
        template = await here.template()
        closed = here.plane.ec2.weather.shortage(4, POOLS)
        open_ones = [pool for pool in POOLS if await has_room(here, template, pool)]
        here.plane.ec2.weather.shortage(0, POOLS)

        assert (4, set(POOLS) - set(closed)) == (len(set(closed)), set(open_ones))
        assert [True] * 6 == [await has_room(here, template, pool) for pool in POOLS]


async def test_a_shortage_is_the_same_for_the_same_seed():
    """Otherwise a storm that found a fault could not be had again."""

    async def shortages(seed: int) -> list[Any]:
        async with cloud(seed=seed) as here:
            return [here.plane.ec2.weather.shortage(10) for _ in range(3)]

    assert await shortages(1) == await shortages(1)
    assert await shortages(1) != await shortages(2)


async def test_a_pool_opens_and_closes_at_its_time():
    """Of the clock, with as much room as said. Otherwise nobody could tell how soon a launcher finds the first pool
    that opens."""
    async with cloud() as here:
        template, pool, now = await here.template(), POOLS[0], here.clock.now()
        here.plane.ec2.pools.drain()
        here.plane.ec2.weather.open_at(now + 60, pool, capacity=2)
        here.plane.ec2.weather.close_at(now + 90, pool)
        here.clock.advance(59)
        before = await has_room(here, template, pool)
        here.clock.advance(1)
        opened = await has_room(here, template, pool)
        here.clock.advance(30)

        assert (False, True, False) == (before, opened, await has_room(here, template, pool))


async def test_weather_changes_until_it_settles():
    """Another shortage each time, of the same size; then it stays as it is. Otherwise a storm of an hour would hunt
    through one and the same weather."""
    async with cloud() as here:
        weather, pools = here.plane.ec2.weather, here.plane.ec2.pools
        seen = []
        weather.changing(10, 3, POOLS)
        for _ in range(5):
            seen.append(frozenset(pool for pool in POOLS if pools.capacity(pool) == 0))
            here.clock.advance(10)
        weather.settle()
        last = [pools.capacity(pool) for pool in POOLS]
        here.clock.advance(100)

        assert {3} == {len(closed) for closed in seen}
        assert len(set(seen)) > 1
        assert last == [pools.capacity(pool) for pool in POOLS]
