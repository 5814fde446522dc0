"""The instance metadata service, asked over HTTP: IMDSv2 and nothing older.

1. A token comes by PUT and is renewed before it ends, or when the service no longer knows it (401), once a question.
   There is no falling back to requests without one: a service that wants none is not the one we were promised.
2. No proxy from the environment, no redirect, no cookie: the address is link-local, and whoever else answers to it is
   not to be believed. One connection a question, because the service ends each one: a kept one is a race.
3. A question is over after `timeout`, token and all. Who wants to be patient asks again: `identity` and `user_data`
   do, because the first minute of an instance's life is when its metadata is slow; the watch does by its nature.
4. Two questions that find the token gone at once fetch one each. That costs a request, where a lock would let a
   hanging PUT of one hold up the other, and the other may be the look at the spot notice.
5. Every answer brings EC2's own time in its `Date`; the monotonic clock carries it on. The instance's wall clock may
   be minutes off, most of all right after the boot.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Self, TypeVar

import aiohttp
import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_before_delay, wait_random_exponential

from spotrelay.core.announcements import rfc_time
from spotrelay.core.errors import MetadataUnavailable
from spotrelay.ports import Identity

T = TypeVar("T")

LINK_LOCAL = "http://169.254.169.254"
TOKEN_TTL_S = 21600  # the longest there is: a renewal is one more request that can fail
# Renewed a minute early: many looks long, so that a service that is ill just then is asked again in time.
RENEW_BEFORE_S = 60.0
# 1 s as in botocore. An answer takes 1..5 ms; on a machine whose cores are all busy, a tenth of a second.
TIMEOUT_S = 1.0
# User data ends at 16 KiB, credentials and the identity document at two. More is no answer of this service.
LARGEST_BODY = 256 * 1024
PATIENCE_S = 90.0

NEXT_STEPS = {
    401: "look for something between agent and service that drops the token's header",
    403: "switch the instance's metadata service on (HttpEndpoint=enabled), without a proxy in between",
}
NO_ANSWER = (
    "on EC2 check HttpEndpoint, and in a container HttpPutResponseHopLimit=2; "
    "elsewhere set AWS_EC2_METADATA_SERVICE_ENDPOINT"
)


class InstanceMetadata:
    """Fulfils `ports.Metadata`, and answers the questions of the boot. Used as an async context manager.

    `endpoint`: a URL; by default AWS_EC2_METADATA_SERVICE_ENDPOINT, which botocore follows too, or the link-local one.
    `timeout`: seconds for one question, at most.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        *,
        timeout: float = TIMEOUT_S,
        token_ttl: int = TOKEN_TTL_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        chosen = endpoint or os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or LINK_LOCAL
        self._latest = chosen.rstrip("/") + "/latest/"
        self._timeout = timeout
        self._token_ttl = token_ttl
        self._clock = clock
        self._token = ""
        self._renew_at = -math.inf
        self._ahead: float | None = None  # EC2's time less our clock's
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session is not None
        await self._session.close()

    async def text(self, path: str) -> str | None:
        body = await self._bytes(path)
        if body is None:
            return None
        try:
            return body.decode()
        except UnicodeDecodeError as error:
            raise MetadataUnavailable(f"{path}: not text: {error}") from error

    def server_now(self) -> float | None:
        return None if self._ahead is None else self._clock() + self._ahead

    async def identity(self, patience: float = PATIENCE_S) -> Identity:
        """Asks again for `patience` seconds. Raises MetadataUnavailable."""
        return await _patiently(self._identity, patience)

    async def user_data(self, patience: float = PATIENCE_S) -> bytes | None:
        """None when the instance was given none. Asks again for `patience` seconds. Raises MetadataUnavailable."""
        return await _patiently(partial(self._bytes, "user-data"), patience)

    async def _identity(self) -> Identity:
        return Identity(
            instance_id=await self._required("instance-id"),
            instance_type=await self._required("instance-type"),
            zone=await self._required("placement/availability-zone"),
            region=await self._required("placement/region"),
            market=await self._required("instance-life-cycle"),
        )

    async def _required(self, name: str) -> str:
        text = await self.text(f"meta-data/{name}")
        if not text:  # 404 or empty: seen on instances that are seconds old
            raise MetadataUnavailable(f"the service does not know meta-data/{name}", next_step="try again in a minute")
        return text

    async def _bytes(self, path: str) -> bytes | None:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._ask(path)
        except TimeoutError as error:
            raise MetadataUnavailable(f"{path}: no answer in {self._timeout:g} s", next_step=NO_ANSWER) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: a URL or header beyond parsing
            problem = f"{path}: {type(error).__name__}: {error}"
            raise MetadataUnavailable(problem, next_step=NO_ANSWER) from error

    async def _ask(self, path: str) -> bytes | None:
        fresh = self._clock() >= self._renew_at
        if fresh:
            await self._renew_token()
        status, body = await self._get(path)
        if status == 401 and not fresh:
            await self._renew_token()
            status, body = await self._get(path)
        if status == 404:
            return None
        return _accepted(path, status, body)

    async def _get(self, path: str) -> tuple[int, bytes]:
        status, body = await self._request("GET", path, {"X-aws-ec2-metadata-token": self._token})
        if status == 401:
            self._renew_at = -math.inf
        return status, body

    async def _renew_token(self) -> None:
        asked_at = self._clock()
        lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": str(self._token_ttl)}
        status, body = await self._request("PUT", "api/token", lifetime)
        token = _accepted("api/token", status, body).decode("ascii")
        if not token or not token.isprintable():  # it would not pass as a header, or pass as two
            raise MetadataUnavailable("api/token: the answer is no token")
        self._token = token
        self._renew_at = asked_at + self._token_ttl - RENEW_BEFORE_S

    async def _request(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, bytes]:
        assert self._session is not None, "use `async with InstanceMetadata()`"
        url = self._latest + path
        async with self._session.request(method, url, headers=headers, allow_redirects=False) as response:
            self._note_date(response.headers.get("Date"))
            return response.status, await _bounded_body(response)

    def _note_date(self, date: str | None) -> None:
        at = rfc_time(date)
        if at is not None:  # an answer without a usable date leaves the last one standing
            self._ahead = at - self._clock()


def _accepted(path: str, status: int, body: bytes) -> bytes:
    if status != 200:
        raise MetadataUnavailable(f"{path}: HTTP {status}", next_step=NEXT_STEPS.get(status, ""))
    return body


async def _bounded_body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > LARGEST_BODY:
            raise MetadataUnavailable(f"{response.url.path}: more than {LARGEST_BODY} bytes")
    return bytes(body)


async def _patiently(question: Callable[[], Awaitable[T]], patience: float) -> T:
    """Full jitter up to 5 s: a fleet that boots at once must not ask in step."""
    retrying = AsyncRetrying(
        stop=stop_before_delay(patience),
        wait=wait_random_exponential(multiplier=0.1, max=5.0),
        retry=retry_if_exception_type(MetadataUnavailable),
        before_sleep=_tell,
        reraise=True,
    )
    return await retrying(question)


def _tell(retry: RetryCallState) -> None:
    """Who looks at the console of a machine that waits for its network wants to see that; in ever fewer lines."""
    if retry.attempt_number & (retry.attempt_number - 1) == 0:
        error = retry.outcome and retry.outcome.exception()
        structlog.get_logger().warning("metadata.waiting", error=str(error), tries=retry.attempt_number)
