"""Manifests and packs that somebody has tampered with: refused before the first byte lands; nothing else suffers."""

from __future__ import annotations

import json
import resource
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import zstandard
from blake3 import blake3

from spotrelay.core import keys
from spotrelay.core.errors import ManifestInvalid, ManifestUnknown, PackCorrupt, RestoreFailed, SnapshotError
from spotrelay.core.manifest import Pack
from spotrelay.ports import Store
from spotrelay.snapshot import Snapshots, pack, stored_manifest
from support import stores
from support.manifests import HASH, HOSTILE
from support.manifests import rows as good_rows
from support.stores import FIRST, RUN, SECOND
from support.tree import looks, tree

Make = Callable[..., Snapshots]
MIB = 1 << 20


@pytest.fixture
def refused(store: Store, snapshots: Make, tmp_path: Path) -> Callable[..., Any]:
    """Nothing below `directory` or beside it, and nothing in the store, is other than before."""

    @asynccontextmanager
    async def refused(*errors: type[SnapshotError], touched: bool = False) -> AsyncIterator[None]:
        neighbours = tree({"etc/": {"passwd": b"root"}, "there/": {"mine": b"1"}}).write(tmp_path / "house")
        before, objects = looks(neighbours), await stores.everything(store)

        yield
        with pytest.raises(errors):
            await snapshots(neighbours / "there").restore(FIRST)

        after = looks(neighbours)
        if touched:
            before, after = ({p: look for p, look in side.items() if p.startswith(b"etc")} for side in (before, after))
        assert before == after
        assert objects == await stores.everything(store)

    return refused


async def _put(store: Store, rows: list[dict[str, Any]]) -> None:
    lines = (json.dumps(row).encode() + b"\n" for row in rows)
    await store.put(keys.snapshot(RUN, FIRST), stored_manifest.pack_lines(lines))


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE.keys())
async def test_hostile_manifests_touch_nothing(change: Callable[..., Any], store: Store, refused: Any) -> None:
    """Whatever `core` refuses, a restore refuses before the directory is emptied. Otherwise the good state is gone."""
    rows = good_rows()
    change(rows)
    await _put(store, rows)
    await store.put(keys.pack(RUN, HASH), b"x" * 60)

    async with refused(ManifestInvalid):
        pass


async def test_an_unknown_version(store: Store, refused: Any) -> None:
    """A newer spotrelay's manifest is refused by that name."""
    await _put(store, [{"format": "spotrelay-manifest", "version": 2}])

    async with refused(ManifestUnknown):
        pass


async def test_another_runs_manifest(store: Store, refused: Any) -> None:
    """A manifest says whose it is. Otherwise an object copied to another name is restored as what it is not."""
    rows = good_rows()
    rows[0]["run"] = "other"
    await _put(store, rows)

    async with refused(ManifestInvalid):
        pass


@pytest.mark.parametrize("data", [b"", b"garbage", b"\x28\xb5\x2f\xfd", zstandard.compress(b"")], ids=len)
async def test_no_manifest_at_all(data: bytes, store: Store, refused: Any) -> None:
    """Bytes that are no frame, or a frame of nothing."""
    await store.put(keys.snapshot(RUN, FIRST), data)

    async with refused(ManifestInvalid):
        pass


async def test_no_byte_of_a_manifest_is_trusted(store: Store, snapshots: Make, here: Path) -> None:
    """One flipped bit anywhere in the object, and it is refused, unless it means nothing (how much memory to decompress
    with). Otherwise a time or a mode is restored that nobody saved."""
    await snapshots(tree({"f": b"1", "g": b"22"}).write(here)).save(FIRST)
    whole = await store.get(keys.snapshot(RUN, FIRST))
    good, refusals = stored_manifest.parse(whole), 0
    for at in range(len(whole)):
        try:
            assert good == stored_manifest.parse(whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :])
        except (ManifestInvalid, ManifestUnknown):
            refusals += 1

    assert refusals >= len(whole) - 10


async def test_a_manifest_without_a_checksum(store: Store, refused: Any) -> None:
    """A frame that cannot be checked is not one of ours."""
    lines = b"".join(json.dumps(row).encode() + b"\n" for row in good_rows())
    await store.put(keys.snapshot(RUN, FIRST), zstandard.compress(lines))

    async with refused(ManifestInvalid):
        pass


async def test_a_manifest_cut_short(store: Store, snapshots: Make, here: Path, refused: Any) -> None:
    """Half of the compressed object is not half of the tree."""
    await snapshots(tree({str(n): b"1" for n in range(300)}).write(here)).save(FIRST)
    whole = await store.get(keys.snapshot(RUN, FIRST))
    await store.put(keys.snapshot(RUN, FIRST), whole[: len(whole) // 2])

    async with refused(ManifestInvalid):
        pass


async def test_a_bomb_of_a_manifest(store: Store, refused: Any) -> None:
    """10 GiB in some hundred KiB are refused for their size, without ever being in memory."""
    bomb = zstandard.ZstdCompressor(3, write_checksum=True).compressobj()
    block = b"\n" * MIB
    data = b"".join(bomb.compress(block) for _ in range(2000)) + bomb.flush()
    await store.put(keys.snapshot(RUN, FIRST), data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    async with refused(ManifestInvalid):
        pass

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


async def test_a_line_without_end(store: Store, refused: Any) -> None:
    """One line of a gigabyte is refused as soon as it is longer than any real one."""
    bomb = zstandard.ZstdCompressor(3, write_checksum=True).compressobj()
    data = b"".join(bomb.compress(b" " * MIB) for _ in range(200)) + bomb.flush()
    await store.put(keys.snapshot(RUN, FIRST), data)

    async with refused(ManifestInvalid):
        pass


# --- packs -----------------------------------------------------------------------------------------------------------


def _bomb() -> bytes:
    return zstandard.compress(bytes(300 * MIB))


TAMPERED: dict[str, Callable[[bytes], bytes]] = {
    "one bit": lambda stored: bytes([stored[0] ^ 1]) + stored[1:],
    "last byte": lambda stored: stored[:-1] + bytes([stored[-1] ^ 0x80]),
    "truncated": lambda stored: stored[:-1],
    "empty": lambda stored: b"",
    "longer": lambda stored: stored + b"x",
    "another file's": lambda stored: bytes(len(stored)),
    "a bomb": lambda stored: _bomb(),
}


@pytest.mark.parametrize("content", [bytes(range(256)) * 10, b"text " * 5000], ids=["raw", "zstd"])
@pytest.mark.parametrize("tamper", TAMPERED.values(), ids=TAMPERED.keys())
async def test_packs_that_are_not_what_they_are_called(
    *, content: bytes, tamper: Callable[[bytes], bytes], store: Store, snapshots: Make, here: Path, refused: Any
) -> None:
    """A damaged pack ends the restore with its own error; the neighbours and the store stay as they were. Otherwise
    the command goes on from bytes that nobody has saved."""
    await snapshots(tree({"f": content}).write(here)).save(FIRST)
    [name] = await store.list(keys.packs(RUN))
    await store.put(name, tamper(await store.get(name)))

    async with refused(PackCorrupt, touched=True):
        pass


async def test_a_good_snapshot_survives_a_bad_one(store: Store, snapshots: Make, here: Path, there: Path) -> None:
    """After a refusal an earlier snapshot still restores."""
    one = snapshots(tree({"f": b"good"}).write(here))
    await one.save(FIRST)
    await store.put(keys.snapshot(RUN, SECOND), b"garbage")

    with pytest.raises(ManifestInvalid):
        await snapshots(there).restore(SECOND)
    await snapshots(there).restore(FIRST)

    assert b"good" == (there / "f").read_bytes()


def _frame(raw: bytes) -> bytes:
    return zstandard.ZstdCompressor(1, write_content_size=False).compress(raw)


@pytest.mark.parametrize(
    "stored",
    [_frame(b"a" * 1000), zstandard.compress(b"a" * 1000) + b"tail", zstandard.compress(b"a" * 999), b"a" * 1001],
    ids=["size not declared", "bytes after the frame", "another size", "too long"],
)
def test_a_pack_has_one_form(stored: bytes) -> None:
    """A frame that hides its size, or has something after it, is not one of ours."""
    with pytest.raises(PackCorrupt):
        pack.unseal(Pack(blake3(b"a" * 1000).hexdigest(), 1000, 999), stored)


@pytest.mark.parametrize("raw", [b"x", b"text " * 1000, bytes(2 * MIB), bytes(range(256)) * 9000], ids=len)
@pytest.mark.parametrize("pays", [True, False])
def test_seal_and_unseal(*, raw: bytes, pays: bool, tmp_path: Path) -> None:
    """What is sealed unseals, named by its hash, never longer than it was, whether or not compressing pays."""
    (tmp_path / "raw").write_bytes(raw)
    buffer = pack.Buffer()
    with (tmp_path / "raw").open("rb") as file:
        buffer.read(file.fileno(), 0, len(raw))

    packed = buffer.seal(lambda _: pays)

    assert raw == pack.unseal(packed.pack, packed.stored)
    assert (blake3(raw).hexdigest(), len(raw), len(packed.stored)) == (
        packed.pack.hash, packed.pack.size, packed.pack.stored
    )  # fmt: skip
    assert len(packed.stored) <= len(raw)


async def test_a_directory_swapped_for_a_link_during_the_restore(
    snapshots: Make, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory replaced by a link while it is being filled is an error, not a way out (P7)."""
    await snapshots(tree({"d/": {"f": b"evil"}}).write(here)).save(FIRST)
    outside = tree({"f": b"precious"}).write(tmp_path / "outside")
    there = tmp_path / "there"
    original = pack.unseal

    def unseal(*arguments: Any) -> bytes:
        (there / "d").rename(tmp_path / "aside")
        (there / "d").symlink_to(outside)
        return original(*arguments)

    monkeypatch.setattr(pack, "unseal", unseal)

    with pytest.raises(RestoreFailed):
        await snapshots(there).restore(FIRST)

    assert b"precious" == (outside / "f").read_bytes()
