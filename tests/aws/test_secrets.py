"""Secrets from SSM's Parameter Store, over the wire to moto; what goes wrong says which, and never what is in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import boto3
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from spotrelay.aws import json_request
from spotrelay.aws.credentials import Given, Keys
from spotrelay.aws.secrets import SsmSecrets
from spotrelay.core.errors import SecretError, SecretRefused, SecretUnavailable
from support.moto_server import moto_server

HUSH = "hush-hush ünïcode"


def secrets(endpoint: str) -> SsmSecrets:
    return SsmSecrets(json_request.Caller("us-east-1", Given(Keys("AKIA", "key", "session")), endpoint))


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with moto_server() as endpoint:
        yield endpoint


@asynccontextmanager
async def answering(status: int, body: bytes) -> AsyncIterator[str]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, body=body)

    app = web.Application()
    app.router.add_post("/", answer)
    async with TestServer(app) as server:
        yield str(server.make_url("/"))


def put(endpoint: str) -> None:
    ssm = boto3.client(
        "ssm", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    ssm.put_parameter(Name="/spotrelay/wandb", Value=HUSH, Type="SecureString", Overwrite=True)
    ssm.close()


async def test_a_parameter_comes_decrypted(moto: str) -> None:
    await asyncio.to_thread(put, moto)

    assert HUSH == await secrets(moto).read("/spotrelay/wandb")


async def test_one_that_is_not_there_is_named(moto: str) -> None:
    """With what to do about it: at the end of an hour's wait for a machine nobody wants to guess."""
    with pytest.raises(SecretRefused, match=r"put-parameter.*/spotrelay/nothing"):
        await secrets(moto).read("/spotrelay/nothing")


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, b'{"__type":"AccessDeniedException","Message":"no"}', SecretRefused),
        (400, b'{"__type":"ThrottlingException"}', SecretUnavailable),
        (500, b"", SecretUnavailable),
        (200, HUSH.encode(), SecretUnavailable),
        (200, b"[]", SecretUnavailable),
        (200, b'{"Parameter":{"Value-hush-hush":1}}', SecretUnavailable),
    ],
)
async def test_what_goes_wrong_tells_no_secret(
    status: int, body: bytes, error: type[SecretError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether trying again can help is told apart; what was said is not repeated."""
    monkeypatch.setattr(json_request, "TRIES", 1)
    async with answering(status, body) as endpoint:
        with pytest.raises(error) as caught:
            await secrets(endpoint).read("/spotrelay/wandb")

    assert "hush" not in repr(caught.value)
    assert "hush" not in str(caught.value.__cause__)


async def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_request, "TRIES", 1)
    with pytest.raises(SecretUnavailable):
        await secrets("http://127.0.0.1:9/").read("/spotrelay/wandb")
