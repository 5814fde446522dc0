"""The page's server on a socket of loopback, a client that was let in, and runs to show.

async with served(store) as page:
    await page.get("/api/place")
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from spotrelay.core import keys, records
from spotrelay.core.errors import RunOver
from spotrelay.ports import BrowsableStore
from spotrelay.ui.security import Gate
from spotrelay.ui.server import Site

JSON = {"Content-Type": "application/json"}


@dataclass
class Asked:
    """Actions that were asked for. `over`: runs that cannot be stopped any more."""

    done: list[tuple[str, str]] = field(default_factory=list)
    over: set[str] = field(default_factory=set)
    resumes: bool = True

    async def stop(self, run: str) -> None:
        if run in self.over:
            raise RunOver(f"{run} is over", next_step="look at it")
        self.done.append(("stop", run))

    async def resume(self, run: str) -> None:
        self.done.append(("resume", run))


class Served:
    """`client` has the cookie; `stranger` has not."""

    def __init__(self, port: int, gate: Gate, site: Site, runner: web.AppRunner, actions: Any) -> None:
        self.runner, self.gate, self.site, self.actions = runner, gate, site, actions
        self.address = f"http://127.0.0.1:{port}"
        self.client = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))
        self.stranger = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))

    @property
    def start(self) -> str:
        return f"{self.address}/?token={self.gate.token}"

    async def ask(self, path: str, method: str = "GET", **options: Any) -> tuple[int, bytes, Any]:
        """Status, body, headers."""
        async with self.client.request(method, self.address + path, **options) as answer:
            return answer.status, await answer.read(), answer.headers

    async def post(self, path: str, **headers: str) -> int:
        """As the page does it."""
        wanted = {"Origin": self.address, **JSON, **headers}
        return (await self.ask(path, "POST", data="{}", headers=wanted))[0]

    @asynccontextmanager
    async def events(self, query: str = "", **headers: str) -> AsyncIterator[AsyncIterator[Event]]:
        async with self.client.get(f"{self.address}/api/events{query}", headers=headers) as answer:
            assert answer.status == 200
            yield _events(answer)


@dataclass(frozen=True)
class Event:
    name: str
    data: Any
    id: str


async def _events(answer: aiohttp.ClientResponse) -> AsyncIterator[Event]:
    fields: dict[str, str] = {}
    async for line in answer.content:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            fields[name] = value
        elif "data" in fields:
            yield Event(fields["event"], json.loads(fields["data"]), fields.get("id", ""))
            fields = {}


@asynccontextmanager
async def served(store: BrowsableStore, actions: Any = None) -> AsyncIterator[Served]:
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    gate, actions = Gate(port), actions or Asked()
    site = Site(store, actions, gate)
    runner = site.runner()
    await runner.setup()
    page = Served(port, gate, site, runner, actions)
    try:
        await web.SockSite(runner, listening).start()
        async with page.client, page.stranger:
            async with page.client.get(page.start) as answer:
                assert answer.status == 200
            yield page
    finally:
        await runner.cleanup()


def claim(number: int = 1, *, at: float | None = None) -> records.Claim:
    at = time.time() - 100 if at is None else at
    return records.Claim(f"i-{number:017x}", "token", at, "g5.xlarge", "us-east-1a", "spot")


async def put(store: BrowsableStore, key: str, record: Any) -> None:
    await store.put(key, records.encode(record))


async def write_ended(store: BrowsableStore, run: str, *, result: str = "succeeded", at: float = 1000.0) -> None:
    await put(store, keys.outcome(run), records.Outcome(result, 1, at, 0))


async def write_running(store: BrowsableStore, run: str) -> None:
    """In its first attempt, heard of just now."""
    now = time.time()
    await store.put(keys.open_run(run), b"")
    await put(store, keys.claim(run, 1), claim())
    await put(store, keys.base(run, 1), records.Base(None, now - 99, claim().instance))
    await put(store, keys.status(run, 1), records.Status(claim().instance, "running", now, running_since=now - 90))
