"""The snapshots a run has, and the one it would go on from.

A manifest is read for each: how many files it has, and how many bytes these are, stands in it alone. Their packs are
not looked at. The store's own time of writing says when: it is the moment of the commit. One listing gives the names
and the times, another the attempts, whose bases say which snapshot counts.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

from spotrelay.core import keys
from spotrelay.core.errors import ManifestInvalid, ManifestUnknown, NotFound
from spotrelay.core.keys import SnapshotId
from spotrelay.core.manifest import FORMAT, VERSION
from spotrelay.core.records import RecordInvalid
from spotrelay.history import History
from spotrelay.person.glance import attempts_among
from spotrelay.ports import BrowsableStore
from spotrelay.snapshot import stored_manifest

# Manifests in memory at a time; one of a million files has some 20 MB.
AT_ONCE = 4
_FILE = b'{"kind":"file"'


@dataclass(frozen=True, slots=True)
class Kept:
    """`at`: when it was committed. `next`: a new attempt would begin from it. `trouble`: why it cannot be read; then
    `files` and `bytes` are not known."""

    snapshot: SnapshotId
    at: float
    files: int | None = None
    bytes: int | None = None
    next: bool = False
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Shelf:
    """`kept`: oldest first. `trouble`: why nobody can say which of them would be resumed from."""

    kept: tuple[Kept, ...]
    trouble: str = ""


async def shelf(store: BrowsableStore, run: str) -> Shelf:
    """Raises StoreUnavailable, StoreDenied."""
    times, last = await asyncio.gather(store.times(keys.snapshots(run)), _last(store, run))
    saved, following, trouble = keys.snapshots_among(times), None, ""
    try:
        following = await History(store, run).newest_of(saved, last)
    except RecordInvalid as error:
        trouble = str(error)
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(snapshot: SnapshotId) -> Kept | None:
        key = keys.snapshot(run, snapshot)
        async with turns:
            try:
                files, size = await asyncio.to_thread(_counted, await store.get(key))
            except NotFound:  # tidied away meanwhile
                return None
            except (ManifestInvalid, ManifestUnknown) as error:
                return Kept(snapshot, times[key], next=snapshot == following, trouble=error.what)
        return Kept(snapshot, times[key], files, size, snapshot == following)

    found = await asyncio.gather(*map(one, saved))
    return Shelf(tuple(each for each in found if each is not None), trouble)


async def newest(store: BrowsableStore, run: str) -> SnapshotId | None:
    """The one that counts (P1, history.py). Raises RecordInvalid where a base is damaged: what is older is not taken
    in its place."""
    return await History(store, run).newest_allowed(await _last(store, run))


async def _last(store: BrowsableStore, run: str) -> int:
    """The newest attempt; 0 before the first."""
    return max(attempts_among(await store.folders(keys.attempts(run))), default=0)


def _counted(data: bytes) -> tuple[int, int]:
    """Files and bytes, without looking at each row as a restore does. Raises ManifestInvalid, ManifestUnknown."""
    files, first, last = 0, b"", b""
    for line in stored_manifest.lines(data):
        first, last = first or line, line
        files += line.startswith(_FILE)
    try:
        header, end = json.loads(first), json.loads(last)
        if header["format"] != FORMAT:
            raise ManifestInvalid("not a manifest of spotrelay")
        if header["version"] != VERSION:
            raise ManifestUnknown(
                f"a manifest of version {str(header['version'])[:20]}, which this spotrelay cannot read"
            )
        return files, int(end["bytes"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ManifestInvalid(f"its manifest is garbled: {error}") from error
