"""Savers, a housekeeper, machines that die and successors in any order: no snapshot that counts is ever hurt.

A machine (hypothesis') plays a run: its owner writes, saves and tidies; a save or a round is cut off at any call to the
store, which arrived or did not, by a cancellation, an error or the machine's death; agents are restarted; successors
take over, from machines that are dead or only silent; and those come back, save what counts for nothing, and go on with
a round that they had begun. The code is the real one: Snapshots, Housekeeping, History. Only the clock is the test's.

After every step: what a successor would restore is there, whole and what was saved, and so is every snapshot of the
owner's, and every pack that its next save relies on. At the end: nothing is left but what somebody may need.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from spotrelay.attempt import OWNED_S
from spotrelay.core import keys, records
from spotrelay.core.errors import AlreadyExists, NotFound, StoreUnavailable
from spotrelay.core.keys import SnapshotId
from spotrelay.history import History
from spotrelay.ports import Store
from spotrelay.predecessors import SILENT_S
from spotrelay.snapshot import Snapshots, read, stored_manifest
from spotrelay.snapshot.housekeeping import KEEP, Disowned, Housekeeping
from support.stores import RUN, Dies, Recording, memory

# Of each version of a file another size, so that it differs by that alone: nobody waits for the kernel's tick here.
VERSIONS = st.integers(1, 4)
SMALL, LARGE = 1000, 1 << 20
FILES = st.sampled_from(["small", "other", "large"])
CALLS = st.integers(0, 7)
HOW = st.sampled_from(["cancelled", "refused", "died"])

Content = dict[str, int]  # the version of each file


@dataclass
class Cut:
    """The `at`-th call of an operation is its last; it `arrived` or not."""

    how: str
    at: int
    arrived: bool


@dataclass
class Process:
    """An agent: what is lost when it dies."""

    attempt: int
    folder: Path
    store: Recording
    snapshots: Snapshots
    keeper: Housekeeping
    beat_at: float
    number: int = 0
    stalled: asyncio.Task[Any] | None = None
    go_on: asyncio.Event = field(default_factory=asyncio.Event)


class Run(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp())
        self.store: Store = memory()
        self.now = 0.0
        self.saved: dict[SnapshotId, Content] = {}
        self.gone: list[Process] = []  # silent: they may come back
        self.owner: Process | None = None
        self.attempt = 0
        self.places = 0

    # --- what happens

    @initialize(content=st.dictionaries(FILES, VERSIONS))
    def first(self, content: Content) -> None:
        """As a person begins it, and the first machine takes it up."""
        person = self.process(0, None)
        for name, version in content.items():
            write(person.folder, name, version)
        self.do(self.save(person))
        self.do(self.take_over())

    @precondition(lambda self: self.free())
    @rule(name=FILES, version=VERSIONS | st.just(0))
    def write(self, name: str, version: int) -> None:
        write(self.mine.folder, name, version)

    @precondition(lambda self: self.free())
    @rule()
    def save_(self) -> None:
        self.do(self.save(self.mine))

    @precondition(lambda self: self.free())
    @rule(how=HOW, at=CALLS, arrived=st.booleans())
    def save_cut_off(self, how: str, at: int, arrived: bool) -> None:
        self.do(self.cut(self.mine, lambda: self.save(self.mine), Cut(how, at, arrived)))

    @precondition(lambda self: self.free())
    @rule()
    def tidy(self) -> None:
        self.do(suppressing(self.mine.keeper.round()))

    @precondition(lambda self: self.free())
    @rule(how=HOW, at=CALLS, arrived=st.booleans())
    def tidy_cut_off(self, how: str, at: int, arrived: bool) -> None:
        self.do(self.cut(self.mine, self.mine.keeper.round, Cut(how, at, arrived)))

    @precondition(lambda self: self.free())
    @rule(at=CALLS)
    def tidy_and_fall_asleep(self, at: int) -> None:
        """The machine stands still before one of its calls; the others have been carried out."""
        self.do(self.fall_asleep(self.mine, at))

    @rule(process=st.integers(0, 9))
    def wake_up(self, process: int) -> None:
        """With the round that it was in, on a machine that may have been given up long ago."""
        asleep = [p for p in [*self.gone, *([self.owner] if self.owner else [])] if p.stalled is not None]
        if asleep:
            self.do(self.awake(asleep[process % len(asleep)]))

    @rule(version=VERSIONS)
    def predecessor_saves(self, version: int) -> None:
        """It does not know yet that it was given up."""
        awake = [p for p in self.gone if p.stalled is None]
        if awake:
            write(awake[-1].folder, "small", version)
            self.do(self.save(awake[-1]))

    @rule()
    def predecessor_tidies(self) -> None:
        for process in self.gone:
            if process.stalled is None:
                self.do(suppressing(process.keeper.round()))

    @precondition(lambda self: self.owner is None)
    @rule()
    def restart(self) -> None:
        """The agent died, its machine did not."""
        self.do(self.begin(self.attempt))

    @rule(dead=st.booleans())
    def successor_takes_over(self, dead: bool) -> None:
        if self.owner is not None:
            if dead:
                self.do(self.end(self.owner))
            else:
                self.gone.append(self.owner)
            self.owner = None
        self.now += SILENT_S
        self.do(self.take_over())

    @rule(minutes=st.integers(1, 3))
    def time_passes(self, minutes: int) -> None:
        self.now += 60 * minutes
        if self.free():
            self.mine.beat_at = self.now

    # --- what must hold

    @invariant()
    def nothing_that_counts_is_hurt(self) -> None:
        self.do(self.check())

    def teardown(self) -> None:
        try:
            if self.attempt:
                self.do(self.leaves_nothing_else())
        finally:
            self.runner.run(self.close())
            self.runner.close()
            shutil.rmtree(self.folder)

    async def check(self) -> None:
        there = set(await self.store.list(keys.packs(RUN)))
        saved = keys.snapshots_among(await self.store.list(keys.snapshots(RUN)))
        if self.attempt:
            newest = await History(self.store, RUN).newest_allowed(self.attempt)
            assert newest in saved, f"{newest} may be restored, and is gone"
            for snapshot in [newest, *(each for each in saved if each.attempt == self.attempt)]:
                data = await self.store.get(keys.snapshot(RUN, snapshot))
                missing = {keys.pack(RUN, digest) for digest in stored_manifest.packs(data)} - there
                assert not missing, f"{snapshot} is not whole"
        if self.owner is not None:
            known = {keys.pack(RUN, digest) for digest in self.owner.snapshots.known_packs()}
            assert known <= there, "the next save relies on what is gone"

    async def leaves_nothing_else(self) -> None:
        for process in [*self.gone, *([self.owner] if self.owner else [])]:
            await self.awake(process)
        if self.owner is None:
            await self.begin(self.attempt)
        await self.save(self.mine)
        for _ in range(2):
            self.mine.beat_at = self.now
            await self.mine.keeper.round()
        saved = keys.snapshots_among(await self.store.list(keys.snapshots(RUN)))
        assert len(saved) <= KEEP + 1, "one more: what this process began from"
        needed = set[str]().union(
            *[stored_manifest.packs(await self.store.get(keys.snapshot(RUN, each))) for each in saved]
        )
        assert {keys.pack(RUN, digest) for digest in needed} == set(await self.store.list(keys.packs(RUN)))
        await self.begin(self.attempt)  # restores, and compares

    # --- how it happens

    @property
    def mine(self) -> Process:
        assert self.owner is not None
        return self.owner

    def free(self) -> bool:
        """There is an owner, and it is not asleep."""
        return self.owner is not None and self.owner.stalled is None

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(asyncio.wait_for(work, 60))

    def process(self, attempt: int, base: SnapshotId | None) -> Process:
        self.places += 1
        folder = self.folder / str(self.places)
        folder.mkdir()
        store = Recording(self.store)
        snapshots = Snapshots(store, RUN, folder)

        def owned() -> bool:
            return self.now - made.beat_at < OWNED_S

        keeper = Housekeeping(store, RUN, attempt, snapshots, base=base, owned=owned)
        made = Process(attempt, folder, store, snapshots, keeper, self.now)
        return made

    async def take_over(self) -> None:
        self.attempt += 1
        claim = records.Claim(f"i-{self.attempt}", "token", self.now)
        await self.store.create(keys.claim(RUN, self.attempt), records.encode(claim))
        await self.begin(self.attempt)

    async def begin(self, attempt: int) -> None:
        """As an agent does: fix the base, restore it. What comes is what was saved."""
        newest = await History(self.store, RUN).newest_allowed(attempt)
        assert newest is not None
        base = records.Base(str(newest), self.now, f"i-{attempt}")
        with contextlib.suppress(AlreadyExists):
            await self.store.create(keys.base(RUN, attempt), records.encode(base))
        process = self.process(attempt, newest)
        await process.snapshots.restore(newest)
        assert self.saved[newest] == content(process.folder), f"{newest} is not what was saved"
        process.number = newest.number + 1 if newest.attempt == attempt else 0
        self.owner = process

    async def save(self, process: Process) -> None:
        while True:
            snapshot = SnapshotId(process.attempt, process.number)
            # Before the commit, whose answer may be lost.
            before, self.saved[snapshot] = self.saved.get(snapshot), content(process.folder)
            process.number += 1
            try:
                await process.snapshots.save(snapshot)
            except AlreadyExists:
                assert before is not None
                self.saved[snapshot] = before
                continue
            return

    async def cut(self, process: Process, work: Callable[[], Awaitable[Any]], cut: Cut) -> None:
        reached = asyncio.Event()
        process.store.calls.clear()

        async def strike(_method: str, _key: str) -> None:
            if len(process.store.calls) <= cut.at:
                return
            if cut.how == "refused":
                raise StoreUnavailable("the store is away")
            reached.set()
            if cut.how == "died":
                raise Dies
            await asyncio.sleep(3600)

        # A deletion that is cancelled is not cut off: it comes to its end, and the round with it.
        spares = cut.how == "cancelled"
        setattr(process.store, "after" if cut.arrived else "before", sparing_deletions(strike) if spares else strike)
        task = asyncio.ensure_future(work())
        waiting = asyncio.ensure_future(reached.wait())
        await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        task.cancel()
        [result] = await asyncio.gather(task, return_exceptions=True)
        process.store.before = process.store.after = None
        if cut.how == "died" and isinstance(result, BaseException):
            self.owner = None

    async def fall_asleep(self, process: Process, at: int) -> None:
        asleep = asyncio.Event()
        process.store.calls.clear()

        async def wait(_method: str, _key: str) -> None:
            if len(process.store.calls) == at + 1:
                asleep.set()
                await process.go_on.wait()

        process.go_on.clear()
        process.store.before = sparing_deletions(wait)
        task = asyncio.create_task(process.keeper.round())
        waiting = asyncio.create_task(asleep.wait())
        await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if asleep.is_set():
            process.stalled = task
        else:
            process.store.before = None
            await suppressing(task)

    async def awake(self, process: Process) -> None:
        if process.stalled is not None:
            process.go_on.set()
            await suppressing(process.stalled)
            process.stalled = process.store.before = None

    async def end(self, process: Process) -> None:
        """Its machine is dead."""
        if process.stalled is not None:
            process.stalled.cancel()
            await asyncio.wait([process.stalled])

    async def close(self) -> None:
        for process in [*self.gone, *([self.owner] if self.owner else [])]:
            await self.end(process)


def sparing_deletions(hook: Callable[[str, str], Awaitable[None]]) -> Callable[[str, str], Awaitable[None]]:
    """What is assumed of the store: a deletion is carried out soon, or never."""

    async def hooked(method: str, key: str) -> None:
        if method != "delete":
            await hook(method, key)

    return hooked


async def suppressing(work: Awaitable[Any]) -> None:
    """A round that may have come too late: its successor has deleted what it wants to read."""
    with contextlib.suppress(Disowned, NotFound):
        await work


def write(folder: Path, name: str, version: int) -> None:
    """0: it is removed. A version has the same bytes whoever writes it."""
    path = folder / name
    path.unlink(missing_ok=True)
    if version:
        path.write_bytes(bytes([version]) * ((LARGE if name == "large" else SMALL) + version))


def content(folder: Path) -> Content:
    return {path.name: path.read_bytes()[0] for path in sorted(folder.iterdir())}


def play(examples: int, steps: int) -> None:
    run_state_machine_as_test(Run, settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None))


@pytest.fixture(autouse=True)
def _no_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "TICK_S", 0.0)


def test_no_order_of_things_hurts_a_snapshot_that_counts() -> None:
    """Otherwise a run comes back to find that its own housekeeper has thrown it away."""
    play(15, 25)


@pytest.mark.slow
def test_nor_does_a_long_life() -> None:
    play(40, 50)
