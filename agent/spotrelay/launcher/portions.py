"""Much work of one kind, portion by portion until a moment, where one item that fails does not stop the others.

The items come in random order. What is left out today is then as likely to come first tomorrow as anything else; a
cursor would live in one of several execution environments, or be one more object to keep.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from spotrelay.core.errors import SpotrelayError, StoreUnavailable
from spotrelay.launcher.crew import Crew
from spotrelay.launcher.ec2 import Unanswered

T = TypeVar("T")
R = TypeVar("R")

# Between two looks at the clock. At 20 ms a read and 8 threads a portion takes a fifth of a second.
PORTION = 64


@dataclass(frozen=True, slots=True)
class _Failed:
    error: Exception


@dataclass(frozen=True, slots=True)
class Portions(Generic[T, R]):
    """`what`: the items, for the log. `work` must not use `crew` itself."""

    what: str
    work: Callable[[T], R]
    crew: Crew
    log: Callable[..., None]
    now: Callable[[], float]

    def of(self, items: Iterable[T], *, until: float, size: int = PORTION) -> list[R]:
        """What came of those that could be done."""
        order = list(items)
        random.shuffle(order)
        results: list[R] = []
        for first in range(0, len(order), size):
            if self.now() >= until:
                self.log("sweep.left_out", what=self.what, count=len(order) - first)
                break
            came = self.crew.map(self._guarded, order[first : first + size])
            failed = [each.error for each in came if isinstance(each, _Failed)]
            results += [each for each in came if not isinstance(each, _Failed)]
            report(self.log, self.what, failed)
            if len(failed) == len(came) > 1:  # the store is away, and every further portion costs its patience
                self.log("sweep.left_out", what=self.what, count=max(0, len(order) - first - size))
                break
        return results

    def _guarded(self, item: T) -> R | _Failed:
        try:
            return self.work(item)
        except Exception as error:  # whatever it was, the others shall have their turn
            return _Failed(error)


def report(log: Callable[..., None], what: str, failed: Iterable[Exception]) -> None:
    """No answer is for the next sweep. Everything else (denied, damaged, a fault of ours) is for a person."""
    kinds: dict[str, list[Exception]] = {}
    for error in failed:
        passes = isinstance(error, StoreUnavailable | Unanswered)
        kinds.setdefault("sweep.unanswered" if passes else "needs.person", []).append(error)
    for event, errors in kinds.items():
        foreseen = isinstance(errors[0], SpotrelayError | Unanswered)
        log(event, what=what, count=len(errors), why=str(errors[0]) if foreseen else repr(errors[0]))
