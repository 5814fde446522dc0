"""The control plane over HTTP: one address on loopback that an unmodified boto3 takes for SQS, EC2 and the price list.

    plane = ControlPlane()
    await plane.start()
    boto3.client("ec2", endpoint_url=plane.endpoint, ...)      or AWS_ENDPOINT_URL for everything
    await plane.close()

One event loop, no threads: an action happens between two steps of the loop, whole, so no lock is needed and whatever a
callback does has been done when the answer leaves. A request that is for none of them is answered with an error that
says so, since with AWS_ENDPOINT_URL every client ends up here.

Without HTTP, for a storm on a clock that is moved by hand: `perform("CreateFleet", {...})` does what a request would,
faults and counts included.
"""

from __future__ import annotations

import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from spotrelay.local.clock import Clock, SystemClock, sleep
from spotrelay.local.ec2 import Ec2
from spotrelay.local.events import EventBus
from spotrelay.local.faults import Aftermath, Faults
from spotrelay.local.pricing import Pricing
from spotrelay.local.sqs import Sqs
from spotrelay.local.wire import (
    AwsError,
    Models,
    decode_form,
    decode_json,
    encode_json,
    encode_json_error,
    encode_xml,
    encode_xml_error,
    operation,
    sqs_query_error,
)

Params = Mapping[str, Any]
Result = Mapping[str, Any]
# Only ReceiveMessage has to wait.
Call = Callable[[str, Params], Result | Awaitable[Result]]

EC2_VERSION = "2016-11-15"
EC2_NAMESPACE = f"http://ec2.amazonaws.com/doc/{EC2_VERSION}"
SQS_TARGET = "AmazonSQS."
PRICING_TARGET = "AWSPriceListService."
# A batch of a megabyte, escaped as JSON at its worst (six characters for one).
LARGEST_REQUEST = 8 * 1024 * 1024


class AnswerLost(ConnectionError):
    """In `perform`: the call has had its effect, and its answer does not arrive."""


class ControlPlane:
    """`calls` counts requests by action; `faults` are what goes wrong; `sqs`, `ec2`, `pricing`, `events` are the parts;
    `throttle` is EC2's, to be switched and looked into."""

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        seed: int = 0,
        throttle: bool = False,
        account: str = "123456789012",
        region: str = "us-east-1",
    ) -> None:
        self.clock = clock or SystemClock()
        self.endpoint = ""
        self.account, self.region = account, region
        self.calls: Counter[str] = Counter()
        self.faults = Faults(seed)
        rng = Random(seed)
        self.sqs = Sqs(self.clock, rng, account, region)
        self.events = EventBus(self.sqs, self.clock, rng, account, region)
        self.ec2 = Ec2(self.clock, rng, self.events, account, region, throttle=throttle)
        self.pricing = Pricing(self.clock, self.ec2.pools)
        self.throttle = self.ec2.throttle
        self._rng = rng
        self._models: Models | None = None
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen on a free port of 127.0.0.1; `endpoint` is its URL from here on."""
        self._models = Models()
        app = web.Application(client_max_size=LARGEST_REQUEST)
        app.router.add_route("*", "/{path:.*}", self._handle)
        # A client that hangs up ends its long poll: a message given to nobody would be hidden from everybody.
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.endpoint = self.sqs.endpoint = f"http://{host}:{port}"

    async def close(self) -> None:
        self.events.close()
        self.ec2.weather.settle()
        self.sqs.close()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._models is not None:
            await self._models.close()

    # ---- one request

    def perform(self, action: str, params: Params) -> Result:
        """One call of EC2, from within the program. An answer that is to be late is lost: nobody can wait here. Raises
        AwsError and AnswerLost."""
        self._before(action, params)
        result = self.ec2.call(action, params)
        if self.faults.after(action, params) != Aftermath():
            raise AnswerLost(action)
        return result

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        target = request.headers.get("X-Amz-Target", "")
        if target.startswith(SQS_TARGET):
            return await self._sqs(request, target.removeprefix(SQS_TARGET), body)
        if target.startswith(PRICING_TARGET):
            return await self._pricing(request, target.removeprefix(PRICING_TARGET), body)
        form = dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
        if form.get("Version") == EC2_VERSION and "Action" in form:
            return await self._ec2(request, form)
        return web.Response(
            status=501, text="The local cloud has SQS (JSON protocol), EC2 and the price list, and nothing else here.\n"
        )

    async def _sqs(self, request: web.Request, action: str, body: bytes) -> web.StreamResponse:
        headers = {"Content-Type": "application/x-amz-json-1.0", "x-amzn-RequestId": self._request_id()}
        try:
            assert self._models is not None
            params = decode_json(operation(await self._models.get("sqs"), action), body)
            answer = encode_json(await self._perform(request, action, params, self.sqs.call))
        except AwsError as error:
            headers["x-amzn-query-error"] = sqs_query_error(error)
            return web.Response(status=error.status, body=encode_json_error(error), headers=headers)
        return web.Response(body=answer, headers=headers)

    async def _pricing(self, request: web.Request, action: str, body: bytes) -> web.StreamResponse:
        headers = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-RequestId": self._request_id()}
        try:
            assert self._models is not None
            params = decode_json(operation(await self._models.get("pricing"), action), body)
            answer = encode_json(await self._perform(request, action, params, self.pricing.call))
        except AwsError as error:
            problem = encode_json_error(error, "com.amazonaws.pricing")
            return web.Response(status=error.status, body=problem, headers=headers)
        return web.Response(body=answer, headers=headers)

    async def _ec2(self, request: web.Request, form: Mapping[str, str]) -> web.StreamResponse:
        identity, action = self._request_id(), form["Action"]
        headers = {"Content-Type": "text/xml;charset=UTF-8", "x-amzn-requestid": identity}
        try:
            assert self._models is not None
            described = operation(await self._models.get("ec2"), action)
            result = await self._perform(request, action, decode_form(described, form), self.ec2.call)
            answer = encode_xml(described, result, identity, EC2_NAMESPACE)
        except AwsError as error:
            return web.Response(status=error.status, body=encode_xml_error(error, identity), headers=headers)
        return web.Response(body=answer, headers=headers)

    async def _perform(self, request: web.Request, action: str, params: Params, call: Call) -> Result:
        self._before(action, params)
        answer = call(action, params)
        result = await answer if isinstance(answer, Awaitable) else answer
        aftermath = self.faults.after(action, params)
        if aftermath.delay_s:
            await sleep(self.clock, aftermath.delay_s)
        if aftermath.lost:
            _reset(request)
        return result

    def _before(self, action: str, params: Params) -> None:
        self.calls[action] += 1
        self.faults.before(action, params)

    def _request_id(self) -> str:
        return f"{self._rng.getrandbits(128):032x}"


def _reset(request: web.Request) -> None:
    """Cut the connection with a RST, as a broken middlebox does; what is written to it afterwards goes nowhere."""
    transport = request.transport
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
