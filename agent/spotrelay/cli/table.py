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
            print("\t".join(plain(cell if isinstance(cell, str) else cell[0]) for cell in row))
        return
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for heading in headings[:-1]:
        table.add_column(heading, no_wrap=True)
    table.add_column(headings[-1], no_wrap=True, overflow="ellipsis", ratio=1)
    for row in rows:
        table.add_row(*[Text(plain(c)) if isinstance(c, str) else Text(plain(c[0]), style=c[1]) for c in row])
    console.print(table)


def print_facts(facts: Iterable[tuple[str, Cell]], *, console: Console | None = None) -> None:
    """Name and value, a line each; what has no value is left out."""
    console = console or Console()
    told = [(name, value) for name, value in facts if (value if isinstance(value, str) else value[0])]
    if not console.is_terminal:
        for name, value in told:
            print(f"{name}\t{plain(value if isinstance(value, str) else value[0])}")
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in told:
        text = Text(plain(value)) if isinstance(value, str) else Text(plain(value[0]), style=value[1])
        table.add_row(name, text)
    console.print(table)
