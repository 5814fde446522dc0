"""Row F: a command that computes and writes in a large tree, alone and beside our saves. How much it is slowed.

The tree was saved before; then the agent's `Saver` runs in a process of its own, at rest during every other run of the
command. The server takes its seconds on this machine, too, which S3 does not: the figures are upper bounds.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

from . import worker
from .driven import Driven, driven
from .measure import Measured
from .moves import empty
from .plan import Bench
from .sample import Role, Sample
from .workloads import write_noise

ROW = "F"
FILE = 256 << 20
DIRTY = 0.02
# Several checkpoints and saves fall into each run of the command.
SAVE_EVERY_S = 5
RUN_S = 20


def slowed(bench: Bench, tree: Path) -> Iterator[Sample]:
    size = bench.sizes.beside_bytes
    with empty(tree):
        dice = random.Random(5)
        for number in range(max(1, size // FILE)):
            write_noise(tree / f"data-{number:03d}.bin", min(FILE, size), dice)
        bench.site.clear()
        with driven(bench, "beside", tree, str(SAVE_EVERY_S)) as ours:
            for number in range(bench.runs):
                yield from _both(bench, tree, ours, number)


def _both(bench: Bench, tree: Path, ours: Driven, number: int) -> Iterator[Sample]:
    """Which comes first, alternates."""
    found: dict[bool, tuple[Measured, dict[str, float]]] = {}
    for beside in (False, True) if number % 2 else (True, False):
        if beside:
            ours.tell()
        found[beside] = _command(bench, tree)
        if beside:
            ours.tell()
            ours.wait_until_ready()
    (alone, without), (together, with_us) = found[False], found[True]
    yield Sample(ROW, "the command alone", Role.LIMIT, alone)
    figures = {
        "computing slowed %": 100 * (with_us["step_s"] / without["step_s"] - 1),
        "writing slowed %": 100 * (with_us["write_s"] / without["write_s"] - 1),
    }
    yield Sample(ROW, "beside spotrelay", Role.OURS, together, bench.site.counts(), figures)


def _command(bench: Bench, tree: Path) -> tuple[Measured, dict[str, float]]:
    size = int(bench.sizes.beside_bytes * DIRTY)
    ran = bench.run(bench.limit, worker.command(tree, RUN_S, size), tree)
    if ran.failed:
        raise RuntimeError(ran.said)
    return ran, json.loads(ran.said)
