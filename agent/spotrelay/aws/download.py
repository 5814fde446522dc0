"""Objects on their way down, through a few buffers that stay in the processor's own cache.

obstore hands an object over as a whole: assembled in fresh memory, read again for the hash, once more for the disk. For
1.5 GiB, checked and written, that takes 1.5 s of CPU and 170 MB; its own stream of chunks takes 1.7 s. Here each chunk
goes from the socket into the same place, from there to whoever wants it, and nothing waits in memory: 1.0 s and 25
MB. So obstore signs, as it knows the credentials, and the standard library carries the bytes.

A connection is one thread's for the length of an object and then the next one's.
"""

from __future__ import annotations

import asyncio
import functools
import http.client
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple, NoReturn
from urllib.parse import SplitResult, urlsplit

from spotrelay.core.errors import NotFound, StoreDenied, StoreError, StoreUnavailable

# What is written a moment later is best found in the core's own cache, and each call of the kernel is a wait for the
# interpreter's lock. 0.75 GiB, checked and written, took 0.93 s of CPU with 256 KiB, 0.81 with 1 MiB.
CHUNK = 1 << 20
# Connections, and threads. The engine has fewer in flight, within its memory.
MOST = 64
# A connection on which nothing arrives for so long is given up. One that trickles ends with its attempt.
STALL_S = 10.0
# Of an error only its code is read.
_SAID = 4096
_CODE = re.compile(rb"<Code>([A-Za-z0-9]{1,80})</Code>")
_DENIED = ("ExpiredToken", "InvalidToken", "InvalidAccessKeyId", "SignatureDoesNotMatch")

Take = Callable[[memoryview], None]


class _Wire(NamedTuple):
    connection: http.client.HTTPConnection
    room: memoryview


class Downloads:
    def __init__(self, attempt_s: float) -> None:
        """`attempt_s`: how long an object may take."""
        self._attempt_s = attempt_s
        self._idle: list[_Wire] = []
        self._under_way = 0
        self._pool = ThreadPoolExecutor(MOST, thread_name_prefix="download")

    async def get(self, key: str, url: str, begin: Callable[[], Take]) -> None:
        """Raises StoreError, and what `begin` and its result raise. Returns only when the thread is done with them."""
        transfer = _Transfer(key, urlsplit(url), begin, self._idle, self._attempt_s)
        await self._to_its_end(transfer.run, transfer.cancel)

    async def hand_over(self, data: memoryview, begin: Callable[[], Take]) -> None:
        """What is in memory already, in the same way."""

        def run() -> None:
            take = begin()
            for at in range(0, len(data), CHUNK):
                take(data[at : at + CHUNK])

        await self._to_its_end(run, lambda: None)

    async def _to_its_end(self, run: Callable[[], None], cancel: Callable[[], None]) -> None:
        running = asyncio.get_running_loop().run_in_executor(self._pool, run)
        self._under_way += 1
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            cancel()
            while not running.done():  # cancelled once more, while we wait: the thread still has to end
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([running])
            running.exception()  # what came of it is of no interest any more
            raise
        finally:
            self._under_way -= 1
            while self._idle and not self._under_way:  # the restore is over
                self._idle.pop().connection.close()


class _Transfer:
    """One object, in one thread."""

    def __init__(
        self, key: str, url: SplitResult, begin: Callable[[], Take], idle: list[_Wire], attempt_s: float
    ) -> None:
        self._key, self._url, self._begin, self._idle = key, url, begin, idle
        self._attempt_s = attempt_s
        self._lock = threading.Lock()
        self._wire: _Wire | None = None
        self._cancelled = False

    def cancel(self) -> None:
        """From another thread: `run` ends soon, whatever it waits for."""
        with self._lock:
            self._cancelled = True
            sock = self._wire.connection.sock if self._wire is not None else None
            if sock is not None:
                with suppress(OSError):  # the thread has seen it already, and closed
                    sock.shutdown(socket.SHUT_RDWR)

    def run(self) -> None:
        wire = self._take_wire()
        try:
            self._carry(wire, time.monotonic() + self._attempt_s)
        except BaseException:
            wire.connection.close()
            raise
        with self._lock:  # a later cancellation must not meet somebody else's transfer
            self._wire = None
            self._idle.append(wire)

    def _take_wire(self) -> _Wire:
        try:
            wire = self._idle.pop()
        except IndexError:
            wire = _Wire(_connection(self._url), memoryview(bytearray(CHUNK)))
        with self._lock:
            self._wire = wire
        return wire

    def _carry(self, wire: _Wire, until: float) -> None:
        try:
            if wire.connection.sock is None:
                wire.connection.connect()
                assert wire.connection.sock is not None
                wire.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            wire.connection.request("GET", f"{self._url.path}?{self._url.query}")
            answer = wire.connection.getresponse()
            if answer.status != 200:
                _refuse(self._key, answer.status, answer.read(_SAID))
        except (http.client.HTTPException, OSError) as error:
            raise self._unavailable(error) from error
        expected, got, take = answer.length, 0, self._begin()
        while (count := self._read(answer, wire.room)) > 0:
            if self._cancelled:
                raise StoreUnavailable(f"{self._key}: cancelled")
            if time.monotonic() > until:
                raise StoreUnavailable(f"{self._key}: not done after {self._attempt_s:.0f} s")
            got += count
            take(wire.room[:count])
        if expected is not None and got != expected:
            raise StoreUnavailable(f"{self._key}: the connection ended after {got} of {expected} bytes")

    def _read(self, answer: http.client.HTTPResponse, room: memoryview) -> int:
        try:
            return answer.readinto(room)
        except (http.client.HTTPException, OSError) as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        return StoreUnavailable(f"{self._key}: {type(error).__name__}: {error}")


def _connection(url: SplitResult) -> http.client.HTTPConnection:
    assert url.hostname is not None
    if url.scheme == "http":
        return http.client.HTTPConnection(url.hostname, url.port, timeout=STALL_S)
    return http.client.HTTPSConnection(url.hostname, url.port, timeout=STALL_S, context=_trust())


@functools.cache
def _trust() -> ssl.SSLContext:
    """One for all: reading the system's certificates takes 30 ms of CPU."""
    return ssl.create_default_context()


def _refuse(key: str, status: int, said: bytes) -> NoReturn:
    match = _CODE.search(said)
    code = match[1].decode() if match else ""
    what = f"{key}: {status} {code}".rstrip()
    if code == "NoSuchBucket":
        raise StoreError(what, next_step="create the bucket, or correct the store's URL")
    if status == 404:
        raise NotFound(f"{key}: there is no such object")
    if status in (401, 403) or code in _DENIED:
        raise StoreDenied(what, next_step="see that the role or profile may use this bucket and prefix")
    raise StoreUnavailable(what) if status in (408, 429) or (status >= 500 and status != 501) else StoreError(what)
