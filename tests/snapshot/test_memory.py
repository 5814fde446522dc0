"""What a save and a restore hold at a time, of trees many times as large. The bench's row `memory` measures the same in
full size, in whole processes."""

from __future__ import annotations

import asyncio
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from spotrelay.aws.store import open_store
from spotrelay.snapshot import Snapshots
from support.stores import FIRST, RUN

MIB = 1 << 20
# Of which two packs are on their way: 32 MiB each, raw and compressed.
BUDGET_MIB = 64
# Rows, tasks, threads: 1 was seen.
BESIDES_MIB = 8


def noise(here: Path) -> None:
    with (here / "noise").open("wb") as file:
        for _ in range(160):
            file.write(os.urandom(MIB))


def words(here: Path) -> None:
    with (here / "log").open("wb") as file:
        for number in range(160):
            file.write((f"{number:8} " + os.urandom(8).hex() * 2).encode() * (MIB // 41))


def holes(here: Path) -> None:
    with (here / "map").open("wb") as file:
        for at in range(2500):
            os.pwrite(file.fileno(), b"island", at * 4 * MIB)


def small(here: Path) -> None:
    data = os.urandom(32 * 1024)
    for number in range(3000):
        (here / str(number)).write_bytes(data[number:])


@pytest.mark.parametrize("write", [noise, words, holes, small])
async def test_more_than_the_budget_is_never_held(
    write: Callable[[Path], None], here: Path, there: Path, tmp_path: Path
) -> None:
    """160 MiB, a sparse file of 10 GiB, thousands of files: the budget is kept, each way. Otherwise the agent takes the
    memory that the command was counting on, and the kernel ends one of them."""
    here.mkdir()
    await asyncio.to_thread(write, here)
    store = open_store((tmp_path / "store").as_uri())
    saving = Snapshots(store, RUN, here, memory_mib=BUDGET_MIB)
    restoring = Snapshots(store, RUN, there, memory_mib=BUDGET_MIB)

    tracemalloc.start()
    try:
        await saving.save(FIRST)
        saved = tracemalloc.get_traced_memory()[1]
        del saving
        tracemalloc.reset_peak()
        await restoring.restore(FIRST)
        restored = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert max(saved, restored) < (BUDGET_MIB + BESIDES_MIB) * MIB, f"{saved / MIB:.0f} and {restored / MIB:.0f} MiB"
