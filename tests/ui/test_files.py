"""What a person downloads is the file, byte for byte, or nothing that looks like it."""

from __future__ import annotations

import asyncio
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
from spotrelay.snapshot import Snapshots, archive
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

    async def archive(self, path: bytes, snapshot: str = "1-0") -> tuple[int, bytes, Any]:
        return await self.page.ask(f"/api/runs/{RUN}/archive?snapshot={snapshot}&path={encoded(path)}")

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
    os.link(root / "deep" / "a.txt", root / "deep" / "twice")
    (root / "deep" / "er" / "w.bin").chmod(0o751)
    (root / "deep" / "er").chmod(0o700)
    os.utime(root / "deep" / "none", (1, 1_234_567_890))
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
    paths = [encoded(b"deep/" + name) for name in (b"er", b"a.txt", b"none", b"twice")]
    assert paths == [entry["path"] for entry in deep["entries"]]


async def unpacked(tar: bytes, where: Path) -> Path:
    """By the system's own tar: what a person has."""
    where.mkdir()
    (where / "it.tar").write_bytes(tar)
    process = await asyncio.create_subprocess_exec("tar", "-xpf", "it.tar", cwd=where)
    assert 0 == await process.wait()
    (where / "it.tar").unlink()
    return where


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def looks(root: Path) -> dict[str, Any]:
    """Each thing below: its kind, mode, whole seconds, and bytes or target."""
    found = {}
    for path in [root, *root.rglob("*")]:
        info = path.lstat()
        what = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None
        when = None if path.is_symlink() else int(info.st_mtime)
        found[os.fspath(path.relative_to(root))] = (oct(info.st_mode), when, info.st_nlink * path.is_file(), what)
    return found


async def test_a_folder_is_downloaded_as_it_is(kept: Kept, tmp_path: Path) -> None:
    """Bytes, modes, times, links, and a name of any bytes, below one folder; its length is told before. Otherwise who
    wants a directory clicks each file of it."""
    status, body, headers = await kept.archive(b"")
    there = await unpacked(body, tmp_path / "there")

    assert (200, str(len(body))) == (status, headers["Content-Length"])
    assert f'attachment; filename="{RUN}.tar"' in headers["Content-Disposition"]
    assert [RUN] == names(there)
    assert looks(kept.root) == looks(there / RUN)
    assert (there / RUN / "again").samefile(there / RUN / "deep" / "a.txt")


async def test_a_folder_below_is_downloaded_without_the_rest(kept: Kept, tmp_path: Path) -> None:
    """What is a second name of a file outside of it is a file in it: there is nothing to link to."""
    there = await unpacked((await kept.archive(b"deep"))[1], tmp_path / "there")

    assert ["deep"] == names(there)
    assert ["a.txt", "er", "none", "twice"] == names(there / "deep")
    assert b"a\n" * 1000 == (there / "deep" / "a.txt").read_bytes()
    assert (there / "deep" / "twice").samefile(there / "deep" / "a.txt")


async def test_small_files_of_a_pack_are_one_request(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pack once, however many files lie in it; with no room to keep any, the same bytes. Otherwise ten thousand
    files of a kilobyte are 160 GB from the store, or the memory of whoever looks."""
    for number in range(300):
        (kept.root / f"small-{number}").write_bytes(os.urandom(1000))
    for length in range(90, 105):  # around what fits into a header, with and without the slash of a folder
        (kept.root / ("n" * length)).symlink_to("t" * (length + 3))
        (kept.root / ("d" * length)).mkdir()
    await Snapshots(kept.store, RUN, kept.root).save(SnapshotId(1, 1))
    kept.store.calls.clear()
    _, body, headers = await kept.archive(b"", "1-1")
    packs = [key for method, key in kept.store.calls if method == "get_stream" and key.startswith(keys.packs(RUN))]
    monkeypatch.setattr(archive, "KEPT", 0)

    assert len(packs) == len(set(packs))
    assert len(packs) < 20
    assert int(headers["Content-Length"]) == len(body)
    assert body == (await kept.archive(b"", "1-1"))[1]


async def test_a_folder_with_damage_in_it_breaks_off(kept: Kept) -> None:
    """As a file does: never a tar that ends well and has less in it."""
    for key in await kept.store.list(keys.packs(RUN)):
        await kept.store.put(key, b"x")

    with pytest.raises(aiohttp.ClientPayloadError):
        await kept.archive(b"")


@pytest.mark.parametrize("path", [b"nothing", b"deep/a.txt/x", b"..", b"/", b"deep/", b"../../etc/passwd"])
async def test_what_is_not_there_is_not_found(kept: Kept, path: bytes) -> None:
    """There is no file system behind a path, only the snapshot's own names."""
    assert 404 == (await kept.folder(path))[0]
    assert 404 == (await kept.file(path))[0]
    assert 404 == (await kept.archive(path))[0]


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
