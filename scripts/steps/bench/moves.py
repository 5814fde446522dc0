"""Rows A, B and D: a whole tree up, and down again into an empty directory.

Every upload is followed by the download that proves it, whether or not that is a row that was asked for.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .compare import differences
from .contenders import Contender
from .measure import Measured
from .plan import Bench
from .sample import Role, Sample

# A peer that takes so many times as long as the fastest of them has shown what there is to see: it is not asked again.
HOPELESS = 10


def moved(name: str, bench: Bench, tree: Path) -> Iterator[Sample]:
    """Samples of the rows `NAME up` and `NAME down`."""
    peers: dict[str, float] = {}
    for number in range(bench.runs):
        for contender in bench.turns(number):
            if contender.name in peers and peers[contender.name] > HOPELESS * min(peers.values()):
                continue
            for sample in _there_and_back(name, bench, tree, contender):
                if contender.role is Role.PEER:
                    peers.setdefault(contender.name, sample.measured.wall_s)
                yield sample


def _there_and_back(name: str, bench: Bench, tree: Path, contender: Contender) -> Iterator[Sample]:
    bench.prepare(contender)
    up = bench.run(contender, contender.up(bench.site, tree), tree)
    yield _sample(f"{name} up", contender, up, bench)
    if up.failed:
        return
    with empty(bench.folder / "back") as back:
        down = bench.run(contender, contender.down(bench.site, back), back)
        wrong = [] if down.failed else differences(tree, back, faithful=contender.faithful)
        yield _sample(f"{name} down", contender, down, bench, wrong)


def _sample(row: str, contender: Contender, measured: Measured, bench: Bench, wrong: Sequence[str] = ()) -> Sample:
    problems = [measured.said.strip()[-500:]] if measured.failed else list(wrong)
    ours = contender.role is Role.OURS and not measured.failed
    figures = json.loads(measured.said) if ours else {}
    return Sample(row, contender.name, contender.role, measured, bench.site.counts(), figures, problems)


@contextmanager
def empty(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
