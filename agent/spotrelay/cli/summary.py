"""A rehearsal's report for people: what each attempt did, what it needs, the verdict, what to do next.

Everything fits into 80 columns; what is longer wraps between words, under its own beginning.
"""

from __future__ import annotations

import itertools

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from spotrelay.cli.report import AttemptReport, Report
from spotrelay.cli.verdict import FAILED, is_noise

_MOST_PATHS = 6
_COLUMNS = ("#", "instance", "ended by", "with", "after", "saved", "continued")
_ALL_COLUMNS_NEED, _LESS_NEEDED = 80, {"instance", "saved"}


def print_report(report: Report, console: Console) -> None:
    console.print(_attempts(report, console.width))
    console.print()
    console.print(_two_columns([(Text(label, style="dim"), Text(text)) for label, text in _facts(report)], gap=2))
    if report.verdict == FAILED.name and report.attempts and report.attempts[-1].output_tail:
        console.print(Text(f"\nThe last lines of attempt {report.attempts[-1].number}:", style="dim"))
        for line in report.attempts[-1].output_tail:
            console.print(Text(f"  {line}"), soft_wrap=True)
    console.print()
    verdict = Text(report.verdict, style="bold green" if report.ok else "bold red")
    console.print(_two_columns([(verdict, Text(report.explanation))], gap=2))
    console.print(_two_columns([(Text("  →"), Text(line)) for line in report.advice], gap=1))


def _two_columns(rows: list[tuple[Text, Text]], *, gap: int) -> Table:
    grid = Table.grid(padding=(0, gap, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for row in rows:
        grid.add_row(*row)
    return grid


def _attempts(report: Report, width: int) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0), pad_edge=False)
    shown = _COLUMNS if width >= _ALL_COLUMNS_NEED else [name for name in _COLUMNS if name not in _LESS_NEEDED]
    for column in shown:
        table.add_column(column, no_wrap=True)
    for before, attempt in zip([None, *report.attempts], report.attempts, strict=False):
        cells = dict(zip(_COLUMNS, _cells(before, attempt), strict=True))
        table.add_row(*(Text(cells[name]) for name in shown))
    return table


def _cells(before: AttemptReport | None, attempt: AttemptReport) -> tuple[str, ...]:
    return (
        f"{attempt.number}",
        attempt.instance_type,
        attempt.ended_by or "",
        attempt.end or "",
        "" if attempt.term_to_exit_s is None else f"{attempt.term_to_exit_s:.2f} s",
        "" if attempt.saved_bytes is None else decimal(attempt.saved_bytes),
        "" if before is None else _continued(before, attempt),
    )


def _continued(before: AttemptReport, attempt: AttemptReport) -> str:
    """With the counter, from where it was to where it went on: "yes, 9 → 10"."""
    answer = {None: "?", True: "yes", False: "no"}[attempt.continued]
    if attempt.continued is None or before.last is None or attempt.first is None:
        return answer
    return f"{answer}, {before.last:g} → {attempt.first:g}"


def _facts(report: Report) -> list[tuple[str, str]]:
    facts = _ends(report)
    if (save := report.save) is not None:
        fits = "fits into" if save.fits else "does not fit into"
        upload = f"{decimal(save.bytes)} in {save.upload_s:.1f} s on {save.instance_type}"
        facts.append(("a notice needs", f"{save.needed_s:.1f} s ({upload}), {fits} {save.notice_s:g} s"))
    if report.outside_writes is None:
        facts.append(("written elsewhere", f"not known: {report.isolation}"))
    else:
        paths = [write.path for write in report.outside_writes if not is_noise(write.path)]
        more = f" and {len(paths) - _MOST_PATHS} more" if len(paths) > _MOST_PATHS else ""
        facts.append(("written elsewhere", ", ".join(paths[:_MOST_PATHS]) + more or "nothing"))
    result = report.outcome.result if report.outcome is not None else "none"
    facts.append(("outcome", f"{result}, after {report.seconds:.1f} s"))
    return facts


def _ends(report: Report) -> list[tuple[str, str]]:
    """Each way to end, once, and what it means. That a program finished needs no words."""
    ends = [(a.end, a.meaning) for a in report.attempts if a.end and a.meaning and a.exit_code]
    told = [(a.end, a.meaning) for a in report.attempts if a.end and a.term_to_exit_s is not None]
    known = dict.fromkeys(itertools.chain(told, ends))
    return [(end or "", meaning) for end, meaning in known]
