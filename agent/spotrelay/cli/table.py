"""Rows for a person, or for a program: a terminal gets a table, a pipe gets values with tabs between them.

In a pipe there is no heading, nothing is cut and nothing is coloured, so that `cut`, `awk` and `sort` see the data and
nothing else. What a script should rely on is `--json`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from spotrelay.cli.told import plain

# A row: a cell, or a cell with its style.
Cell = str | tuple[str, str]


def print_rows(headings: Sequence[str], rows: Iterable[Sequence[Cell]], *, console: Console | None = None) -> None:
    """The last column takes what is left of the width."""
    console = console or Console()
    if not console.is_terminal:
        for row in rows:
            print("\t".join(map(_words, row)), file=console.file)
        return
    console.print(rows_table(headings, rows))


def rows_table(headings: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for heading in headings[:-1]:
        table.add_column(heading, no_wrap=True)
    table.add_column(headings[-1], no_wrap=True, overflow="ellipsis", ratio=1)
    for row in rows:
        table.add_row(*map(_text, row))
    return table


def print_facts(facts: Iterable[tuple[str, Cell]], *, console: Console | None = None) -> None:
    """Name and value, a line each; what has no value is left out."""
    console = console or Console()
    if console.is_terminal:
        console.print(facts_table(facts))
        return
    for name, cell in facts:
        if words := _words(cell):
            print(f"{name}\t{words}", file=console.file)


def facts_table(facts: Iterable[tuple[str, Cell]]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, cell in facts:
        if _words(cell):
            table.add_row(name, _text(cell))
    return table


def _words(cell: Cell) -> str:
    return plain(cell if isinstance(cell, str) else cell[0])


def _text(cell: Cell) -> Text:
    return Text(_words(cell), style="" if isinstance(cell, str) else cell[1])
