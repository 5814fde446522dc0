"""What the store says, looked at once for all pages, and only while there are any. Requests to the store:

    no page is in sight                 none
    first page                          1 for a thousand runs, 1 for each that is over: once, as long as we live
    as long as one is, every 5 s        1 for a thousand open runs (what begins is seen by its mark)
                    every 60 s          1 for a thousand runs (what was removed)
    open runs, each every 10 s          6 each, and at most OPEN_A_LOOK of them a look: 2,400 a minute in all. With more
                                        than 66 open runs each is looked at less often.
    a run in view, every 2 s            12, whatever its history, and 3 more for each earlier attempt whose cost is not
                                        written yet: 360 a minute. Every 30 s once it is over.

On S3 2,400 GET a minute are 6 cents an hour. Pages share all of it: two that show the same run cost what one does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from spotrelay.core.errors import SpotrelayError
from spotrelay.person import receipt, runs
from spotrelay.person.glance import glances
from spotrelay.person.history import Chronicle
from spotrelay.ports import BrowsableStore
from spotrelay.ui.board import Board, Row, row
from spotrelay.ui.logbook import Logbook
from spotrelay.ui.story import story

LOOK_S = 5.0
NAMES_S = 60.0
OPEN_S = 10.0
OPEN_A_LOOK = 33
VIEW_S = 2.0
VIEW_OVER_S = 30.0
# Shown as they come: a page must not wait for ten thousand.
FILL = 500


class View:
    """A run that is looked at. `document`: as its page shows it, None before it was read. `logs`: attempt and bytes."""

    def __init__(self, store: BrowsableStore, run: str) -> None:
        self.run, self.logbook = run, Logbook(store, run)
        self.document: dict[str, Any] | None = None
        self.logs: list[tuple[int, int]] = []
        self.version = self.watchers = 0
        self._chronicle = Chronicle(store, run)

    @property
    def over(self) -> bool:
        return self.document is not None and self.document["outcome"] is not None

    async def look(self, now: float) -> bool:
        """True if anything is other than it was. Raises StoreError."""
        history = await self._chronicle.read()
        await self.logbook.look([each.number for each in history.attempts[-2:]])
        before = (self.document, self.logs)
        self.document, self.logs = story(history, receipt.of(history), now), self.logbook.sizes()
        return before != (self.document, self.logs)


class Poller:
    """`attend` while a page is there. `version` grows with every change, `trouble` is what is wrong with the store."""

    def __init__(self, store: BrowsableStore, *, clock: Callable[[], float] = time.time) -> None:
        self.board, self.trouble, self.version = Board(), "", 0
        self._store, self._clock = store, clock
        self._views: dict[str, View] = {}
        self._news = asyncio.Event()
        self._pages = 0
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._named = -NAMES_S
        self._open: set[str] = set()
        self._looked: dict[str, float] = {}

    # --- pages come and go

    @asynccontextmanager
    async def attend(self, run: str | None) -> AsyncIterator[View | None]:
        """As long as a page shows the list, and perhaps a run."""
        self._pages += 1
        self._begin("", self._watch_board)
        view = self._views.setdefault(run, View(self._store, run)) if run is not None else None
        if view is not None:
            view.watchers += 1
            self._begin(view.run, lambda: self._watch_run(view))
        try:
            yield view
        finally:
            self._pages -= 1
            if view is not None:
                view.watchers -= 1
                if not view.watchers:
                    self._views.pop(view.run)
                    self._end(view.run)
            if not self._pages:
                self._end("")

    def view(self, run: str) -> View:
        """The one that is being watched, or a fresh one: what a single question about a run is asked of."""
        return self._views.get(run) or View(self._store, run)

    def look_soon(self, run: str) -> None:
        """Somebody has just changed something there."""
        self._looked.pop(run, None)
        view = self._views.get(run)
        if view is not None:
            self._end(run)
            self._begin(run, lambda: self._watch_run(view))

    async def news(self, version: int) -> None:
        """Return when there is something newer than `version`."""
        while self.version <= version:
            await self._news.wait()

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for name in list(self._tasks):
            self._end(name)
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, name: str, watch: Callable[[], Any]) -> None:
        if name not in self._tasks:
            self._tasks[name] = asyncio.create_task(watch(), name=f"watching {name or 'the list'}")

    def _end(self, name: str) -> None:
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()

    # --- looking

    async def _watch_board(self) -> None:
        while True:
            try:
                await self._look_at_board()
                self._say("")
            except Exception as error:
                self._say(_words(error))
            await asyncio.sleep(LOOK_S)

    async def _watch_run(self, view: View) -> None:
        while True:
            try:
                if await view.look(self._clock()):
                    view.version = self.version + 1
                    self._tell()
            except Exception as error:
                self._say(_words(error))
            await asyncio.sleep(VIEW_OVER_S if view.over else VIEW_S)

    async def _look_at_board(self) -> None:
        before, self._open = self._open, await runs.open_names(self._store)
        fresh = self._open - self.board.rows.keys()
        now = self._clock()
        if time.monotonic() - self._named >= NAMES_S:
            names = set(await runs.names(self._store)) | self._open
            fresh = names - self.board.rows.keys()
            self._named = time.monotonic()
            if self.board.drop(self.board.rows.keys() - names, self.version + 1):
                self._tell()
        self._put(Row(name) for name in sorted(fresh))
        # A run without its mark may go on all the same. First what was not looked at for longest; what has just ended.
        going = self._open | {name for name, known in self.board.rows.items() if known.going}
        due = [name for name in going if now - self._looked.get(name, 0.0) >= OPEN_S]
        due.sort(key=lambda name: self._looked.get(name, 0.0))
        ended = [name for name in before - self._open if name in self.board.rows]
        await self._look_at([*due[:OPEN_A_LOOK], *ended])
        unknown = [name for name, known in self.board.rows.items() if not known.state and name not in self._open]
        for begin in range(0, len(unknown), FILL):
            await self._look_at(unknown[begin : begin + FILL])

    async def _look_at(self, names: Iterable[str]) -> None:
        seen = await glances(self._store, names)
        now = self._clock()
        self._looked |= {each.name: now for each in seen}
        self._put(row(each, now) for each in seen)

    def _put(self, rows: Iterable[Row]) -> None:
        if self.board.put(rows, self.version + 1):
            self._tell()

    def _say(self, trouble: str) -> None:
        if trouble != self.trouble:
            self.trouble = trouble
            self._tell()

    def _tell(self) -> None:
        self.version += 1
        told, self._news = self._news, asyncio.Event()
        told.set()


def _words(error: Exception) -> str:
    """A fault of ours is said, and does not end the looking: a page that stands still looks like a run that does."""
    return str(error) if isinstance(error, SpotrelayError) else f"a fault of spotrelay: {type(error).__name__}: {error}"
