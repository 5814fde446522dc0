"""What a restore has to do, from a manifest that is checked on the way.

Memory is as in index.py: rows stay rows, in blocks that will be the next save's index. Most files lie whole in one
pack: of these only the places of their rows are kept, by pack, and a row is read again when its bytes are there.
Everything else (directories, links, files of several extents or names) is kept as entries, in path order.
"""

from __future__ import annotations

import dataclasses
import stat
from array import array
from dataclasses import dataclass
from itertools import count

from spotrelay.core import manifest, manifest_reader
from spotrelay.core.errors import ManifestInvalid
from spotrelay.core.manifest import Directory, Entry, Extent, Fifo, File, HardLink, Header, Pack, Skipped, Symlink
from spotrelay.snapshot import pack, stored_manifest
from spotrelay.snapshot.exclude import Exclusions
from spotrelay.snapshot.index import Block, Draft, Index, Stamp

EMPTY = ""  # instead of a pack's hash: for files without a byte


@dataclass(slots=True)
class Together:
    """Files of one directory that lie whole in one pack: in which slots, and where their rows begin."""

    directory: str
    slots: array[int]
    rows: array[int]


class Plan:
    """Raises ManifestInvalid and ManifestUnknown. `owner`: uid and gid of everything, whatever the manifest says."""

    def __init__(self, data: bytes, header: Header, exclude: Exclusions, owner: tuple[int, int] | None = None) -> None:
        self.entries: list[Entry] = []
        self.whole: dict[str, list[Together]] = {}
        self.parts: dict[str, list[tuple[bytes, Extent]]] = {}
        self.blocks: dict[str, Block] = {}
        self.skipped: list[Skipped] = []
        self.files = self.bytes = self.data_bytes = 0
        self._exclude = exclude
        self._slots: dict[bytes, int] = {}  # of files among the entries
        self._open: list[Draft] = []
        self._lengths: list[int] = []  # of the rows so far, for each of them
        self._reader = manifest_reader.Reader()
        barrier = b"\0"
        for line, entry in self._reader.entries(stored_manifest.lines(data)):
            if entry.path.startswith(barrier) or isinstance(entry, Skipped):
                continue
            if self._is_not_ours(entry):
                barrier = entry.path + b"/"
            elif owner is None and self._reader.as_written:
                assert isinstance(entry, File)
                self._take_written(entry, line + b"\n")
            else:
                self._take(entry if owner is None else _given_to(owner, entry))
        if self._reader.header != header:
            assert self._reader.header is not None
            said = f"snapshot {self._reader.header.snapshot} of run {self._reader.header.run}"
            raise ManifestInvalid(f"the manifest of snapshot {header.snapshot} says it is {said}")
        while self._open:
            self._close()

    @property
    def packs(self) -> dict[str, Pack]:
        return self._reader.packs

    @property
    def numbers(self) -> dict[str, int]:
        return self._reader.numbers

    def row(self, together: Together, which: int) -> bytes:
        rows, begin = self.blocks[together.directory].rows, together.rows[which]
        return rows[begin : rows.index(b"\n", begin)]

    def stamp(self, path: bytes, stamp: Stamp) -> None:
        """Of a file among the entries."""
        directory = manifest.text(path).rpartition("/")[0]
        self.blocks[directory].set_stamp(self._slots[path], stamp)

    def index(self) -> Index:
        """What the next save begins from, once the blocks have their stamps."""
        unused = count(max(self.numbers.values(), default=-1) + 1)
        return Index(self.blocks, dict(self.packs), dict(self.numbers), unused).succeeded_by(self.blocks)

    def _is_not_ours(self, entry: Entry) -> bool:
        why = self._exclude.why(entry.path, isinstance(entry, Directory)) if entry.path else ""
        if why:
            self.skipped.append(Skipped(entry.path, why))
        return bool(why)

    def _take(self, entry: Entry) -> None:
        path, _, name = manifest.text(entry.path).rpartition("/")
        self._close_until(path)
        if entry.path:
            self._enter(name, entry)
        else:
            self.entries.append(entry)
        if isinstance(entry, Directory):
            self._open.append(Draft(manifest.text(entry.path), []))
            self._lengths.append(0)

    def _take_written(self, file: File, row: bytes) -> None:
        """Most rows: as we would write them, of a file in one extent and by one name."""
        path, _, name = manifest.text(file.path).rpartition("/")
        self._close_until(path)
        self._enter_file(name, file, row, linked=False)

    def _enter(self, name: str, entry: Entry) -> None:
        """Into the block of its directory, and among what is to be done."""
        draft, linked = self._open[-1], entry.path in self._reader.linked
        draft.plain &= not linked and not isinstance(entry, HardLink)
        if isinstance(entry, File):
            # What an earlier save could not read consistently is, from now on, simply what the file holds.
            entry = dataclasses.replace(entry, state="") if entry.state else entry
            self._enter_file(name, entry, manifest.row(entry, self.numbers, linked=linked), linked=linked)
        else:
            self.entries.append(entry)
            row = manifest.row(entry, self.numbers, linked=linked)
            draft.append(name, row, -1)
            self._lengths[-1] += len(row)

    def _enter_file(self, name: str, file: File, row: bytes, *, linked: bool) -> None:
        draft = self._open[-1]
        slot = draft.append(name, row, file.size)
        if not linked and _is_whole(file):
            self._gather(file, draft.path, slot)
        else:
            self.entries.append(file)
            self._slots[file.path] = slot
            for extent in file.extents:
                self.parts.setdefault(extent.pack, []).append((file.path, extent))
        self._lengths[-1] += len(row)
        self.files += 1
        self.bytes += file.size
        for extent in file.extents:
            self.data_bytes += extent.length

    def _gather(self, entry: File, directory: str, slot: int) -> None:
        gathered = self.whole.setdefault(entry.extents[0].pack if entry.extents else EMPTY, [])
        if not gathered or gathered[-1].directory != directory:
            gathered.append(Together(directory, array("Q"), array("Q")))
        gathered[-1].slots.append(slot)
        gathered[-1].rows.append(self._lengths[-1])

    def _close_until(self, path: str) -> None:
        while self._open and self._open[-1].path != path:
            self._close()

    def _close(self) -> None:
        draft = self._open.pop()
        self._lengths.pop()
        self.blocks[draft.path] = draft.close()


def _given_to(owner: tuple[int, int], entry: Entry) -> Entry:
    """Without set-id bits: they lend the identity of the owner that it had."""
    if not isinstance(entry, Directory | File | Symlink | Fifo):
        return entry
    uid, gid = owner
    mode = entry.meta.mode & ~(stat.S_ISUID | stat.S_ISGID)
    return dataclasses.replace(entry, meta=entry.meta._replace(mode=mode, uid=uid, gid=gid))


def _is_whole(entry: File) -> bool:
    """One extent, and so small that it shares its pack."""
    if not entry.size:
        return True
    return entry.size < pack.SMALL and len(entry.extents) == 1 and entry.extents[0].length == entry.size
