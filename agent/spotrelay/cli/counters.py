"""Did the next attempt continue? Read off the numbers that a program prints as it goes.

1. With a regular expression the counter is what its first group matches.
2. Without one it is found: of lines that differ in their numbers only ("epoch 3 loss 0.51" and "epoch 4 loss 0.48"),
   the first number that never falls and does rise while the first attempt runs. The same place in the same kind of
   line is then read in every attempt.
3. An attempt that begins above where the first one began has continued; one that begins there again, although its
   predecessor had gone on, has started over. Where the predecessor had not gone on, or nothing is counted, nobody can
   tell.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Sequence

Counter = Callable[[str], list[float]]
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?(?![\w.]*\w)")


def by_expression(expression: re.Pattern[str]) -> Counter:
    """What the first group (or all of it) matches, as numbers."""

    def read(text: str) -> list[float]:
        found = (match[1] if expression.groups else match[0] for match in expression.finditer(text))
        return [value for value in map(_number, found) if value is not None]

    return read


def found_in(text: str) -> Counter | None:
    """The counter that the first attempt's output shows, if any."""
    columns: dict[tuple[str, int], list[float]] = defaultdict(list)
    for line in text.splitlines():
        for position, number in enumerate(_NUMBER.findall(line)):
            columns[_shape(line), position].append(float(number))
    rising = [(len(values), -position, shape) for (shape, position), values in columns.items() if _rises(values)]
    if not rising:
        return None
    _, position, shape = max(rising)
    return lambda text: _column(text, shape, -position)


def continued(first: Sequence[float], before: Sequence[float], after: Sequence[float]) -> bool | None:
    """Of an attempt `after` another one `before` it; `first` is attempt 1. None: cannot be told."""
    if not first or not before or not after or before[-1] <= first[0]:
        return None
    return after[0] > first[0]


def _column(text: str, shape: str, position: int) -> list[float]:
    lines = (line for line in text.splitlines() if _shape(line) == shape)
    return [float(_NUMBER.findall(line)[position]) for line in lines]


def _shape(line: str) -> str:
    return _NUMBER.sub("#", line)


def _rises(values: Sequence[float]) -> bool:
    pairs = list(itertools.pairwise(values))
    return len(pairs) > 0 and all(a <= b for a, b in pairs) and values[0] < values[-1]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except (ValueError, TypeError):
        return None
