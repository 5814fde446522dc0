"""Raw bytes to a named pack, and back without trusting it.

A pack is named by the blake3 of its raw bytes and stored either as they are or, when that is smaller, as one zstd
frame. Its length tells which: equal to the raw size, it is the raw bytes. So nothing needs to agree on the codec, and
two agents with different zstd libraries that write the same pack do not harm each other. Whether it pays depends on
the line as well (turns.py).

Figures are CPU seconds per GiB on one core of a Xeon at 2.8 GHz (bench of November 2026).
"""

from __future__ import annotations

import mmap
import os
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import zstandard
from blake3 import blake3

from spotrelay.core.errors import PackCorrupt
from spotrelay.core.manifest import Pack

# 16 MiB: one upload of 1.5 GiB took 1.15-1.2 s; with 8 MiB 1.34 s, with 32 MiB 1.39 s.
SLICE = 16 << 20
# From here on a file has slices of its own; below, files share packs.
SMALL = 1 << 20
# Read and hashed in turn, so that what is hashed is still in the core's own cache: a GiB takes 0.22 s in chunks of
# 256 KiB, 0.45 s in one of 16 MiB.
CHUNK = 256 << 10
# zstd 1 costs 4.8 on text (to 42 %) and 0.93 on what does not shrink: hence a probe.
LEVEL = 1
# The probe: 64 KiB of every MiB, 0.017. fp32 noise shrinks to 93 % at a price of 1.9: not worth it. 85 % is.
PROBE = 64 << 10
PROBE_EVERY = 1 << 20
WORTH = 0.85


class Packed(NamedTuple):
    pack: Pack
    stored: bytes | memoryview


class Probe(NamedTuple):
    """What compressing would do: `saved` bytes less to send, for `cpu_s` seconds of one core."""

    saved: int
    cpu_s: float


class Buffer:
    """Room for one pack, hashed as it fills. Used again and again: fresh memory costs a page fault every 4 KiB (an
    upload of 1.5 GiB took 1.02 s of CPU with fresh bytes objects, 0.82 s so).
    """

    def __init__(self) -> None:
        self._room = memoryview(mmap.mmap(-1, SLICE))  # pages come as they are filled, not all at once as zeros
        self._hash, self._hashed = blake3(), 0
        self.filled = 0

    @property
    def left(self) -> int:
        return SLICE - self.filled

    def rewind(self, to: int) -> None:
        self.filled = to
        if self._hashed > to:
            self._hash, self._hashed = blake3(), 0

    def read(self, file: int, offset: int, length: int) -> int:
        """Append; the number of bytes is less than `length` if the file ends before. Raises OSError."""
        begin = self.filled
        end = begin + length
        while self.filled < end:
            room = self._room[self.filled : min(self.filled + CHUNK, end)]
            got = os.preadv(file, [room], offset + self.filled - begin)
            if not got:
                break
            self.filled += got
            if self.filled - self._hashed >= CHUNK:
                self._hash_up()
        return self.filled - begin

    def digest(self, begin: int, end: int) -> str:
        """Of a part, as the name of a pack that has just that would be."""
        return blake3(self._room[begin:end]).hexdigest()

    def _hash_up(self) -> None:
        self._hash.update(self._room[self._hashed : self.filled])
        self._hashed = self.filled

    def seal(self, pays: Callable[[Probe], bool]) -> Packed:
        """It is not empty. Uncompressed, the result is this very buffer: it must not be used again before it was
        sent."""
        self._hash_up()
        raw = self._room[: self.filled]
        stored: bytes | memoryview = raw
        if _shrinks(raw, pays):
            stored = _own.compressor.compress(raw)
            if len(stored) >= len(raw):
                stored = raw
        return Packed(Pack(self._hash.hexdigest(), len(raw), len(stored)), stored)


class _Own(threading.local):
    """Each thread's."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(LEVEL)


_own = _Own()


def _shrinks(raw: memoryview, pays: Callable[[Probe], bool]) -> bool:
    """Nothing here asks malloc for so much that it goes back to the kernel and comes as fresh pages for the next pack:
    one compressor, and pieces that stay apart (a sample of 1 MiB cost a pack 500 page faults, 1 to 2 ms).
    """
    whole = len(raw) <= PROBE_EVERY
    pieces = [raw] if whole else [raw[at : at + PROBE] for at in range(0, len(raw), PROBE_EVERY)]
    began = time.thread_time()  # of this thread alone: a machine that is busy must not make text incompressible
    shrunk = sum(len(_own.compressor.compress(piece)) for piece in pieces)
    cpu_s, size = time.thread_time() - began, sum(map(len, pieces))
    if shrunk >= WORTH * size:
        return False
    factor = len(raw) / size
    return whole or pays(Probe(int((size - shrunk) * factor), cpu_s * factor))


def unseal(pack: Pack, stored: bytes | memoryview) -> bytes | memoryview:
    """The raw bytes. Never allocates more than the pack's declared size. Raises PackCorrupt."""
    raw = stored if len(stored) == pack.size else _inflate(pack, stored)
    if len(raw) != pack.size or blake3(raw).hexdigest() != pack.hash:
        raise corrupt(pack, "its bytes do not match its name")
    return raw


def _inflate(pack: Pack, stored: bytes | memoryview) -> bytes:
    """The decompressor allocates what the frame declares: so that is compared before it is asked."""
    try:
        if zstandard.frame_content_size(stored) != pack.size:
            raise corrupt(pack, f"{len(stored)} bytes are neither its {pack.size} raw bytes nor a frame of them")
        return zstandard.ZstdDecompressor().decompress(stored, max_output_size=pack.size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise corrupt(pack, str(error)) from error


def corrupt(pack: Pack, why: str) -> PackCorrupt:
    return PackCorrupt(f"pack {pack.hash[:16]}… is damaged: {why}", next_step="an earlier snapshot may not need it")
