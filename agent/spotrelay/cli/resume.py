"""`spotrelay resume`: the options, which are those of `spotrelay run` as far as they may change."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spotrelay.cli.account import AsJson
from spotrelay.cli.flags import Changes, Follow, Settings
from spotrelay.cli.groups import grouped
from spotrelay.cli.leaving import said_when_left
from spotrelay.cli.naming import RunName
from spotrelay.cli.place import Place

if TYPE_CHECKING:
    from rich.console import Console

    from spotrelay.core import records
    from spotrelay.person.resume import Resumed


@grouped
def resume(
    run: RunName,
    command: Annotated[
        list[str] | None, typer.Argument(help="Another command, after --.", metavar="COMMAND", show_default=False)
    ] = None,
    *,
    changes: Changes,
    settings: Settings = None,
    follow: Follow = False,
    as_json: AsJson = False,
    place: Place,
) -> None:
    """Let a run that was stopped, or failed, go on where it was.

    It stays the same run: its next attempt begins from its newest snapshot.
    What is not said stays as it was; limits count from the run's beginning.

    Example: spotrelay resume resnet-7 --instance-type g6.2xlarge
    """
    from rich.console import Console  # noqa: PLC0415 - half a second of imports, which are not for --help

    from spotrelay.cli.following import judge, until_over  # noqa: PLC0415
    from spotrelay.person import runs  # noqa: PLC0415
    from spotrelay.person.resume import resume as take_up  # noqa: PLC0415

    console = Console(stderr=True, highlight=False)
    given = {"run.command": command or None, **changes.given()}
    where = place.find()
    opened = where.open_store()

    async def work() -> tuple[Resumed, records.Outcome | None]:
        name = await runs.find(opened, run)
        bell = where.open_queue()
        with said_when_left(console, _left(name)):
            resumed = await take_up(opened, bell, name, given=given, settings=settings or [], at=time.time())
        _say(resumed, console)
        outcome = await until_over(opened, name, console, options=place.options) if follow else None
        return resumed, outcome

    resumed, outcome = asyncio.run(work())
    if as_json:
        print(json.dumps(_document(resumed, outcome), indent=2))
    if outcome is not None:
        judge(resumed.spec.run.name, outcome, place.options)


def _document(resumed: Resumed, outcome: records.Outcome | None) -> dict[str, Any]:
    return {
        "run": resumed.spec.run.name,
        "attempt": resumed.attempt,
        "snapshot": str(resumed.snapshot) if resumed.snapshot is not None else None,
        "was": resumed.was.result if resumed.was is not None else None,
        "outcome": outcome.result if outcome is not None else None,
    }


def _left(name: str) -> str:
    """As `person.resume` has it: whenever it ends, one of the two is so."""
    return f"Left: {name} is over as before, or goes on within minutes. The same command again makes sure of it."


def _say(resumed: Resumed, console: Console) -> None:
    was = f"it was {resumed.was.result}; " if resumed.was is not None else ""
    begins = f"from snapshot {resumed.snapshot}" if resumed.snapshot is not None else "with an empty directory"
    said = f"{resumed.spec.run.name} goes on: {was}attempt {resumed.attempt} begins {begins}."
    console.print(said, markup=False, soft_wrap=True)
