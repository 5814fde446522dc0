"""Us, through the public door, one process a measurement as a peer's is one.

    python -m bench.ours save STORE DIRECTORY
    python -m bench.ours restore STORE DIRECTORY
    python -m bench.ours again STORE DIRECTORY

`again` is for what a running agent does: its index of the last save is in its memory. It saves (nobody measures that),
says `ready`, waits for a line (meanwhile the tree is changed), saves a second time, and prints what that cost as JSON:
wall, CPU seconds and peak memory of this process from the line to the commit, without the interpreter's start. Each
further line is a further save.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import sys
import time
from pathlib import Path

from spotrelay.aws.store import open_store
from spotrelay.core.keys import SnapshotId
from spotrelay.snapshot.snapshots import Snapshots

RUN = "bench"


async def main() -> None:
    action, store, directory = sys.argv[1:]
    idle = high_water()
    snapshots = Snapshots(open_store(store), RUN, Path(directory))
    match action:
        case "save":
            await snapshots.save(SnapshotId(1, 1))
        case "restore":
            await snapshots.restore((await snapshots.list())[-1])
        case "again":
            await snapshots.save(SnapshotId(1, 1))
            number = 1
            print("ready", flush=True)
            while await asyncio.to_thread(sys.stdin.readline):
                number += 1
                print(json.dumps(await once_more(snapshots, SnapshotId(1, number)) | {"idle_rss": idle}), flush=True)


async def once_more(snapshots: Snapshots, snapshot: SnapshotId) -> dict[str, float]:
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark begins anew
    cpu, began = sum(os.times()[:2]), time.monotonic()
    saved = await snapshots.save(snapshot)
    return {
        "wall_s": time.monotonic() - began,
        "cpu_s": sum(os.times()[:2]) - cpu,
        "peak_rss": high_water(),
        "new_bytes": saved.new_bytes,
        "files": saved.files,
    }


def high_water() -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) << 10


if __name__ == "__main__":
    asyncio.run(main())
