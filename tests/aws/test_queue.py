"""The resume queue: what it posts arrives in two readings of SQS, and its signature is botocore's."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from moto.server import ThreadedMotoServer

from spotrelay.aws.credentials import Given, Keys
from spotrelay.aws.json_request import Caller
from spotrelay.aws.queue import SqsQueue
from spotrelay.aws.signature import signed
from spotrelay.core.errors import QueueError
from spotrelay.core.messages import ResumeRequest
from spotrelay.local.server import ControlPlane
from support.cloud_plane import Client

REQUEST = ResumeRequest("resnet-7", 3)
AT = 1_790_000_000.0


def queue_at(url: str, endpoint: str | None = None, keys: Keys | None = None) -> SqsQueue:
    given = Given(keys or Keys("AKIA", "hush", "session"))
    return SqsQueue(url, Caller("us-east-1", given, endpoint))


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
async def plane() -> AsyncIterator[ControlPlane]:
    plane = ControlPlane()
    await plane.start()
    yield plane
    await plane.close()


@pytest.mark.parametrize("whose", ["moto", "ours"])
async def test_what_is_posted_arrives(whose: str, request: pytest.FixtureRequest, plane: ControlPlane) -> None:
    """Word for word, in an independent SQS too. Otherwise a notice rings nobody, and each run waits for the sweep."""
    endpoint = plane.endpoint if whose == "ours" else request.getfixturevalue("moto")
    sqs = await asyncio.to_thread(Client, "sqs", endpoint)
    url = (await sqs.create_queue(QueueName="relay"))["QueueUrl"]
    await queue_at(url, endpoint).post(REQUEST)
    [message] = (await sqs.receive_message(QueueUrl=url))["Messages"]
    sqs.boto.close()

    assert REQUEST.encode() == message["Body"]


@pytest.mark.parametrize("url", ["https://sqs.eu-west-1.amazonaws.com/", "http://127.0.0.1:4566/"])
@pytest.mark.parametrize("token", ["session/with+signs==", None])
def test_the_signature_is_botocore_s(url: str, token: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Header by header, for the same request at the same second. Otherwise SQS refuses every post, and only SQS."""
    keys, body = Keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token), b'{"MessageBody":"\xc3\xa4"}'
    headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS.SendMessage"}
    ours = signed(url, headers, body, keys, service="sqs", region="eu-west-1", at=AT)
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(AT))
    request = botocore.awsrequest.AWSRequest("POST", url, dict(headers), body)
    request.context["timestamp"] = moment
    theirs = botocore.auth.SigV4Auth(
        botocore.credentials.Credentials(keys.access_key, keys.secret_key, keys.token), "sqs", "eu-west-1"
    )
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: time_at(AT))
    theirs.add_auth(request)

    assert dict(request.headers.items()) == ours


def time_at(seconds: float) -> object:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


@asynccontextmanager
async def answering(*answers: tuple[int, str]) -> AsyncIterator[tuple[str, list[web.Request]]]:
    """A queue's URL at a service that answers so, the last of it for ever, and what it was asked."""
    asked: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        asked.append(request)
        status, text = answers[min(len(asked), len(answers)) - 1]
        return web.Response(status=status, text=text)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app, host="127.0.0.1") as server:
        yield str(server.make_url("/1/relay")), asked


def said(code: str, message: str = "words") -> str:
    return json.dumps({"__type": f"com.amazonaws.sqs#{code}", "message": message})


@pytest.mark.parametrize(
    "trouble",
    [(500, ""), (503, "<html>"), (400, said("ThrottlingException")), (403, said("RequestThrottled"))],
)
async def test_a_trouble_that_passes_costs_a_second_try(trouble: tuple[int, str]) -> None:
    """Overloaded, throttled, a proxy's page. Otherwise the first hiccup in two minutes is the end of a run."""
    async with answering(trouble, (200, "{}")) as (url, asked):
        await queue_at(url).post(REQUEST)

        assert ["/", "/"] == [request.path for request in asked]


async def test_a_trouble_that_stays_is_told_after_three_tries() -> None:
    """With the queue, SQS's own words and what to look at. Otherwise the post blocks what comes after it."""
    async with answering((500, said("InternalFailure", "try later"))) as (url, asked):
        with pytest.raises(QueueError, match="1/relay: 500 InternalFailure: try later"):
            await queue_at(url).post(REQUEST)

        assert 3 == len(asked)


@pytest.mark.parametrize("code", ["QueueDoesNotExist", "AccessDeniedException", "InvalidClientTokenId"])
async def test_a_refusal_is_told_at_once(code: str) -> None:
    """Nothing gets better by asking again: the caller has its own patience, and a log that says why."""
    async with answering((400, said(code))) as (url, asked):
        with pytest.raises(QueueError, match=f"{code}: words — check that the queue exists"):
            await queue_at(url).post(REQUEST)

        assert 1 == len(asked)


async def test_nobody_there_is_a_queue_error() -> None:
    """No exception of a library's gets through a port."""
    with pytest.raises(QueueError, match="ClientConnector"):
        await queue_at("http://127.0.0.1:9/1/relay").post(REQUEST)


async def test_a_redirect_is_not_followed_with_our_signature() -> None:
    """Whoever redirects is not SQS. Otherwise a captive portal gets the message, and counts as the queue."""
    async with answering((302, "")) as (url, asked):
        with pytest.raises(QueueError, match="302"):
            await queue_at(url).post(REQUEST)

        assert 1 == len(asked)


async def test_another_endpoint_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """By AWS's own variables, as for every SDK: a VPC endpoint has a name of its own."""
    async with answering((200, "{}")) as (url, asked):
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", url.removesuffix("/1/relay"))
        await queue_at("https://sqs.us-east-1.amazonaws.com/1/relay").post(REQUEST)

        [request] = asked
        assert "https://sqs.us-east-1.amazonaws.com/1/relay" == (await request.json())["QueueUrl"]


async def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the only way out is one. Otherwise a machine in a closed network cannot ask for its successor."""
    async with answering((200, "{}")) as (proxy, asked):
        monkeypatch.setenv("http_proxy", proxy.removesuffix("/1/relay"))
        await queue_at("http://sqs.nowhere.invalid/1/relay").post(REQUEST)

        assert ["sqs.nowhere.invalid"] == [request.host for request in asked]
