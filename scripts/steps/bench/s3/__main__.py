"""Serve on a free port of loopback until the starter's end of standard input is closed. First line out: that port, and
an address of loopback that is served at port 80, if that is allowed here.
"""

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
    port = server.sockets[0].getsockname()[1]
    address = f"127.80.{port >> 8}.{port & 255}"  # nobody else's
    try:
        await loop.create_server(lambda: Connection(actions, control), address, 80, backlog=1024)
    except OSError:
        address = ""
    print(port, address, flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


def main() -> None:
    with suppress(ImportError):  # a third faster with it, and only the bench has it
        importlib.import_module("uvloop").install()
    asyncio.run(serve())


if __name__ == "__main__":
    main()
