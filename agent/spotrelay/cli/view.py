"""How a rehearsal looks while it goes on: attempts as a timeline, and what is happening.

On a terminal it is drawn anew several times a second and gone at the end; elsewhere it is a line for each change.
Always on standard error: what belongs on standard output is the report, and nothing else.

      14 s  running · 3.1 MB in the bucket
    #1 c6i.large  ·····━━━━━━━━                     exit code 0, saved 3.1 MB
    #2 c6i.large               ···━━━━━             died without a word
    #3 c6i.large                       ··━━━━━━━━━  running
    › step 12 of 40
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.filesize import decimal
from rich.live import Live
from rich.table import Table
from rich.text import Text

from spotrelay.cli.scene import Scene, Seen

# What follows the bar is cut to fit; below a dozen cells the bar says nothing.
_LEAST_BAR, _LARGEST_BAR, _NOW = 12, 72, 36
_WIDE = 100  # from here on the zone and the market have room


class Stage:
    """Shows scenes. A context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=8, transient=True)
        self._said = ""

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, scene: Scene) -> None:
        if self._console.is_terminal:
            self._live.update(Drawing(scene))
        else:
            self._say(scene)

    def _say(self, scene: Scene) -> None:
        """One line whenever something else is going on."""
        number = scene.current.number if scene.current else 0
        line = f"attempt {number}: {scene.what}" if number else scene.what
        if line != self._said:
            self._said = line
            self._console.print(Text(f"{scene.seconds:6.1f} s  {line}"), soft_wrap=True)


class Drawing:
    """A scene as it is when it is drawn: seconds pass between two looks, too."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        scene, width = self._scene, options.max_width
        pools = [_pool(seen, wide=width >= _WIDE) for seen in scene.attempts]
        widest = max(map(len, pools), default=0)
        bar = max(_LEAST_BAR, min(width - widest - _NOW - 4, _LARGEST_BAR))
        rows = Table.grid(padding=(0, 2, 0, 0))
        for fixed in (widest, bar, max(1, width - widest - bar - 4)):
            rows.add_column(no_wrap=True, overflow="ellipsis", width=fixed)
        for seen, pool in zip(scene.attempts, pools, strict=True):
            rows.add_row(Text(pool), _bar(scene, seen, bar), Text(_now(scene, seen)))
        lines: list[RenderableType] = [_cut(_headline(scene), "bold"), rows]
        if scene.line:
            lines.append(_cut(f"› {scene.line}", "dim"))
        yield Group(*lines)


def _cut(text: str, style: str) -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _headline(scene: Scene) -> str:
    parts = [f"{scene.seconds:4.0f} s  {scene.what}"]
    if scene.stored:
        parts.append(f"{decimal(scene.stored)} in the bucket")
    return " · ".join(parts)


def _pool(seen: Seen, *, wide: bool) -> str:
    claim = seen.claim
    return " ".join([f"#{seen.number}", claim.instance_type, *([claim.zone, claim.market] if wide else [])])


def _bar(scene: Scene, seen: Seen, width: int) -> Text:
    """The attempt's life on the rehearsal's own scale: what came before, on its way in, running, on its way out."""
    end = seen.computer.ended_at or time.time()
    dies = seen.interrupted is not None and not seen.interrupted.notice
    marks = [
        (seen.computer.booted_at or end, " ", ""),
        (seen.running_since, "·", "cyan"),
        (seen.interrupted_at, "━", "green"),
        (seen.computer.ended_at, "━", "red" if dies else "yellow"),
    ]
    bar, at = Text(), 0
    for moment, glyph, style in marks:
        until = round(width * (min(moment or end, end) - scene.began) / max(scene.seconds, 1.0))
        bar.append(glyph * max(0, until - at), style=style)
        at = max(at, until)
    bar.append(" " * (width - at))
    return bar


def _now(scene: Scene, seen: Seen) -> str:
    if seen.is_off:
        return _ended(seen)
    phase = seen.status.phase if seen.status else "booting"
    parts = [phase]
    if seen.interrupted is not None and seen.interrupted_at is not None and phase != "staying":
        left = seen.interrupted_at + scene.plan.notice_s - time.time()
        parts.append(f"{max(0.0, left):.0f} s left")
    if seen.status is not None and seen.status.last_save_bytes is not None:
        parts.append(f"saved {decimal(seen.status.last_save_bytes)}")
    return " · ".join(parts)


def _ended(seen: Seen) -> str:
    if seen.interrupted is None:
        return "ended by itself"
    if not seen.interrupted.notice:
        return "died without a word"
    if seen.handover is None:
        return "taken before it handed over"
    return f"{seen.handover.ended or 'interrupted'}, saved {decimal(seen.handover.saved_bytes)}"
