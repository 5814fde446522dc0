"""Us, through the public door, one process a measurement as a peer's is one.

    python -m bench.ours save STORE DIRECTORY
    python -m bench.ours restore STORE DIRECTORY
    python -m bench.ours again STORE DIRECTORY
    python -m bench.ours beside STORE DIRECTORY SECONDS
    python -m bench.ours until STORE DIRECTORY SECONDS

The first two print the seconds that the save or restore itself took, as JSON.

`again` and `beside` do what a running agent does: its index of the last save is in its memory. Both save (nobody
measures that) and say `ready`. Then `again` saves once more for each line that it is told, and prints as JSON what that
cost: wall, CPU seconds and peak memory of this process from the line to the commit, without the interpreter's start.
`beside` saves every so many seconds in the background, as the agent does, from one line to the next, and says `ready`
again. `until` saves once, until a deadline, says `ready` and lives on, so that whatever still happened would be seen.
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
from spotrelay.core.errors import SaveFailed, SpotrelayError
from spotrelay.core.keys import SnapshotId
from spotrelay.snapshot.snapshots import Snapshots

RUN = "bench"
FIRST = SnapshotId(1, 0)


async def main() -> None:
    action, store, directory, *rest = sys.argv[1:]
    idle = high_water()
    snapshots = Snapshots(open_store(store), RUN, Path(directory))
    match action:
        case "save":
            saved = await snapshots.save(FIRST)
            say(json.dumps({"without its start, s": saved.seconds}))
        case "restore":
            restored = await snapshots.restore((await snapshots.list())[-1])
            say(json.dumps({"without its start, s": restored.seconds}))
        case "again":
            await again(snapshots, idle)
        case "beside":
            await beside(snapshots, float(rest[0]))
        case "until":
            await until(snapshots, float(rest[0]))


async def again(snapshots: Snapshots, idle: int) -> None:
    await snapshots.save(FIRST)
    number = 0
    say("ready")
    while await told():
        number += 1
        say(json.dumps(await once_more(snapshots, SnapshotId(1, number)) | {"idle_rss": idle}))


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


async def beside(snapshots: Snapshots, every_s: float) -> None:
    # Late: it costs the other actions a quarter of a second.
    import structlog  # noqa: PLC0415

    from spotrelay.saving import Saver  # noqa: PLC0415

    quiet = structlog.make_filtering_bound_logger(30)
    logged = structlog.PrintLoggerFactory(sys.stderr)  # our output is JSON
    structlog.configure(wrapper_class=quiet, logger_factory=logged)
    saver = Saver(snapshots, 1, told=lambda saved: say(json.dumps({"new_bytes": saved.new_bytes})))
    await saver.save()
    say("ready")
    while await told():
        saver.start(every_s)
        if not await told():
            break
        await saver.stop()
        say("ready")
    await saver.stop()


async def until(snapshots: Snapshots, seconds: float) -> None:
    began = time.monotonic()
    try:
        await snapshots.save(FIRST, deadline=began + seconds)
        refused = 0
    except SaveFailed:
        refused = 1
    say(json.dumps({"refused": refused, "late_s": time.monotonic() - began - seconds}))
    say("ready")
    await told()


async def told() -> str:
    """The next line; empty at the end."""
    return await asyncio.to_thread(sys.stdin.readline)


def say(line: str) -> None:
    print(line, flush=True)


def high_water() -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) << 10


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except SpotrelayError as error:
        sys.exit(f"refused: {type(error).__name__}: {error}")
