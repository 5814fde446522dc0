"""Row G: the command has written its last checkpoint and exited. What is sent, and how long until it is committed.

Allowed are 0.3 s and 1.3 times what the bytes take at the line's rate: that of the same connections that send the same
number of bytes and do nothing else (`leanest wire`). The
line is measured before each of ours.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from . import compare
from .driven import driven
from .moves import empty
from .plan import Bench
from .sample import Sample
from .workloads import write_noise

ROW = "G"
FILES = 4


def last_checkpoint(bench: Bench, tree: Path) -> Iterator[Sample]:
    size = bench.sizes.checkpoint_bytes // FILES
    dice = random.Random(4)
    with empty(tree):
        write_noise(tree / "earlier.bin", size // 2, dice)
        for _ in range(bench.runs):
            line_s = the_line(bench, size * FILES)
            bench.prepare(bench.ours)
            with driven(bench, "again", tree) as ours:
                for number in range(FILES):
                    write_noise(tree / f"checkpoint-{number}.bin", size, dice)
                bench.site.counts()
                measured, _ = ours.again()
                counts = bench.site.counts()
            figures = {
                "sent/changed": counts["bytes_in"] / (size * FILES),
                "wall/allowed": measured.wall_s / (0.3 + 1.3 * line_s),
            }
            wrong = _brought_back(bench, tree)
            yield Sample(ROW, bench.ours.name, bench.ours.role, measured, counts, figures, wrong)
            for number in range(FILES):
                (tree / f"checkpoint-{number}.bin").unlink()


def the_line(bench: Bench, size: int) -> float:
    """Seconds that so many bytes take on it."""
    bench.site.clear()
    done = bench.run(bench.limit, bench.limit.wire(bench.site, size), bench.folder)
    if done.failed:
        raise RuntimeError(done.said)
    return float(done.said)


def _brought_back(bench: Bench, tree: Path) -> list[str]:
    with empty(bench.folder / "back") as back:
        done = bench.run(bench.ours, bench.ours.down(bench.site, back), back)
        return [done.said] if done.failed else compare.differences(tree, back, faithful=True)
