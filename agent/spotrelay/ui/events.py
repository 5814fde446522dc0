"""To each page what has changed, as server-sent events: rows of the list, the run in view, the sizes of its logs.

    event: runs    {"whole", "rows", "gone"}      event: log      [[attempt, bytes], …]
    event: run     the document of story.py       event: trouble  what is wrong with the store, "" when it is well

An id is "<this server>.<version>". A page that lost its connection says the last one it got and is told what came
after; one of another server, or none, is told everything. What a page was too slow to take is never queued: the next
message is made when it takes it.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from contextlib import suppress
from typing import Any

from aiohttp import web

from spotrelay.ui.poller import Poller, View

# A proxy or a laptop that slept may drop a silent connection without a word: writing finds out.
PULSE_S = 15.0
RETRY_MS = 1000


class Events:
    """`closing`: set when the server goes down, which waits for its requests."""

    def __init__(self, poller: Poller) -> None:
        self._poller, self._server = poller, secrets.token_hex(4)
        self.closing = asyncio.Event()

    async def stream(self, request: web.Request, run: str | None) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        # The end of every stream: a page that is closed, or looks at another run, just goes.
        with suppress(ConnectionResetError):
            async with self._poller.attend(run) as view:
                await response.prepare(request)
                await response.write(f"retry: {RETRY_MS}\n\n".encode())
                await self._send(response, view, self._last(request))
        return response

    def _last(self, request: web.Request) -> int:
        """EventSource gives the header when it connects again by itself; a page that looks at another run, the word."""
        server, _, version = (request.headers.get("Last-Event-ID") or request.query.get("since", "")).partition(".")
        known = server == self._server and version.isascii() and version.isdigit() and len(version) < 16
        return int(version) if known else 0

    async def _send(self, response: web.StreamResponse, view: View | None, last: int) -> None:
        """Until the page is gone, or we are. The run in view comes whole in any case: it may be another than before."""
        version, first = last, True
        while not self.closing.is_set():
            now = self._poller.version
            if first or now > version:
                await response.write(self._encode(self._gather(view, version, first=first), now))
            version, first = now, False
            await self._wait(response, version)

    async def _wait(self, response: web.StreamResponse, version: int) -> None:
        waiting = [asyncio.create_task(self._poller.news(version)), asyncio.create_task(self.closing.wait())]
        try:
            done, _ = await asyncio.wait(waiting, timeout=PULSE_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        if not done:
            await response.write(b":\n\n")

    def _gather(self, view: View | None, version: int, *, first: bool) -> list[tuple[str, Any]]:
        changes = self._poller.board.since(version)
        messages: list[tuple[str, Any]] = []
        if changes["rows"] or changes["gone"] or (first and changes["whole"]):
            messages.append(("runs", changes))
        if view is not None and view.document is not None and (first or view.version > version):
            messages += [("run", view.document), ("log", view.logs)]
        return [*messages, ("trouble", self._poller.trouble)]

    def _encode(self, messages: list[tuple[str, Any]], version: int) -> bytes:
        """The id stands with the last of them: a page that got half asks for all of it again."""
        lines = [f"event: {name}\ndata: {json.dumps(what)}\n" for name, what in messages]
        return ("\n".join(lines) + f"id: {self._server}.{version}\n\n").encode()
