"""A run's legs on a line of time. `spans` says what each was doing from when to when, and whoever draws draws these: a
terminal, the page in the browser, and `drawing` here, boxes and words with places in pixels, from which SVG and PNG
are made alike.

One row a leg. On its way in, at work, on its way out; what it had worked and lost is a box over the end of its work.
Between rows lies what the run waited for a machine. A leg is never narrower than a hair, however long the run.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from spotrelay.person.leg import WORKS, Leg
from spotrelay.person.receipt import Receipt

WIDTH, ROW, MARGIN, LABEL = 960, 26, 16, 250
HAIR = 2.0
# Light and dark; told apart by lightness as well, for whoever sees no red and green.
COLOURS = {
    "in": ("#9bc4e8", "#38618a"),
    "work": ("#2f9e5d", "#4cc38a"),
    "out": ("#e0a100", "#e2b33c"),
    "lost": ("#c9372c", "#f0695c"),
    "text": ("#1d2329", "#e8eaed"),
    "dim": ("#65707c", "#9aa4af"),
    "ground": ("#ffffff", "#15191d"),
}
LEGEND = (("in", "restoring"), ("work", "at work"), ("out", "saving, leaving"), ("lost", "lost"))


@dataclass(frozen=True, slots=True)
class Span:
    """`kind`: in, work, out, lost. Unix seconds; `end` None: it goes on."""

    kind: str
    start: float
    end: float | None


def spans(leg: Leg) -> Iterator[Span]:
    """In their order; `lost` comes last, and lies over the end of `work`."""
    going, left = leg.end == WORKS, None if leg.end == WORKS else leg.left_at
    told = left if leg.noticed_at is None else leg.noticed_at

    def span(kind: str, start: float | None, end: float | None) -> Iterator[Span]:
        if start is not None and (going if end is None else end >= start):
            yield Span(kind, start, end)

    yield from span("in", leg.claimed_at, told if leg.running_at is None else leg.running_at)
    yield from span("work", leg.running_at, told)
    yield from span("out", leg.noticed_at, left)
    if leg.running_at is not None and told is not None and leg.lost_s:
        yield from span("lost", max(leg.running_at, told - leg.lost_s), told)


@dataclass(frozen=True, slots=True)
class Box:
    x: float
    y: float
    width: float
    height: float
    kind: str
    says: str = ""


@dataclass(frozen=True, slots=True)
class Words:
    """`y`: of the baseline."""

    x: float
    y: float
    text: str
    kind: str = "text"
    size: int = 13


@dataclass(frozen=True, slots=True)
class Drawing:
    width: int
    height: int
    boxes: tuple[Box, ...]
    words: tuple[Words, ...]


def drawing(receipt: Receipt, told: Callable[[Leg], str], title: str, notes: Iterable[str]) -> Drawing:
    """`told`: a leg in words, under its bar; `notes`: lines below all of them."""
    moments = [m for leg in receipt.legs for m in (leg.claimed_at, leg.running_at, leg.left_at) if m is not None]
    began, ended = min(moments, default=0.0), max(moments, default=1.0)
    scale = (WIDTH - LABEL - MARGIN) / max(ended - began, 1e-9)

    def place(moment: float) -> float:
        return LABEL + (moment - began) * scale

    boxes, words, y = list[Box](), [Words(MARGIN, MARGIN + 16, title, size=18)], MARGIN + 40.0
    for leg in receipt.legs:
        boxes += _bar(leg, place, y)
        words.append(Words(MARGIN, y + 12, f"{leg.number}  {leg.instance_type} {leg.zone} {leg.market}"[:40]))
        words.append(Words(LABEL, y + 28, told(leg), "dim", 11))
        y += ROW + 14
    x = float(LABEL)
    for kind, name in LEGEND:
        boxes.append(Box(x, y, 10, 10, kind))
        words.append(Words(x + 15, y + 9, name, "dim", 11))
        x += 130
    y += 34
    for note in notes:
        words.append(Words(MARGIN, y, note))
        y += 20
    return Drawing(WIDTH, round(y + MARGIN), tuple(boxes), tuple(words))


def _bar(leg: Leg, place: Callable[[float], float], y: float) -> Iterator[Box]:
    for span in spans(leg):
        end = leg.left_at if span.end is None else span.end
        if end is not None and end >= span.start:
            width = max(HAIR, place(end) - place(span.start))
            yield Box(place(span.start), y, width, 14, span.kind, span.kind)


def svg(picture: Drawing) -> str:
    """With classes for its colours (`style`), so that a page can have two schemes."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {picture.width} {picture.height}" role="img" '
        f'width="{picture.width}" height="{picture.height}">',
    ]
    for box in picture.boxes:
        place = f'x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}"'
        parts.append(f'<rect {place} rx="2" class="{box.kind}"><title>{html.escape(box.says)}</title></rect>')
    for words in picture.words:
        place = f'x="{words.x:.1f}" y="{words.y:.1f}" font-size="{words.size}"'
        parts.append(f'<text {place} class="{words.kind}">{html.escape(words.text)}</text>')
    return "\n".join([*parts, "</svg>"])


def style() -> str:
    """For what `svg` draws, in light and dark."""

    def rules(which: int) -> str:
        return "".join(f".{kind}{{fill:{colours[which]}}}" for kind, colours in COLOURS.items())

    dark = f"@media (prefers-color-scheme:dark){{{rules(1)}}}"
    return f"svg text{{font-family:system-ui,sans-serif}}{rules(0)}{dark}"
