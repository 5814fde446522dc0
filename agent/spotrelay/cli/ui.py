"""`spotrelay ui`: serve the page on this computer's loopback until Ctrl-C, and show it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import webbrowser
from typing import TYPE_CHECKING, Annotated

import typer

from spotrelay.cli.by_hand import ByHand
from spotrelay.cli.groups import grouped
from spotrelay.cli.place import Place
from spotrelay.core.errors import UsageError

if TYPE_CHECKING:
    from spotrelay.ports import BrowsableStore
    from spotrelay.ui.actions import Actions
    from spotrelay.ui.security import Gate

# One to remember, and to forward by ssh. Where it is taken, and none was asked for, any will do.
PORT = 8477


@grouped
def ui(
    port: Annotated[
        int | None,
        typer.Option(help=f"Default: {PORT}, or a free one.", min=1, max=65535, show_default=False),
    ] = None,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open a browser, if there is one.")] = True,
    *,
    place: Place,
) -> None:
    """Show the runs in a browser: timelines, logs, files, as they happen.

    The page is served to this computer alone, until Ctrl-C. The address has a
    token in it: whoever has it may see and stop your runs.

    Example: spotrelay ui
    """
    where = place.find()
    store_there = where.open_store()
    asyncio.run(serve(store_there, ByHand(where, store_there), bind(port), open_browser=open_browser))


def bind(port: int | None) -> socket.socket:
    """Raises UsageError."""
    for number in (port,) if port is not None else (PORT, 0):
        with contextlib.suppress(OSError):
            return socket.create_server(("127.0.0.1", number))
    raise UsageError(f"port {port} of 127.0.0.1 is taken", next_step="choose another, or leave --port out")


async def serve(store: BrowsableStore, actions: Actions, listening: socket.socket, *, open_browser: bool) -> None:
    """Until SIGINT or SIGTERM: that is how it ends, so it is no error."""
    from aiohttp import web  # noqa: PLC0415

    from spotrelay.ui.security import Gate  # noqa: PLC0415
    from spotrelay.ui.server import Site  # noqa: PLC0415

    port = listening.getsockname()[1]
    gate = Gate(port)
    runner = Site(store, actions, gate).runner()
    await runner.setup()
    try:
        await web.SockSite(runner, listening).start()
        print(f"http://127.0.0.1:{port}/?token={gate.token}", flush=True)
        if open_browser and _has_screen():
            await asyncio.to_thread(_open, gate, port)
        await _told_to_end()
    finally:
        await runner.cleanup()


def _open(gate: Gate, port: int) -> None:
    with contextlib.suppress(webbrowser.Error, OSError):
        webbrowser.open(f"http://127.0.0.1:{port}/?token={gate.ticket()}")


def _has_screen() -> bool:
    """Otherwise a browser for the terminal would take it over."""
    wanted = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in wanted)


async def _told_to_end() -> None:
    told, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    await told.wait()
