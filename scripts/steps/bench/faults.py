"""Rows of a store that is not well: what was saved is right, what was restored is right, or it is refused.

Each save is held against a restore from the same store made well, and each restore is of a save made in health. Right
is: to the last byte. The last row asks what happens when the time for a save is over.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from . import compare, workloads
from .driven import driven
from .measure import Measured
from .moves import empty
from .plan import Bench
from .sample import Role, Sample

# Of the requests.
FAULTS = {
    "503 to 20 %": {"refuse": 0.2},
    "cut in the body": {"cut": 0.2},
    "stalls of 2 s": {"stall": 0.1, "stall_s": 2.0},
    "stalls of 30 s": {"stall": 0.1, "stall_s": 30.0},
    "a byte flipped": {"flip": 0.2},
}
# One round of it in so many of the others: it takes more than a minute. An attempt ends before such a stall does.
SELDOM = {"stalls of 30 s": 5}
# Of the workloads' sizes.
SMALLER = 4
STRUCK = ("refused", "cut", "stalled", "flipped")
DEADLINE_S = 3
# Longer than any pause before another attempt.
WATCHED_S = 5


def unwell(bench: Bench, tree: Path) -> Iterator[Sample]:
    sizes = bench.sizes.smaller(SMALLER)
    workloads.large(tree / "large", sizes)
    workloads.small(tree / "small", sizes)
    for name, mischief in FAULTS.items():
        for number in range(bench.runs // SELDOM.get(name, 1)):
            bench.prepare(bench.ours)
            bench.site.behave(**mischief, seed=number + 1)
            saved = bench.run(bench.ours, bench.ours.up(bench.site, tree), tree)
            counts = bench.site.counts()
            bench.site.behave()
            yield _sample(f"save, {name}", saved, counts, [] if saved.failed else _restored(bench, tree)[1])
            if saved.failed:
                bench.prepare(bench.ours)
                bench.run(bench.ours, bench.ours.up(bench.site, tree), tree)
            bench.site.behave(**mischief, seed=number + 1)
            restored, wrong = _restored(bench, tree)
            counts = bench.site.counts()
            bench.site.behave()
            yield _sample(f"restore, {name}", restored, counts, wrong)
    for number in range(bench.runs):
        yield _out_of_time(bench, tree, number)


def _restored(bench: Bench, tree: Path) -> tuple[Measured, list[str]]:
    with empty(bench.folder / "back") as back:
        done = bench.run(bench.ours, bench.ours.down(bench.site, back), back)
        return done, [] if done.failed else compare.differences(tree, back, faithful=True)


def _sample(row: str, measured: Measured, counts: dict[str, float], wrong: list[str]) -> Sample:
    """To end with an error is allowed, if it is one of ours; a traceback is not."""
    said = measured.said.strip().splitlines()[-1:] if measured.failed else []
    refused = bool(said) and said[0].startswith("refused: ")
    problems = wrong if not measured.failed or refused else said
    figures = {"struck": sum(counts.get(kind, 0) for kind in STRUCK)}
    note = " ".join(said[0].split()[:2]).rstrip(":") if refused else "right"
    return Sample(row, "spotrelay", Role.OURS, measured, counts, figures, problems, note)


def _out_of_time(bench: Bench, tree: Path, seed: int) -> Sample:
    """A store so slow that the deadline must pass: then nothing is sent, though it is well again, and nothing is there.
    Contents and manifest cannot both arrive in three seconds, as each takes two."""
    bench.prepare(bench.ours)
    bench.site.behave(refuse=0.2, stall=1, stall_s=2.0, seed=seed)
    with driven(bench, "until", tree, str(DEADLINE_S)) as ours:
        bench.site.behave()
        began = time.monotonic()
        bench.site.counts()
        time.sleep(WATCHED_S)
        counts = bench.site.counts()
        (told,) = ours.said
    late = sum(int(counts.get(method, 0)) for method in ("PUT", "POST"))
    wrong = [f"{late} requests after the deadline"] if late else []
    if any("/snapshots/" in key for key in bench.site.hashes()) or not told["refused"]:
        wrong.append("it was committed")
    measured = Measured(time.monotonic() - began, 0.0, 0)
    figures = {"s after the deadline": told["late_s"]}
    return Sample("deadline", "spotrelay", Role.OURS, measured, counts, figures, wrong)
