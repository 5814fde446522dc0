"""Row E: a million entries, and nothing has changed. What a background save of a quiet directory costs.

Beside a bare `find -printf` of what a save must look at. Memory is what the process holds at its peak during that
save, its index of the last one included, less what it held before it had seen the tree; over the number of entries.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from .driven import driven
from .measure import measure
from .plan import Bench
from .sample import Role, Sample

ROW = "E"
# Files in a directory: as in data sets of single samples.
TOGETHER = 200
LOOKED_AT = "%y %m %U %G %s %T@ %C@ %i %n %p\\n"


def nothing_changed(bench: Bench, tree: Path) -> Iterator[Sample]:
    entries = many(tree, bench.sizes.entries)
    bench.site.clear()
    find = ["find", str(tree), "-printf", LOOKED_AT]
    with driven(bench, "again", tree) as ours:
        for _ in range(bench.runs):
            yield Sample(ROW, "find -printf", Role.LIMIT, measure(find, bench.ours.environment(bench.site)))
            bench.site.counts()
            measured, told = ours.again()
            figures = {"bytes of memory an entry": (measured.peak_rss - told["idle_rss"]) / entries}
            wrong = [f"{told['new_bytes']:.0f} bytes of packs were sent"] if told["new_bytes"] else []
            yield Sample(ROW, bench.ours.name, Role.OURS, measured, bench.site.counts(), figures, wrong)


def many(tree: Path, entries: int) -> int:
    """So many files and directories, each file with a few bytes of its own."""
    made = 0
    while made < entries:
        folder = tree / f"part-{made // (TOGETHER + 1):05d}"
        folder.mkdir(parents=True)
        names = range(min(TOGETHER, entries - made - 1))
        for name in names:
            (folder / f"sample-{name:03d}.json").write_text(f'{{"n": {made + name}}}')
        made += 1 + len(names)
    # A file that changed within the clock's last ticks is read again next time: not what this row is about.
    time.sleep(0.1)
    return made
