"""The one door to snapshots: a directory on this side, a run's snapshots in the store on the other."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from spotrelay.core import keys
from spotrelay.core.errors import ManifestInvalid, NotFound, RestoreFailed, SaveFailed, StoreError
from spotrelay.core.keys import SnapshotId
from spotrelay.core.manifest import Header, Manifest, Skipped
from spotrelay.ports import Store
from spotrelay.snapshot import artifacts, pack, read, stored_manifest
from spotrelay.snapshot.exclude import Exclusions, mounts_below
from spotrelay.snapshot.index import Index
from spotrelay.snapshot.lane import Lane
from spotrelay.snapshot.large_files import LargeFiles
from spotrelay.snapshot.pace import Pace
from spotrelay.snapshot.plan import Plan
from spotrelay.snapshot.read import Prefix
from spotrelay.snapshot.restore import Restoring
from spotrelay.snapshot.save import Saving
from spotrelay.snapshot.send import Sending, Tally
from spotrelay.snapshot.small_files import SmallFiles
from spotrelay.snapshot.still import WAITS, Restless, moved
from spotrelay.snapshot.survey import Survey
from spotrelay.snapshot.threads import Threads
from spotrelay.snapshot.turns import Turns

# Reading, hashing and compressing beside the loop. Twice two cores: a thread that waits for the disk leaves its core to
# another. Not measured apart.
WORKERS = 4
# Packs on their way, in a save and in a restore. What a snapshot has of entries comes on top: some 300 bytes each.
MEMORY_MIB = 512


@dataclass(frozen=True, slots=True)
class Progress:
    """Bytes moved so far (stored bytes in a save, file bytes in a restore), and in all: 0 as long as nobody knows."""

    bytes: int
    total: int


@dataclass(frozen=True, slots=True)
class Saved:
    """`files` and `bytes`: what the directory holds. `packs` and `new_bytes`: what had to be sent for it since the
    snapshot before it; `earlier_bytes` of these by saves that were cut off, or not committed, and not by this one.
    `kept` and `torn`: files that changed under every read, see core.manifest.File. `moving`: what moved at every look
    (still.py); then this is not the directory at one moment. `looks`: how often it was looked through."""

    snapshot: SnapshotId
    files: int
    bytes: int
    packs: int
    new_bytes: int
    seconds: float
    earlier_bytes: int = 0
    kept: tuple[Path, ...] = ()
    torn: tuple[Path, ...] = ()
    moving: tuple[Path, ...] = ()
    looks: int = 1
    skipped: tuple[Skipped, ...] = ()


@dataclass(frozen=True, slots=True)
class Restored:
    """`skipped`: what the snapshot holds and this machine cannot or shall not (excluded, a mount, no attributes
    here).
    """

    snapshot: SnapshotId
    files: int
    bytes: int
    seconds: float
    skipped: tuple[Skipped, ...] = ()


@dataclass(frozen=True, slots=True)
class Published:
    files: int
    skipped: tuple[Skipped, ...] = ()


class Snapshots:
    """Not for use by two tasks at once: one directory has one owner."""

    def __init__(
        self, store: Store, run: str, directory: Path, *, exclude: Sequence[str] = (), memory_mib: int = MEMORY_MIB
    ) -> None:
        """`memory_mib`: for packs on their way. Raises ValueError for an exclude pattern that matches nothing."""
        self._store, self._run, self._directory, self._patterns = store, run, directory, tuple(exclude)
        # Each may be in memory twice, raw and compressed.
        self._turns = Turns(max(1, (memory_mib << 20) // (2 * pack.SLICE)))
        self._index = Index()
        self._held: dict[bytes, Prefix] = {}
        self._tally = Tally()  # since the last commit
        Exclusions(self._patterns)

    async def list(self) -> list[SnapshotId]:
        """Committed snapshots, oldest first. Which of them may be restored, the relay decides (P1)."""
        return keys.snapshots_among(await self._store.list(keys.snapshots(self._run)))

    async def read_manifest(self, snapshot: SnapshotId) -> Manifest:
        """Raises StoreError (NotFound), ManifestInvalid, ManifestUnknown."""
        data = await self._store.get(keys.snapshot(self._run, snapshot))
        async with Threads(1) as threads:
            manifest = await threads.run(stored_manifest.parse, data)
        if manifest.header != Header(self._run, snapshot):
            said = f"snapshot {manifest.header.snapshot} of run {manifest.header.run}"
            raise ManifestInvalid(f"the manifest of snapshot {snapshot} says it is {said}")
        return manifest

    async def save(
        self,
        snapshot: SnapshotId,
        *,
        deadline: float | None = None,
        progress: Callable[[Progress], None] | None = None,
        pace: Pace | None = None,
        still: float | None = None,
        anyway: bool = False,
    ) -> Saved:
        """Commit the directory as `snapshot`. `deadline`: monotonic seconds, after which nothing is written. `pace`:
        how fast it may go beside a running command. `still`: somebody may be writing, and it has to be the directory at
        one moment (still.py), for which it waits so many seconds; with `anyway`, it need not if that cannot be had.

        Raises SaveFailed (the deadline, or the directory itself), Restless, AlreadyExists (that snapshot is committed),
        and other StoreErrors as they are. Whatever is raised, cancellation included: unless the store took the commit
        and its answer was lost, there is no such snapshot; and no thread is left that reads the directory.
        """
        try:
            # Outermost, because its TimeoutError is an OSError too. loop.time() is time.monotonic().
            async with asyncio.timeout_at(deadline):
                with self._errors_as(SaveFailed):
                    return await self._save(snapshot, deadline, pace, progress, still=still, anyway=anyway)
        except TimeoutError as error:
            raise _too_late(snapshot, self._tally) from error

    async def _save(
        self,
        snapshot: SnapshotId,
        deadline: float | None,
        pace: Pace | None,
        progress: Callable[[Progress], None] | None,
        *,
        still: float | None,
        anyway: bool,
    ) -> Saved:
        tally, earlier = self._tally, self._tally.new_bytes

        def tell() -> None:
            if progress is not None:
                progress(Progress(tally.new_bytes, 0))

        began = time.monotonic()
        tell()
        with self._root() as root:
            look = partial(self._look, root, pace, tell)
            if still is not None:
                saving, looks, moving = await self._looked_until_still(look, pace, still)
            else:
                saving, looks, moving = await look(again=False), 1, ()
            if moving and not anyway:
                raise Restless(moving)
            async with Threads(1, first=pace.lower if pace is not None else None) as threads:
                data = await threads.run(saving.encode, Header(self._run, snapshot), moving)
            if deadline is not None and time.monotonic() >= deadline:
                raise _too_late(snapshot, tally)
            await self._store.create(keys.snapshot(self._run, snapshot), data)
        self._tally = Tally()
        kept, torn, skipped = saving.remarks()
        return Saved(
            snapshot,
            files=sum(block.files for block in saving.blocks.values()),
            bytes=sum(block.file_bytes for block in saving.blocks.values()),
            packs=tally.packs,
            new_bytes=tally.new_bytes,
            seconds=time.monotonic() - began,
            earlier_bytes=earlier,
            kept=tuple(kept),
            torn=tuple(torn),
            moving=moving,
            looks=looks,
            skipped=tuple(skipped),
        )

    async def _look(self, root: int, pace: Pace | None, tell: Callable[[], None], *, again: bool) -> Saving:
        """Read and send what is new. What was is known from then on, whatever becomes of the snapshot."""
        index, turns = self._index, self._turns
        with closing((survey := Survey(root, self._exclusions(), index)).directories()) as walk:
            try:
                async with Threads(WORKERS, first=pace.lower if pace is not None else None) as threads:
                    await threads.run(index.take_up)
                    lane = Lane(threads, WORKERS)
                    sending = Sending(self._store, self._run, index, turns, pace, self._tally, tell)
                    small = SmallFiles(root, sending, turns, threads, lane, self._held, again=again)
                    large = LargeFiles(root, sending, index, turns, threads, again=again)
                    saving = Saving(survey, index, small, large, turns, threads, lane)
                    await saving.collect(walk)
            except BaseException:
                index.left.update(survey.blocks)  # no thread works on them any more
                raise
        self._index = index.succeeded_by(saving.blocks)
        return saving

    async def _looked_until_still(
        self, look: Callable[..., Awaitable[Saving]], pace: Pace | None, for_s: float
    ) -> tuple[Saving, int, tuple[Path, ...]]:
        """What the last look found, how many there were, and what had still moved at the last."""
        before, saving, looks = self._index.blocks, await look(again=False), 1
        while (moving := await asyncio.to_thread(moved, before, saving.blocks)) and looks <= len(WAITS):
            wait = for_s * WAITS[looks - 1]
            await (pace.rest(wait) if pace is not None else asyncio.sleep(wait))
            before, saving, looks = saving.blocks, await look(again=True), looks + 1
        return saving, looks, tuple(Path(os.fsdecode(path)) for path in moving)

    async def restore(
        self,
        snapshot: SnapshotId,
        *,
        owner: tuple[int, int] | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Restored:
        """Make the directory what `snapshot` holds, in place; excluded paths and other mounts stay as they are.

        `owner`: uid and gid that everything gets, where the numbers in the snapshot mean nothing. Takes root.

        Raises ManifestInvalid, ManifestUnknown, PackCorrupt or RestoreFailed (what is missing from the store is
        damage, too), and other StoreErrors as they are: then the directory must not be used. The manifest has been
        checked, and every pack it needs is known to exist, before the directory is touched.
        """
        began = time.monotonic()
        with self._errors_as(RestoreFailed):
            async with Threads(WORKERS) as threads:
                plan = await self._plan(snapshot, owner, threads)
                self._directory.mkdir(parents=True, exist_ok=True)
                with self._root() as root:
                    _need_room(root, snapshot, plan)
                    self._index = Index()  # what it knew is about to be overwritten
                    restoring = Restoring(self._store, self._run, root, plan, self._exclusions(), self._turns, threads)
                    await restoring.rebuild(_counting(progress, plan))
        # A command that starts at once must leave other times than ours.
        await asyncio.sleep(read.TICK_S)
        self._index = plan.index()
        return Restored(snapshot, plan.files, plan.bytes, time.monotonic() - began, tuple(restoring.skipped))

    async def recall(self, snapshot: SnapshotId) -> None:
        """The directory has come of `snapshot` and is as it is: what that holds need not be sent again, but every file
        is read. Raises StoreError, ManifestInvalid, ManifestUnknown."""
        manifest = await self.read_manifest(snapshot)
        self._index = Index.of_packs(manifest.packs)

    async def publish_artifacts(self) -> Published:
        """Put the directory's regular files under `artifacts/`. Raises SaveFailed, StoreError."""
        with self._errors_as(SaveFailed), self._root() as root:
            async with Threads(WORKERS) as threads:
                files, skipped = await artifacts.publish(self._store, self._run, root, self._exclusions(), threads)
        return Published(files, tuple(skipped))

    # --- what the next save relies on -------------------------------------------------------------------------------

    def known_packs(self) -> frozenset[str]:
        """Packs that the next save would refer to without sending them."""
        return frozenset(self._index.packs)

    def forget_packs(self, gone: Collection[str]) -> None:
        """These are no longer in the store: the next save sends them again, from the files that have them."""
        self._index.forget(gone)

    # --- before the first byte lands --------------------------------------------------------------------------------

    async def _plan(self, snapshot: SnapshotId, owner: tuple[int, int] | None, threads: Threads) -> Plan:
        """Checked, and every pack it needs is there."""
        there, plan = await asyncio.gather(self._stored(), self._checked(snapshot, owner, threads))
        if missing := plan.packs.keys() - there:
            what = f"snapshot {snapshot}: {len(missing)} of its {len(plan.packs)} packs are missing"
            raise RestoreFailed(what, next_step="an earlier snapshot may be whole")
        return plan

    async def _stored(self) -> set[str]:
        """Packs that are there; and so one knows how far away that is."""
        began = time.monotonic()
        names = await self._store.list(keys.packs(self._run))
        self._turns.answered((time.monotonic() - began) / (1 + len(names) // 1000))  # a request a thousand
        return {name.rpartition("/")[2] for name in names}

    async def _checked(self, snapshot: SnapshotId, owner: tuple[int, int] | None, threads: Threads) -> Plan:
        """Damaged on its way, or damaged where it lies: the second time tells."""
        for last in (False, True):
            data = await self._store.get(keys.snapshot(self._run, snapshot))
            try:
                return await threads.run(Plan, data, Header(self._run, snapshot), self._exclusions(), owner)
            except ManifestInvalid:
                if last:
                    raise
        raise AssertionError("unreachable: the second time returns or raises")

    # --- around every operation -------------------------------------------------------------------------------------

    def _exclusions(self) -> Exclusions:
        return Exclusions(self._patterns, mounts_below(self._directory))

    @contextmanager
    def _root(self) -> Iterator[int]:
        root = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield root
        finally:
            os.close(root)

    @contextmanager
    def _errors_as(self, kind: type[SaveFailed | RestoreFailed]) -> Iterator[None]:
        """Errors of the file system become `kind`, and so does an object that is missing in a restore. A store that is
        away is none: waiting helps. Of a group, the first error is the cause; the others are its consequences.
        """
        try:
            yield
        except (OSError, StoreError, BaseExceptionGroup) as caught:
            error: BaseException = caught
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            if isinstance(error, OSError):
                raise kind(f"{self._directory}: {error}", next_step=_next_step(error)) from error
            if isinstance(error, NotFound) and kind is RestoreFailed:
                raise RestoreFailed(error.what, next_step=error.next_step) from error
            raise error from error.__cause__


def _next_step(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "choose an instance or a volume with more disk"
    return "see that the agent may read and write the directory"


def _too_late(snapshot: SnapshotId, tally: Tally) -> SaveFailed:
    sent = f"{tally.packs} packs ({tally.new_bytes} bytes)"
    return SaveFailed(
        f"snapshot {snapshot} is not committed: the deadline passed after {sent} were sent",
        next_step="the last committed snapshot stands",
    )


def _need_room(root: int, snapshot: SnapshotId, plan: Plan) -> None:
    """What could never fit is refused while the directory is still as it was."""
    disk = os.fstatvfs(root)
    if plan.data_bytes > (most := disk.f_blocks * disk.f_frsize):
        what = f"snapshot {snapshot} has {plan.data_bytes} bytes, the whole file system {most}"
        raise RestoreFailed(what, next_step="choose an instance or a volume with more disk")


def _counting(progress: Callable[[Progress], None] | None, plan: Plan) -> Callable[[int], None]:
    done = 0

    def tell(more: int) -> None:
        nonlocal done
        done += more
        if progress is not None:
            progress(Progress(done, plan.data_bytes))

    return tell
