"""HTTP/1.1 for one connection, as few copies as Python allows: 0.3 CPU s a GiB with uvloop.

A body is received straight into the memory where it stays (BufferedProtocol), and an answer is written from where it
lies, 256 KiB at a time so that the transport's own copy of the rest stays small.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Coroutine
from typing import Any, cast

from .actions import Actions
from .bodies import Chunks
from .control import Control
from .memory import room
from .messages import EMPTY, Answer, Request, refusal
from .storage import Object

HEAD = 64 << 10
PIECE = 256 << 10
# What is smaller goes out with its head, in one packet.
SMALL = 64 << 10


class Connection(asyncio.BufferedProtocol):
    def __init__(self, actions: Actions, control: Control) -> None:
        self._actions, self._control = actions, control
        self._transport: asyncio.Transport | None = None
        self._received = bytearray(HEAD)
        self._filled = 0
        self._request: Request | None = None  # whose body is under way
        self._body_at = 0
        self._chunks: Chunks | None = None
        self._cut_at: int | None = None
        self._began = 0.0
        self._task: asyncio.Task[None] | None = None
        self._may_write = asyncio.Event()
        self._may_write.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=1 << 20, low=PIECE)
        self._control.counts["connections"] += 1

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None
        self._may_write.set()

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    # --- in ---------------------------------------------------------------------------------------------------------

    def get_buffer(self, _: int) -> memoryview:
        if self._request is not None and self._chunks is None:
            return self._request.body[self._body_at :]
        if self._filled == len(self._received):
            self._received = self._received + bytearray(len(self._received))
        return memoryview(self._received)[self._filled :]

    def buffer_updated(self, count: int) -> None:
        if self._request is None or self._chunks is not None:
            self._filled += count
            self._parse()
            return
        self._body_at += count
        if self._cut_at is not None and self._body_at >= self._cut_at:
            self._hang_up()
        elif self._body_at == len(self._request.body):
            self._complete(self._request)

    def _parse(self) -> None:
        """Take what has been received apart. Nothing is looked at while an answer is under way."""
        while self._task is None and self._filled and self._transport is not None:
            if self._chunks is not None:
                if not self._parse_chunks():
                    return
            elif self._request is not None or not self._parse_head():
                return

    def _parse_chunks(self) -> bool:
        assert self._chunks is not None
        assert self._request is not None
        rest = self._chunks.feed(bytes(self._received[: self._filled]))
        self._keep(rest or b"")
        if rest is None:
            return False
        self._request.body, self._chunks = memoryview(self._chunks.body), None
        self._complete(self._request)
        return True

    def _parse_head(self) -> bool:
        end = self._received.find(b"\r\n\r\n", 0, self._filled)
        if end < 0:
            return False
        first, *lines = self._received[:end].decode("latin1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        pairs = (line.split(":", 1) for line in lines)
        self._request = request = Request(method, target, {name.lower(): value.strip() for name, value in pairs})
        self._began = time.monotonic()
        if request.headers.get("expect", "").lower() == "100-continue":
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")
        rest = memoryview(bytes(memoryview(self._received)[end + 4 : self._filled]))
        if request.headers.get("transfer-encoding", "").lower() == "chunked":
            self._chunks = Chunks()
            self._keep(rest)
            return True
        size = int(request.headers.get("content-length", "0"))
        request.body, here = room(size), rest[:size]
        request.body[: len(here)] = here
        self._body_at = len(here)
        self._keep(rest[size:])
        mischief = self._control.mischief
        cut = size and not request.target.startswith("/_") and mischief.strikes(mischief.cut)
        self._cut_at = mischief.place(size) if cut else None
        if self._body_at == size:
            self._complete(request)
        return True

    def _keep(self, rest: bytes | memoryview) -> None:
        self._received[: len(rest)] = rest
        self._filled = len(rest)

    # --- out --------------------------------------------------------------------------------------------------------

    def _complete(self, request: Request) -> None:
        self._request, self._cut_at = None, None
        control, mischief = self._control, self._control.mischief
        if request.target.startswith("/_"):
            self._send(control.answer(request))
            return
        control.counts[request.method] += 1
        control.counts["bytes_in"] += len(request.body)
        waits = mischief.due(len(request.body), time.monotonic() - self._began)
        if mischief.strikes(mischief.stall):
            waits += mischief.stall_s
            control.counts["stalled"] += 1
        if mischief.strikes(mischief.refuse):
            control.counts["refused"] += 1
            answer = refusal(503, "SlowDown") if request.method != "HEAD" else Answer(503)
        elif waits:
            self._begin(self._answer_later(request, waits))
            return
        else:
            answer = self._answered(request)
        self._send(answer)

    def _answered(self, request: Request) -> Answer:
        if self._control.mischief.forget and request.method == "PUT":
            request.body = EMPTY
        try:
            return self._actions.answer(request)
        except Exception:
            traceback.print_exc()
            return refusal(500, "InternalError")

    async def _answer_later(self, request: Request, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if self._transport is None:
            return  # nobody listens any more: as if it had been lost on the way
        answer = self._answered(request)
        self._write(answer.head() + answer.body)
        if answer.sent is not None:
            await self._send_object(*answer.sent)

    def _send(self, answer: Answer) -> None:
        if answer.sent is None:
            self._write(answer.head() + answer.body)
            return
        found, begin, end = answer.sent
        if end - begin <= SMALL and self._control.mischief.honest:
            self._write(answer.head() + b"".join(found.slices(begin, end)))
            self._control.counts["bytes_out"] += end - begin
            return
        self._write(answer.head())
        self._begin(self._send_object(found, begin, end))

    def _begin(self, sending: Coroutine[Any, Any, None]) -> None:
        async def until_done() -> None:
            await sending
            self._task = None
            self._parse()

        self._task = asyncio.get_running_loop().create_task(until_done())

    async def _send_object(self, found: Object, begin: int, end: int) -> None:
        mischief, began, sent = self._control.mischief, time.monotonic(), 0
        size = end - begin
        cut = mischief.place(size) if size and mischief.strikes(mischief.cut) else None
        flipped = mischief.place(size) if size and mischief.strikes(mischief.flip) else None
        for part in found.slices(begin, end):
            for at in range(0, len(part), PIECE):
                piece: memoryview | bytearray = part[at : at + PIECE]
                if cut is not None and sent + len(piece) > cut:
                    self._hang_up()
                    return
                if flipped is not None and sent <= flipped < sent + len(piece):
                    piece = bytearray(piece)
                    piece[flipped - sent] ^= 1
                    self._control.counts["flipped"] += 1
                self._write(piece)
                sent += len(piece)
                if mischief.rate and (early := sent / mischief.rate - (time.monotonic() - began)) > 0.002:
                    await asyncio.sleep(early)
                await self._may_write.wait()
                if self._transport is None:
                    return
        self._control.counts["bytes_out"] += sent

    def _write(self, data: bytes | bytearray | memoryview) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _hang_up(self) -> None:
        self._control.counts["cut"] += 1
        if self._transport is not None:
            self._transport.abort()
