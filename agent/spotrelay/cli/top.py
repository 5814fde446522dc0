"""`spotrelay top`: on an instance, what the agent and the command are doing there."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spotrelay.cli import told
from spotrelay.cli.looking import AsJson
from spotrelay.core.errors import NotFound, UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from spotrelay.board import Posted
    from spotrelay.cli.table import Cell
    from spotrelay.command.usage import Usage

LOOK_S = 1.0
MOST = 15
HEADINGS = ("pid", "cpu", "memory", "command")


def top(
    once: Annotated[bool, typer.Option("--once", help="Look once, and end.")] = False,
    as_json: AsJson = False,
    state: Annotated[
        Path | None, typer.Option(help="The agent's folder. Default: where the image has it.", show_default=False)
    ] = None,
) -> None:
    """On an instance: show what its agent is doing, and the command's processes.

    Needs neither the bucket nor any rights. In a pipe, or with --json, it
    looks once. The agent's whole story: journalctl -u spotrelay-agent

    Example: spotrelay top
    """
    if not sys.platform.startswith("linux"):
        raise UsageError("spotrelay top is for the instance, which is a Linux", next_step="spotrelay status RUN")
    if as_json:
        print(json.dumps(document(_read(state)), indent=2))
    elif once or not sys.stdout.isatty():
        _print_once(state)
    else:
        _live(state)


def _print_once(state: Path | None) -> None:
    from spotrelay.cli.table import print_facts, print_rows  # noqa: PLC0415

    posted = _read(state)
    before, began = _usage(posted), time.monotonic()
    time.sleep(LOOK_S)
    print_facts(facts(posted, time.time()))
    print_rows(HEADINGS, rows(before, _usage(posted), time.monotonic() - began))


def _live(state: Path | None) -> None:
    from rich.live import Live  # noqa: PLC0415

    posted = _read(state)
    before, began = _usage(posted), time.monotonic()
    with Live(auto_refresh=False) as live:
        while True:
            time.sleep(LOOK_S)
            posted = _read(state)
            now, at = _usage(posted), time.monotonic()
            live.update(_drawn(posted, rows(before, now, at - began)), refresh=True)
            before, began = now, at


def _drawn(posted: Posted, processes: list[tuple[Cell, ...]]) -> RenderableType:
    from rich.console import Group  # noqa: PLC0415

    from spotrelay.cli.table import facts_table, rows_table  # noqa: PLC0415

    return Group(facts_table(facts(posted, time.time())), "", rows_table(HEADINGS, processes))


def _read(state: Path | None) -> Posted:
    """Raises NotFound."""
    from spotrelay.board import places, read  # noqa: PLC0415

    for folder in [state] if state is not None else places(os.environ):
        try:
            return read(folder)
        except OSError:
            continue
    raise NotFound(
        "no agent has been at work on this machine",
        next_step="on an instance, see systemctl status spotrelay-agent; elsewhere, spotrelay status RUN",
    )


def facts(posted: Posted, now: float) -> list[tuple[str, Cell]]:
    from spotrelay.cli import status  # noqa: PLC0415
    from spotrelay.command.processes import is_alive  # noqa: PLC0415
    from spotrelay.core.records import Claim  # noqa: PLC0415
    from spotrelay.person.glance import Glance  # noqa: PLC0415
    from spotrelay.person.now import Now  # noqa: PLC0415

    alive: Cell = f"pid {posted.agent}" if is_alive(posted.agent) else ("is gone: it ended, or died", "bold red")
    if posted.status is None:
        return [("run", posted.run), ("phase", posted.phase), ("agent", alive)]
    claim = Claim(posted.status.instance, "", posted.at)
    seen = Now(Glance(posted.run, posted.attempt, claim=claim, status=posted.status), None, None)
    told_of = [fact for fact in status.facts(seen, now) if fact[0] not in ("cost", "pool", "phase")]
    return [*told_of, ("phase", posted.phase), ("agent", alive)]


def rows(before: dict[int, Usage], now: dict[int, Usage], seconds: float) -> list[tuple[Cell, ...]]:
    """The busiest first. CPU in percent of one core, between two looks; of one that has just begun, since then."""

    def busy(pid: int) -> float:
        earlier = before[pid].cpu_s if pid in before else 0.0
        return max(0.0, now[pid].cpu_s - earlier) / max(seconds, 1e-3)

    order = sorted(now, key=lambda pid: (-busy(pid), -now[pid].memory))[:MOST]
    return [(str(pid), f"{100 * busy(pid):.0f} %", told.size(now[pid].memory), now[pid].command) for pid in order]


def _usage(posted: Posted) -> dict[int, Usage]:
    """The command's: below the agent, but for the small process between the two (command/subreaper.py)."""
    from spotrelay.command.processes import descendants  # noqa: PLC0415
    from spotrelay.command.usage import usage  # noqa: PLC0415

    found = usage(descendants(posted.agent))
    return {pid: each for pid, each in found.items() if "spotrelay.command.subreaper" not in each.command}


def document(posted: Posted) -> dict[str, Any]:
    """Behind `--json`. `version` grows when a field changes its meaning; fields may be added."""
    processes = [{"pid": pid, **asdict(each)} for pid, each in _usage(posted).items()]
    return {"version": 1, **asdict(posted), "processes": processes}
