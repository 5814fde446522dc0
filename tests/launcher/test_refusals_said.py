"""A refusal as EC2 says it, over the wire: the code and status that botocore reports find their row."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from botocore.exceptions import ClientError

from spotrelay.launcher.refusals import TABLE, Action, Class, Refusal, refusal
from spotrelay.local.server import ControlPlane
from support.cloud_plane import ONE_ATTEMPT, SESSION, fleet
from support.ec2_codes import ROWS, SERVER


@pytest.fixture(scope="module")
def refused_with() -> Iterator[Callable[[str, int], ClientError]]:
    """A CreateFleet call that is refused with this code and status, as boto3 reports it. One control plane for all."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="control plane")
    thread.start()
    plane = ControlPlane()
    asyncio.run_coroutine_threadsafe(plane.start(), loop).result(20)
    ec2 = SESSION.client("ec2", endpoint_url=plane.endpoint, config=ONE_ATTEMPT)

    def call(code: str, status: int) -> ClientError:
        loop.call_soon_threadsafe(partial(plane.faults.refuse, "CreateFleet", code, status=status))
        with pytest.raises(ClientError) as raised:
            ec2.create_fleet(**fleet("lt-0123456789abcdef0", ("m5.large", "a")))
        return raised.value

    yield call
    ec2.close()
    asyncio.run_coroutine_threadsafe(plane.close(), loop).result(20)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def status_of(found: Refusal) -> int:
    """What EC2 sends with it, where that is documented; a kind's usual one otherwise."""
    if found.code in ("RequestLimitExceeded", "ServiceUnavailable", "Unavailable"):
        return 503
    if found.code in SERVER:
        return 500
    return 403 if found.class_ is Class.PERMISSION else 400


@pytest.mark.parametrize("code", ROWS)
def test_row(refused_with: Callable[[str, int], ClientError], code: str) -> None:
    """The code as botocore reports it finds its row. Otherwise the hunt waits where it should go on, or for ever."""
    expected = ROWS[code]

    error = refused_with(code, status_of(expected)).response
    found = refusal(error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"])

    assert (expected, code) == (found, found.code)
    assert TABLE[found.class_][code].action == found.action


@pytest.mark.parametrize(
    ("code", "status", "class_", "action"),
    [
        ("NeverHeardOf", 400, Class.UNKNOWN, Action.LATER),
        ("NeverHeardOf", 403, Class.UNKNOWN, Action.LATER),
        ("NeverHeardOf", 429, Class.THROTTLED, Action.PACE),
        ("NeverHeardOf", 500, Class.SERVER, Action.UNANSWERED),
        ("NeverHeardOf", 503, Class.SERVER, Action.UNANSWERED),
        ("Server.NeverHeardOf", 500, Class.SERVER, Action.UNANSWERED),
        ("InsufficientInstanceCapacity", 500, Class.CAPACITY, Action.ELSEWHERE),
        ("RequestLimitExceeded", 503, Class.THROTTLED, Action.PACE),
        ("InternalError", 500, Class.SERVER, Action.UNANSWERED),
    ],
)
def test_a_5xx_is_a_refusal_only_by_its_code(
    refused_with: Callable[[str, int], ClientError], code: str, status: int, class_: Class, action: Action
) -> None:
    """A 5xx that we cannot read may have launched. Taken for a refusal, the next token launches a second machine."""
    error = refused_with(code, status).response
    found = refusal(error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"])

    assert (class_, action) == (found.class_, found.action)


@pytest.mark.parametrize(
    ("status", "action"), [(500, Action.UNANSWERED), (502, Action.UNANSWERED), (504, Action.UNANSWERED)]
)
async def test_a_load_balancers_page_is_no_answer(status: int, action: Action) -> None:
    """It has no code: botocore gives its status instead, and what stood behind it may have launched."""

    async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b"<html><body>Bad Gateway</body></html>"
        writer.write(b"HTTP/1.1 %d No\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (status, len(body), body))
        await writer.drain()
        writer.close()

    async with asyncio.timeout(60), await asyncio.start_server(page, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        ec2 = await asyncio.to_thread(
            SESSION.client, "ec2", endpoint_url=f"http://127.0.0.1:{port}", config=ONE_ATTEMPT
        )
        with pytest.raises(ClientError) as raised:
            await asyncio.to_thread(ec2.create_fleet, **fleet("lt-0123456789abcdef0", ("m5.large", "a")))
        ec2.close()

    code = raised.value.response["Error"]["Code"]
    assert (str(status), action) == (code, refusal(code).action)
