"""`spotrelay logs RUN`: what the command wrote, on standard output, byte for byte."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from spotrelay.cli import told
from spotrelay.cli.groups import grouped
from spotrelay.cli.looking import look, note, patiently
from spotrelay.cli.ls import pool
from spotrelay.cli.naming import RunName
from spotrelay.cli.place import Bucket

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from spotrelay.person.log import Log, Piece, Position
    from spotrelay.ports import BrowsableStore


@grouped
def logs(
    run: RunName,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run is over.")] = False,
    attempt: Annotated[
        int | None, typer.Option(min=1, help="This attempt alone. Default: all, in their order.", show_default=False)
    ] = None,
    tail: Annotated[
        int | None, typer.Option("--tail", "-n", min=0, help="The last lines only.", show_default=False)
    ] = None,
    *,
    place: Bucket,
) -> None:
    """Print what RUN's command wrote: standard output and standard error, of all attempts.

    Where one attempt ends and the next begins is marked on a terminal. In a
    pipe there is the command's output, byte for byte, and nothing else.

    Example: spotrelay logs resnet-7 --tail 100 --follow
    """
    look(place, lambda at: _print(at, run, follow, attempt, tail))


async def _print(store: BrowsableStore, text: str, follow: bool, attempt: int | None, tail: int | None) -> None:
    from spotrelay.person import runs  # noqa: PLC0415
    from spotrelay.person.log import Log  # noqa: PLC0415

    log = Log(store, await runs.find(store, text), attempt)
    start = await log.tail(tail) if tail is not None else None
    printer = _Printer(store, log.run)
    async for piece in _steadily(log, start) if follow else log.read(start):
        await printer.print(piece)
    if follow:
        await printer.end()
    elif not printer.attempt:
        note(f"{log.run} has written nothing yet")


async def _steadily(log: Log, start: Position | None) -> AsyncGenerator[Piece, None]:
    """Follow, from where it was, after a store that was away has come back."""
    from spotrelay.core.errors import StoreUnavailable  # noqa: PLC0415

    at = start
    while True:
        try:
            async for piece in log.follow(at):
                yield piece
                at = piece.after
        except StoreUnavailable as error:
            note(f"{error}; trying on")
            await patiently(log.attempts)
        else:
            return


class _Printer:
    def __init__(self, store: BrowsableStore, run: str) -> None:
        self._store, self._run = store, run
        self._marks = sys.stdout.isatty()
        self._whole = True  # the line
        self.attempt = 0

    async def print(self, piece: Piece) -> None:
        if piece.gap:
            note(piece.gap)
        if piece.at.attempt != self.attempt:
            self.attempt = piece.at.attempt
            if self._marks:
                self._mark(await self._seam())
        # Blocking, on purpose: what is not read is not fetched.
        sys.stdout.buffer.write(piece.data)
        sys.stdout.buffer.flush()
        self._whole = piece.data.endswith(b"\n") if piece.data else self._whole

    async def end(self) -> None:
        from spotrelay.person.glance import glance  # noqa: PLC0415

        seen = await glance(self._store, self._run)
        if self._marks and seen.outcome is not None:
            why = f": {seen.outcome.message}" if seen.outcome.message else ""
            self._mark(f"── {self._run} {seen.outcome.result} in attempt {seen.outcome.attempt}{why} ──")

    def _mark(self, words: str) -> None:
        if not self._whole:
            sys.stdout.write("\n")
        sys.stdout.flush()
        note(words)

    async def _seam(self) -> str:
        from spotrelay.core import keys, records  # noqa: PLC0415
        from spotrelay.person.glance import Reading  # noqa: PLC0415

        claim = await Reading(self._store).record(records.Claim, keys.claim(self._run, self.attempt))
        where = f" · {claim.instance} {pool(claim)} · {told.moment(claim.at, time.time())}" if claim is not None else ""
        return f"── attempt {self.attempt}{where} ──"
