"""Serve on a free port of loopback until the starter's end of standard input is closed. First line out: the port."""

from __future__ import annotations

import asyncio
import importlib
import sys
from contextlib import suppress

from .actions import Actions
from .control import Control
from .storage import Storage
from .wire import Connection


async def serve() -> None:
    storage = Storage()
    actions, control = Actions(storage), Control(storage)
    loop = asyncio.get_running_loop()
    # 1,024: clients with hundreds of connections open them all at once.
    server = await loop.create_server(lambda: Connection(actions, control), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    ended = loop.run_in_executor(None, sys.stdin.read)
    await ended
    server.close()


def main() -> None:
    with suppress(ImportError):  # a third faster with it, and only the bench has it
        importlib.import_module("uvloop").install()
    asyncio.run(serve())


if __name__ == "__main__":
    main()
