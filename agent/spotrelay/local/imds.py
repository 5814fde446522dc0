"""The instance metadata service (IMDSv2) of many simulated instances, in the caller's event loop.

Every instance has a loopback address of its own on one shared port: Linux answers on all of 127.0.0.0/8 without any
setup, so who asks is known by the address that was asked, as on EC2, and the URL needs no path of our own. One
listening socket serves them all. It is bound to the wildcard address, because that makes the port exclusive to this
service on every 127.x.y.z, and to the loopback device, so that nothing outside of the machine reaches it.

What a client can get wrong is kept as strict as EC2 has it:

1. PUT /latest/api/token with a lifetime of 1..21600 s gives a token: 400 without a lifetime or with another, 405 for
   other methods, 403 through a proxy (X-Forwarded-For) and for a path with a version in it.
2. Everything else is GET or HEAD (405) with a token (401) that this instance gave (401) and that lives (401).
3. No such document is 404; so is user data where there is none. Each answer ends its connection, and carries `Date`.

Time is the `clock` that the service was given: a test sets it ahead to age tokens, or wrong to see who trusts whom.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import secrets
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from ipaddress import IPv4Address
from typing import Self

from aiohttp import web

from spotrelay.local.imds_documents import Credentials, InstanceDocuments, ScheduledEvent, read
from spotrelay.local.imds_faults import Fault, FaultSource

__all__ = ["Credentials", "InstanceDocuments", "MetadataService", "ScheduledEvent"]

FIRST_ADDRESS = IPv4Address("127.100.0.1")
TOKEN_PATH = "/latest/api/token"
TOKEN_HEADER = "X-aws-ec2-metadata-token"
TTL_HEADER = "X-aws-ec2-metadata-token-ttl-seconds"
LONGEST_TTL = 21600
VERSIONS = ("latest", "1.0", "2021-03-23")
PHRASES = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Not Allowed"}
NO_LINGER = struct.pack("ii", 1, 0)
# Requests remembered for each instance: for tests that count them, and bounded for rehearsals that run for days.
REMEMBERED = 1000


@dataclass(slots=True)
class _Instance:
    documents: InstanceDocuments
    tokens: dict[str, float] = field(default_factory=dict)  # token: when it ends
    faults: deque[Fault] = field(default_factory=deque)
    fault_source: FaultSource | None = None
    requests: deque[tuple[str, str]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def next_fault(self, path: str) -> Fault:
        if self.faults:
            return self.faults.popleft()
        return (self.fault_source and self.fault_source(path)) or Fault()


class MetadataService:
    """`await start()`, then `add` instances; `clock` gives the unix time that this service believes."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._instances: dict[str, _Instance] = {}  # by address
        self._addresses: dict[str, str] = {}  # by instance id
        self._added = 0
        self._runner: web.ServerRunner | None = None
        self._port = 0

    async def start(self) -> None:
        listener = _loopback_listener()
        self._port = listener.getsockname()[1]
        server = web.Server(self._handle, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.SockSite(self._runner, listener).start()

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # --- the instances

    def add(self, documents: InstanceDocuments) -> str:
        """The endpoint URL of this instance's service, for AWS_EC2_METADATA_SERVICE_ENDPOINT."""
        assert self._port, "start() comes first"
        address = str(FIRST_ADDRESS + self._added)
        self._added += 1
        self._addresses[documents.instance_id] = address
        self._instances[address] = _Instance(documents)
        return f"http://{address}:{self._port}"

    def remove(self, instance_id: str) -> None:
        """The instance is gone: its address answers nobody. It is never given to another."""
        self._instances.pop(self._addresses.pop(instance_id, ""), None)

    def documents(self, instance_id: str) -> InstanceDocuments:
        """What the instance's service says, to be changed in place. Raises KeyError."""
        return self._instance(instance_id).documents

    def requests(self, instance_id: str) -> list[tuple[str, str]]:
        """(method, path) of the newest requests, oldest first."""
        return list(self._instance(instance_id).requests)

    def _instance(self, instance_id: str) -> _Instance:
        return self._instances[self._addresses[instance_id]]

    # --- what befalls them

    def interrupt(self, instance_id: str, action: str = "terminate", *, at: float) -> None:
        """Show a spot notice: `action` at the unix time `at` (EC2 shows it two minutes ahead)."""
        self.documents(instance_id).interruption = (action, at)

    def withdraw(self, instance_id: str) -> None:
        self.documents(instance_id).interruption = None

    def rebalance(self, instance_id: str, *, at: float | None = None) -> None:
        self.documents(instance_id).rebalance = self._clock() if at is None else at

    def schedule(
        self, instance_id: str, code: str = "system-reboot", *, not_before: float, not_after: float | None = None
    ) -> str:
        """Plan maintenance; gives the event's id."""
        event = ScheduledEvent(f"instance-event-{secrets.token_hex(8)}", code, not_before, not_after)
        self.documents(instance_id).events.append(event)
        return event.event_id

    def settle(self, instance_id: str, event_id: str, state: str = "completed") -> None:
        """Maintenance is "completed" or "canceled"; EC2 goes on listing it for a while."""
        documents = self.documents(instance_id)
        documents.events[:] = [replace(e, state=state) if e.event_id == event_id else e for e in documents.events]

    def inject(self, instance_id: str, *faults: Fault) -> None:
        """The next requests meet these faults, in this order."""
        self._instance(instance_id).faults.extend(faults)

    def misbehave(self, instance_id: str, source: FaultSource | None) -> None:
        """Every request meets what `source` says of it; None ends that."""
        self._instance(instance_id).fault_source = source

    # --- the wire

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        address = request.transport.get_extra_info("sockname")[0] if request.transport else ""
        instance = self._instances.get(address)
        if instance is None:
            return _reset(request)
        instance.requests.append((request.method, request.path))
        fault = instance.next_fault(request.path)
        await asyncio.sleep(fault.latency)
        if fault.kind == "reset":
            return _reset(request)
        if fault.kind == "hang":
            await asyncio.Event().wait()  # until the client goes, or this service
        if fault.kind == "status":
            return self._answer(fault.status, fault.body)
        if request.path.endswith("/api/token"):
            return self._give_token(instance, request)
        return self._read(instance, request)

    def _give_token(self, instance: _Instance, request: web.BaseRequest) -> web.Response:
        if request.method != "PUT":
            return self._answer(405, headers={"Allow": "OPTIONS, PUT"})
        if "X-Forwarded-For" in request.headers or request.path != TOKEN_PATH:
            return self._answer(403)
        lifetime = request.headers.get(TTL_HEADER, "")
        if not (re.fullmatch("[0-9]{1,5}", lifetime) and 1 <= int(lifetime) <= LONGEST_TTL):
            return self._answer(400)
        token = base64.urlsafe_b64encode(b"\x01\0\0" + secrets.token_bytes(37)).decode()
        self._forget_old_tokens(instance)
        instance.tokens[token] = self._clock() + int(lifetime)
        return self._answer(200, token.encode(), headers={TTL_HEADER: lifetime})

    def _forget_old_tokens(self, instance: _Instance) -> None:
        now = self._clock()
        instance.tokens = {token: end for token, end in instance.tokens.items() if end > now}

    def _read(self, instance: _Instance, request: web.BaseRequest) -> web.Response:
        if request.method not in ("GET", "HEAD"):
            return self._answer(405)
        left = instance.tokens.get(request.headers.get(TOKEN_HEADER, ""), 0.0) - self._clock()
        if left <= 0:
            return self._answer(401)
        status, body, content_type = _document(instance.documents, request.path, self._clock())
        return self._answer(status, body, content_type, {TTL_HEADER: str(int(left))})

    def _answer(
        self, status: int, body: bytes = b"", content_type: str = "text/plain", headers: dict[str, str] | None = None
    ) -> web.Response:
        now = formatdate(self._clock(), usegmt=True)
        if status >= 400 and status != 405 and not body:
            body, content_type = _error_page(status), "text/html"
        answer = web.Response(status=status, body=body, content_type=content_type, headers=headers)
        answer.headers.update({"Date": now, "Server": "EC2ws", "Accept-Ranges": "none"})
        if status == 200:
            answer.headers["Last-Modified"] = now
        answer.force_close()
        return answer


def _document(documents: InstanceDocuments, path: str, now: float) -> tuple[int, bytes, str]:
    """Status, body and content type of what lies at `path`."""
    if path == "/":
        return 200, "\n".join(VERSIONS).encode(), "text/plain"
    version, _, below = path.lstrip("/").partition("/")
    if version not in VERSIONS:
        return 404, b"", "text/html"
    if not below:
        return 200, b"dynamic\nmeta-data\nuser-data", "text/plain"
    if below == "user-data":
        return (200 if documents.user_data else 404), documents.user_data, "application/octet-stream"
    text = read(documents, below, now)
    return (404, b"", "text/html") if text is None else (200, text.encode(), "text/plain")


def _error_page(status: int) -> bytes:
    title = f"{status} - {PHRASES.get(status, 'Service Unavailable')}"
    return f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n".encode()


def _reset(request: web.BaseRequest) -> web.Response:
    """End the connection with a RST: no answer, and none to come."""
    if request.transport is not None:
        request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        request.transport.abort()
    return web.Response()


def _loopback_listener() -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # Kernels before 5.7 keep this for root. There an outer address still finds no instance behind it.
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
    listener.bind(("", 0))
    listener.listen(256)
    listener.setblocking(False)
    return listener
