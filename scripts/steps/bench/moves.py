"""Rows A, B and D: a whole tree up, and down again into an empty directory.

Every upload is followed by the download that proves it, whether or not that is a row that was asked for. Contenders
take turns, and each round begins with another one: what the machine does meanwhile, it does to all.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from .compare import differences
from .contenders import Contender
from .measure import Measured, measure
from .site import Site
from .table import Sample

# A peer that takes so many times as long as the fastest so far has shown what there is to see: it is not asked again.
HOPELESS = 10


def moved(name: str, site: Site, tree: Path, contenders: Sequence[Contender], runs: int) -> Iterator[Sample]:
    """Samples of the rows `NAME up` and `NAME down`."""
    walls: dict[str, float] = {}
    for number in range(runs):
        for contender in rotated(contenders, number):
            if contender.name in walls and walls[contender.name] > HOPELESS * min(walls.values()):
                continue
            samples = list(_there_and_back(name, site, tree, contender))
            walls[contender.name] = min(samples[0].measured.wall_s, walls.get(contender.name, float("inf")))
            yield from samples


def rotated(contenders: Sequence[Contender], by: int) -> list[Contender]:
    by %= len(contenders)
    return [*contenders[by:], *contenders[:by]]


def _there_and_back(name: str, site: Site, tree: Path, contender: Contender) -> Iterator[Sample]:
    site.clear()
    environment = contender.environment(site)
    for command in contender.prepare(site):
        prepared = measure([str(word) for word in command], environment)
        if prepared.failed:
            raise RuntimeError(f"{contender.name}: {prepared.said}")
    site.counts()
    up = measure([str(word) for word in contender.up(site, tree)], environment, cwd=tree)
    yield _sample(f"{name} up", contender, up, site)
    if up.failed:
        return
    back = tree.parent / "back"
    back.mkdir()
    try:
        down = measure([str(word) for word in contender.down(site, back)], environment, cwd=back)
        wrong = [] if down.failed else differences(tree, back, faithful=contender.faithful)
        yield _sample(f"{name} down", contender, down, site, wrong)
    finally:
        shutil.rmtree(back)


def _sample(row: str, contender: Contender, measured: Measured, site: Site, wrong: Sequence[str] = ()) -> Sample:
    problems = [measured.said.strip()[-500:]] if measured.failed else list(wrong)
    return Sample(row, contender.name, measured, site.counts(), problems)
