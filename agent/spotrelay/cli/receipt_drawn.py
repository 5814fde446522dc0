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
from spotrelay.person.leg import WORKS, Leg
from spotrelay.person.receipt import Receipt
from spotrelay.person.timeline import spans

_LEAST_BAR, _LARGEST_BAR = 12, 60
_GLYPHS = {"in": ("·", "cyan"), "work": ("━", "green"), "out": ("━", "yellow"), "lost": ("▒", "red")}


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
    ends = [now if each.end == WORKS else each.left_at for each in found.legs]
    began, ended = found.began_at or 0.0, max((end for end in ends if end is not None), default=now)

    def place(moment: float) -> int:
        return max(0, min(width, round(width * (moment - began) / max(ended - began, 1e-9))))

    return place


def _bar(each: Leg, place: Callable[[float], int], width: int, now: float) -> Text:
    """A cell is one thing: what comes later begins behind what came before, and work is seen however short it was."""
    cells, at, seen = [(" ", "")] * width, 0, 0
    for span in spans(each):
        start = max(place(span.start), seen if span.kind == "lost" else at)
        end = min(width, place(now if span.end is None else span.end))
        if span.kind == "work":
            seen = min(width, start + 1)
            end = max(end, seen)
        cells[start:end] = [_GLYPHS[span.kind]] * (end - start)
        at = max(at, end)
    return Text.assemble(*cells)
