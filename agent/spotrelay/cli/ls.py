"""`spotrelay ls`: the runs, a line each."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spotrelay.cli import told
from spotrelay.cli.groups import grouped
from spotrelay.cli.looking import AsJson, look, note
from spotrelay.cli.place import Bucket

if TYPE_CHECKING:
    from spotrelay.cli.table import Cell
    from spotrelay.core import records
    from spotrelay.person.glance import Glance
    from spotrelay.person.overview import Line, Overview

HEADINGS = ("run", "state", "attempt", "pool", "since", "cost", "")
STYLES = {
    "running": "green",
    "succeeded": "green",
    "starting": "cyan",
    "waiting": "yellow",
    "ending": "yellow",
    "stuck": "bold red",
    "silent": "bold red",
    "failed": "red",
    "limit": "red",
    "unreadable": "bold red",
    "stopped": "dim",
}


@grouped
def ls(
    everything: Annotated[bool, typer.Option("--all", "-a", help="Also those that are over.")] = False,
    as_json: AsJson = False,
    *,
    place: Bucket,
) -> None:
    """Show the runs that are not over, the newest first.

    Two requests to the bucket for each thousand runs, and eight for each
    that is not over, however long its history; with --all two or three for
    each that is. In a pipe: values with tabs between them, no heading.

    Example: spotrelay ls --all
    """
    from spotrelay.person.overview import overview  # noqa: PLC0415

    found = look(place, lambda at: overview(at, everything=everything))
    if as_json:
        print(json.dumps(document(found, time.time()), indent=2))
    else:
        _print(found, everything=everything)


def _print(found: Overview, *, everything: bool) -> None:
    from spotrelay.cli.table import print_rows  # noqa: PLC0415

    now = time.time()
    if found.lines:
        print_rows(HEADINGS, [row(line, now) for line in found.lines])
    if found.over and not everything:
        note(f"{found.over} {'more ' if found.lines else ''}are over: spotrelay ls --all")
    elif not found.lines:
        note("there are no runs yet")


def row(line: Line, now: float) -> tuple[Cell, ...]:
    seen = line.glance
    state = str(seen.state(now))
    return (
        seen.name,
        (state, STYLES.get(state, "")),
        str(seen.attempt),
        pool(seen.claim),
        told.since(seen.since, now),
        cost(line.ledger, seen),
        doing(seen),
    )


def pool(claim: records.Claim | None) -> str:
    return " ".join(filter(None, (claim.instance_type, claim.zone, claim.market))) if claim is not None else ""


def cost(ledger: records.Ledger | None, seen: Glance) -> str:
    """`+`: and what the newest attempt costs, or machines whose price nobody knows."""
    if ledger is None:
        return told.UNKNOWN if seen.attempt else ""
    more = ledger.attempt < seen.attempt or ledger.unpriced_s > 0
    return told.dollars(ledger.dollars) + ("+" if more else "")


def doing(seen: Glance) -> str:
    """The most that a line can say of it: what is wrong, what it waits for, how it ended, or how far it is."""
    if seen.trouble:
        return seen.trouble
    if seen.outcome is not None:
        return seen.outcome.message
    if seen.wait is not None:
        return seen.wait.why
    return (seen.status.warning or seen.status.line) if seen.status is not None else ""


def document(found: Overview, now: float) -> dict[str, Any]:
    """Behind `--json`. `version` grows when a field changes its meaning; fields may be added."""
    return {"version": 1, "runs": [_run(line, now) for line in found.lines], "over": found.over}


def spending(ledger: records.Ledger | None) -> dict[str, Any] | None:
    if ledger is None:
        return None
    return {"dollars": ledger.dollars, "through_attempt": ledger.attempt, "unpriced_s": ledger.unpriced_s}


def _run(line: Line, now: float) -> dict[str, Any]:
    seen, claim, ledger = line.glance, line.glance.claim, line.ledger
    where = {"instance_type": claim.instance_type, "zone": claim.zone, "market": claim.market} if claim else None
    return {
        "name": seen.name,
        "state": str(seen.state(now)),
        "attempt": seen.attempt,
        "instance": claim.instance if claim else None,
        "pool": where,
        "since": seen.since or None,
        "heard_at": seen.at or None,
        "cost": spending(ledger),
        "line": seen.status.line if seen.status else "",
        "waits_for": seen.wait.why if seen.wait else "",
        "message": seen.outcome.message if seen.outcome else "",
        "trouble": seen.trouble,
    }
