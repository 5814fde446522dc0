"""Did the next attempt continue? Read off the numbers that a program prints as it goes.

1. With a regular expression the counter is what its first group matches.
2. Without one it is found. Lines that differ in their numbers only ("epoch 3 loss 0.51", "epoch 4 loss 0.48") are of
   one shape, and each place for a number in a shape is a column. A column that never falls and does rise while the
   first attempt runs may be the counter. Not what tells the time: a clock goes on whether the program did or not, and
   a stopwatch begins again though it did. Nor what numbers processes and machines.
3. Of several, whole numbers that rise in equal steps go before others, then the column with more values, then the one
   further left. Two values may rise by chance, so they count only if they are whole and neighbours.
4. An attempt that begins above where the first one began has continued; one that begins there again, although its
   predecessor had gone on, has started over. Unless it counts to another end, "0/60" after "0/100": then it may count
   what is left. In that case, where the predecessor had not gone on, and where nothing is counted, nobody can tell.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# A line is there to be read by people; a dump of a tensor is not searched for a counter.
LONGEST_LINE = 400
_LEAST_VALUES = 3
# Seconds, and what counts in thousandths of them, between 2014 and 2039: of 10**9 tokens somebody prints each number.
_UNIX_TIMES = [(1.4e9 * scale, 2.2e9 * scale) for scale in (1, 1e3, 1e6, 1e9)]

_TERMINAL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
_NO_PROGRESS = re.compile(
    r"""
    \d{4}[-/.]\d{1,2}[-/.]\d{1,2}                                        # a date
    | (?<!\d)\d{1,2}:\d{2}(?::\d{2})?(?:[.,]\d+)?(?!\d)                  # a clock, or a stopwatch
    | (?<![\w.])\d[\d.,]*\s?(?:[mun]?s|secs?|seconds?|mins?|minutes?|hrs?|hours?|[kMGT]i?B|bytes|it/s)\b
    | (?<![^\W_])(?:time|elapsed|eta|took|uptime|timestamp|ts|pid|process|thread|worker|rank|port|seed|mem|memory|gpu)
      \W{0,3}\d[\d.,]*
    """,
    re.IGNORECASE | re.VERBOSE,
)
_DIGITS = re.compile(
    r"""
    (?<![\w.])(?:(?P<name>[A-Za-z_]*)(?P<number>(?<!\w)[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?|\d+)(?!\w|\.\d)
    | [\w.]*\d[\w.]*)                                                    # 2.9it, v1.2.3, a3f4
    """,
    re.IGNORECASE | re.VERBOSE,
)
# What is left of a line for its shape: words and places. A bar that grows does not make another shape.
_NEITHER = re.compile(r"[^\w#~]+")
_OUT_OF = re.compile(r"\s*(?:/|of|out of)\s*#")


@dataclass(frozen=True, slots=True)
class Counted:
    """One attempt's counter: where it began, where it was seen last, and what it counts to, if that is told."""

    first: float
    last: float
    total: float | None = None


Counter = Callable[[str], Counted | None]


def by_expression(expression: re.Pattern[str]) -> Counter:
    """What the first group (or all of it) matches, as far as it is numbers."""

    def read(text: str) -> Counted | None:
        found = (match[1] if expression.groups else match[0] for match in expression.finditer(text))
        values = [value for value in map(_number, found) if value is not None]
        return Counted(values[0], values[-1]) if values else None

    return read


def found_in(text: str) -> Counter | None:
    """The counter that the first attempt's output shows, if any."""
    columns: dict[tuple[str, int], list[float]] = defaultdict(list)
    for shape, numbers, _ in map(_read, text.splitlines()):
        for position, number in enumerate(numbers):
            columns[shape, position].append(number)
    candidates = [
        (_is_regular(values), len(values), -position, shape)
        for (shape, position), values in columns.items()
        if _counts(values)
    ]
    if not candidates:
        return None
    _, _, position, shape = max(candidates)
    return lambda text: _column(text, shape, -position)


def continued(first: Counted | None, before: Counted | None, after: Counted | None) -> bool | None:
    """Of an attempt `after` another one `before` it; `first` is attempt 1. None: cannot be told."""
    if first is None or before is None or after is None or before.last <= first.first:
        return None
    if after.first > first.first:
        return True
    return False if after.total == first.total else None


def _column(text: str, wanted: str, position: int) -> Counted | None:
    rows = [(numbers, totals) for shape, numbers, totals in map(_read, text.splitlines()) if shape == wanted]
    if not rows:
        return None
    total = rows[0][0][position + 1] if position in rows[0][1] else None
    return Counted(rows[0][0][position], rows[-1][0][position], total)


def _read(line: str) -> tuple[str, list[float], set[int]]:
    """A line's shape, the numbers in it, and which of these are "n of m"."""
    numbers: list[float] = []

    def place(match: re.Match[str]) -> str:
        number = _number(match["number"])
        if number is None:
            return "~"
        numbers.append(number)
        return match["name"] + "#"

    text = _NO_PROGRESS.sub("~", _TERMINAL.sub("", line[:LONGEST_LINE]))
    placed = _DIGITS.sub(place, text.replace("#", " "))
    places = [match.end() for match in re.finditer("#", placed)]
    totals = {number for number, end in enumerate(places) if _OUT_OF.match(placed, end)}
    return _NEITHER.sub(" ", placed).strip(), numbers, totals


def _counts(values: Sequence[float]) -> bool:
    steps = [b - a for a, b in itertools.pairwise(values)]
    if not steps or min(steps) < 0 or values[0] == values[-1] or _tells_time(values):
        return False
    return len(values) >= _LEAST_VALUES or (values[0].is_integer() and steps == [1.0])


def _is_regular(values: Sequence[float]) -> bool:
    steps = {b - a for a, b in itertools.pairwise(values)}
    return len(steps) == 1 and all(value.is_integer() for value in values)


def _tells_time(values: Sequence[float]) -> bool:
    return any(earliest < values[0] and values[-1] < latest for earliest, latest in _UNIX_TIMES)


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
