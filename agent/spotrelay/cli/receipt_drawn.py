"""A receipt in a terminal: a bar for each attempt on the run's own scale, then the sums.

resnet-7: succeeded after 21 s, 3 attempts
1  c6i.large us-east-1a spot  ··━━━━▒                      interrupted · saved 0.1 s after the notice · …
2  c6i.large us-east-1b spot          ··━━━                died without a word · lost at least 1.1 s
3  m6i.large us-east-1a spot                ·━━━━━━━━━━━━  succeeded
"""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.text import Text

from spotrelay.cli import receipt_told
from spotrelay.cli.table import print_facts
from spotrelay.cli.told import plain
from spotrelay.person.receipt import WORKS, Leg, Receipt

_LEAST_BAR, _LARGEST_BAR = 12, 60


def print_receipt(found: Receipt, now: float, console: Console | None = None) -> None:
    """On standard output, unless `console` says otherwise."""
    console = console or Console()
    if not console.is_terminal:
        for each in found.legs:
            row = (str(each.number), plain(_pool(each)), plain(receipt_told.leg(each)))
            print("\t".join(row), file=console.file)
        print_facts(receipt_told.totals(found), console=console)
        return
    console.print(Text(plain(receipt_told.headline(found)), style="bold"))
    pools = [f"{each.number:>2}  {plain(_pool(each))}" for each in found.legs]
    widest = max(map(len, pools), default=0)
    bar = max(_LEAST_BAR, min(console.width - widest - 40, _LARGEST_BAR))
    place = _scale(found, bar, now)
    for each, pool in zip(found.legs, pools, strict=True):
        line = Text(f"{pool:<{widest}}  ")
        line.append_text(_bar(each, place, bar, now))
        line.append("  ")
        rest = max(20, console.width - len(line))
        words = plain(receipt_told.leg(each))
        if len(words) <= rest:
            console.print(line + Text(words), soft_wrap=True)
        else:
            console.print(line, soft_wrap=True)
            console.print(Text(" " * 4 + words, style="dim"))
    console.print()
    print_facts(receipt_told.totals(found), console=console)


def _pool(each: Leg) -> str:
    return " ".join(filter(None, (each.instance_type, each.zone, each.market)))


def _scale(found: Receipt, width: int, now: float) -> Callable[[float], int]:
    ends = [_left(each, now) for each in found.legs]
    began, ended = found.began_at or 0.0, max((end for end in ends if end is not None), default=now)

    def place(moment: float) -> int:
        return max(0, min(width, round(width * (moment - began) / max(ended - began, 1e-9))))

    return place


def _left(each: Leg, now: float) -> float | None:
    return now if each.end == WORKS else each.left_at


def _bar(each: Leg, place: Callable[[float], int], width: int, now: float) -> Text:
    left = _left(each, now)
    stopped = each.noticed_at if each.noticed_at is not None else left
    lost_from = stopped - (each.lost_s or 0.0) if stopped is not None else None
    marks = [
        (each.claimed_at, " ", ""),
        (each.running_at or left, "·", "cyan"),
        (lost_from, "━", "green"),
        (stopped, "▒", "red"),
        (left, "━", "yellow"),
    ]
    bar, at = Text(), 0
    for moment, glyph, style in marks:
        if moment is None:
            continue
        until = place(moment)
        if until <= at and glyph == "━" and style == "green" and each.running_at is not None and at < width:
            until = at + 1  # however short, it was at work
        bar.append(glyph * max(0, until - at), style=style)
        at = max(at, until)
    bar.append(" " * (width - at))
    return bar
