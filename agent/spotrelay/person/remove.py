"""Remove a run with all it has in the bucket, in an order in which half of it is still seen for what it is.

    0  outcome.json       made, where a run that is not over is removed by force: a machine that boots for it goes
    1  open/<run>         the sweep has nothing to ask for
    2  launches/<run>/    or the next run of that name would find its machines launched
    3  snapshots/         manifests before packs: a snapshot that can be seen is whole
    4  everything else    packs, artifacts, attempts with their logs
    5  run.json
    6  outcome.json       as long as it is there the name is taken, and the run is over

Died anywhere: `ls` shows a run that is over, nothing starts, and the same command goes on.

Only a run that is over is removed, and not while its machine still writes: it may publish for a while, and what it
wrote after this would lie here as a run without a beginning. A machine's heart beats every 15 s; one that has been
silent for a minute is gone. Not by force either: a machine that is at it is told to stop first.

What is not the run's own stays: a few hundred bytes a machine below instances/ and fleets/.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spotrelay.core import keys, records, spec
from spotrelay.core.errors import NotFound, RunNotOver, SpecError
from spotrelay.core.lifecycle import Phase
from spotrelay.history import History
from spotrelay.person.glance import Glance, attempts_among, glance
from spotrelay.ports import BrowsableStore

# As `glance.SILENT_S` for one that has written its outcome, or handed over; as the agents' own rule (predecessors.py)
# for one that has not: its store may be away for a minute.
QUIET_S, SILENT_S = 60.0, 180.0


@dataclass(frozen=True, slots=True)
class Holding:
    """What a run has in the bucket."""

    run: str
    sizes: Mapping[str, int]

    @property
    def objects(self) -> int:
        return len(self.sizes)

    @property
    def bytes(self) -> int:
        return sum(self.sizes.values())


async def holding(store: BrowsableStore, run: str) -> Holding:
    """A listing: a request for a thousand objects."""
    sizes = {**await store.sizes(keys.run(run)), **await store.sizes(keys.launches(run))}
    return Holding(run, sizes)


async def check(store: BrowsableStore, run: str, *, by: str, at: float, force: bool = False) -> None:
    """Whether it may be removed. `by`: who asks; `at`: unix seconds. Raises RunNotOver, StoreUnavailable,
    StoreDenied."""
    seen = await glance(store, run)
    # What cannot be read cannot forbid it: a run whose objects are damaged is one that a person wants to be rid of.
    latest = await _newest_status(store, run, seen)
    over = seen.outcome is not None or seen.handover is not None
    leaving = latest is not None and latest.phase == Phase.LEAVING
    heard = max((each.at for each in (seen.claim, latest) if each is not None), default=0.0)
    if not leaving and at - heard < (QUIET_S if over else SILENT_S):
        end = "its machine is still writing" if over else "a machine is at it"
        step = "try again in a minute" if over else f"end it first: spotrelay stop {run}"
        raise RunNotOver(f"{run}: {end}, heard of {max(0.0, at - heard):.0f} s ago", next_step=step)
    if force:
        return
    if seen.outcome is None and not await _abandoned(store, run, by):
        step = f"end it first: spotrelay stop {run}; or remove it all the same: --force"
        raise RunNotOver(f"{run} is not over: it is {seen.state(at)}", next_step=step)
    if await _kept(store, run):
        step = "end that machine first, then remove the run: --force"
        raise RunNotOver(f"{run} asked to keep its machine (instance.keep_alive)", next_step=step)


async def remove(store: BrowsableStore, found: Holding, *, at: float) -> None:
    """All of it; `check` said that it may be. Raises StoreError."""
    run = found.run
    last = {keys.spec(run), keys.outcome(run)}
    if keys.outcome(run) not in found.sizes:
        outcome = records.Outcome("stopped", 0, at, message="it was removed before it was over")
        await store.put(keys.outcome(run), records.encode(outcome))
    await store.delete(keys.open_run(run))
    for prefix in (keys.launches(run), keys.snapshots(run), keys.run(run)):
        left = [key for key in await store.list(prefix) if key not in last]
        if left:
            await store.delete(*left)
    await store.delete(keys.spec(run))
    await store.delete(keys.outcome(run))


async def _newest_status(store: BrowsableStore, run: str, seen: Glance) -> records.Status | None:
    """A glance at what is over spares it."""
    if seen.outcome is None:
        return seen.status
    numbers = attempts_among(await store.folders(keys.attempts(run)))
    try:
        return await History(store, run).status(numbers[-1]) if numbers else None
    except records.RecordInvalid:
        return None


async def _abandoned(store: BrowsableStore, run: str, by: str) -> bool:
    """It was never begun to its end, by whoever asks now. Somebody else may be at it this very moment."""
    names = await store.list(keys.run(run))
    if keys.spec(run) in names or any(name.startswith(keys.attempts(run)) for name in names):
        return False
    if keys.begun(run) not in names:
        return True
    try:
        found = records.decode(records.Begun, await store.get(keys.begun(run)), key=keys.begun(run))
    except (NotFound, records.RecordInvalid):
        return True
    return found.by == by


async def _kept(store: BrowsableStore, run: str) -> bool:
    try:
        return spec.from_json(await store.get(keys.spec(run)), source=keys.spec(run)).instance.keep_alive
    except (NotFound, SpecError):
        return False
