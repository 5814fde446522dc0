"""What the service manager hears: datagrams to a real socket, as systemd has it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from spotrelay.service import ServiceManager


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@spotrelay{tmp_path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + address[1:] if address.startswith("@") else address)
        listener.settimeout(30)
        yield listener, address


def test_every_word_is_a_datagram(manager: tuple[socket.socket, str]) -> None:
    """Readiness, status in one line, the time that the end takes. Otherwise systemd waits for what never comes, or
    cuts short what was promised."""
    listener, address = manager
    told = ServiceManager.of({"NOTIFY_SOCKET": address})
    told.ready()
    told.status("a\nb  c")
    told.stopping(110)

    assert [b"READY=1", b"STATUS=a b c", b"STOPPING=1\nEXTEND_TIMEOUT_USEC=110000000"] == [
        listener.recv(4096) for _ in range(3)
    ]


async def test_watchdog_hears_of_a_loop_that_turns(manager: tuple[socket.socket, str]) -> None:
    """Again and again, within the period that systemd set. Otherwise a healthy agent is shot."""
    listener, address = manager
    listener.setblocking(False)
    alive = asyncio.create_task(ServiceManager.of({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000"}).keep_alive())
    heard = [await asyncio.get_running_loop().sock_recv(listener, 4096) for _ in range(3)]
    alive.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await alive

    assert [b"WATCHDOG=1"] * 3 == heard


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "/nowhere"}, {"WATCHDOG_USEC": "soon"}])
async def test_nobody_listens(environment: dict[str, str]) -> None:
    """Without systemd, or with one that is gone, nothing is said and nothing fails. Otherwise a laptop needs one."""
    told = ServiceManager.of(environment)
    told.ready()
    told.stopping(1)
    await told.keep_alive()
