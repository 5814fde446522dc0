"""Set unfinished checkpoints aside, and put back what was whole under their names before."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

import structlog

from spotrelay.checkpoints import folders, formats
from spotrelay.checkpoints.folders import ASIDE, Unfinished
from spotrelay.core import keys
from spotrelay.core.errors import SpotrelayError
from spotrelay.core.keys import SnapshotId
from spotrelay.core.manifest import File, Manifest
from spotrelay.ports import Store
from spotrelay.snapshot import Snapshots, pack

KEEP, SET_ASIDE, PREVIOUS = "keep", "aside", "previous"


# The machine's clock may be behind EC2's, by which the run began.
CLOCKS_S = 60.0


class Mending:
    """Of `directory`, before attempt `attempt` of `run` starts its command there."""

    def __init__(self, directory: Path, store: Store, run: str, snapshots: Snapshots, attempt: int) -> None:
        self._directory, self._store, self._run = directory, store, run
        self._snapshots, self._attempt = snapshots, attempt
        self._log = structlog.get_logger()

    async def mend(self, how: str, earlier: Sequence[SnapshotId], *, since: float) -> list[str]:
        """What was unfinished and what became of it, a line each. `earlier`: snapshots that may have it whole, the
        newest first. `since`: when the run began; what is older, somebody put there.

        Raises OSError where it cannot be set aside; what cannot be put back is logged."""
        if how == KEEP:
            return []
        said = []
        for one in await asyncio.to_thread(folders.find, self._directory):
            if (self._directory / one.path).lstat().st_mtime < since - CLOCKS_S:
                continue
            aside = await asyncio.to_thread(self._set_aside, one)
            again = await self._put_back(one, aside, earlier) if how == PREVIOUS and not one.is_folder else None
            standing = f"; as snapshot {again} has it, it is back" if again else ""
            said.append(f"{one.path} was unfinished ({one.why}): set aside as {aside}{standing}")
            self._log.warning("checkpoint.unfinished", path=str(one.path), why=one.why, aside=str(aside), back=again)
        return said

    def _set_aside(self, one: Unfinished) -> Path:
        """Its path below the directory from now on."""
        owner = (self._directory / one.path).lstat()
        parent = self._directory
        for part in (ASIDE, str(self._attempt), *one.path.parent.parts):
            parent /= part
            self._make(parent, owner)
        target = parent / f"{one.path.name}.unfinished"
        count = 1
        while os.path.lexists(target):  # an agent that was restarted meets this attempt's own
            count += 1
            target = parent / f"{one.path.name}.{count}.unfinished"
        (self._directory / one.path).rename(target)
        return target.relative_to(self._directory)

    def _make(self, folder: Path, owner: os.stat_result) -> None:
        """Never through a link: a snapshot may hold one of this name (P7)."""
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            if not stat.S_ISDIR(folder.lstat().st_mode):
                raise NotADirectoryError(f"{folder} is in the way of what is to be set aside") from None
        else:
            _give(folder, owner.st_uid, owner.st_gid)

    async def _put_back(self, one: Unfinished, aside: Path, earlier: Sequence[SnapshotId]) -> str | None:
        """The snapshot that had it whole, if any."""
        new = (self._directory / aside).with_name(f"{aside.name}.previous{one.path.suffix}")
        for snapshot in earlier:
            try:
                manifest = await self._snapshots.read_manifest(snapshot)
                file = next((e for e in manifest.entries if isinstance(e, File) and e.path == bytes(one.path)), None)
                if file is None or file.state:
                    continue
                await self._fetch(manifest, file, new)
                if not await asyncio.to_thread(formats.fault, new):
                    new.rename(self._directory / one.path)
                    return str(snapshot)
            except (SpotrelayError, OSError) as error:
                self._log.warning("checkpoint.not_back", path=str(one.path), snapshot=str(snapshot), error=str(error))
            finally:
                new.unlink(missing_ok=True)
        return None

    async def _fetch(self, manifest: Manifest, file: File, target: Path) -> None:
        """`file` as that snapshot has it, its times too: who resumes from the newest must not take it for new."""
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.truncate(descriptor, file.size)
            for extent in file.extents:
                what = manifest.packs[extent.pack]
                stored = await self._store.get(keys.pack(self._run, what.hash))
                raw = memoryview(await asyncio.to_thread(pack.unseal, what, stored))
                await asyncio.to_thread(
                    os.pwrite, descriptor, raw[extent.at : extent.at + extent.length], extent.offset
                )
            _give(descriptor, file.meta.uid, file.meta.gid)
            os.fchmod(descriptor, file.meta.mode & 0o777)
            os.utime(descriptor, ns=(file.meta.mtime, file.meta.mtime))
        finally:
            os.close(descriptor)


def _give(what: Path | int, uid: int, gid: int) -> None:
    with contextlib.suppress(PermissionError):  # only root can, and who cannot has no other owner's files either
        os.chown(what, uid, gid)
