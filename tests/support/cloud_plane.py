"""A running control plane, and boto3 as its client: unmodified, over HTTP, in threads so that the loop stays free."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from spotrelay.local.clock import ManualClock
from spotrelay.local.server import ControlPlane

# One session for all: a service's model is parsed once, which is nearly all that a client costs.
SESSION = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
ONE_ATTEMPT = Config(retries={"total_max_attempts": 1}, max_pool_connections=50)
IMAGE = "ami-0123456789abcdef0"


class Client:
    """A boto3 client whose methods are awaited. Every answer has gone through botocore's own parser."""

    def __init__(self, service: str, endpoint: str, config: Config = ONE_ATTEMPT) -> None:
        self.boto = SESSION.client(service, endpoint_url=endpoint, config=config)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self.boto, name)
        return lambda **params: asyncio.to_thread(method, **params)


@dataclass
class Cloud:
    plane: ControlPlane
    sqs: Client
    ec2: Client
    clock: ManualClock

    async def queue(self, name: str = "requests", **attributes: Any) -> str:
        """A new queue's URL."""
        texts = {key: str(value) for key, value in attributes.items()}
        return (await self.sqs.create_queue(QueueName=name, Attributes=texts))["QueueUrl"]

    async def template(self, name: str = "relay", **data: Any) -> str:
        """A new launch template's id."""
        wanted = {"ImageId": IMAGE, "InstanceType": "m5.large", **data}
        made = await self.ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=wanted)
        return made["LaunchTemplate"]["LaunchTemplateId"]

    async def run(self, **params: Any) -> list[dict[str, Any]]:
        """One on-demand instance unless `params` say otherwise; as RunInstances answers."""
        asked = {"ImageId": IMAGE, "InstanceType": "m5.large", "MinCount": 1, "MaxCount": 1, **params}
        return (await self.ec2.run_instances(**asked))["Instances"]

    async def find(self, *ids: str, **filters: list[str]) -> list[dict[str, Any]]:
        """The instances that DescribeInstances shows; `_` for `-` in filter names."""
        params: dict[str, Any] = {"InstanceIds": list(ids)} if ids else {}
        if filters:
            params["Filters"] = [{"Name": name.replace("_", "-"), "Values": each} for name, each in filters.items()]
        answer = await self.ec2.describe_instances(**params)
        return [each for reservation in answer["Reservations"] for each in reservation["Instances"]]

    async def spot_requests(self, **filters: list[str]) -> list[dict[str, Any]]:
        wanted = [{"Name": name.replace("_", "-"), "Values": each} for name, each in filters.items()]
        return (await self.ec2.describe_spot_instance_requests(Filters=wanted))["SpotInstanceRequests"]

    async def states(self) -> dict[str, str]:
        """Of every instance that Describe shows."""
        answer = await self.ec2.describe_instances()
        instances = [each for reservation in answer["Reservations"] for each in reservation["Instances"]]
        return {each["InstanceId"]: each["State"]["Name"] for each in instances}


@asynccontextmanager
async def cloud(**options: Any) -> AsyncIterator[Cloud]:
    """On a clock that stands still until the test moves it."""
    clock = ManualClock()
    plane = ControlPlane(clock=clock, **options)
    await plane.start()
    sqs, ec2 = [await asyncio.to_thread(Client, service, plane.endpoint) for service in ("sqs", "ec2")]
    try:
        async with asyncio.timeout(60):
            yield Cloud(plane, sqs, ec2, clock)
    finally:
        sqs.boto.close()
        ec2.boto.close()
        await plane.close()


async def refusal(call: Awaitable[Any]) -> str:
    """The error code that the call is refused with, as boto3 reports it."""
    try:
        answer = await call
    except ClientError as error:
        return error.response["Error"]["Code"]
    raise AssertionError(f"not refused: {answer}")


async def status_of(call: Awaitable[Any]) -> tuple[str, int]:
    """The error code and the HTTP status that the call is refused with."""
    try:
        answer = await call
    except ClientError as error:
        return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    raise AssertionError(f"not refused: {answer}")


async def eventually(expected: Any, look: Callable[[], Any], timeout: float = 60.0) -> None:
    """Poll until what `look` returns, or what its awaitable gives, is the expected; fail with the last it saw."""
    until = time.monotonic() + timeout
    while True:
        seen = look()
        seen = await seen if isinstance(seen, Awaitable) else seen
        if seen == expected or time.monotonic() > until:
            assert expected == seen
            return
        await asyncio.sleep(0.005)


def spot(**options: Any) -> dict[str, Any]:
    return {"MarketType": "spot", **({"SpotOptions": options} if options else {})}


def base64_text(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def tagged(resource: str = "instance", **tags: str) -> list[dict[str, Any]]:
    return [{"ResourceType": resource, "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}]


def fleet(template: str, *pools: tuple[str, str], count: int = 1, **params: Any) -> dict[str, Any]:
    """A CreateFleet request for spot instances in these (type, zone letter)."""
    overrides = [{"InstanceType": kind, "AvailabilityZone": f"us-east-1{letter}"} for kind, letter in pools]
    named = {"LaunchTemplateId": template, "Version": "$Latest"}
    return {
        "Type": "instant",
        "LaunchTemplateConfigs": [{"LaunchTemplateSpecification": named, "Overrides": overrides}],
        "TargetCapacitySpecification": {"TotalTargetCapacity": count, "DefaultTargetCapacityType": "spot"},
        "SpotOptions": {"AllocationStrategy": "price-capacity-optimized"},
        **params,
    }


def started(answer: dict[str, Any]) -> list[str]:
    """The ids of a fleet's instances."""
    return [identity for each in answer["Instances"] for identity in each["InstanceIds"]]


def codes(answer: dict[str, Any]) -> list[str]:
    return [error["ErrorCode"] for error in answer["Errors"]]
