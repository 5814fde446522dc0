"""Row C: A and B are there already, something has changed, up.

Peers keep nothing between two of their processes (restic: a cache, which it keeps here, too). Each begins from what its
layout left of the unchanged tree, made once and forked: the layout of one object a file is the same for three of them.
Our agent lives beside the command and has its index in memory, so we are measured within one process, without the start
of the interpreter, which rows A and B include.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from . import compare, workloads
from .changes import changed
from .contenders import Contender
from .driven import driven
from .moves import empty
from .plan import Bench
from .sample import Role, Sample
from .site import BUCKET

ROW = "C up"


def saved_again(bench: Bench, tree: Path) -> Iterator[Sample]:
    workloads.large(tree / "large", bench.sizes)
    workloads.small(tree / "small", bench.sizes)
    bench.site.clear()
    bases = set[str]()
    for number in range(bench.runs):
        for contender in bench.turns(number, limit=False):
            yield _ours(bench, tree) if contender.role is Role.OURS else _peer(bench, tree, contender, bases)


def _ours(bench: Bench, tree: Path) -> Sample:
    bench.site.empty(BUCKET)
    with (
        driven(bench, "again", tree) as ours,
        empty(bench.folder / "aside") as aside,
        changed(tree, aside) as new,
    ):
        bench.site.counts()
        measured, _ = ours.again()
        counts = bench.site.counts()
        wrong = _brought_back(bench, tree, bench.ours)
    figures = {"sent/changed": counts["bytes_in"] / new}
    return Sample(ROW, bench.ours.name, bench.ours.role, measured, counts, figures, wrong)


def _peer(bench: Bench, tree: Path, contender: Contender, bases: set[str]) -> Sample:
    site, base = bench.site, f"base-{contender.layout}"
    if contender.layout and contender.layout not in bases:
        site.empty(BUCKET)
        for command in [*contender.prepare(site), contender.up(site, tree)]:
            if (done := bench.run(contender, command, tree)).failed:
                return Sample(ROW, contender.name, contender.role, done, wrong=[done.said])
        site.fork(BUCKET, base)
        bases.add(contender.layout)
    if contender.layout:
        site.fork(base, BUCKET)
    else:
        site.empty(BUCKET)
    with empty(bench.folder / "aside") as aside, changed(tree, aside) as new:
        site.counts()
        measured = bench.run(contender, contender.again(site, tree), tree)
        counts = site.counts()
        wrong = [measured.said] if measured.failed else _brought_back(bench, tree, contender)
    figures = {"sent/changed": counts["bytes_in"] / new}
    return Sample(ROW, contender.name, contender.role, measured, counts, figures, wrong)


def _brought_back(bench: Bench, tree: Path, contender: Contender) -> list[str]:
    """What differs. One object a file is compared where it lies: bringing 20,000 back takes some peers a minute."""
    if contender.layout == "objects":
        stored = {key.removeprefix("tree/"): value for key, value in bench.site.hashes().items()}
        wanted = compare.hashes(tree)
        names = sorted(stored.keys() | wanted.keys())
        return [f"{name} is not as it was" for name in names if stored.get(name) != wanted.get(name)][:5]
    with empty(bench.folder / "back") as back:
        done = bench.run(contender, contender.down(bench.site, back), back)
        return [done.said] if done.failed else compare.differences(tree, back, faithful=contender.faithful)
