"""Row F: a command that computes and writes in a large tree, alone and beside our saves. How much it is slowed.

One command all the time, and one process of ours in which the agent's `Saver` saves and rests in turns: two processes
of the same program differ by more than what is looked for. Each turn beside us is held against the turns before and
after it, and so what else the machine does falls out as far as it is slower than that: hence short turns, and many. By
the same measure each turn alone is held against its neighbours: whatever it is then "slowed" by is the noise of this
machine, and no figure means anything that is not larger.

Wall time is what a person sees; CPU seconds tell the same of caches and locks where others use the machine, too.

A save begins with our turn and has the default interval's time, so it is under way as long as the command is looked
at. In a run's life that is so for some seconds of five minutes. And the server takes its seconds on this machine, which
S3 does not. So the figures are upper bounds.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from . import worker
from .driven import Driven, driven, started
from .measure import Measured, cpu_s, resident
from .moves import empty
from .plan import Bench
from .sample import Role, Sample
from .workloads import write_noise

ROW = "F"
FILE = 256 << 20
# What a checkpoint writes anew: 2 % of 10 GiB.
DIRTY = 0.02
# In so many, a save is at work for 0.05, its first pieces included.
TURN_S = 3
PAIRS = 10

# What a checkpoint took, by name: see worker.
Took = dict[str, float]


def slowed(bench: Bench, tree: Path) -> Iterator[Sample]:
    size = bench.sizes.beside_bytes
    with empty(tree):
        dice = random.Random(5)
        for number in range(max(1, size // FILE)):
            write_noise(tree / f"data-{number:03d}.bin", min(FILE, size), dice)
        bench.site.clear()
        bench.site.behave(forget=1)
        command = worker.command(tree, int(size * DIRTY))
        with driven(bench, "beside", tree) as ours, started(command, bench.limit.environment(bench.site)) as worked:
            yield from _in_turns(bench, ours, worked)
            worked.kill()
        bench.site.behave()


def _in_turns(bench: Bench, ours: Driven, worked: Driven) -> Iterator[Sample]:
    before, alone = None, _turn(worked)
    for _ in range(bench.runs * PAIRS):
        beside, seen = _beside(bench, ours, worked)
        after = _turn(worked)
        if before is not None:
            yield _sample("the command alone", Role.LIMIT, worked, alone, _slowed(alone, before, after))
        yield _sample("beside spotrelay", Role.OURS, worked, beside, _slowed(beside, alone, after) | seen)
        before, alone = alone, after


def _beside(bench: Bench, ours: Driven, worked: Driven) -> tuple[Took, Took]:
    """What it took, and what we did meanwhile."""
    bench.site.counts()
    spent, began = cpu_s(ours.pid), time.monotonic()
    ours.tell()
    took = _turn(worked, rest=False)
    spent, seconds = cpu_s(ours.pid) - spent, time.monotonic() - began
    ours.tell()
    ours.wait_until_ready()
    sent = bench.site.counts().get("bytes_in", 0) / (1 << 20)
    return took, {"our CPU, % of a core": 100 * spent / seconds, "MiB sent": sent}


def _turn(worked: Driven, *, rest: bool = True) -> Took:
    """The mean of the checkpoints of a turn. `rest`: but not of one that has begun already."""
    now = time.monotonic()
    while rest and worked.json()["ended"] < now:
        pass
    took = [worked.json()]
    while time.monotonic() < now + TURN_S:
        took.append(worked.json())
    return {name: statistics.mean(each[name] for each in took) for name in took[0]}


def _slowed(one: Took, *neighbours: Took) -> Took:
    def by(name: str) -> float:
        return 100 * (one[name] / statistics.mean(each[name] for each in neighbours) - 1)

    names = ("computing", "computing, CPU", "writing", "writing, CPU")
    return {f"{name} slowed %": by(name) for name in names}


def _sample(who: str, role: Role, worked: Driven, took: Took, figures: Took) -> Sample:
    measured = Measured(took["wall_s"], took["cpu_s"], resident(worked.pid)[1])
    return Sample(ROW, who, role, measured, figures=figures, note="seconds of one checkpoint")
