"""One small request in AWS's JSON protocol: a POST of a few fields, signed, over the HTTP client that watches for
notices anyway. botocore, imported at the boot, costs each idle agent 20 MiB; imported at the notice, 0.34 s of CPU
beside a command that is just saving, and more where its 120 modules have left the page cache. As it is, a request takes
2 ms of CPU, and needs nothing of the disk.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import tenacity

from spotrelay.aws.credentials import Credentials
from spotrelay.aws.signature import signed
from spotrelay.core.errors import MetadataUnavailable, SpotrelayError, StoreDenied

# These services answer within tens of milliseconds. Three tries of at most 5 s stay far below a notice's two minutes.
TIMEOUT = aiohttp.ClientTimeout(total=5, connect=2)
TRIES = 3
_WAIT = tenacity.wait_random_exponential(multiplier=0.2, max=2)
# Of refusals those that pass, as botocore's standard retries have it.
_PASSING = ("Throttl", "TooManyRequests", "RequestLimitExceeded", "SlowDown", "RequestTimeout", "RequestExpired")
# What is asked for is small: a parameter has at most 8 KiB.
LARGEST_ANSWER = 64 << 10


class Unanswered(SpotrelayError):
    """No answer, or one that passes: trying again can help."""


class Refused(SpotrelayError):
    """With the service's code and words."""


class _Passing(Exception):
    """Trying again can help."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and from which region. `endpoint`: instead of the services' own hosts; AWS_ENDPOINT_URL_<NAME> and
    AWS_ENDPOINT_URL say the same. `wall`: the time of day, in seconds since 1970."""

    region: str
    credentials: Credentials
    endpoint: str | None = None
    wall: Callable[[], float] = time.time


class JsonService:
    """`name`: as in signatures and endpoints. `target`: before the operation's name. `url`: where it is, unless
    the caller has an endpoint."""

    def __init__(self, name: str, target: str, url: str, caller: Caller, *, version: str) -> None:
        own = os.environ.get(f"AWS_ENDPOINT_URL_{name.upper()}") or os.environ.get("AWS_ENDPOINT_URL")
        parts = urlsplit(caller.endpoint or own or url)
        self._name, self._target, self._caller = name, target, caller
        self._endpoint, self._proxy = f"{parts.scheme}://{parts.netloc}/", _proxy(parts)
        self._content = f"application/x-amz-json-{version}"

    async def call(self, operation: str, fields: Mapping[str, Any]) -> bytes:
        """The answer's body. Raises Unanswered and Refused."""
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(_Passing),
            wait=_WAIT,
            stop=tenacity.stop_after_attempt(TRIES),
            reraise=True,
        )
        try:
            return await retrying(self._send, operation, json.dumps(fields).encode())
        except (_Passing, MetadataUnavailable, StoreDenied, ValueError) as error:  # ValueError: a URL beyond parsing
            raise Unanswered(str(error)) from error

    async def _send(self, operation: str, body: bytes) -> bytes:
        caller = self._caller
        keys = await caller.credentials.keys()
        plain = {"Content-Type": self._content, "X-Amz-Target": f"{self._target}.{operation}"}
        headers = signed(self._endpoint, plain, body, keys, service=self._name, region=caller.region, at=caller.wall())
        try:
            # A session of its own: a connection that was kept for hours is one that a firewall has forgotten.
            async with (
                aiohttp.ClientSession(timeout=TIMEOUT, cookie_jar=aiohttp.DummyCookieJar()) as session,
                session.post(
                    self._endpoint, data=body, headers=headers, proxy=self._proxy, allow_redirects=False
                ) as response,
            ):
                status, said = response.status, await response.content.read(LARGEST_ANSWER)
        except (aiohttp.ClientError, OSError) as error:
            raise _Passing(f"{type(error).__name__}: {error}") from error
        if status == 200:
            return said
        what = f"{status} {_words(said)}"
        if status >= 500 or any(word in what for word in _PASSING):
            raise _Passing(what)
        raise Refused(what)


def _proxy(parts: SplitResult) -> str | None:
    """Of the environment. Not by aiohttp's `trust_env`: that would also sign with what is in a .netrc."""
    return None if parts.hostname is None or proxy_bypass(parts.hostname) else getproxies().get(parts.scheme)


def _words(said: bytes) -> str:
    """An error's code and message; of what is no error of AWS's, its beginning."""
    try:
        document = json.loads(said)
        return f"{document['__type'].rpartition('#')[2]}: {document.get('message') or document.get('Message') or ''}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return said[:200].decode(errors="replace")
