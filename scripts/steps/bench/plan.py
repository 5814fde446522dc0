"""What a row needs to know: where, how large, how often, who."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .contenders import Command, Contender, Leanest, Ours
from .measure import Measured, measure
from .site import Site
from .workloads import Sizes


@dataclass(frozen=True, slots=True)
class Bench:
    site: Site
    folder: Path
    sizes: Sizes
    runs: int
    ours: Ours
    limit: Leanest
    peers: Sequence[Contender]

    def turns(self, number: int, *, limit: bool = True) -> list[Contender]:
        """Each round begins with another one: what the machine does meanwhile, it does to all."""
        them = [self.ours, *self.peers, *([self.limit] if limit else [])]
        by = number % len(them)
        return [*them[by:], *them[:by]]

    def run(self, contender: Contender, command: Command, cwd: Path) -> Measured:
        return measure([str(word) for word in command], contender.environment(self.site), cwd=cwd)

    def prepare(self, contender: Contender) -> None:
        """An empty bucket, and in it what the contender needs. Nobody measures it."""
        self.site.clear()
        for command in contender.prepare(self.site):
            done = self.run(contender, command, self.folder)
            if done.failed:
                raise RuntimeError(f"{contender.name}: {done.said}")
        self.site.counts()
