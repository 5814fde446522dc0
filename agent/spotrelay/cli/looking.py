"""What the commands share that look at runs: the run's name as a person types it, and the way to the store and back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from spotrelay.cli.account import STACK
from spotrelay.cli.place import Place, Where
from spotrelay.cli.told import plain
from spotrelay.core.errors import SpotrelayError, StoreUnavailable

if TYPE_CHECKING:
    from spotrelay.ports import BrowsableStore

T = TypeVar("T")
# A shell that completes a name waits for us.
COMPLETE_WITHIN_S = 3.0
# After the store's own patience (place.PATIENCE_S).
AGAIN_S = 2.0


def completed(context: typer.Context, incomplete: str) -> list[str]:
    """For the shell. Whatever is wrong, there is nothing to complete, and no time to say it."""
    from spotrelay.person import runs  # noqa: PLC0415

    given = context.params
    place = Place(given.get("store"), None, given.get("stack") or STACK, given.get("region"), given.get("profile"))
    try:
        found = look(place, lambda store: asyncio.wait_for(runs.names(store), COMPLETE_WITHIN_S))
    except (SpotrelayError, OSError):
        return []
    return [name for name in found if name.startswith(incomplete)]


RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="Its name, or the beginning of it.", autocompletion=completed)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """The answer, whenever there is one: who watches for hours is not sent away by a minute without network. What is
    wrong is said once."""
    said = False
    while True:
        try:
            return await ask()
        except StoreUnavailable as error:
            if not said:
                note(f"{error}; trying on")
            said = True
            await asyncio.sleep(AGAIN_S)


def note(words: str) -> None:
    """To the person alone: standard error."""
    from rich.console import Console  # noqa: PLC0415

    Console(stderr=True).print(plain(words), style="dim", highlight=False, markup=False, soft_wrap=True)


def look(place: Place, work: Callable[[BrowsableStore], Coroutine[None, None, T]]) -> T:
    """What `work` finds in the store. Ctrl-C cancels it."""
    return ask(place, lambda where: work(where.open_store()))


def ask(place: Place, work: Callable[[Where], Coroutine[None, None, T]]) -> T:
    """As `look`, for who needs to know more of the place."""
    return asyncio.run(work(place.find()))
