"""All runs, a line each: what `ls` prints.

Requests, whatever the runs' histories:

    in all            2   the runs' names and the marks of those that are not over, one more of each for every thousand
    a run not over    8   its glance (6) and what it has cost (2)
    a run over        2   outcome and cost (3 where only the attempt before has its cost written); none, as long as it
                          is only counted

So a bucket of ten thousand runs, three of them at work, is listed in 36 requests, and with all of them in some 20,000,
of which AT_ONCE are under way side by side.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from spotrelay.core import records
from spotrelay.person import runs
from spotrelay.person.glance import AT_ONCE, Glance, glance
from spotrelay.person.spending import spent
from spotrelay.ports import BrowsableStore


@dataclass(frozen=True, slots=True)
class Line:
    """`ledger`: what it has cost, as far as that is written; see spending.py."""

    glance: Glance
    ledger: records.Ledger | None


@dataclass(frozen=True, slots=True)
class Overview:
    """`lines`: the newest first. `over`: how many more there are, which are over."""

    lines: tuple[Line, ...]
    over: int


async def overview(store: BrowsableStore, *, everything: bool = False) -> Overview:
    """Raises StoreUnavailable, StoreDenied."""
    names, marked = await asyncio.gather(runs.names(store), runs.open_names(store))
    wanted = [name for name in names if everything or name in marked]
    turns = asyncio.Semaphore(AT_ONCE)

    async def line(name: str) -> Line:
        async with turns:
            seen = await glance(store, name)
            return Line(seen, await spent(store, name, seen.attempt))

    lines = await asyncio.gather(*map(line, wanted))
    newest_first = sorted(lines, key=lambda each: (-each.glance.since, each.glance.name))
    return Overview(tuple(newest_first), len(names) - len(lines))
