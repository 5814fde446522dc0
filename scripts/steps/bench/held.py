"""Row `memory`: what a save and a restore hold at most, for the trees that could make it much.

    with holes   one file of 100 GiB with 16 KiB in every 4 MiB: four times as many extents as one without holes has
    dense        one file of 4 GiB, half text, over a line of 100 ms a request: then as many packs are on their way as
                 the budget allows, and each is there twice. Saved into a store that forgets; half of it is restored
    many         1,000,000 files of 1 KiB, saved for the first time and restored over themselves: the machine need not
                 have room for two such trees

Allowed is what the process holds before it begins, the budget, and so much for each entry. Once each, however many runs
there are: it is the most that counts, which a median would hide.
"""

from __future__ import annotations

import hashlib
import os
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from . import compare
from .contenders import Command
from .measure import measure
from .moves import empty
from .plan import Bench
from .sample import Role, Sample
from .workloads import half_text, vocabulary

KIB, MIB = 1 << 10, 1 << 20
# snapshots.MEMORY_MIB. The bench's own environment need not have us in it.
MEMORY_MIB = 512
ISLAND, EVERY = 16 * KIB, 4 * MIB
# Files in a directory: as in data sets of single samples.
TOGETHER = 1_000
FAR_S = 0.1
# Stated beside run.toml's memory_mib.
AN_ENTRY = 400

Check = Callable[[], list[str]]


class Held:
    """What is measured, against what is allowed."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        begins = [sys.executable, "-c", f"import {__package__}.ours"]
        self._idle = measure(begins, bench.ours.environment(bench.site)).peak_rss

    def sample(self, row: str, command: Command, cwd: Path, entries: int, check: Check = list) -> Sample:
        bench = self._bench
        bench.site.counts()
        measured = bench.run(bench.ours, command, cwd)
        allowed = self._idle + (MEMORY_MIB << 20) + entries * AN_ENTRY
        figures = {"MiB": measured.peak_rss / MIB, "MiB allowed": allowed / MIB}
        wrong = [measured.said.strip()[-500:]] if measured.failed else check()
        if measured.peak_rss > allowed:
            wrong.append(f"{measured.peak_rss / MIB:.0f} MiB, and {allowed / MIB:.0f} are allowed")
        return Sample(row, bench.ours.name, Role.OURS, measured, bench.site.counts(), figures, wrong)


def held(bench: Bench, tree: Path) -> Iterator[Sample]:
    against = Held(bench)
    for case in (_with_holes, _dense, _many):
        with empty(tree):
            yield from case(bench, against, tree)
    bench.site.clear()


def _with_holes(bench: Bench, against: Held, tree: Path) -> Iterator[Sample]:
    size, dice = bench.sizes.sparse_bytes, random.Random(5)
    with (tree / "sparse.bin").open("wb") as file:
        for at in range(0, size - ISLAND, EVERY):
            os.pwrite(file.fileno(), dice.randbytes(ISLAND), at)
        file.truncate(size)
    name = f"{size >> 30} GiB with holes"
    bench.prepare(bench.ours)
    yield against.sample(f"save, {name}", bench.ours.up(bench.site, tree), tree, 1)
    with empty(bench.folder / "back") as back:
        same = lambda: _same_islands(tree / "sparse.bin", back / "sparse.bin")  # noqa: E731
        yield against.sample(f"restore, {name}", bench.ours.down(bench.site, back), back, 1, same)


def _same_islands(one: Path, other: Path) -> list[str]:
    """Reading all of the holes would take a minute."""
    about, found = one.stat(), other.stat()
    if (about.st_size, about.st_blocks) != (found.st_size, found.st_blocks):
        return [f"{found.st_blocks} blocks of {found.st_size} bytes, and there were {about.st_blocks}"]
    with one.open("rb") as left, other.open("rb") as right:
        for at in range(0, about.st_size, EVERY):
            if os.pread(left.fileno(), ISLAND, at) != os.pread(right.fileno(), ISLAND, at):
                return [f"other bytes at {at}"]
    return []


def _dense(bench: Bench, against: Held, tree: Path) -> Iterator[Sample]:
    size, dice = bench.sizes.dense_bytes, random.Random(6)
    text = half_text(dice, vocabulary(dice), MIB)[: MIB // 2]
    with (tree / "dense.bin").open("wb") as file:
        for _ in range(0, size, MIB):
            file.write(text + dice.randbytes(MIB // 2))
    bench.prepare(bench.ours)
    bench.site.behave(latency_s=FAR_S, forget=True)
    yield against.sample(f"save, {size >> 20} MiB dense", bench.ours.up(bench.site, tree), tree, 1)
    os.truncate(tree / "dense.bin", size // 2)
    bench.site.behave(latency_s=FAR_S)
    bench.prepare(bench.ours)
    bench.run(bench.ours, bench.ours.up(bench.site, tree), tree)
    with empty(bench.folder / "back") as back:
        same = lambda: compare.differences(tree, back, faithful=True)  # noqa: E731
        yield against.sample(f"restore, {size >> 21} MiB dense", bench.ours.down(bench.site, back), back, 1, same)
    bench.site.behave()


def _many(bench: Bench, against: Held, tree: Path) -> Iterator[Sample]:
    files, dice = bench.sizes.entries, random.Random(7)
    noise = dice.randbytes(MIB)
    for number in range(files):
        folder = tree / f"part-{number // TOGETHER:05d}"
        if not number % TOGETHER:
            folder.mkdir()
        at = dice.randrange(MIB - KIB)
        (folder / f"sample-{number % TOGETHER:03d}.json").write_bytes(noise[at : at + KIB])
    entries, was = files + files // TOGETHER, _told(tree)
    bench.prepare(bench.ours)
    yield against.sample(f"save, {files:,} files", bench.ours.up(bench.site, tree), tree, entries)
    same = lambda: [] if was == _told(tree) else ["the files are not what they were"]  # noqa: E731
    yield against.sample(f"restore, {files:,} files", bench.ours.down(bench.site, tree), tree, entries, same)


def _told(tree: Path) -> str:
    """All names, modes, times and bytes, in a few."""
    digest = hashlib.blake2b(digest_size=16)
    for folder, folders, names in os.walk(tree):
        folders.sort()
        for name in sorted(names):
            with open(f"{folder}/{name}", "rb", buffering=0) as file:  # noqa: PTH123 - a Path each costs more
                about = os.fstat(file.fileno())
                digest.update(f"{folder}/{name} {about.st_mode} {about.st_mtime_ns} ".encode() + file.read())
    return digest.hexdigest()
