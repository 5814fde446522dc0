"""How pools open and close while nobody asks: the part of EC2 that a launcher hunts through.

By hand one pool at a time with `pools.set_capacity`; here many at once by chance, and at moments to come of the clock.
What is drawn is drawn from the cloud's own seed, so a storm can be repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from spotrelay.local.clock import Clock, Timer
from spotrelay.local.pools import Market, Pool, Pools


class Weather:
    def __init__(self, clock: Clock, rng: Random, pools: Pools) -> None:
        self._clock, self._rng, self._pools = clock, rng, pools
        self._forecast: list[Timer] = []

    def all_pools(self, market: Market = Market.SPOT) -> list[Pool]:
        """Every pool that is offered."""
        kinds = self._pools.types
        return [Pool(kind, zone, market) for kind in kinds for zone in self._pools.zones_of(kind)]

    def shortage(self, count: int, among: Sequence[Pool] | None = None) -> list[Pool]:
        """Close `count` of these pools (default: of all spot pools) by chance, and open the others. Those closed."""
        among = self.all_pools() if among is None else among
        closed = self._rng.sample(among, count)
        for pool in among:
            self.open(pool)
        for pool in closed:
            self.close(pool)
        return closed

    def open(self, pool: Pool, capacity: int | None = None) -> None:
        """With room for so many more; None: endless."""
        self._pools.set_capacity(pool.type, pool.zone, capacity, pool.market)

    def close(self, pool: Pool) -> None:
        self.open(pool, 0)

    def open_at(self, when: float, pool: Pool, capacity: int | None = None) -> None:
        """`when`: unix seconds of the clock."""
        self._at(when, lambda: self.open(pool, capacity))

    def close_at(self, when: float, pool: Pool) -> None:
        self._at(when, lambda: self.close(pool))

    def changing(self, every_s: float, count: int, among: Sequence[Pool] | None = None) -> None:
        """A new `shortage` every `every_s` seconds, from now until `settle`."""
        self.shortage(count, among)
        self._at(self._clock.now() + every_s, lambda: self.changing(every_s, count, among))

    def settle(self) -> None:
        """Nothing changes any more by itself; pools stay as they are."""
        for timer in self._forecast:
            timer.cancel()
        self._forecast.clear()

    def _at(self, when: float, change: Callable[[], None]) -> None:
        def happen() -> None:
            self._forecast.remove(timer)
            change()

        timer = self._clock.call_at(when, happen)
        self._forecast.append(timer)
