"""What is moved: two trees that cost for opposite reasons, and the changes to them.

    A  three files of 512 MiB that nothing compresses: bytes
    B  20,000 files of 1 to 32 KiB, half of each text, in 200 directories: names

What other rows need, they make themselves. Made from a seed, so that two runs move the same. In memory (tmpfs) where
there is room, as a checkpoint that was just written is read from the page cache; no disk is measured.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
VOCABULARY = 1000


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of a full run. `smaller` divides all by the same number."""

    large_files: int = 3
    large_bytes: int = 512 * MIB
    small_files: int = 20_000
    folders: int = 200
    entries: int = 1_000_000
    beside_bytes: int = 10 << 30
    beside_s: int = 12
    checkpoint_bytes: int = 2 << 30
    sparse_bytes: int = 100 << 30
    dense_bytes: int = 4 << 30

    def smaller(self, by: int) -> Sizes:
        return Sizes(
            large_bytes=self.large_bytes // by,
            small_files=self.small_files // by,
            folders=max(1, self.folders // by),
            entries=self.entries // by,
            beside_bytes=self.beside_bytes // by,
            beside_s=max(1, self.beside_s // by),
            checkpoint_bytes=self.checkpoint_bytes // by,
            sparse_bytes=self.sparse_bytes // by,
            dense_bytes=self.dense_bytes // by,
        )


def large(folder: Path, sizes: Sizes, seed: int = 1) -> Path:
    """A."""
    dice = random.Random(seed)
    folder.mkdir(parents=True)
    for number in range(sizes.large_files):
        write_noise(folder / f"weights-{number}.bin", sizes.large_bytes, dice)
    return folder


def small(folder: Path, sizes: Sizes, seed: int = 2) -> Path:
    """B."""
    dice = random.Random(seed)
    words = vocabulary(dice)
    folder.mkdir(parents=True)
    for number in range(sizes.small_files):
        part = folder / f"part-{number % sizes.folders:03d}"
        part.mkdir(exist_ok=True)
        (part / f"record-{number:05d}.dat").write_bytes(half_text(dice, words, dice.randrange(1 << 10, 32 << 10)))
    return folder


def write_noise(path: Path, size: int, dice: random.Random) -> None:
    with path.open("wb") as file:
        for at in range(0, size, 8 * MIB):
            file.write(dice.randbytes(min(8 * MIB, size - at)))


def vocabulary(dice: random.Random) -> list[bytes]:
    """So many words that text of them compresses as logs do, to between a half and a third (zstd 1)."""
    letters = b"etaoinshrdlucmfwypvbgk0123456789"
    return [bytes(dice.choices(letters, k=dice.randrange(2, 10))) for _ in range(VOCABULARY)]


def half_text(dice: random.Random, words: list[bytes], size: int) -> bytes:
    text = b" ".join(dice.choices(words, k=size // 10))[: size // 2]
    return text + dice.randbytes(size - len(text))


@contextmanager
def room(needed: int) -> Iterator[tuple[Path, str]]:
    """A folder for trees of so many bytes, and in words where it is."""
    place, words = _place(needed)
    folder = Path(tempfile.mkdtemp(prefix="spotrelay-bench-", dir=place))
    try:
        yield folder, words
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _place(needed: int) -> tuple[str | None, str]:
    for mount in ("/dev/shm", *_memory_mounts()):
        with_room = os.access(mount, os.W_OK) and shutil.disk_usage(mount).free > needed
        if with_room and free_memory() > needed:
            return mount, f"in memory ({mount})"
    return None, f"on disk ({tempfile.gettempdir()}): no tmpfs with {needed >> 20} MiB to spare"


def _memory_mounts() -> list[str]:
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    return [fields[1] for fields in mounts if fields[2] == "tmpfs" and not fields[1].startswith(("/run", "/sys"))]


def free_memory() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
