"""How a rehearsal looks: attempts as a timeline while it goes on, the verdict at its end.

Progress goes to standard error and is drawn only on a terminal; elsewhere it is one line for each change. The verdict
goes to standard output.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.filesize import decimal
from rich.live import Live
from rich.table import Table
from rich.text import Text

from spotrelay.cli.rehearsal import Scene, Seen
from spotrelay.cli.report import AttemptReport, Report
from spotrelay.cli.verdict import is_noise

_BAR = 36
_COLORS = {"running": "green", "draining": "yellow", "saving": "yellow", "staying": "dim", "sudden death": "red"}


class Stage:
    """Shows scenes. A context manager."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._console = console
        self._drawn = console.is_terminal and not quiet
        self._quiet = quiet
        self._live = Live(console=console, refresh_per_second=8, transient=True)
        self._said = ""

    def __enter__(self) -> Self:
        if self._drawn:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._drawn:
            self._live.stop()

    def show(self, scene: Scene) -> None:
        if self._drawn:
            self._live.update(_drawing(scene))
        elif not self._quiet:
            self._say(scene)

    def _say(self, scene: Scene) -> None:
        """One line whenever something else is going on."""
        number = scene.current.number if scene.current else 0
        line = f"attempt {number}: {scene.what}" if number else scene.what
        if line != self._said:
            self._said = line
            self._console.print(f"{time.time() - scene.began:6.1f} s  {line}", highlight=False)


def _drawing(scene: Scene) -> RenderableType:
    rows = Table.grid(padding=(0, 2))
    for seen in scene.attempts:
        rows.add_row(*_row(scene, seen))
    now = Text(f"{time.time() - scene.began:5.0f} s  {scene.what}", style="bold")
    return Group(now, rows)


def _row(scene: Scene, seen: Seen) -> tuple[RenderableType, ...]:
    claim = seen.claim
    pool = f"{claim.instance_type} {claim.zone} {claim.market}"
    return Text(f"#{seen.number}", style="bold"), Text(pool, style="dim"), _bar(scene, seen), Text(_now(scene, seen))


def _bar(scene: Scene, seen: Seen) -> Text:
    """The attempt's life on the rehearsal's own scale: what came before, on its way in, running, on its way out."""
    whole = max(time.time() - scene.began, 1.0)
    marks = [
        (seen.computer.booted_at, " ", ""),
        (seen.running_since, "·", "cyan"),
        (seen.interrupted_at, "━", "green"),
        (seen.computer.ended_at, "━", "red" if seen.interrupted and not seen.interrupted.notice else "yellow"),
    ]
    bar, at = Text(), 0
    end = seen.computer.ended_at or time.time()
    for moment, glyph, style in marks:
        until = round(_BAR * ((moment or end) - scene.began) / whole)
        bar.append(glyph * max(0, until - at), style=style)
        at = max(at, until)
    return bar


def _now(scene: Scene, seen: Seen) -> str:
    if seen.computer.off.is_set():
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


def print_report(report: Report, console: Console) -> None:
    """The verdict, why, and what to do."""
    console.print(_attempts(report))
    console.print()
    for label, text in _facts(report):
        console.print(f"[dim]{label:<19}[/dim]{text}", highlight=False, soft_wrap=True)
    style = "green" if report.ok else "red"
    console.print()
    console.print(Text.assemble((report.verdict, f"bold {style}"), f"  {report.explanation}"), soft_wrap=True)
    for advice in report.advice:
        console.print(f"  → {advice}", highlight=False, markup=False, soft_wrap=True)


def _attempts(report: Report) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    for column in ("attempt", "instance", "ended by", "with", "after", "saved", "continued"):
        table.add_column(column, no_wrap=True)
    for attempt in report.attempts:
        table.add_row(*_cells(attempt))
    return table


def _cells(attempt: AttemptReport) -> tuple[str, ...]:
    return (
        f"#{attempt.number}",
        attempt.instance_type,
        attempt.ended_by or "",
        attempt.end or "",
        "" if attempt.term_to_exit_s is None else f"{attempt.term_to_exit_s:.2f} s",
        "" if attempt.saved_bytes is None else decimal(attempt.saved_bytes),
        _continued(attempt),
    )


def _continued(attempt: AttemptReport) -> str:
    if attempt.continued is None:
        return "" if attempt.number == 1 else "?"
    first = "" if attempt.first is None else f" at {attempt.first:g}"
    return f"{'yes' if attempt.continued else 'no, began'}{first}"


def _facts(report: Report) -> list[tuple[str, str]]:
    facts = []
    if report.save is not None:
        save = report.save
        fits = "fits into" if save.fits else "does not fit into"
        facts.append(
            (
                "a notice needs",
                f"{save.needed_s:.1f} s ({decimal(save.bytes)} in {save.upload_s:.1f} s on {save.instance_type}),"
                f" {fits} {save.notice_s:g} s",
            )
        )
    if report.outside_writes is None:
        facts.append(("written elsewhere", f"not known: {report.isolation}"))
    else:
        paths = [write.path for write in report.outside_writes if not is_noise(write.path)]
        shown = ", ".join(paths[:4]) + (f" and {len(paths) - 4} more" if len(paths) > 4 else "")
        facts.append(("written elsewhere", shown or "nothing"))
    if report.outcome is not None:
        facts.append(("outcome", f"{report.outcome.result} {report.outcome.message}".strip()))
    facts.append(("took", f"{report.seconds:.1f} s"))
    return facts
