"""Virtual time with tasks in it: blocking code of many threads, one at a time, in an order that a seed decides.

The launcher is synchronous, and several of it race. On a real clock a storm of an hour takes an hour, and no two are
alike. Here a thread that waits says so (`sleep`, or the end of a `map`), and hands the baton to whoever is due next;
the clock moves only when all wait. So code between two waits is alone in the world, and where it waits (each call of
the outside, with its latency) others come in between.

A hand-over is two locks, some ten microseconds; none when the next one due is the one that waits.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")
START = 1_800_000_000.0


class Closed(BaseException):
    """The timeline ends: a task that waits shall end, and no handler of the code under test may stop it."""


class Alarm:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class _Task:
    """A thread that is used again and again. `baton`: held while it must wait."""

    def __init__(self, timeline: Timeline) -> None:
        self.baton = threading.Lock()
        self.baton.acquire()
        self.work: Callable[[], None] | None = None
        self.thread = threading.Thread(target=timeline._live, args=(self,), daemon=True)


class Timeline:
    """`local.clock.Clock` too."""

    def __init__(self, start: float = START) -> None:
        self._now = start
        self._order = itertools.count()
        self._due: list[tuple[float, int, Alarm | _Task]] = []
        self._main = threading.Lock()
        self._main.acquire()
        self._here: _Task | None = None
        self._idle: list[_Task] = []
        self._tasks: list[_Task] = []
        self._stopped = self._closing = False
        self._error: BaseException | None = None

    # ---- time

    def now(self) -> float:
        return self._now

    def call_at(self, when: float, callback: Callable[[], None]) -> Alarm:
        alarm = Alarm(callback)
        heapq.heappush(self._due, (max(when, self._now), next(self._order), alarm))
        return alarm

    def sleep(self, seconds: float) -> None:
        """Of a task: others run meanwhile."""
        task = self._here
        assert task is not None, "only a task can wait"
        heapq.heappush(self._due, (self._now + seconds, next(self._order), task))
        self._hand_on(task)

    # ---- tasks

    def spawn(self, work: Callable[[], None]) -> None:
        """A task of its own, soon."""
        if self._idle:
            task = self._idle.pop()
        else:
            task = _Task(self)
            self._tasks.append(task)
            task.thread.start()
        task.work = work
        heapq.heappush(self._due, (self._now, next(self._order), task))

    def map(self, work: Callable[[T], R], items: Iterable[T], most: int) -> Sequence[R]:
        """`launcher.crew.Crew.map` with `most` at once."""
        todo = list(items)
        if len(todo) < 2:
            return [work(item) for item in todo]
        results: list[Any] = [None] * len(todo)
        left, lanes, caller = deque(range(len(todo))), min(most, len(todo)), self._here
        assert caller is not None

        def lane() -> None:
            while left:
                number = left.popleft()
                try:
                    results[number] = work(todo[number]), None
                except BaseException as error:  # it is the caller's, once all have ended
                    results[number] = None, error

        open_lanes = lanes

        def beside() -> None:
            nonlocal open_lanes
            lane()
            open_lanes -= 1
            if not open_lanes:  # the caller has been waiting for the last one
                heapq.heappush(self._due, (self._now, next(self._order), caller))

        for _ in range(lanes - 1):
            self.spawn(beside)
        lane()
        open_lanes -= 1
        if open_lanes:
            self._hand_on(caller)
        for _, error in results:
            if error is not None:
                raise error
        return [result for result, _ in results]

    def _live(self, task: _Task) -> None:
        task.baton.acquire()
        self._here = task
        while not self._closing:
            try:
                assert task.work is not None
                task.work()
            except Closed:
                return
            except BaseException as error:
                self._error = self._error or error
                self._stopped = True
            task.work = None
            self._idle.append(task)
            try:
                self._hand_on(task)
            except Closed:
                return

    # ---- the baton

    def run(self) -> None:
        """Until somebody calls `stop`, or nothing is due any more. Raises what a task raised."""
        self._stopped = False
        self._hand_on(None)
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def stop(self) -> None:
        self._stopped = True

    def close(self) -> None:
        """Ends all tasks, wherever they wait."""
        self._closing = True
        for task in self._tasks:
            task.baton.release()
            task.thread.join()

    def _hand_on(self, task: _Task | None) -> None:
        """To whoever is due next; back when it is this one's turn."""
        following = self._next()
        if following is task:
            self._here = task
            return
        (following.baton if following is not None else self._main).release()
        (task.baton if task is not None else self._main).acquire()
        if self._closing and task is not None:
            raise Closed
        self._here = task

    def _next(self) -> _Task | None:
        """None: the main thread."""
        while self._due and not self._stopped:
            self._now, _, due = heapq.heappop(self._due)
            if isinstance(due, _Task):
                return due
            if due.callback is not None:
                try:
                    due.callback()
                except BaseException as error:
                    self._error = self._error or error
                    self._stopped = True
        return None
