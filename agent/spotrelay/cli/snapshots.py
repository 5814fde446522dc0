"""`spotrelay snapshots RUN`: what of the directory is kept, and which of it would be resumed from."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from spotrelay.cli import told
from spotrelay.cli.groups import grouped
from spotrelay.cli.looking import AsJson, look, note
from spotrelay.cli.naming import RunName
from spotrelay.cli.place import Bucket

if TYPE_CHECKING:
    from spotrelay.cli.table import Cell
    from spotrelay.person.snapshots import Kept, Shelf
    from spotrelay.ports import BrowsableStore

HEADINGS = ("snapshot", "when", "attempt", "files", "size", "")


@grouped
def snapshots(
    run: RunName,
    as_json: AsJson = False,
    *,
    place: Bucket,
) -> None:
    """Show the snapshots RUN has, the oldest first.

    While a run goes on, old ones are thinned out: what can be resumed from,
    and what is pulled, is the one marked so.

    Example: spotrelay snapshots resnet-7
    """
    name, found = look(place, lambda at: _find(at, run))
    if as_json:
        print(json.dumps(document(name, found), indent=2))
    else:
        _print(name, found)


async def _find(store: BrowsableStore, text: str) -> tuple[str, Shelf]:
    from spotrelay.person import runs  # noqa: PLC0415
    from spotrelay.person.snapshots import shelf  # noqa: PLC0415

    name = await runs.find(store, text)
    return name, await shelf(store, name)


def _print(name: str, found: Shelf) -> None:
    from spotrelay.cli.table import print_rows  # noqa: PLC0415

    now = time.time()
    if found.kept:
        print_rows(HEADINGS, [_row(each, now) for each in found.kept])
    else:
        note(f"{name} has no snapshot yet")
    if found.trouble:
        note(found.trouble)


def _row(kept: Kept, now: float) -> tuple[Cell, ...]:
    last: Cell = ("resumed from here", "green") if kept.next else ""
    return (
        str(kept.snapshot),
        told.moment(kept.at, now),
        "before the first" if not kept.snapshot.attempt else str(kept.snapshot.attempt),
        told.UNKNOWN if kept.files is None else str(kept.files),
        told.UNKNOWN if kept.bytes is None else told.size(kept.bytes),
        (kept.trouble, "bold red") if kept.trouble else last,
    )


def document(name: str, found: Shelf) -> dict[str, Any]:
    """Behind `--json`. `version` grows when a field changes its meaning; fields may be added."""
    return {
        "version": 1,
        "run": name,
        "snapshots": [
            {
                "snapshot": str(each.snapshot),
                "at": each.at,
                "attempt": each.snapshot.attempt,
                "files": each.files,
                "bytes": each.bytes,
                "next": each.next,
                "trouble": each.trouble,
            }
            for each in found.kept
        ],
        "trouble": found.trouble,
    }
