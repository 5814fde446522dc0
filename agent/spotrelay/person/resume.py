"""Resume a run that is over: it goes on from its newest snapshot, as the same run, by its next attempt.

What ended it is taken away, in this order. Each line may be the last that happens:

    1  outcomes/…      the outcome is kept as a past one
    2  open/<run>      by which the launcher's sweep finds the run
    3  run.json        what the person changes: types, command, limits
    4  cancel          goes
    5  outcome.json    goes: from here on the run is not over any more
    6  open/<run>      once more: a sweep that came by between 2 and 5 saw the outcome, and took the mark away
    7  the bell        for the next attempt

Died before 5: the run is over as before, and the same command begins again. Died after: the sweep finds the mark and
asks within five minutes, and the same command asks at once. The one moment in which nobody would ask (died between 5
and 6, with a sweep in between) is mended by the same command, too.

The machine that wrote the outcome may still publish its artifacts. Nothing here waits for it: the launcher does not
launch a successor as long as its predecessor lives, and looks again until EC2 says that it is gone.

Limits count from the run's beginning, and hold. What a person does by hand is allowed once more by that: an attempt
after limits.attempts, another try after limits.fruitless. Hours and dollars are not: they have to be raised, in so many
words. Failures in a row are counted anew by themselves: who ended the run left no hand-over that would count them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from spotrelay.core import keys, limits, records, spec
from spotrelay.core.errors import NotFound, RunAtLimit, RunNotOver, RunOver, SpecError
from spotrelay.core.messages import ResumeRequest
from spotrelay.core.spec import Spec
from spotrelay.history import History
from spotrelay.person import wishes
from spotrelay.person.glance import Reading, attempts_among
from spotrelay.ports import BrowsableStore, ResumeQueue


@dataclass(frozen=True, slots=True)
class Resumed:
    """`attempt`: the one that was asked for. `snapshot`: what it begins from; None: there is none. `was`: how the run
    had ended; None where that was taken away by an earlier try."""

    spec: Spec
    attempt: int
    snapshot: keys.SnapshotId | None
    was: records.Outcome | None


async def resume(
    store: BrowsableStore,
    queue: ResumeQueue,
    run: str,
    *,
    given: Mapping[str, Any] | None = None,
    settings: Sequence[str] = (),
    at: float,
) -> Resumed:
    """`given`, `settings`: what shall be different, as for `wishes.wish`. `at`: unix seconds. Raises RunNotOver,
    RunOver (it succeeded, and nothing else is wanted), RunAtLimit, SpecError, UsageError, StoreError, QueueError."""
    history = History(store, run)
    was, last = await history.outcome(), await _last(store, run)
    if was is None:
        await _was_taken_up(store, run, last)
    wanted = await _wanted(store, run, given or {}, settings, was)
    ledger = await _ledger(store, run, last)
    allowed = _once_more(wanted, last + 1, ledger)
    if (why := limits.reached(allowed, last + 1, ledger, at)) is not None:
        raise RunAtLimit(f"{run}: {why}", next_step="allow more: --max-cost, or --set limits.hours=…")
    if was is not None:
        await _take_away(store, run, was, allowed)
    await store.put(keys.open_run(run), b"")
    await queue.post(ResumeRequest(run, last + 1))
    return Resumed(allowed, last + 1, await history.newest_allowed(last), was)


async def _take_away(store: BrowsableStore, run: str, was: records.Outcome, allowed: Spec) -> None:
    await store.put(keys.past_outcome(run, was.attempt, was.at), records.encode(was))
    await store.put(keys.open_run(run), b"")
    if await store.get(keys.spec(run)) != allowed.encode():
        await store.put(keys.spec(run), allowed.encode())
    await store.delete(keys.cancel(run))
    await store.delete(keys.outcome(run))


async def _was_taken_up(store: BrowsableStore, run: str, last: int) -> None:
    """By an earlier try that died, and nobody has come since. Raises RunNotOver otherwise."""
    past = [key.rpartition("/")[2].partition("-")[0] for key in await store.list(keys.past_outcomes(run))]
    if f"{last:05d}" not in past:
        raise RunNotOver(f"{run} is not over: it goes on by itself", next_step=f"to end it first: spotrelay stop {run}")


async def _wanted(
    store: BrowsableStore, run: str, given: Mapping[str, Any], settings: Sequence[str], was: records.Outcome | None
) -> Spec:
    key = keys.spec(run)
    before = spec.from_json(await _get(store, key, run), source=key)
    more = {
        **dict(map(wishes.setting, settings)),
        **{name: value for name, value in given.items() if value is not None},
    }
    if was is not None and was.result == "succeeded" and "run.command" not in more:
        step = f"give it something else to do: spotrelay resume {run} -- COMMAND"
        raise RunOver(f"{run} has succeeded: there is nothing to go on with", next_step=step)
    after = spec.parse(wishes.merged(before.document(), more), source="spotrelay resume")
    # Its snapshots lie under its name, and hold what lies in its directory, belonging to its user.
    fixed = ("name", "directory", "user")
    if any(getattr(before.run, name) != getattr(after.run, name) for name in fixed):
        raise SpecError([f"spotrelay resume: {', '.join(fixed)} of a run stay as they are — begin a new one"])
    return after


async def _get(store: BrowsableStore, key: str, run: str) -> bytes:
    try:
        return await store.get(key)
    except NotFound:
        step = f"remove the rest: spotrelay rm {run}"
        raise RunOver(f"{run} has no {key.rpartition('/')[2]} any more", next_step=step) from None


async def _last(store: BrowsableStore, run: str) -> int:
    """The newest attempt that somebody owned."""
    history = History(store, run)
    for number in reversed(attempts_among(await store.folders(keys.attempts(run)))):
        if await history.claim(number) is not None:
            return number
    return 0


async def _ledger(store: BrowsableStore, run: str, last: int) -> records.Ledger:
    """What is known to be used up. The launcher writes down an attempt when it is asked for the next one, so the last
    one's is most often missing here; then it ends the run again where that is what reaches a limit, and says so."""
    reading, began = Reading(store), await History(store, run).claim(1)
    for number in range(last, max(0, last - 2), -1):
        found = await reading.record(records.Ledger, keys.ledger(run, number))
        if found is not None:
            return found
    return records.Ledger(began=began.at if began is not None else 0.0)


def _once_more(wanted: Spec, attempt: int, ledger: records.Ledger) -> Spec:
    most = wanted.limits
    if most.attempts < attempt:
        most = replace(most, attempts=attempt)
    if 0 < most.fruitless <= ledger.fruitless:
        most = replace(most, fruitless=ledger.fruitless + 1)
    return replace(wanted, limits=most)
