"""`spotrelay stop`: the options, and what a person hears."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Annotated

import typer

from spotrelay.cli.account import AsJson
from spotrelay.cli.groups import grouped
from spotrelay.cli.leaving import said_when_left
from spotrelay.cli.naming import RunName, by
from spotrelay.cli.place import Place

if TYPE_CHECKING:
    from spotrelay.core import records
    from spotrelay.person.stop import Stopping


@grouped
def stop(
    run: RunName,
    now: Annotated[bool, typer.Option("--now", help="Do not wait for the command's own checkpoint.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Stay until it is over.")] = False,
    as_json: AsJson = False,
    *,
    place: Place,
) -> None:
    """End a run, with all it has done saved.

    Its command is asked to checkpoint and its directory is saved, as at an
    interruption, but no machine comes after. `spotrelay resume` goes on.

    Example: spotrelay stop resnet-7
    """
    from rich.console import Console  # noqa: PLC0415 - half a second of imports, which are not for --help

    from spotrelay.cli.following import until_over  # noqa: PLC0415
    from spotrelay.person import runs  # noqa: PLC0415
    from spotrelay.person.stop import stop as end  # noqa: PLC0415

    console = Console(stderr=True, highlight=False)
    where = place.find()
    opened = where.open_store()

    async def work() -> tuple[str, Stopping, records.Outcome | None]:
        name = await runs.find(opened, run)
        with said_when_left(console, f"Left: {name} may not have been told. The same command again makes sure of it."):
            said = await end(opened, where.open_queue(), name, by=by(), at=time.time(), now=now)
        outcome = said.before.outcome
        if follow and outcome is None:
            outcome = await until_over(opened, name, console, options=place.options)
        return name, said, outcome

    name, said, outcome = asyncio.run(work())
    if as_json:
        result = outcome.result if outcome is not None else None
        print(json.dumps({"run": name, "was_over": said.over, "at_work": said.at_work, "outcome": result}, indent=2))
    else:
        console.print(_words(name, said, outcome, now=now), markup=False, soft_wrap=True)


def _words(name: str, said: Stopping, outcome: records.Outcome | None, *, now: bool) -> str:
    if said.over and outcome is not None:
        return f"{name} is over already: {outcome.result}"
    if outcome is not None:
        return f"{name} is over: {outcome.result}"
    if not said.at_work:
        return f"{name} ends: no machine is at it, and none will come."
    how = "is killed" if now else "is asked to checkpoint"
    return f"{name} ends: its machine hears of it within 15 s, its command {how}, and its directory is saved."
