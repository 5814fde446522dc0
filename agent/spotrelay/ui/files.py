"""The newest snapshot of a run: its folders, and its files to download, one by one or a folder as a tar.

Names may be any bytes. What identifies an entry is base64 of them; what is shown has every sign that is not printable
spelled out, direction marks too, so that no name looks like another. A download is what it says or fails: its length is
announced, each pack is verified before a byte of it is sent, and damage breaks the connection off.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import OrderedDict
from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import quote

from aiohttp import web

from spotrelay.core.errors import NotFound
from spotrelay.core.keys import SnapshotId
from spotrelay.ports import BrowsableStore
from spotrelay.snapshot.archive import Archive
from spotrelay.snapshot.browse import Browser, Listed

# What a folder shows; beyond it says how many more there are.
MOST_ENTRIES = 5_000
# Manifests that were looked at lately, compressed: 20 MB for a million entries.
MOST_OPEN = 4
# Packs are 16 MiB: in parts, so that a slow page holds one of them and not a socket's buffer of it.
PART = 1 << 20
_UNSAFE = re.compile(r"[^\w .,;=@+()\[\]{}~!#&-]", re.ASCII)


class Files:
    def __init__(self, store: BrowsableStore) -> None:
        self._store = store
        self._open: OrderedDict[tuple[str, SnapshotId], Browser] = OrderedDict()

    async def folder(self, run: str, snapshot: SnapshotId, path: bytes) -> dict[str, Any]:
        """Raises SpotrelayError."""
        browser = await self._browser(run, snapshot)
        entries, more = await browser.folder(path, most=MOST_ENTRIES)
        return {"snapshot": str(snapshot), "entries": [_document(path, each) for each in entries], "more": more}

    async def download(self, request: web.Request, run: str, snapshot: SnapshotId, path: bytes) -> web.StreamResponse:
        """Raises SpotrelayError as long as nothing was sent."""
        browser = await self._browser(run, snapshot)
        found = await browser.file(path)
        return await _send(request, path.rpartition(b"/")[2], found.file.size, browser.read(found))

    async def archive(self, request: web.Request, run: str, snapshot: SnapshotId, path: bytes) -> web.StreamResponse:
        """A folder, as a tar. Raises as `download`."""
        top = path.rpartition(b"/")[2] or run.encode()
        archive = await Archive.of(await self._browser(run, snapshot), path, top)
        return await _send(request, top + b".tar", archive.size, archive.read())

    async def _browser(self, run: str, snapshot: SnapshotId) -> Browser:
        name = (run, snapshot)
        browser = self._open.pop(name, None) or await Browser.open(self._store, run, snapshot)
        self._open[name] = browser
        if len(self._open) > MOST_OPEN:
            self._open.popitem(last=False)
        return browser


async def _send(
    request: web.Request, name: bytes, size: int, parts: AsyncGenerator[memoryview, None]
) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={
            "Content-Type": "application/octet-stream",
            "Content-Disposition": disposition(name),
            "Content-Length": str(size),
        }
    )
    try:
        # Damage in the first pack is said in words; of a later one, the browser sees that bytes are missing.
        first = await anext(parts, None)
        await response.prepare(request)
        if first is not None:
            await _write(response, first)
            async for part in parts:
                await _write(response, part)
    except Exception:  # the person has thought better of it, a pack is damaged, or worse: nothing may follow
        if not response.prepared:
            raise
        if request.transport is not None:
            request.transport.abort()
    finally:
        await parts.aclose()
    return response


async def _write(response: web.StreamResponse, part: memoryview) -> None:
    for begin in range(0, len(part), PART):
        await response.write(part[begin : begin + PART])


def encoded(path: bytes) -> str:
    return base64.urlsafe_b64encode(path).decode("ascii")


def decoded(text: str) -> bytes:
    """Raises NotFound for what is no path."""
    try:
        return base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error) as error:
        raise NotFound("this is no path") from error


def shown(name: bytes) -> str:
    """As a person may read it anywhere."""
    said = name.decode("utf-8", "surrogateescape")
    return "".join(sign if sign.isprintable() else _spelled(sign) for sign in said)


def _spelled(sign: str) -> str:
    number = ord(sign)
    if 0xDC80 <= number <= 0xDCFF:  # a byte that is no UTF-8
        return f"\\x{number - 0xDC00:02x}"
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def disposition(name: bytes) -> str:
    """Plain for browsers of old, exact for others (RFC 6266). No sign in it can end the header."""
    plain = _UNSAFE.sub("_", name.decode("ascii", "replace"))
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(shown(name), safe='')}"


def _document(folder: bytes, each: Listed) -> dict[str, Any]:
    return {
        "path": encoded(folder + b"/" + each.name if folder else each.name),
        "name": shown(each.name),
        "kind": each.kind,
        "size": each.size,
        "files": each.files,
        "changed": each.mtime / 1e9 if each.mtime else None,
        "note": shown(each.note.encode("utf-8", "surrogateescape")),
    }
