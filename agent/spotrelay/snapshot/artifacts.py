"""After the end: the directory's regular files as plain objects, browsable with any S3 tool.

The object's name is the path, with every byte but ASCII letters, digits and `_.-~ +=@,/` written as %XX (a name is
any bytes, an object's name is short UTF-8 without surprises). `urllib.parse.unquote_to_bytes` gives the path back.
Hard links become objects of their own; links, empty directories, modes and times stay in the snapshot, which is what
one restores from.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from urllib.parse import quote

from spotrelay.core import keys
from spotrelay.core.manifest import Skipped
from spotrelay.ports import Store
from spotrelay.snapshot import read, scan
from spotrelay.snapshot.descent import Descent
from spotrelay.snapshot.exclude import Exclusions
from spotrelay.snapshot.scan import Found
from spotrelay.snapshot.threads import Threads

CHUNK = 16 << 20  # in memory at a time, for each of IN_FLIGHT files
IN_FLIGHT = 4
LONGEST_KEY = 1024  # S3's limit, in bytes of UTF-8


def object_path(path: bytes) -> str:
    return quote(path, safe="/ +=@,")


async def publish(
    store: Store, run: str, root: int, exclude: Exclusions, threads: Threads
) -> tuple[int, list[Skipped]]:
    """The number of files, and what could not be published. Raises StoreError and OSError, in groups."""
    found = await threads.run(lambda: list(scan.files(root, exclude)))
    skipped: list[Skipped] = []
    room = asyncio.Semaphore(IN_FLIGHT)

    async def one(item: Found) -> None:
        async with room:
            key = keys.artifact(run, object_path(item.path))
            why = "its name is too long for an object" if len(key) > LONGEST_KEY else ""
            why = why or await _put(store, key, root, item, threads)
        if why:
            skipped.append(Skipped(item.path, why))

    async with asyncio.TaskGroup() as tasks:
        for item in found:
            tasks.create_task(one(item))
    return len(found) - len(skipped), skipped


async def _put(store: Store, key: str, root: int, item: Found, threads: Threads) -> str:
    try:
        file = await threads.run(_open, root, item.path)
        if file is None:
            return "it vanished"
        try:
            if item.status.st_size <= CHUNK:
                await store.put(key, await threads.run(os.pread, file, CHUNK, 0))
            else:
                await store.put_stream(key, lambda: _chunks(file, threads))
        finally:
            os.close(file)
    except PermissionError as error:
        return f"unreadable: {error.strerror}"
    return ""


def _open(root: int, path: bytes) -> int | None:
    with Descent(root) as down:
        return read.open_file(down, path)


async def _chunks(file: int, threads: Threads) -> AsyncIterator[bytes]:
    offset = 0
    while data := await threads.run(os.pread, file, CHUNK, offset):
        yield data
        offset += len(data)
