"""What `doctor` found, for people and for scripts.

Findings stand the most serious first, each with its remedy under it, and commands on lines of their own, as long as
they are: a command that was broken into two cannot be copied. What was skipped shares a line, by what it needs.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from spotrelay.doctor.finding import Finding, State
from spotrelay.doctor.ground import Asked

VERSION = 1
_STYLES = {State.PROBLEM: "bold red", State.WARNING: "yellow", State.UNKNOWN: "magenta", State.OK: "green"}
_INDENT = 9


def document(asked: Asked, found: list[Finding], seconds: float, exit_code: int) -> dict[str, Any]:
    """Behind `--json`. `version` grows when a field changes its meaning; fields may be added."""
    return {
        "version": VERSION,
        "ok": exit_code == 0,
        "exit_code": exit_code,
        "stack": asked.stack,
        "seconds": round(seconds, 2),
        "findings": [asdict(finding) for finding in found],
    }


def print_findings(found: list[Finding], console: Console) -> None:
    skipped: dict[str, list[str]] = defaultdict(list)
    for finding in found:
        if finding.state is State.SKIPPED:
            skipped[finding.what].append(finding.check)
        elif finding.state is not State.OK:
            _print(finding, console)
    for because, checks in skipped.items():
        _line(console, "skipped", "dim", Text(f"{', '.join(checks)}: {because}", style="dim"))
    if skipped:
        console.print()
    for finding in found:
        if finding.state is State.OK:
            _line(console, "ok", _STYLES[State.OK], Text.assemble((f"{finding.check}: ", "dim"), finding.what))


def _print(finding: Finding, console: Console) -> None:
    _line(console, finding.state, _STYLES[finding.state], Text.assemble((f"{finding.check}: ", "bold"), finding.what))
    for text, style in ((finding.detail, "dim"), (finding.remedy, "")):
        if text:
            console.print(Padding(Text(text, style=style), (0, 0, 0, _INDENT)))
    for command in finding.command.splitlines():
        console.print(Text(f"{' ' * _INDENT}$ {command}", style="cyan"), soft_wrap=True)
    console.print()


def _line(console: Console, label: str, style: str, text: Text) -> None:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, width=_INDENT - 2)
    grid.add_column(overflow="fold")
    grid.add_row(Text(label, style=style), text)
    console.print(grid)
