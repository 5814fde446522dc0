"""What machines cost, from the control plane over the wire, and what is said when nobody knows."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotrelay.core import keys, records
from spotrelay.core.errors import StoreDenied
from spotrelay.launcher.ledger import Bill
from spotrelay.launcher.objects import Folder, Objects
from spotrelay.launcher.prices import (
    AGAIN_S,
    FRESH_S,
    LIST_GOOD_S,
    PRICING_REGION,
    Prices,
    _hourly,
    _integral,
    open_prices,
)
from support.cloud_plane import Client, Cloud, cloud

ZONE = "us-east-1a"
HOUR_S = 3600.0
LISTED = 0.096  # of an m5.large
PRICE_KEY = keys.price("us-east-1", "m5.large")


@dataclass
class Market:
    cloud: Cloud
    objects: Objects
    clients: list[Any]
    log: list[str] = field(default_factory=list)

    def prices(self, objects: Objects | None = None) -> Prices:
        """A launcher's, that remembers nothing."""
        ec2, pricing = self.clients
        return Prices(
            ec2,
            pricing,
            objects or self.objects,
            "us-east-1",
            log=lambda event, **_: self.log.append(event),
            now=self.cloud.clock.now,
        )

    def spot_price(self, dollars: float, *, zone: str = ZONE) -> None:
        self.cloud.plane.ec2.pools.set_spot_price("m5.large", zone, dollars)

    def calls(self, action: str) -> int:
        return self.cloud.plane.calls[action]


@asynccontextmanager
async def market(folder: Path) -> AsyncIterator[Market]:
    async with cloud() as here:
        pricing = await asyncio.to_thread(Client, "pricing", here.plane.endpoint)
        try:
            yield Market(here, Folder(folder), [here.ec2.boto, pricing.boto])
        finally:
            pricing.boto.close()


async def bill(
    prices: Prices, kind: str, start: float, end: float, *, named: str = "m5.large", zone: str = ZONE
) -> Bill:
    return await asyncio.to_thread(prices.bill, kind, named, zone, start, end)


# --- spot


async def test_spot_costs_what_its_pool_cost_at_each_moment(tmp_path: Path) -> None:
    """The price that held at its start, then each change: not the price of now, and not that of another zone."""
    async with market(tmp_path) as here:
        clock = here.cloud.clock
        here.spot_price(0.04)
        clock.advance(HOUR_S)
        start = clock.now()
        clock.advance(HOUR_S)
        here.spot_price(0.06)
        here.spot_price(9.99, zone="us-east-1b")
        clock.advance(HOUR_S / 2)
        here.spot_price(0.08)
        clock.advance(HOUR_S)
        paid = await bill(here.prices(), "spot", start, clock.now() - HOUR_S / 2)

        assert Bill(pytest.approx(0.04 + 0.06 / 2 + 0.08 / 2)) == paid  # type: ignore[arg-type]


async def test_machine_that_ec2_takes_in_a_minute_is_priced_to_its_end(tmp_path: Path) -> None:
    """By the price of now. Otherwise the last two minutes of each attempt wait for a price that is not made yet."""
    async with market(tmp_path) as here:
        here.spot_price(0.04)
        here.cloud.clock.advance(60)
        now = here.cloud.clock.now()

        assert pytest.approx(0.04 / 60 * 3) == (await bill(here.prices(), "spot", now - 60, now + 120)).dollars


async def test_runs_of_one_pool_ask_once(tmp_path: Path) -> None:
    """For ten minutes, however many runs end there, and by however many threads. Otherwise a storm of ten thousand
    runs is one of ten thousand price calls."""
    async with market(tmp_path) as here:
        here.spot_price(0.04)
        here.cloud.clock.advance(20 * HOUR_S)
        now, prices = here.cloud.clock.now(), here.prices()
        await asyncio.gather(*(bill(prices, "spot", now - n * 60, now) for n in range(20)))
        assert 1 == here.calls("DescribeSpotPriceHistory")

        here.cloud.clock.advance(FRESH_S + 1)
        here.spot_price(0.08)
        here.cloud.clock.advance(HOUR_S)
        later = here.cloud.clock.now()
        assert pytest.approx(0.08) == (await bill(prices, "spot", later - HOUR_S, later)).dollars
        await bill(prices, "spot", now - 19 * HOUR_S, later)
        assert 3 == here.calls("DescribeSpotPriceHistory")


async def test_long_history_comes_in_pages(tmp_path: Path) -> None:
    """Each change counts. Otherwise the price of a long run is that of its last page."""
    async with market(tmp_path) as here:
        clock, ec2 = here.cloud.clock, here.clients[0]
        start, expected = clock.now(), 0.0
        for number in range(12):
            here.spot_price(0.01 * (number + 1))
            expected += 0.01 * (number + 1)
            clock.advance(HOUR_S)
        ec2.meta.events.register(
            "provide-client-params.ec2.DescribeSpotPriceHistory", lambda params, **_: {**params, "MaxResults": 5}
        )
        paid = await bill(here.prices(), "spot", start, clock.now())

        assert pytest.approx(expected) == paid.dollars
        assert here.calls("DescribeSpotPriceHistory") >= 3


# --- on demand


@pytest.mark.parametrize("kind", ["on-demand", ""])
async def test_on_demand_costs_its_list_price(kind: str, tmp_path: Path) -> None:
    """Of Linux on shared hardware, not of a reservation's hour (nothing) or Windows (twice that). A claim that does not
    say its market is taken for the dearer one."""
    async with market(tmp_path) as here:
        assert Bill(pytest.approx(LISTED * 2)) == await bill(here.prices(), kind, 0, 2 * HOUR_S)  # type: ignore[arg-type]


async def test_list_price_is_kept_for_every_launcher(tmp_path: Path) -> None:
    """In the bucket, for a month. Otherwise each cold start asks for 50 kB an instance type."""
    async with market(tmp_path) as here:
        for _ in range(3):
            await bill(here.prices(), "on-demand", 0, HOUR_S)
        assert 1 == here.calls("GetProducts")
        kept = records.decode(records.Price, here.objects.get(PRICE_KEY) or b"", key=PRICE_KEY)
        assert records.Price(LISTED, here.cloud.clock.now()) == kept

        here.cloud.clock.advance(LIST_GOOD_S + 1)
        await bill(here.prices(), "on-demand", 0, HOUR_S)
        assert 2 == here.calls("GetProducts")


async def test_old_list_price_is_better_than_none(tmp_path: Path) -> None:
    """When the service is away. It changes every few years; a limit in dollars needs one today."""
    async with market(tmp_path) as here:
        here.objects.put(PRICE_KEY, records.encode(records.Price(0.1, 0.0)))
        here.cloud.plane.faults.refuse("GetProducts", "ThrottlingException")

        assert Bill(0.1) == await bill(here.prices(), "on-demand", 0, HOUR_S)


@pytest.mark.parametrize("damaged", [b"", b"{", b'{"hourly": "much", "at": 1}'])
async def test_damaged_price_is_asked_for_again(damaged: bytes, tmp_path: Path) -> None:
    """It is only a copy. Otherwise one bad object keeps every run with a limit from going on."""
    async with market(tmp_path) as here:
        here.objects.put(PRICE_KEY, damaged)

        assert LISTED == (await bill(here.prices(), "on-demand", 0, HOUR_S)).dollars
        assert damaged != here.objects.get(PRICE_KEY)


class Denied:
    """Objects that may be neither read nor written."""

    def __getattr__(self, name: str) -> Any:
        def call(key: str, *_: Any) -> None:
            raise StoreDenied(key)

        return call


async def test_price_that_cannot_be_kept_is_still_a_price(tmp_path: Path) -> None:
    async with market(tmp_path) as here:
        assert LISTED == (await bill(here.prices(Denied()), "on-demand", 0, HOUR_S)).dollars  # type: ignore[arg-type]
        assert ["price.unread", "price.unstored"] == here.log


# --- what nobody knows


async def test_spot_pool_without_a_history_costs_what_it_can_cost_at_most(tmp_path: Path) -> None:
    """The price on demand. Otherwise a limit in dollars holds nothing in a pool that EC2 tells nothing of."""
    async with market(tmp_path) as here:
        paid = await bill(here.prices(), "spot", 0, HOUR_S, zone="us-east-1z")

        assert Bill(pytest.approx(LISTED)) == paid  # type: ignore[arg-type]


async def test_spot_price_that_cannot_be_had_is_not_final(tmp_path: Path) -> None:
    """The most that it can be, for now: whoever writes it down waits. And the service is left alone for a minute.
    Otherwise each run of a storm waits for a time-out."""
    async with market(tmp_path) as here:
        here.spot_price(0.04)
        now, prices = here.cloud.clock.now(), here.prices()
        here.cloud.plane.faults.refuse("DescribeSpotPriceHistory", "RequestLimitExceeded")
        refused = [await bill(prices, "spot", now, now + HOUR_S) for _ in range(3)]
        assert [Bill(pytest.approx(LISTED), final=False)] * 3 == refused  # type: ignore[arg-type]
        assert ["price.unknown"] == here.log

        here.cloud.clock.advance(AGAIN_S + 1)
        assert Bill(pytest.approx(0.04)) == await bill(prices, "spot", now, now + HOUR_S)  # type: ignore[arg-type]


async def test_price_list_that_does_not_answer_is_not_final(tmp_path: Path) -> None:
    """No dollars, and asked again later. Nothing is raised: a run does not wait for its price."""
    async with market(tmp_path) as here:
        prices = here.prices()
        here.cloud.plane.faults.refuse("GetProducts", "AccessDeniedException")
        assert Bill(None, final=False) == await bill(prices, "on-demand", 0, HOUR_S)

        here.cloud.clock.advance(AGAIN_S + 1)
        assert Bill(pytest.approx(LISTED)) == await bill(prices, "on-demand", 0, HOUR_S)  # type: ignore[arg-type]


@pytest.mark.parametrize("named", ["x99.huge", ""])
async def test_type_that_is_not_listed_has_no_price(named: str, tmp_path: Path) -> None:
    """For good: nothing is gained by waiting for it."""
    async with market(tmp_path) as here:
        assert Bill(None) == await bill(here.prices(), "on-demand", 0, HOUR_S, named=named)


async def test_service_that_is_gone_raises_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connection refused, from both, by the launcher's own clients; and the price list is asked where it is served."""
    for name, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }.items():
        monkeypatch.setenv(name, value)
    log = list[str]()
    prices = open_prices(Folder(tmp_path), "eu-central-1", log=lambda event, **_: log.append(event), now=lambda: 1e9)
    try:
        assert Bill(None, final=False) == await bill(prices, "spot", 1e9, 1e9 + HOUR_S)
        assert ["price.unknown", "price.unknown"] == log
        assert (PRICING_REGION, "eu-central-1") == (
            prices._pricing.meta.region_name,
            prices._ec2.meta.region_name,
        )
    finally:
        prices.close()


# --- arithmetic


CHANGES = st.lists(st.tuples(st.floats(0, 1e5), st.floats(0.001, 100)), min_size=1, max_size=10).map(sorted)


@given(changes=CHANGES, cuts=st.lists(st.floats(0, 2e5), min_size=2, max_size=6).map(sorted))
def test_price_of_a_time_is_the_sum_of_its_parts(changes: list[tuple[float, float]], cuts: list[float]) -> None:
    """Wherever it is cut, and never beyond the dearest hour. Otherwise two attempts cost something else than one."""
    whole = _integral(changes, cuts[0], cuts[-1])
    parts = sum(_integral(changes, a, b) for a, b in itertools.pairwise(cuts))
    hours = (cuts[-1] - cuts[0]) / HOUR_S

    assert pytest.approx(whole) == parts
    assert min(price for _, price in changes) * hours - 1e-6 <= whole
    assert whole <= max(price for _, price in changes) * hours + 1e-6


@pytest.mark.parametrize(
    "product",
    ["", "{", "[]", "7", "{}", '{"terms": {}}', '{"terms": {"OnDemand": []}}', '{"terms": {"OnDemand": {"a": 7}}}'],
)
def test_product_of_an_unknown_shape_is_left_out(product: str) -> None:
    """A price list that changes its shape is one without prices."""
    rate = {"unit": "Hrs", "pricePerUnit": {"USD": "0.5"}}
    others = [
        {**rate, "unit": "Quantity"},
        {**rate, "pricePerUnit": {"USD": "0"}},
        {**rate, "pricePerUnit": {"USD": "nan"}},
    ]
    good = {"terms": {"OnDemand": {"t": {"priceDimensions": dict(enumerate([*others, rate]))}}}}

    assert [0.5] == list(_hourly([product, json.dumps(good)]))
