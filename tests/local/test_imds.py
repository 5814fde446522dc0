"""The simulated metadata service is as strict as EC2's, over real HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest
from botocore.session import Session

from spotrelay.local.imds import Credentials, InstanceDocuments, MetadataService
from spotrelay.local.imds_faults import EMPTY, GARBAGE, HANG, RESET, late, random_faults, status
from support.imds import INSTANCE, TOKEN, Clock, eventually, one_instance

TTL = "X-aws-ec2-metadata-token-ttl-seconds"


async def ask(
    method: str, url: str, headers: dict[str, str] | None = None, timeout: float = 60.0
) -> tuple[int, str, dict[str, str]]:
    total = aiohttp.ClientTimeout(total=timeout)
    async with aiohttp.ClientSession(timeout=total) as session, session.request(method, url, headers=headers) as answer:
        return answer.status, await answer.text(), dict(answer.headers)


async def token(endpoint: str, ttl: str = "60") -> dict[str, str]:
    code, text, _ = await ask("PUT", f"{endpoint}/latest/api/token", {TTL: ttl})
    assert code == 200
    return {"X-aws-ec2-metadata-token": text}


async def given_up(imds: MetadataService, question: Coroutine[Any, Any, object]) -> None:
    """The question has arrived, is not answered, and its asker goes away."""
    before, asking = len(imds.requests(INSTANCE)), asyncio.create_task(question)
    await eventually(lambda: len(imds.requests(INSTANCE)) > before, "the question")
    await asyncio.wait([asking], timeout=0.05)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def read(endpoint: str, path: str) -> tuple[int, str]:
    return (await ask("GET", f"{endpoint}/latest/{path}", await token(endpoint)))[:2]


@pytest.mark.parametrize(
    ("method", "path", "headers", "expected"),
    [
        ("PUT", "latest/api/token", {TTL: "1"}, 200),
        ("PUT", "latest/api/token", {TTL: "21600"}, 200),
        ("PUT", "latest/api/token", {TTL: "21601"}, 400),
        ("PUT", "latest/api/token", {TTL: "0"}, 400),
        ("PUT", "latest/api/token", {TTL: "-1"}, 400),
        ("PUT", "latest/api/token", {TTL: "soon"}, 400),
        ("PUT", "latest/api/token", {TTL: "9" * 6000}, 400),
        ("PUT", "latest/api/token", {}, 400),
        ("PUT", "latest/api/token", {TTL: "60", "X-Forwarded-For": "10.0.0.1"}, 403),
        ("PUT", "2021-03-23/api/token", {TTL: "60"}, 403),
        ("GET", "latest/api/token", {TTL: "60"}, 405),
        ("POST", "latest/api/token", {TTL: "60"}, 405),
    ],
)
async def test_token_is_given_only_as_ec2_gives_it(
    method: str, path: str, headers: dict[str, str], expected: int
) -> None:
    """A request that EC2 refuses is refused here. Otherwise the first to see it fail is a paid-for instance."""
    async with one_instance() as (_, endpoint):
        code, _, answered = await ask(method, f"{endpoint}/{path}", headers)

    assert expected == code
    assert (answered.get("Allow") == "OPTIONS, PUT") == (expected == 405)


async def test_nothing_is_read_without_a_living_token_of_this_instance() -> None:
    """No token, an invented one, another instance's and an expired one are all 401. Otherwise a client that never
    renews passes every test and goes blind after six hours."""
    clock = Clock()
    async with one_instance(clock) as (imds, endpoint):
        other = imds.add(InstanceDocuments("i-0fedcba9876543210"))
        url = f"{endpoint}/latest/meta-data/instance-id"
        foreign, short = await token(other), await token(endpoint, "10")
        before = [(await ask("GET", url, headers))[0] for headers in ({}, {"X-aws-ec2-metadata-token": "x"}, foreign)]
        alive = await ask("GET", url, short)
        clock.now += 10
        expired = await ask("GET", url, short)

    assert [401, 401, 401] == before
    assert (200, INSTANCE) == alive[:2]
    assert 401 == expired[0]


async def test_answers_carry_the_headers_of_the_real_service() -> None:
    """Plain text whatever it is, the connection ended, the service's own Date. A client that trusts the content type,
    reuses the connection or reads its own wall clock must fail here."""
    clock = Clock(now=1_000_000_000.0)
    async with one_instance(clock) as (_, endpoint):
        path = "latest/dynamic/instance-identity/document"
        _, text, headers = await ask("GET", f"{endpoint}/{path}", await token(endpoint))

    assert "text/plain" == headers["Content-Type"].partition(";")[0]
    assert "close" == headers["Connection"].lower()
    assert "EC2ws" == headers["Server"]
    assert "60" == headers["X-aws-ec2-metadata-token-ttl-seconds"]
    assert 1_000_000_000.0 == parsedate_to_datetime(headers["Date"]).timestamp()
    assert INSTANCE == json.loads(text)["instanceId"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("meta-data/instance-type", "g5.xlarge"),
        ("meta-data/instance-life-cycle", "spot"),
        ("meta-data/placement/availability-zone", "us-west-2-lax-1a"),
        ("meta-data/placement/region", "us-west-2"),
        ("meta-data/placement/", "availability-zone\nregion"),
        ("meta-data/placement", "availability-zone\nregion"),
        ("meta-data/tags/instance/spotrelay:run", "mnist"),
        ("meta-data/tags/instance/", "Name\nspotrelay:run"),
        ("meta-data/iam/security-credentials/", "trainer"),
        ("meta-data/events/maintenance/scheduled", "[]"),
        ("user-data", "[run]\n"),
        ("", "dynamic\nmeta-data\nuser-data"),
    ],
)
async def test_documents_read_as_on_ec2(path: str, expected: str) -> None:
    """Each document and each folder has EC2's text. Otherwise the agent is rehearsed against a service of our fancy."""
    tags = {"spotrelay:run": "mnist", "Name": "trainer 1"}
    async with one_instance(
        instance_type="g5.xlarge", zone="us-west-2-lax-1a", tags=tags, role="trainer", user_data=b"[run]\n"
    ) as (_, endpoint):
        assert (200, expected) == await read(endpoint, path)


@pytest.mark.parametrize(
    "path",
    [
        "user-data",
        "meta-data/nothing",
        "meta-data/instance-id/below",
        "meta-data/spot/instance-action",
        "meta-data/spot/termination-time",
        "meta-data/events/recommendations/rebalance",
        "meta-data/tags/instance/",
        "meta-data/iam/security-credentials/",
    ],
)
async def test_what_is_not_there_is_404(path: str) -> None:
    """Peace is 404, not an empty document: an instance without a notice, a tag, a role, or user data."""
    async with one_instance(role=None) as (_, endpoint):
        assert 404 == (await read(endpoint, path))[0]


@pytest.mark.parametrize(("action", "legacy"), [("terminate", 200), ("stop", 404), ("hibernate", 404)])
async def test_notice_is_shown_until_it_is_withdrawn(action: str, legacy: int) -> None:
    """The notice keeps its fixed time from read to read, and the older document shows it only for terminate: who
    reads that one misses the rest."""
    clock = Clock()
    async with one_instance(clock) as (imds, endpoint):
        imds.interrupt(INSTANCE, action, at=clock.now + 120)
        first = await read(endpoint, "meta-data/spot/instance-action")
        clock.now += 5
        second = await read(endpoint, "meta-data/spot/instance-action")
        older = await read(endpoint, "meta-data/spot/termination-time")
        imds.withdraw(INSTANCE)
        after = await read(endpoint, "meta-data/spot/instance-action")

    assert first == second == (200, json.dumps({"action": action, "time": "2023-11-14T22:15:20Z"}))
    assert legacy == older[0]
    assert 404 == after[0]


async def test_maintenance_and_rebalance_have_their_own_date_formats() -> None:
    """Maintenance is dated like an e-mail, a recommendation in ISO 8601. A parser for one fails on the other."""
    async with one_instance(Clock(now=1_548_061_243.0)) as (imds, endpoint):
        event = imds.schedule(INSTANCE, "instance-stop", not_before=1_548_061_243.0, not_after=1_548_062_243.0)
        imds.rebalance(INSTANCE)
        active = json.loads((await read(endpoint, "meta-data/events/maintenance/scheduled"))[1])
        imds.settle(INSTANCE, event, "canceled")
        settled = json.loads((await read(endpoint, "meta-data/events/maintenance/scheduled"))[1])
        recommended = await read(endpoint, "meta-data/events/recommendations/rebalance")

    expected = {
        "NotBefore": "21 Jan 2019 09:00:43 GMT",
        "Code": "instance-stop",
        "Description": "scheduled stop",
        "EventId": event,
        "State": "active",
        "NotAfter": "21 Jan 2019 09:17:23 GMT",
    }
    assert [expected] == active
    assert [expected | {"State": "canceled", "Description": "[Canceled] scheduled stop"}] == settled
    assert (200, '{"noticeTime": "2019-01-21T09:00:43Z"}') == recommended


async def test_boto3_takes_the_role_s_credentials_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK's own fetcher finds the keys by the one variable that says where the service is. Otherwise a rehearsed
    agent has no credentials, or somebody's real ones."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_EC2_METADATA_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    async with one_instance(credentials=Credentials("ASIATEST", "hush", "session")) as (_, endpoint):
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint)
        found = await asyncio.to_thread(lambda: Session().get_credentials())

    assert found is not None
    keys = (found.access_key, found.secret_key, found.token)
    assert ("iam-role", ("ASIATEST", "hush", "session")) == (found.method, keys)


async def test_every_instance_sees_itself() -> None:
    """Many instances on one port, each under its own address. Otherwise one agent reads another's notice."""
    async with MetadataService() as imds:
        ids = [f"i-{number:017x}" for number in range(40)]
        endpoints = [imds.add(InstanceDocuments(instance)) for instance in ids]
        seen = await asyncio.gather(*(read(endpoint, "meta-data/instance-id") for endpoint in endpoints))

    assert [(200, instance) for instance in ids] == seen
    assert len({endpoint.rpartition(":")[2] for endpoint in endpoints}) == 1


async def test_removed_instance_and_unused_address_answer_nobody() -> None:
    """What has no instance behind it gives no answer at all, and an address never passes to another instance."""
    async with one_instance() as (imds, endpoint):
        port = endpoint.rpartition(":")[2]
        imds.remove(INSTANCE)
        later = {imds.add(InstanceDocuments(f"i-{number:017x}")) for number in range(3)}
        for url in (endpoint, f"http://127.0.0.1:{port}"):
            with pytest.raises(aiohttp.ClientConnectionError):
                await ask("GET", f"{url}/latest/")

    assert 4 == len(later | {endpoint})


async def test_faults_come_in_order_and_then_the_truth() -> None:
    """Injected faults hit the next requests one by one. Otherwise a test of the second retry tests nothing."""
    async with one_instance() as (imds, endpoint):
        headers = await token(endpoint)
        url = f"{endpoint}/latest/meta-data/instance-id"
        imds.inject(INSTANCE, status(503), RESET, RESET, EMPTY, GARBAGE, late(30), late(0.01))
        assert 503 == (await ask("GET", url, headers))[0]
        with pytest.raises(aiohttp.ClientConnectionError):
            await ask("GET", url, headers)  # twice: aiohttp asks again after the first reset
        assert (200, "") == (await ask("GET", url, headers))[:2]
        with pytest.raises(UnicodeDecodeError):
            await ask("GET", url, headers)
        await given_up(imds, ask("GET", url, headers))
        assert (200, INSTANCE) == (await ask("GET", url, headers))[:2]

        assert [TOKEN] + [("GET", "/latest/meta-data/instance-id")] * 7 == imds.requests(INSTANCE)


async def test_hanging_request_ends_with_the_service() -> None:
    """A client left hanging does not keep the service from closing. Otherwise a rehearsal cannot be ended."""
    async with one_instance() as (imds, endpoint):
        imds.inject(INSTANCE, HANG, HANG)
        await given_up(imds, ask("GET", endpoint))
        stuck = asyncio.create_task(ask("GET", endpoint))
        await eventually(lambda: len(imds.requests(INSTANCE)) == 2, "the second request")

    with pytest.raises(aiohttp.ClientConnectionError):
        await stuck


def test_random_faults_repeat_for_a_seed() -> None:
    """The same seed gives the same faults. Otherwise a failure found at night is gone in the morning."""

    def faults(seed: int) -> list[object]:
        source = random_faults(seed, rate=0.5, hang=True)
        return [source("any") for _ in range(200)]

    assert faults(7) == faults(7)
    assert faults(7) != faults(8)
    assert 60 < sum(fault is not None for fault in faults(7)) < 140
