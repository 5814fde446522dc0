"""As much of S3 as snapshots need, over real HTTP, with the faults that a test asks for.

`fault` looks at each request and says what happens to it: "503", "drop" (the connection ends amid the body),
"stall" (nothing comes any more), "flip" (one bit of the body is another), or nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from xml.sax.saxutils import escape

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

Fault = Callable[[web.Request], str]


class FaultyS3:
    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.asked: list[tuple[str, str]] = []
        self.met: Counter[str] = Counter()  # faults
        self.fault: Fault = lambda _: ""
        self.ended = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.method, request.path))
        fault = self.fault(request)
        self.met[fault] += 1
        match request.method, fault:
            case _, "503":
                return _refusal(503, "SlowDown")
            case _, "stall":
                await self.ended.wait()
                return web.Response()
            case "PUT", "drop":
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
        return await self._serve(request, fault)

    async def _serve(self, request: web.Request, fault: str) -> web.StreamResponse:
        if request.method == "PUT":
            body = await request.read()
            if request.headers.get("If-None-Match") == "*" and request.path in self.objects:
                return _refusal(412, "PreconditionFailed")
            self.objects[request.path] = body
            return web.Response(headers={"ETag": '"1"'})
        if "list-type" in request.query:
            return self._listing(request)
        if request.path not in self.objects:
            return _refusal(404, "NoSuchKey")
        return await _body(request, self.objects[request.path], fault)

    def _listing(self, request: web.Request) -> web.Response:
        below = f"{request.path.rstrip('/')}/"
        found = [
            f"<Contents><Key>{escape(path.removeprefix(below))}</Key><Size>{len(data)}</Size><ETag>&quot;1&quot;</ETag>"
            "<LastModified>2026-11-23T12:00:00.000Z</LastModified><StorageClass>STANDARD</StorageClass></Contents>"
            for path, data in sorted(self.objects.items())
            if path.startswith(below + request.query.get("prefix", ""))
        ]
        text = f"<ListBucketResult><IsTruncated>false</IsTruncated>{''.join(found)}</ListBucketResult>"
        return web.Response(text=text, content_type="application/xml")


async def _body(request: web.Request, data: bytes, fault: str) -> web.StreamResponse:
    if fault == "flip":
        data = data[:-1] + bytes([data[-1] ^ 1])
    answer = web.StreamResponse(headers={"ETag": '"1"', "Last-Modified": "Mon, 23 Nov 2026 12:00:00 GMT"})
    answer.content_length = len(data)
    await answer.prepare(request)
    await answer.write(data[: len(data) // 2])
    if fault == "drop":
        assert request.transport is not None
        request.transport.abort()
    else:
        await answer.write(data[len(data) // 2 :])
    return answer


def _refusal(status: int, code: str) -> web.Response:
    return web.Response(status=status, text=f"<Error><Code>{code}</Code></Error>", content_type="application/xml")


def now_and_then(fault: str, share: float) -> Fault:
    """This share of all requests, the same ones in every run."""
    chance = random.Random(3)
    return lambda _: fault if chance.random() < share else ""


def first_time(fault: str, method: str) -> Fault:
    """Each object's first request of this method."""
    met: set[str] = set()

    def judge(request: web.Request) -> str:
        if request.method != method or request.path in met or "list-type" in request.query:
            return ""
        met.add(request.path)
        return fault

    return judge


@asynccontextmanager
async def faulty_s3(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FaultyS3]:
    """The environment points to it: `s3://bucket/...` is there."""
    fake = FaultyS3()
    app = web.Application(client_max_size=1 << 26)
    app.router.add_route("*", "/{path:.*}", fake.handle)
    async with TestServer(app, host="127.0.0.1") as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", str(server.make_url("")).rstrip("/"))
        monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
        yield fake
        fake.ended.set()
