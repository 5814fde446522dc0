"""`spotrelay status RUN`: one run as it is now, once or as it changes."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spotrelay.cli import told
from spotrelay.cli.groups import grouped
from spotrelay.cli.looking import AsJson, look, patiently
from spotrelay.cli.ls import STYLES, cost, pool, spending
from spotrelay.cli.naming import RunName
from spotrelay.cli.place import Bucket

if TYPE_CHECKING:
    from spotrelay.cli.table import Cell
    from spotrelay.person.now import Now
    from spotrelay.ports import BrowsableStore

# A heartbeat comes every 15 s, and at once when something happens: ten requests each time, for as long as somebody
# looks.
LOOK_S = 3.0


@grouped
def status(
    run: RunName,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on until the run is over.")] = False,
    as_json: AsJson = False,
    *,
    place: Bucket,
) -> None:
    """Show how RUN stands, and what an interruption would cost it now.

    Eleven requests to the bucket at most, however long the run's history.
    With --watch and --json: a line of JSON for each change.

    Example: spotrelay status resnet-7 --watch
    """
    if watch:
        look(place, lambda at: _watch(at, run, as_json=as_json))
    else:
        _show(look(place, lambda at: _find(at, run)), as_json=as_json)


async def _find(store: BrowsableStore, text: str) -> Now:
    from spotrelay.person import runs  # noqa: PLC0415
    from spotrelay.person.now import standing  # noqa: PLC0415

    return await standing(store, await runs.find(store, text))


def _show(found: Now, *, as_json: bool) -> None:
    from spotrelay.cli.table import print_facts  # noqa: PLC0415

    now = time.time()
    if as_json:
        print(json.dumps(document(found, now), indent=2))
    else:
        print_facts(facts(found, now))


async def _watch(store: BrowsableStore, text: str, *, as_json: bool) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.live import Live  # noqa: PLC0415

    from spotrelay.cli.table import facts_table  # noqa: PLC0415
    from spotrelay.person import runs  # noqa: PLC0415
    from spotrelay.person.now import standing  # noqa: PLC0415

    name = await patiently(lambda: runs.find(store, text))
    console, said = Console(), None
    live = Live(console=console, auto_refresh=False) if console.is_terminal and not as_json else None
    if live is not None:
        live.start()
    try:
        while True:
            found, now = await patiently(lambda: standing(store, name)), time.time()
            if live is not None:
                live.update(facts_table(facts(found, now)), refresh=True)
            elif found.glance != said:
                said = found.glance
                shown = json.dumps(document(found, now)) if as_json else line(found, now)
                print(shown, flush=True)
            if found.glance.state(now).over:
                return
            await asyncio.sleep(LOOK_S)
    finally:
        if live is not None:
            live.stop()


def line(found: Now, now: float) -> str:
    """For a pipe that is watched."""
    seen, status = found.glance, found.glance.status
    words = (told.moment(now, now), str(seen.state(now)), f"attempt {seen.attempt}", pool(seen.claim))
    return "\t".join(map(told.plain, (*words, (status.line if status else ""))))


def facts(found: Now, now: float) -> list[tuple[str, Cell]]:
    """Name and value; what has no value is not to be told."""
    seen, status = found.glance, found.glance.status
    state = str(seen.state(now))
    limit = f" (of {found.spec.limits.attempts} at most)" if found.spec is not None else ""
    rows: list[tuple[str, Cell]] = [
        ("run", seen.name),
        ("state", (f"{state}{_long(found, now)}", STYLES.get(state, ""))),
        ("attempt", f"{seen.attempt}{limit}" if seen.attempt else "none yet"),
        ("instance", seen.claim.instance if seen.claim is not None else ""),
        ("pool", pool(seen.claim)),
    ]
    if seen.outcome is not None:
        rows += _outcome(found)
    elif seen.wait is not None:
        rows += _wait(found, now)
    elif status is not None:
        rows += _work(found, now)
    rows += [
        ("cost", cost(found.ledger, seen)),
        ("warning", (status.warning, "yellow") if status is not None else ""),
        ("trouble", (found.trouble, "bold red")),
    ]
    return rows


def _long(found: Now, now: float) -> str:
    seen = found.glance
    if not seen.since:
        return ""
    since = told.since(seen.since, now)
    return f", {since} ago" if seen.state(now).over else f" for {since}"


def _outcome(found: Now) -> list[tuple[str, Cell]]:
    outcome = found.glance.outcome
    assert outcome is not None
    code = "" if outcome.exit_code is None else str(outcome.exit_code)
    return [("exit code", code), ("why", outcome.message), ("snapshot", outcome.snapshot or "none")]


def _wait(found: Now, now: float) -> list[tuple[str, Cell]]:
    wait = found.glance.wait
    assert wait is not None
    again = f"in {told.seconds(wait.next_at - now)}" if wait.next_at > now else ""
    return [
        ("waits for", f"attempt {wait.attempt}, since {told.since(wait.since, now)}, try {wait.step + 1}"),
        ("why", (wait.why, "bold red" if wait.person else "")),
        ("refusals", "; ".join(wait.errors[:3])),
        ("next try", again),
    ]


def _work(found: Now, now: float) -> list[tuple[str, Cell]]:
    status = found.glance.status
    assert status is not None
    gone = f"in {told.seconds(status.gone_at - now)}" if status.gone_at is not None and status.gone_at > now else ""
    return [
        ("phase", status.phase),
        ("output", status.line),
        ("machine goes", (gone, "yellow")),
        ("snapshot", status.snapshot or "none yet"),
        ("next save", _next_save(found, now)),
        ("to be saved", "" if status.dirty_bytes is None else f"about {told.size(status.dirty_bytes)}"),
        ("if noticed now", _by_notice(found, now)),
        ("if it dies now", _by_death(found, now)),
        ("last heard of", f"{told.since(status.at, now)} ago"),
    ]


def _next_save(found: Now, now: float) -> str:
    wait = found.next_save_s(now)
    if wait is None:
        return ""
    return f"in {told.seconds(wait)}" if wait else "about now"


def _by_notice(found: Now, now: float) -> str:
    lost, status = found.lost_by_notice_s(now), found.glance.status
    if found.working_s(now) is None or status is None:
        return ""
    if lost is None:
        return "not known yet: nothing was measured"
    needs = f"{told.seconds(status.needed_s or 0.0)} are needed"
    return f"you would lose {told.seconds(lost)}: {needs}" if lost else f"you would lose nothing: {needs}"


def _by_death(found: Now, now: float) -> str:
    lost = found.lost_by_death_s(now)
    return "" if lost is None else f"you would lose {told.seconds(lost)} of work"


def document(found: Now, now: float) -> dict[str, Any]:
    """Behind `--json`. `version` grows when a field changes its meaning; fields may be added."""
    seen = found.glance
    return {
        "version": 1,
        "run": seen.name,
        "state": str(seen.state(now)),
        "since": seen.since or None,
        "heard_at": seen.at or None,
        "attempt": seen.attempt,
        "claim": _record(seen.claim, without="token"),
        "status": _record(seen.status),
        "waits_for": _record(seen.wait),
        "outcome": _record(seen.outcome),
        "next_save_s": found.next_save_s(now),
        "lost_by_death_s": found.lost_by_death_s(now),
        "lost_by_notice_s": found.lost_by_notice_s(now),
        "cost": spending(found.ledger),
        "trouble": found.trouble,
    }


def _record(record: Any, *, without: str = "") -> dict[str, Any] | None:
    return None if record is None else {name: value for name, value in asdict(record).items() if name != without}
