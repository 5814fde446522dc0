"""GetProducts as boto3 asks it: the on-demand price of a type, in the shape in which AWS hides it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from support.cloud_plane import Client, Cloud, cloud, refusal

PLAIN = {
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "preInstalledSw": "NA",
    "capacitystatus": "Used",
    "marketoption": "OnDemand",
}


@asynccontextmanager
async def price_list() -> AsyncIterator[tuple[Cloud, Client]]:
    async with cloud() as here:
        client = await asyncio.to_thread(Client, "pricing", here.plane.endpoint)
        yield here, client
        client.boto.close()


def asked(**fields: str) -> dict[str, Any]:
    filters = [{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in fields.items()]
    return {"ServiceCode": "AmazonEC2", "Filters": filters}


def dollars(product: dict[str, Any]) -> list[str]:
    terms = product["terms"]["OnDemand"].values()
    return [each["pricePerUnit"]["USD"] for term in terms for each in term["priceDimensions"].values()]


async def test_a_type_has_one_price_when_everything_is_said():
    """In a document inside of the answer, with the keys of AWS's own. Otherwise what runs cost on demand would be read
    from a shape that exists in tests only."""
    async with price_list() as (here, client):
        answer = await client.get_products(**asked(instanceType="m5.large", regionCode="us-east-1", **PLAIN))
        [product] = [json.loads(text) for text in answer["PriceList"]]
        sku = product["product"]["sku"]
        [(term_code, term)] = product["terms"]["OnDemand"].items()
        [(rate_code, rate)] = term["priceDimensions"].items()

        assert ["0.0960000000"] == dollars(product)
        assert ("aws_v1", "AmazonEC2", "Compute Instance") == (
            answer["FormatVersion"],
            product["serviceCode"],
            product["product"]["productFamily"],
        )
        assert (f"{sku}.JRTCKXETXF", f"{sku}.JRTCKXETXF.6YS6EN2CT7") == (term_code, rate_code)
        assert (sku, "JRTCKXETXF", "Hrs", rate_code, "$0.096 per On Demand Linux m5.large Instance Hour") == (
            term["sku"],
            term["offerTermCode"],
            rate["unit"],
            rate["rateCode"],
            rate["description"],
        )
        assert ("2", "8 GiB", "US East (N. Virginia)") == tuple(
            product["product"]["attributes"][name] for name in ("vcpu", "memory", "location")
        )
        assert 1 == here.plane.calls["GetProducts"]


@pytest.mark.parametrize(
    ("left_out", "expected"),
    [
        ("capacitystatus", ["0.0000000000", "0.0960000000", "0.0960000000"]),
        ("operatingSystem", ["0.1880000000", "0.0960000000"]),
    ],
)
async def test_a_type_has_several_prices_when_something_is_left_out(left_out: str, expected: list[str]):
    """The first of which is not the one that is meant. Otherwise a client that takes the first would pass here, and
    count reserved capacity as free there."""
    async with price_list() as (_, client):
        fields = {name: value for name, value in PLAIN.items() if name != left_out}
        answer = await client.get_products(**asked(instanceType="m5.large", **fields))

        assert expected == [price for text in answer["PriceList"] for price in dollars(json.loads(text))]


@pytest.mark.parametrize("fields", [{"instanceType": "m99.huge"}, {"regionCode": "eu-west-1"}, {"colour": "red"}])
async def test_what_nothing_matches_is_an_empty_list(fields: dict[str, str]):
    """No error. Otherwise a type without a price would stop a launcher that has better things to do."""
    async with price_list() as (_, client):
        assert [] == (await client.get_products(**asked(**fields)))["PriceList"]


async def test_prices_come_in_pages():
    """Of at most a hundred. Otherwise a client that reads one page would know a part of the types only."""
    async with price_list() as (here, client):
        seen, token = [], {}
        while True:
            answer = await client.get_products(**asked(**PLAIN), MaxResults=10, **token)
            seen += [json.loads(text)["product"]["attributes"]["instanceType"] for text in answer["PriceList"]]
            if "NextToken" not in answer:
                break
            token = {"NextToken": answer["NextToken"]}

        assert list(here.plane.ec2.pools.types) == seen


async def test_what_the_price_list_cannot_answer_is_refused():
    """By its own codes; and faults hit it as they hit the others. Otherwise nothing would be known of a launcher whose
    price list is down."""
    async with price_list() as (here, client):
        elsewhere = {**asked(), "ServiceCode": "AmazonS3"}
        contains = {"ServiceCode": "AmazonEC2", "Filters": [{"Type": "CONTAINS", "Field": "vcpu", "Value": "2"}]}
        here.plane.faults.refuse("GetProducts", "ThrottlingException")

        assert "ThrottlingException" == await refusal(client.get_products(**asked()))
        assert "InvalidParameterException" == await refusal(client.get_products(**elsewhere))
        assert "InvalidParameterException" == await refusal(client.get_products(**contains))
        assert "InvalidParameterException" == await refusal(client.describe_services())
