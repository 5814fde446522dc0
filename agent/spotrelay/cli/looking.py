"""What the commands share that look at runs: the run's name as a person types it, and the way to the store and back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from spotrelay.cli.account import STACK
from spotrelay.cli.place import Place
from spotrelay.core.errors import SpotrelayError

if TYPE_CHECKING:
    from spotrelay.ports import BrowsableStore

T = TypeVar("T")
# A shell that completes a name waits for us.
COMPLETE_WITHIN_S = 3.0


def _names(context: typer.Context, incomplete: str) -> list[str]:
    """For the shell. Whatever is wrong, there is nothing to complete, and no time to say it."""
    from spotrelay.person import runs  # noqa: PLC0415

    given = context.params
    place = Place(given.get("store"), None, given.get("stack") or STACK, given.get("region"), given.get("profile"))
    try:
        found = look(place, lambda store: asyncio.wait_for(runs.names(store), COMPLETE_WITHIN_S))
    except (SpotrelayError, OSError):
        return []
    return [name for name in found if name.startswith(incomplete)]


RunName = Annotated[str, typer.Argument(metavar="RUN", help="Its name, or the beginning of it.", autocompletion=_names)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def look(place: Place, work: Callable[[BrowsableStore], Coroutine[None, None, T]]) -> T:
    """What `work` finds in the store. Ctrl-C cancels it."""
    return asyncio.run(work(place.find().open_store()))
