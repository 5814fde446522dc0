"""What is pulled is the snapshot, byte for byte, in the folder that was named and nowhere else."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from spotrelay.core import keys, manifest, records
from spotrelay.core.errors import ManifestInvalid, NotFound, PackCorrupt, RestoreFailed, StoreUnavailable, UsageError
from spotrelay.core.keys import SnapshotId
from spotrelay.core.manifest import Directory, File, Header, Meta, Symlink
from spotrelay.person import pull as pulling
from spotrelay.person.landing import NOTE
from spotrelay.person.pull import Pulled
from spotrelay.person.snapshots import newest, shelf
from spotrelay.ports import BrowsableStore
from spotrelay.snapshot import Snapshots, pack, stored_manifest
from support.stores import FIRST, RUN, SECOND, Recording, failing, memory
from support.tree import dressed, link, pipe, same_as, sparse, tree

BIG = os.urandom(2 * pack.SLICE + 1000)
JOB = {
    "train.py": b"print()",
    "empty": b"",
    "run.sh": dressed(b"#!/bin/sh\n", mode=0o755),
    "checkpoints/": {"1.pt": BIG, "2.pt": b"second", "deep/": {"3.pt": b"third"}},
    "holes": sparse(1 << 20, (4096, b"data")),
    "again": same_as("train.py"),
    "latest": link("checkpoints/2.pt"),
    "outside": link("/etc/passwd"),
    "queue": pipe(),
    b"\xff\n": b"any name",
}


async def saved(folder: Path, what: Any = None, snapshot: SnapshotId = FIRST, store: Any = None) -> BrowsableStore:
    store = store or memory()
    folder.mkdir(exist_ok=True)
    tree(JOB if what is None else what).write(folder)
    await Snapshots(store, RUN, folder).save(snapshot)
    return store


async def pulled(
    store: BrowsableStore, to: Path, *paths: str, snapshot: SnapshotId = FIRST, force: bool = False
) -> Pulled:
    what = await pulling.wanted(store, RUN, snapshot, paths)
    return await pulling.pull(store, RUN, snapshot, what, to, place="here", force=force)


def contents(root: Path) -> dict[str, Any]:
    """Path to bytes, target of a link, or None for a directory; our note is none of it."""
    found: dict[str, Any] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = path.readlink()
        elif name != NOTE:
            found[name] = path.read_bytes() if path.is_file() else None
    return found


async def test_everything_arrives_as_it_was(tmp_path: Path) -> None:
    """Bytes, names, modes, times, links, holes. What a laptop has no use for is said (P8)."""
    store = await saved(tmp_path / "job")

    done = await pulled(store, tmp_path / "out")

    expected = contents(tmp_path / "job")
    del expected["queue"]
    assert expected == contents(tmp_path / "out")
    assert (("queue", "a pipe"),) == done.skipped
    source, copy = ((tmp_path / where / "run.sh").stat() for where in ("job", "out"))
    assert (source.st_mtime_ns, 0o755) == (copy.st_mtime_ns, stat.S_IMODE(copy.st_mode))
    assert (tmp_path / "out" / "holes").stat().st_blocks * 512 < 1 << 20
    assert (9, 9) == (done.files, done.fetched)


async def test_only_what_is_missing_comes(tmp_path: Path) -> None:
    """What is there with its size and time is it. Otherwise a pull each morning is the whole directory each morning."""
    store = Recording(await saved(tmp_path / "job"))
    await pulled(store, tmp_path / "out")
    (tmp_path / "out" / "checkpoints" / "2.pt").unlink()
    (tmp_path / "out" / "mine.txt").write_text("stays")
    store.calls.clear()

    done = await pulled(store, tmp_path / "out")

    assert (1, 1) == (done.fetched, len([key for method, key in store.calls if method == "get_stream"]))
    assert b"second" == (tmp_path / "out" / "checkpoints" / "2.pt").read_bytes()
    assert "stays" == (tmp_path / "out" / "mine.txt").read_text()


@pytest.mark.parametrize(
    ("paths", "files"),
    [
        (["train.py"], ["train.py"]),
        (["checkpoints"], ["checkpoints/1.pt", "checkpoints/2.pt", "checkpoints/deep/3.pt"]),
        (["./checkpoints/deep/"], ["checkpoints/deep/3.pt"]),
        (["checkpoints/?.pt", "again"], ["again", "checkpoints/1.pt", "checkpoints/2.pt"]),
        (["*.pt"], ["checkpoints/1.pt", "checkpoints/2.pt", "checkpoints/deep/3.pt"]),
    ],
)
async def test_paths_are_what_is_asked_for(tmp_path: Path, paths: list[str], files: list[str]) -> None:
    """Files, directories, patterns; the second name of a file without its first."""
    store = await saved(tmp_path / "job")
    await pulled(store, tmp_path / "out", *paths)

    there = contents(tmp_path / "out")
    assert files == [name for name, data in there.items() if data is not None]
    assert all(there[name] == (tmp_path / "job" / name).read_bytes() for name in files)


async def test_a_path_that_is_not_there_is_said_before_anything_is_written(tmp_path: Path) -> None:
    """By its name. Otherwise a slip of the pen is a success with nothing in it."""
    with pytest.raises(NotFound, match="nothing"):
        await pulled(await saved(tmp_path / "job"), tmp_path / "out", "train.py", "nothing")

    assert not (tmp_path / "out").exists()


async def test_a_pull_that_was_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store goes away in the middle of a large file: no file is half there, and what came is not fetched again."""
    monkeypatch.setattr(pulling, "MOST", 1)  # what is under way at that moment is lost: here, one
    inner, tries = await saved(tmp_path / "job", {"big": BIG}), 0

    def last(method: str, _key: str) -> bool:
        nonlocal tries
        tries += method == "get_stream"
        return method == "get_stream" and tries == 3

    with pytest.raises(StoreUnavailable):
        await pulled(failing(inner, StoreUnavailable("away"), when=last), tmp_path / "out")
    assert not (tmp_path / "out" / "big").exists()
    again = Recording(inner)
    await pulled(again, tmp_path / "out")

    assert BIG == (tmp_path / "out" / "big").read_bytes()
    assert 1 == len([key for method, key in again.calls if method == "get_stream"])
    assert {"big"} == set(contents(tmp_path / "out"))


async def test_a_pull_that_is_cancelled_leaves_no_thread_and_no_half_file(tmp_path: Path) -> None:
    """Ctrl-C at any moment. Otherwise a file that looks whole is not."""
    store = await saved(tmp_path / "job")
    for moment in range(0, 40, 4):
        out = tmp_path / f"out-{moment}"
        task = asyncio.ensure_future(pulled(store, out))
        await asyncio.wait([task], timeout=moment / 1000)
        task.cancel()
        await asyncio.wait([task])
        there = {name: data for name, data in contents(out).items() if ".spotrelay-part" not in name}
        whole = contents(tmp_path / "job")
        assert {} == {name: data for name, data in there.items() if data != whole[name]}
        await pulled(store, out)
        whole.pop("queue")
        assert whole == contents(out)


async def test_damage_is_never_a_file(tmp_path: Path) -> None:
    """A pack whose bytes are not its name, one that is missing: an error that says so, and no file of it."""
    store = await saved(tmp_path / "job", {"a": b"words"})
    (key,) = await store.list(keys.packs(RUN))
    good = await store.get(key)
    await store.put(key, b"wordz" if len(good) == 5 else b"x" * len(good))
    with pytest.raises(PackCorrupt):
        await pulled(store, tmp_path / "out")
    await store.delete(key)
    with pytest.raises(RestoreFailed, match="missing"):
        await pulled(store, tmp_path / "out")

    assert not (tmp_path / "out" / "a").exists()


async def test_damaged_on_its_way_is_fetched_again(tmp_path: Path) -> None:
    """Once."""
    inner, times = await saved(tmp_path / "job", {"a": b"words"}), 0
    store = Recording(inner)

    async def before(method: str, key: str) -> None:
        nonlocal times
        if method == "get_stream":
            times += 1
            data = await inner.get(key)
            await inner.put(key, bytes(len(data)) if times == 1 else kept)

    (key,) = await inner.list(keys.packs(RUN))
    kept, store.before = await inner.get(key), before
    await pulled(store, tmp_path / "out")

    assert b"words" == (tmp_path / "out" / "a").read_bytes()


async def test_a_folder_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    """Unless that is said. Otherwise `--to .` in the wrong place replaces what is there."""
    store, out = await saved(tmp_path / "job", {"a": b"new"}), tmp_path / "out"
    out.mkdir()
    (out / "a").write_text("old")
    with pytest.raises(UsageError, match="something else"):
        await pulled(store, out)
    (out / NOTE).write_text(json.dumps({"run": "another", "store": "here"}))
    with pytest.raises(UsageError, match="another"):
        await pulled(store, out)
    assert "old" == (out / "a").read_text()
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="not a folder"):
        await pulled(store, tmp_path / "file", force=True)

    await pulled(store, out, force=True)

    assert "new" == (out / "a").read_text()


async def test_links_in_the_folder_lead_nowhere(tmp_path: Path) -> None:
    """P7: a directory, or a file, that is a link by now, to a place outside: the link is replaced, the place untouched.
    Also where it was an earlier pull that made it."""
    outside, out = tmp_path / "outside", tmp_path / "out"
    outside.mkdir()
    (outside / "f").write_text("theirs")
    store = await saved(tmp_path / "one", {"d": link(str(outside)), "g": link(str(outside / "f"))})
    await saved(tmp_path / "two", {"d/": {"f": b"ours"}, "g": b"ours"}, SECOND, store)
    await pulled(store, out)
    assert (out / "d").is_symlink()

    await pulled(store, out, snapshot=SECOND)

    assert ["f"] == [path.name for path in outside.iterdir()]
    assert "theirs" == (outside / "f").read_text()
    assert {"d": None, "d/f": b"ours", "g": b"ours"} == contents(out)


async def hostile(*rows: bytes) -> BrowsableStore:
    store = memory()
    lines = [manifest.opening(Header(RUN, FIRST)), *rows, manifest.closing(len(rows), 0, 0)]
    await store.put(keys.snapshot(RUN, FIRST), stored_manifest.pack_lines(iter(lines)))
    return store


META = Meta(0o644, 1, 0, 0)


@pytest.mark.parametrize(
    "path", [b"../out", b"/etc/out", b"a/../../out", b"d/./out", b"l/out"], ids=lambda path: path.decode()
)
async def test_a_hostile_manifest_writes_nothing(tmp_path: Path, path: bytes) -> None:
    """P7: paths that lead out, a file through a link. Refused before a byte is written."""
    entries = [Directory(b"", META), Directory(b"a", META), Directory(b"d", META), Symlink(b"l", META, b"/tmp")]
    store = await hostile(*(manifest.row(entry, {}) for entry in (*entries, File(path, META, 0, ()))))

    with pytest.raises(ManifestInvalid):
        await pulled(store, tmp_path / "out")
    assert [] == list(tmp_path.iterdir())


async def test_set_id_bits_stay_behind(tmp_path: Path) -> None:
    """On a laptop they would lend out the person. Otherwise a bucket that others write to makes programs of mine."""
    out = tmp_path / "out"
    await pulled(await saved(tmp_path / "job", {"a": dressed(b"x", mode=0o4755)}), out)

    assert 0o755 == stat.S_IMODE((out / "a").stat().st_mode)


async def test_the_one_that_counts_is_marked(tmp_path: Path) -> None:
    """P1: what an attempt committed after its successor had begun is on the shelf, and not resumed from."""
    store = await saved(tmp_path / "job", {"a": b"1234", "d/": {"b": b"5"}})
    await saved(tmp_path / "job", {"a": b"12345"}, SECOND, store)
    await store.put(keys.base(RUN, 2), records.encode(records.Base("1-0", 1.0, "i-2")))
    await store.put(keys.snapshot(RUN, SnapshotId(1, 2)), b"garbage")

    found = await shelf(store, RUN)

    assert [("1-0", 2, 5, True), ("1-1", 2, 6, False)] == [
        (str(each.snapshot), each.files, each.bytes, each.next) for each in found.kept[:2]
    ]
    assert (None, True) == (found.kept[2].files, bool(found.kept[2].trouble))
    assert FIRST == await newest(store, RUN)


async def test_the_shelf_is_listed_once(tmp_path: Path) -> None:
    """A listing costs as much as twelve reads, and one for every thousand snapshots; then a read each, and the base
    of an attempt that has none of its own."""
    store = await saved(tmp_path / "job", {"a": b"1"})
    await saved(tmp_path / "job", {"a": b"12"}, SECOND, store)
    await store.put(keys.base(RUN, 2), records.encode(records.Base("1-1", 1.0, "i-2")))
    watched = Recording(store)

    found = await shelf(watched, RUN)

    assert [False, True] == [each.next for each in found.kept]
    assert [
        ("folders", keys.attempts(RUN)),
        ("get", keys.base(RUN, 2)),
        *(("get", keys.snapshot(RUN, each)) for each in (FIRST, SECOND)),
        ("times", keys.snapshots(RUN)),
    ] == sorted(watched.calls)


async def test_a_damaged_fence_is_said_and_nothing_is_marked(tmp_path: Path) -> None:
    """Otherwise somebody resumes, by hand, from what was left behind."""
    store = await saved(tmp_path / "job", {"a": b"1"})
    await store.put(keys.base(RUN, 2), b"{")

    found = await shelf(store, RUN)

    assert [False] == [each.next for each in found.kept]
    assert keys.base(RUN, 2) in found.trouble
