"""What happens to a tree between two saves, and the way back: every contender meets the same change of the same tree.

What is undone has its old bytes, inode and modification time again; only ctime has moved.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .workloads import MIB, write_noise

TOUCHED = 100


@contextmanager
def changed(tree: Path, aside: Path, *, touched: int = TOUCHED, seed: int = 3) -> Iterator[int]:
    """One large file rewritten, 1 MiB appended to another, so many small ones with other content. The bytes that are
    new. `aside`: a folder on the same file system, for what was there."""
    dice = random.Random(seed)
    first, second, *_ = sorted((tree / "large").iterdir())
    small = sorted(path for path in (tree / "small").rglob("*") if path.is_file())
    with ExitStack() as undone:
        size = first.stat().st_size
        undone.enter_context(_replaced(first, aside / first.name))
        write_noise(first, size, dice)
        undone.enter_context(_appended(second, dice.randbytes(MIB)))
        new = size + MIB
        for path in dice.sample(small, min(touched, len(small))):
            data = path.read_bytes()
            undone.enter_context(_rewritten(path, dice.randbytes(len(data))))
            new += len(data)
        yield new


@contextmanager
def _replaced(path: Path, aside: Path) -> Iterator[None]:
    """Another file under its name, as checkpoints are written."""
    path.rename(aside)
    try:
        yield
    finally:
        aside.rename(path)


@contextmanager
def _appended(path: Path, data: bytes) -> Iterator[None]:
    before = path.stat()
    with path.open("ab") as file:
        file.write(data)
    try:
        yield
    finally:
        os.truncate(path, before.st_size)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@contextmanager
def _rewritten(path: Path, data: bytes) -> Iterator[None]:
    before, old = path.stat(), path.read_bytes()
    path.write_bytes(data)
    try:
        yield
    finally:
        path.write_bytes(old)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
