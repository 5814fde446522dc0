"""The adapter's own: which URLs there are, what each failure is called, and when it is tried again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import obstore
import obstore.exceptions
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from spotrelay.aws.retry import retrying
from spotrelay.aws.store import open_store
from spotrelay.core.errors import (
    AlreadyExists,
    NotFound,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreUnavailable,
    UsageError,
)
from spotrelay.ports import Store

Handler = Callable[[web.Request], web.Response]


class S3:
    """A server that answers what the test says, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[web.Request] = []
        self.came = asyncio.Event()
        self.objects: dict[str, bytes] = {}
        self.answers: list[tuple[int, str] | Handler] = []  # refusals, or what to do

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(request)
        self.came.set()
        body = await request.read()
        if self.answers:
            answer = self.answers.pop(0)
            return refusal(*answer) if isinstance(answer, tuple) else answer(request)
        return self.serve(request, body)

    def serve(self, request: web.Request, body: bytes) -> web.Response:
        if request.method == "PUT":
            if request.headers.get("If-None-Match") == "*" and request.path in self.objects:
                return refusal(412, "PreconditionFailed")
            self.objects[request.path] = body
            return web.Response(headers={"ETag": '"1"'})
        if request.path not in self.objects:
            return refusal(404, "NoSuchKey")
        return web.Response(body=self.objects[request.path], headers={"ETag": '"1"', "Last-Modified": _NOW})


_NOW = "Mon, 23 Nov 2026 12:00:00 GMT"


def refusal(status: int, code: str) -> web.Response:
    return web.Response(status=status, text=f"<Error><Code>{code}</Code></Error>", content_type="application/xml")


@pytest.fixture
async def s3(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[S3]:
    fake = S3()
    app = web.Application(client_max_size=1 << 26)
    app.router.add_route("*", "/{path:.*}", fake.handle)
    async with TestServer(app, host="127.0.0.1") as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", str(server.make_url("")).rstrip("/"))
        monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
        yield fake


def bucket(patience: float = 5.0) -> Store:
    return open_store("s3://bucket/some/prefix", patience=patience)


@pytest.mark.parametrize(
    "url", ["", "s3://", "s3:///key", "file://", "file:///", "file://host/a", "http://x", "/tmp/x"]
)
def test_what_is_no_stores_url(url: str) -> None:
    """Said at once, with what to write instead."""
    with pytest.raises(UsageError, match="s3://bucket/prefix or file:///folder"):
        open_store(url)


async def test_a_prefix_is_part_of_every_name(s3: S3) -> None:
    """Runs of several people share a bucket. Otherwise they meet in it."""
    await bucket().put("runs/demo/run.json", b"{}")

    assert ["/bucket/some/prefix/runs/demo/run.json"] == list(s3.objects)


async def test_the_region_signs(s3: S3) -> None:
    """Region and key are those of boto3's chain."""
    await bucket().put("a", b"1")

    assert "key/" in s3.asked[0].headers["Authorization"]
    assert "/eu-central-1/s3/" in s3.asked[0].headers["Authorization"]


async def test_plain_http_to_loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another host is spoken to by TLS or not at all. Otherwise a mistyped endpoint reads what is saved."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://192.0.2.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")

    async with asyncio.timeout(3):
        with pytest.raises(StoreError):
            await bucket(patience=0).put("a", b"1")


@pytest.mark.parametrize(
    ("answer", "error", "asked"),
    [
        ((403, "AccessDenied"), StoreDenied, 1),
        ((401, "Unauthorized"), StoreDenied, 1),
        ((400, "ExpiredToken"), StoreDenied, 1),
        ((404, "NoSuchBucket"), StoreError, 1),
        ((507, "InsufficientStorage"), StoreFull, 1),
        ((400, "InvalidRequest"), StoreError, 1),
        ((301, "PermanentRedirect"), StoreError, 1),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)
async def test_what_cannot_pass_is_not_tried_again(
    s3: S3, answer: tuple[int, str], error: type[StoreError], asked: int
) -> None:
    """Denied, full or wrong stays so: said at once. Otherwise two minutes are spent on asking."""
    s3.answers = [answer] * 3

    with pytest.raises(StoreError) as caught:
        await bucket().put("a", b"1")

    assert (error, asked) == (type(caught.value), len(s3.asked))


@pytest.mark.parametrize("answer", [(500, "InternalError"), (503, "SlowDown"), (429, "TooManyRequests")])
async def test_what_may_pass_is_tried_again(s3: S3, answer: tuple[int, str]) -> None:
    """Throttling and 5xx pass: the call succeeds at the third time."""
    s3.answers = [answer, answer]

    await bucket().put("a", b"1")

    assert (3, b"1") == (len(s3.asked), s3.objects["/bucket/some/prefix/a"])


async def test_no_attempt_after_patience_has_ended(s3: S3) -> None:
    """A store that stays away ends in StoreUnavailable, and no attempt follows. Otherwise a call outlives its use."""
    s3.answers = [(503, "SlowDown")] * 1000

    with pytest.raises(StoreUnavailable):
        await bucket(patience=0.3).put("a", b"1")

    asked = len(s3.asked)
    # Nothing is what is waited for, and nothing tells when it has come: as long again as the attempts went on.
    await asyncio.sleep(0.3)
    assert asked == len(s3.asked)


async def test_a_cancelled_call_is_not_tried_again(s3: S3) -> None:
    """Cancelled means that nothing more is written."""
    s3.answers = [(503, "SlowDown")] * 1000
    call = asyncio.create_task(bucket().put("a", b"1"))
    async with asyncio.timeout(60):
        await s3.came.wait()

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    asked = len(s3.asked)
    await asyncio.sleep(0.3)  # for nothing, as above: three first waits long
    assert asked == len(s3.asked)


async def test_create_whose_answer_was_lost(s3: S3) -> None:
    """The first try arrived and its answer did not: the second finds our own bytes and counts as success. Otherwise an
    instance loses the claim that it has made, and the run its owner."""
    store = bucket()

    def arrives_but_fails(request: web.Request) -> web.Response:
        s3.objects[request.path] = b"i-1"
        return refusal(500, "InternalError")

    s3.answers = [arrives_but_fails]
    await store.create("claim", b"i-1")

    assert ["PUT", "PUT", "GET"] == [request.method for request in s3.asked]


async def test_create_after_a_lost_request_against_another(s3: S3) -> None:
    """After an unanswered try the name is taken by other bytes: somebody else won."""

    def another_arrives(request: web.Request) -> web.Response:
        s3.objects[request.path] = b"i-2"
        return refusal(500, "InternalError")

    s3.answers = [another_arrives]
    with pytest.raises(AlreadyExists):
        await bucket().create("claim", b"i-1")


async def test_a_conflict_is_not_a_loss(s3: S3) -> None:
    """409 means that somebody is at it: ask again. Otherwise two racers both lose, and nobody owns the attempt."""
    s3.answers = [(409, "ConditionalRequestConflict")]

    await bucket().create("claim", b"i-1")

    assert b"i-1" == s3.objects["/bucket/some/prefix/claim"]


async def test_nobody_listens(monkeypatch: pytest.MonkeyPatch, s3: S3, unused_tcp_port: int) -> None:
    """No connection is StoreUnavailable."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{unused_tcp_port}")

    with pytest.raises(StoreUnavailable):
        await bucket(patience=0).get("a")


# --- a folder --------------------------------------------------------------------------------------------------------


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
async def test_a_full_folder(tmp_path: Path) -> None:
    """A full disk is StoreFull, leaves no half object, and is not tried again."""
    mount = await asyncio.create_subprocess_exec("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path)
    assert 0 == await mount.wait()
    try:
        store = open_store(tmp_path.as_uri())
        await store.put("a", b"old")
        for write in (store.put, store.create):
            with pytest.raises(StoreFull, match="make room"):
                await write("a" if write == store.put else "b", bytes(2 << 20))
        assert (b"old", ["a"]) == (await store.get("a"), await store.list(""))
    finally:
        assert 0 == await (await asyncio.create_subprocess_exec("umount", tmp_path)).wait()


@pytest.mark.parametrize(
    ("number", "error"), [(28, StoreFull), (122, StoreFull), (13, StoreDenied), (5, StoreUnavailable)]
)
async def test_errors_of_the_system(
    number: int, error: type[StoreError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What obstore says of a folder only in words is told apart by the system's number in them."""

    async def put_async(*_: object, **__: object) -> None:
        raise obstore.exceptions.GenericError(
            f"Generic LocalFileSystem error: {os.strerror(number)} (os error {number})"
        )

    monkeypatch.setattr(obstore, "put_async", put_async)

    with pytest.raises(error):
        await open_store(tmp_path.as_uri(), patience=0).put("a", b"1")


async def test_a_folder_is_made(tmp_path: Path) -> None:
    """The first rehearsal begins with no store at all."""
    store = open_store((tmp_path / "new" / "store").as_uri())

    await store.create("runs/demo/run.json", b"{}")

    assert b"{}" == (tmp_path / "new/store/runs/demo/run.json").read_bytes()
    with pytest.raises(NotFound):
        await store.get("runs/other/run.json")


# --- the policy ------------------------------------------------------------------------------------------------------


async def test_the_last_error_is_the_one_raised() -> None:
    """Not tenacity's. Otherwise the reader hears of RetryError instead of the store."""
    attempts = 0

    async def attempt() -> None:
        nonlocal attempts
        attempts += 1
        raise StoreUnavailable(f"number {attempts}")

    with pytest.raises(StoreUnavailable, match=r"number \d"):
        await retrying(attempt, patience=0.2)


async def test_other_errors_pass_through() -> None:
    """A bug is not something to wait for."""

    async def attempt() -> None:
        raise KeyError("bug")

    with pytest.raises(KeyError):
        await retrying(attempt, patience=60)
