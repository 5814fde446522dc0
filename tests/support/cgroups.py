"""Cgroups of this computer's kernel, of either version."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def limited(memory: int) -> Iterator[Path]:
    """One whose processes get so many bytes together. Skips where none can be had; root alone makes any."""
    mounted, limit = _with_memory()
    folder = mounted / f"spotrelay-test-{secrets.token_hex(4)}"
    try:
        folder.mkdir()
        (folder / limit).write_text(str(memory))
    except OSError as error:
        pytest.skip(f"no memory can be limited here: {error}")
    try:
        yield folder
    finally:
        folder.rmdir()


def _with_memory() -> tuple[Path, str]:
    """Where it is mounted, and the file of the limit."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, options, *_ = line.split()
        words = options.split(",")
        if kind == "cgroup" and "memory" in words and "rw" in words:
            return Path(place), "memory.limit_in_bytes"
        file = Path(place, "cgroup.subtree_control")
        if kind == "cgroup2" and "rw" in words and file.is_file() and "memory" in file.read_text().split():
            return Path(place), "memory.max"
    pytest.skip("no cgroups here that count memory")
