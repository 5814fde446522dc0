"""`spotrelay ui` as a person starts and ends it."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from support.rehearsals import environment, spotrelay, start
from support.story import until


@asynccontextmanager
async def page(
    folder: Path, *words: str, env: dict[str, str] | None = None
) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """The address that it printed."""
    process = await start(
        "ui", "--store", folder.as_uri(), *words, cwd=folder, env=env or {"BROWSER": "", "DISPLAY": ""}
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(300):
            yield (await process.stdout.readline()).decode().strip(), process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_serves_until_it_is_told_to_end(tmp_path: Path, number: signal.Signals) -> None:
    """By the address that it prints, to loopback; and Ctrl-C is how it ends, though a page is open."""
    async with (
        page(tmp_path) as (address, process),
        aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as client,
    ):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{43}", address)
        async with client.get(address) as answer:
            assert 200 == answer.status
        async with client.get(address.partition("?")[0] + "api/events") as stream:
            assert 200 == stream.status
            process.send_signal(number)
            assert 0 == await process.wait()
        assert process.stderr is not None
        assert b"" == await process.stderr.read()


async def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    """The one that was asked for; where none was, any will do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = str(taken.getsockname()[1])
        said = await spotrelay("ui", "--port", number, "--store", tmp_path.as_uri(), cwd=tmp_path)

        assert (2, "") == (said.status, said.out)
        assert f"port {number} of 127.0.0.1 is taken" in said.err


async def test_a_browser_is_started_with_an_address_that_works_once(tmp_path: Path) -> None:
    """All users read its command line. The printed address goes on working."""
    note = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" >{note}.new && mv {note}.new {note}\n')
    browser.chmod(0o755)
    env = environment(BROWSER=str(browser))
    async with page(tmp_path, env=env) as (address, _):
        await until(note.exists, what="a browser")
        ticket = note.read_text()
        assert address.partition("=")[0] == ticket.partition("=")[0]
        assert address != ticket
        for shown, status in ((ticket, 200), (ticket, 401), (address, 200), (address, 200)):
            async with aiohttp.ClientSession() as client, client.get(shown) as answer:
                assert status == answer.status


async def test_without_a_screen_nothing_is_opened(tmp_path: Path) -> None:
    """A browser for the terminal would take it over, on every server that a person is logged in to."""
    for name in ("w3m", "lynx", "www-browser", "links"):
        (tmp_path / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
        (tmp_path / name).chmod(0o755)
    env = {"DISPLAY": "", "WAYLAND_DISPLAY": "", "BROWSER": "", "PATH": str(tmp_path)}
    async with page(tmp_path, env=env) as (address, process):
        async with aiohttp.ClientSession() as client, client.get(address) as answer:
            assert 200 == answer.status
        process.send_signal(signal.SIGINT)
        assert 0 == await process.wait()

    assert not (tmp_path / "started").exists()
