"""Row F: a command that computes and writes in a large tree, alone and beside our saves. How much it is slowed.

The tree was saved before; then the agent's `Saver` runs in a process of its own, at rest during every other run of the
command. Short runs, many pairs, and the median of the pairs: what else the machine does is slower than that.

A save begins with the command and has the default interval's time, so it is under way as long as the command is looked
at. In a run's life that is so for some seconds of five minutes. And the server takes its seconds on this machine, which
S3 does not. So the figures are upper bounds.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

from . import worker
from .driven import Driven, driven
from .measure import Measured, cpu_s
from .moves import empty
from .plan import Bench
from .sample import Role, Sample
from .workloads import write_noise

ROW = "F"
FILE = 256 << 20
# What a checkpoint writes anew: 2 % of 10 GiB.
DIRTY = 0.02
PAIRS = 3


def slowed(bench: Bench, tree: Path) -> Iterator[Sample]:
    size = bench.sizes.beside_bytes
    with empty(tree):
        dice = random.Random(5)
        for number in range(max(1, size // FILE)):
            write_noise(tree / f"data-{number:03d}.bin", min(FILE, size), dice)
        bench.site.clear()
        bench.site.behave(forget=1)
        with driven(bench, "beside", tree) as ours:
            _command(bench, tree)  # so that there is something to save from the first moment on
            for number in range(bench.runs * PAIRS):
                yield from _both(bench, tree, ours, number)
        bench.site.behave()


def _both(bench: Bench, tree: Path, ours: Driven, number: int) -> Iterator[Sample]:
    """Which comes first, alternates."""
    found: dict[bool, tuple[Measured, dict[str, float]]] = {}
    bench.site.counts()
    spent_s = cpu_s(ours.pid)
    for beside in (False, True) if number % 2 else (True, False):
        if beside:
            ours.tell()
        found[beside] = _command(bench, tree)
        if beside:
            ours.tell()
            ours.wait_until_ready()
    spent_s = cpu_s(ours.pid) - spent_s
    (alone, without), (together, with_us) = found[False], found[True]
    counts = bench.site.counts()
    yield Sample(ROW, "the command alone", Role.LIMIT, alone)
    figures = {
        "computing slowed %": 100 * (with_us["step_s"] / without["step_s"] - 1),
        "writing slowed %": 100 * (with_us["write_s"] / without["write_s"] - 1),
        "our CPU, % of a core": 100 * spent_s / together.wall_s,
        "MiB sent": counts.get("bytes_in", 0) / (1 << 20),
    }
    yield Sample(ROW, "beside spotrelay", Role.OURS, together, counts, figures)


def _command(bench: Bench, tree: Path) -> tuple[Measured, dict[str, float]]:
    size = int(bench.sizes.beside_bytes * DIRTY)
    ran = bench.run(bench.limit, worker.command(tree, bench.sizes.beside_s, size), tree)
    if ran.failed:
        raise RuntimeError(ran.said)
    return ran, json.loads(ran.said)
