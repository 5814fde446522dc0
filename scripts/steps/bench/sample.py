"""What one run of one contender gave."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .measure import Measured

METHODS = ("GET", "PUT", "POST", "HEAD", "DELETE")


class Role(enum.Enum):
    OURS = "ours"
    PEER = "peer"
    LIMIT = "limit"


@dataclass(frozen=True, slots=True)
class Sample:
    """`counts`: what the server saw meanwhile. `figures`: what else this row is about, by name. `wrong`: why it does
    not count, in words."""

    row: str
    who: str
    role: Role
    measured: Measured
    counts: Mapping[str, float] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    wrong: Sequence[str] = ()
    note: str = ""

    @property
    def requests(self) -> int:
        return int(sum(self.counts.get(method, 0) for method in METHODS))

    def __str__(self) -> str:
        """For whoever watches."""
        spent, words = self.measured, " ".join(self.wrong)
        return f"{self.row:10} {self.who:16} {spent.wall_s:7.2f} s {spent.cpu_s:7.2f} CPU s  {words}".rstrip()
