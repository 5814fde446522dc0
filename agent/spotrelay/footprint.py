"""How the agent stays small: it sits beside somebody's command for days, on that one's memory.

1. structlog draws tracebacks with rich wherever rich is installed, and imports it to see whether it is: 4 MiB for what
   a person at a terminal sees. The command line has rich for itself; here structlog is loaded as if there were none.
   So this module is the first that an agent imports.
2. What a restore or a save has let go of stays with the allocator, for a next time that is minutes away: of 300 MiB
   saved, 110 MiB. `stay_small` gives it back, as soon as nothing moves.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from pathlib import Path

# Half a minute's stillness, twice: a save that is under way would have to fetch again what it gives back.
LOOKS_S = 30.0
STILL = 1 << 20
# A trim takes 30 to 100 ms of a core, in a thread: less memory than this is not worth it.
WORTH = 8 << 20


def _load_structlog() -> None:
    if not {"structlog", "rich"} & sys.modules.keys():
        sys.modules["rich"] = None  # type: ignore[assignment]
        try:
            import structlog  # noqa: F401, PLC0415
        finally:
            del sys.modules["rich"]


_load_structlog()


async def stay_small(every_s: float = LOOKS_S) -> None:
    """Without end. Where the allocator is not glibc, it has its own ways."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    floor = before = resident()
    while trim is not None:
        await asyncio.sleep(every_s)
        now = resident()
        if now > floor + WORTH and abs(now - before) < STILL:
            await asyncio.to_thread(trim, 0)
            floor = now = resident()
        floor, before = min(floor, now), now


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
