"""The resume queue on SQS: one small request, made when seconds count.

SendMessage in SQS's JSON protocol is a POST of two fields, so it is spoken here, over the HTTP client that watches for
notices anyway. botocore, imported at the boot, costs each idle agent 20 MiB; imported at the notice, 0.34 s of CPU
beside a command that is just saving, and more where its 120 modules have left the page cache. As it is, a post takes 2
ms of CPU, and needs nothing of the disk.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import tenacity

from spotrelay.aws.credentials import Credentials
from spotrelay.aws.signature import signed
from spotrelay.core.errors import MetadataUnavailable, QueueError, StoreDenied
from spotrelay.core.messages import ResumeRequest

# SQS answers within tens of milliseconds. Three tries of at most 5 s stay far below the two minutes of a notice.
TIMEOUT = aiohttp.ClientTimeout(total=5, connect=2)
TRIES = 3
_WAIT = tenacity.wait_random_exponential(multiplier=0.2, max=2)
HEADERS = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS.SendMessage"}
# Of refusals those that pass, as botocore's standard retries have it.
_PASSING = ("Throttl", "TooManyRequests", "RequestLimitExceeded", "SlowDown", "RequestTimeout", "RequestExpired")
# Of an answer only its code and message are read.
LARGEST_ANSWER = 64 << 10


class _Passing(Exception):
    """Trying again can help."""


class SqsQueue:
    """ports.ResumeQueue. `url` is the queue's URL; the region is the instance's. `endpoint`: instead of the URL's own
    host; AWS_ENDPOINT_URL_SQS and AWS_ENDPOINT_URL say the same. `wall`: the time of day, in seconds since 1970.
    """

    def __init__(
        self,
        url: str,
        *,
        region: str,
        credentials: Credentials,
        endpoint: str | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        host = endpoint or os.environ.get("AWS_ENDPOINT_URL_SQS") or os.environ.get("AWS_ENDPOINT_URL") or url
        parts = urlsplit(host)
        self._url, self._region, self._endpoint = url, region, f"{parts.scheme}://{parts.netloc}/"
        self._proxy = _proxy(parts)
        self._credentials, self._wall = credentials, wall

    async def post(self, request: ResumeRequest) -> None:
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(_Passing),
            wait=_WAIT,
            stop=tenacity.stop_after_attempt(TRIES),
            reraise=True,
        )
        body = json.dumps({"QueueUrl": self._url, "MessageBody": request.encode()}).encode()
        try:
            await retrying(self._send, body)
        except (_Passing, MetadataUnavailable, StoreDenied, ValueError) as error:  # ValueError: a URL beyond parsing
            raise self._failed(str(error)) from error

    async def _send(self, body: bytes) -> None:
        keys = await self._credentials.keys()
        headers = signed(self._endpoint, HEADERS, body, keys, service="sqs", region=self._region, at=self._wall())
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
            return
        what = f"{status} {_words(said)}"
        raise _Passing(what) if status >= 500 or any(word in what for word in _PASSING) else self._failed(what)

    def _failed(self, what: str) -> QueueError:
        return QueueError(
            f"cannot post to {self._url}: {what}",
            next_step="check that the queue exists and that the instance's role allows sqs:SendMessage on it",
        )


def _proxy(parts: SplitResult) -> str | None:
    """Of the environment. Not by aiohttp's `trust_env`: that would also sign with what is in a .netrc."""
    return None if parts.hostname is None or proxy_bypass(parts.hostname) else getproxies().get(parts.scheme)


def _words(said: bytes) -> str:
    """An error's code and message; of what is no error of SQS's, its beginning."""
    try:
        document = json.loads(said)
        return f"{document['__type'].rpartition('#')[2]}: {document.get('message') or document.get('Message') or ''}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return said[:200].decode(errors="replace")
