"""What a person downloads is the file, byte for byte, or nothing that looks like it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import aiohttp
import pytest

from spotrelay.core import keys
from spotrelay.core.keys import SnapshotId
from spotrelay.snapshot import Snapshots
from spotrelay.snapshot.pack import SLICE
from spotrelay.ui.files import disposition, encoded, shown
from support.served import Served, served
from support.stores import RUN, Recording, memory

SAVED = SnapshotId(1, 0)


@dataclass
class Kept:
    """A directory, its snapshot in the store, and the page."""

    page: Served
    store: Recording
    root: Path

    async def folder(self, path: bytes = b"", snapshot: str = "1-0") -> tuple[int, Any]:
        query = {"snapshot": snapshot, "path": encoded(path)}
        async with self.page.client.get(f"{self.page.address}/api/runs/{RUN}/folder", params=query) as answer:
            return answer.status, await answer.json()

    async def file(self, path: bytes) -> tuple[int, bytes, Any]:
        return await self.page.ask(f"/api/runs/{RUN}/file?snapshot=1-0&path={encoded(path)}")


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    root = tmp_path / "job"
    (root / "deep" / "er").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "deep" / "er" / "w.bin").write_bytes(os.urandom(SLICE + 12_345))
    (root / "deep" / "a.txt").write_text("a\n" * 1000)
    (root / "deep" / "none").touch()
    with (root / "sparse").open("wb") as file:
        file.truncate(3 * SLICE)
        file.seek(SLICE + 5)
        file.write(b"island")
    os.link(root / "deep" / "a.txt", root / "again")
    (root / "latest").symlink_to("deep/er/w.bin")
    Path(os.fsdecode(os.fsencode(root) + b"/bad\xff\n<b>")).write_text("evil")
    store = Recording(memory())
    await Snapshots(store, RUN, root).save(SAVED)
    async with served(store) as page:
        yield Kept(page, store, root)


@pytest.mark.parametrize("path", [b"deep/er/w.bin", b"deep/a.txt", b"deep/none", b"sparse", b"again", b"bad\xff\n<b>"])
async def test_a_download_is_the_file(kept: Kept, path: bytes) -> None:
    """Of several packs, of a shared one, empty, with holes, by a second name, with a name of any bytes."""
    expected = Path(os.fsdecode(os.fsencode(kept.root) + b"/" + path)).read_bytes()
    status, body, headers = await kept.file(path)

    assert 200 == status
    assert expected == body
    assert str(len(expected)) == headers["Content-Length"]
    assert "application/octet-stream" == headers["Content-Type"]
    assert headers["Content-Disposition"].startswith("attachment; ")


async def test_a_folder_lists_what_is_right_below(kept: Kept) -> None:
    """Folders first, with the bytes of all below them: what a download would bring, or a removal free."""
    status, top = await kept.folder()
    _, deep = await kept.folder(b"deep")
    entries = {entry["name"]: entry for entry in top["entries"]}

    assert 200 == status
    assert ["deep", "empty", "again", r"bad\xff\x0a<b>", "latest", "sparse"] == list(entries)
    assert (2, SLICE + 12_345) == (entries["deep"]["files"], entries["deep"]["size"])
    assert ("symlink", "deep/er/w.bin") == (entries["latest"]["kind"], entries["latest"]["note"])
    assert ("hardlink", "again") == (deep["entries"][1]["kind"], deep["entries"][1]["note"])
    assert [encoded(b"deep/er"), encoded(b"deep/a.txt"), encoded(b"deep/none")] == [e["path"] for e in deep["entries"]]


@pytest.mark.parametrize("path", [b"nothing", b"deep/a.txt/x", b"..", b"/", b"deep/", b"../../etc/passwd"])
async def test_what_is_not_there_is_not_found(kept: Kept, path: bytes) -> None:
    """There is no file system behind a path, only the snapshot's own names."""
    assert 404 == (await kept.folder(path))[0]
    assert 404 == (await kept.file(path))[0]


@pytest.mark.parametrize(
    "query", ["", "snapshot=1-0", "snapshot=../1-0&path=", "snapshot=9-9&path=", "snapshot=1-0&path=!!"]
)
async def test_a_question_that_is_none_is_not_found(kept: Kept, query: str) -> None:
    assert 404 == (await kept.page.ask(f"/api/runs/{RUN}/file?{query}"))[0]


async def test_damage_at_the_beginning_is_said(kept: Kept) -> None:
    """Nothing is sent but why. Otherwise a person trains on with garbage, and knows nothing of it."""
    for key in await kept.store.list(keys.packs(RUN)):
        data = bytearray(await kept.store.get(key))
        data[len(data) // 2] ^= 1
        await kept.store.put(key, bytes(data))
    status, body, _ = await kept.file(b"deep/er/w.bin")

    assert 502 == status
    assert b"damaged" in body


async def test_damage_later_breaks_off(kept: Kept) -> None:
    """The browser sees that bytes are missing and calls the download failed: it never has the right length."""
    large = sorted((size, key) for key, size in (await kept.store.sizes(keys.packs(RUN))).items())
    await kept.store.put(large[-2][1], b"x" * large[-2][0])

    with pytest.raises(aiohttp.ClientPayloadError):
        await kept.file(b"deep/er/w.bin")


async def test_damage_on_the_way_is_fetched_again(kept: Kept) -> None:
    """The store may be well and the wire not: the second time tells."""
    spoiled = set[str]()

    async def once(method: str, key: str) -> None:
        if method == "get_stream" and key.startswith(keys.packs(RUN)) and key not in spoiled:
            spoiled.add(key)
            kept.store.spoil.add(key)

    kept.store.before = once
    kept.store.spoil = set()
    inner = kept.store.store.get_stream

    async def get_stream(key: str, begin: Any) -> None:
        if key in kept.store.spoil:
            kept.store.spoil.discard(key)
            begin()(memoryview(b"garbage"))
        else:
            await inner(key, begin)

    kept.store.store = type("Spoiling", (), {"get_stream": staticmethod(get_stream)})()  # type: ignore[assignment]
    status, body, _ = await kept.file(b"deep/a.txt")

    assert (200, b"a\n" * 1000) == (status, body)


async def test_a_manifest_of_another_snapshot_is_refused(kept: Kept) -> None:
    """As a restore does. Otherwise who may write one name shows another run's files under it."""
    data = await kept.store.get(keys.snapshot(RUN, SAVED))
    await kept.store.put(keys.snapshot(RUN, SnapshotId(1, 1)), data)
    await kept.store.put(keys.snapshot(RUN, SnapshotId(1, 2)), b"garbage")

    assert 502 == (await kept.folder(snapshot="1-1"))[0]
    assert 502 == (await kept.folder(snapshot="1-2"))[0]


async def test_a_folder_of_many_says_how_many_more(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    from spotrelay.ui import files

    monkeypatch.setattr(files, "MOST_ENTRIES", 2)
    _, top = await kept.folder()

    assert (["deep", "empty"], 4) == ([entry["name"] for entry in top["entries"]], top["more"])


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        (b"plain.txt", "plain.txt"),
        ("Größe.txt".encode(), "Größe.txt"),
        (b"\xff\xfe", r"\xff\xfe"),
        (b"a\r\nSet-Cookie: x", r"a\x0d\x0aSet-Cookie: x"),
        ("txt.\u202eexe".encode(), r"txt.\u202eexe"),
        ("\U000e0001".encode(), r"\U000e0001"),
    ],
)
def test_a_name_looks_like_nothing_else(name: bytes, seen: str) -> None:
    """Nor does it end a header, or turn the line around. Otherwise a program looks like a picture."""
    header = disposition(name)

    assert seen == shown(name) == unquote(header.partition("filename*=UTF-8''")[2])
    assert header.isascii()
    assert header.isprintable()
    assert 2 == header.count('"')
