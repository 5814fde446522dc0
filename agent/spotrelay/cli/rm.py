"""`spotrelay rm`: what will be freed, the question before, and one run after the other."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from spotrelay.cli.account import AsJson, Yes
from spotrelay.cli.groups import grouped
from spotrelay.cli.leaving import said_when_left
from spotrelay.cli.naming import RunNames, by
from spotrelay.cli.place import Bucket
from spotrelay.core.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from spotrelay.person.remove import Holding
    from spotrelay.ports import BrowsableStore


@grouped
def rm(
    names: RunNames,
    force: Annotated[
        bool, typer.Option("--force", help="Also one that is not over, as long as no machine is at it.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
    *,
    place: Bucket,
) -> None:
    """Remove runs, with their snapshots, logs and results.

    Only runs that are over. What was interrupted half-way is finished by
    the same command.

    Example: spotrelay rm resnet-7 resnet-8
    """
    from rich.console import Console  # noqa: PLC0415 - half a second of imports, which are not for --help

    console = Console(stderr=True, highlight=False)
    opened = place.find().open_store()
    # Twice on the loop: between the two a person is asked, and that is nothing for a loop to wait for.
    found = asyncio.run(_found(opened, names, console, force=force))
    if not (yes or _sure(found, console)):
        print("Nothing was removed.")
        raise typer.Exit(1)
    asyncio.run(_removed(opened, found, console, quiet=as_json))
    if as_json:
        print(json.dumps([{"run": each.run, "objects": each.objects, "bytes": each.bytes} for each in found], indent=2))


async def _found(store: BrowsableStore, names: list[str], console: Console, *, force: bool) -> list[Holding]:
    """All are looked at before any is removed."""
    from spotrelay.person import remove, runs  # noqa: PLC0415 - as above

    with said_when_left(console, "Left: nothing was removed."):
        known = await runs.names(store)
        found = []
        for name in dict.fromkeys(runs.meant(text, known) for text in names):
            await remove.check(store, name, by=by(), at=time.time(), force=force)
            found.append(await remove.holding(store, name))
        return found


async def _removed(store: BrowsableStore, found: list[Holding], console: Console, *, quiet: bool) -> None:
    from spotrelay.person import remove  # noqa: PLC0415 - as above

    for number, each in enumerate(found):
        left = _left(each.run, [other.run for other in found[number + 1 :]])
        with said_when_left(console, left), console.status(f"removing {each.run}"):
            await remove.remove(store, each, at=time.time())
        if not quiet:
            console.print(f"{each.run} is gone: {_size(each)} freed", markup=False, soft_wrap=True)


def _left(amid: str, untouched: list[str]) -> str:
    """As `person.remove` has it: half of a run is still seen for one that is over."""
    whole = f" {', '.join(untouched)}: not touched." if untouched else ""
    return f"Left amid {amid}: what remains of it starts nothing, and the same command again removes it.{whole}"


def _size(each: Holding) -> str:
    from rich.filesize import decimal  # noqa: PLC0415 - as above

    return f"{decimal(each.bytes)} in {each.objects:,} object{'s' * (each.objects != 1)}"


def _sure(found: list[Holding], console: Console) -> bool:
    for each in found:
        console.print(f"{each.run}: {_size(each)}", markup=False, soft_wrap=True)
    what = found[0].run if len(found) == 1 else f"{len(found)} runs"
    if not sys.stdin.isatty():
        raise UsageError(f"this removes {what}, for good", next_step="if that is meant, say --yes")
    return typer.confirm(f"This removes {what}, for good. Go on?", err=True)
