"""What the commands share that look at runs: the way to the store and back, and what is said beside the data."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from spotrelay.cli.memory import give_back_at_once
from spotrelay.cli.place import Place, Where
from spotrelay.cli.told import plain
from spotrelay.core.errors import StoreUnavailable

if TYPE_CHECKING:
    from spotrelay.ports import BrowsableStore

T = TypeVar("T")
# After the store's own patience (place.PATIENCE_S).
AGAIN_S = 2.0


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
    give_back_at_once()
    return asyncio.run(work(place.find()))
