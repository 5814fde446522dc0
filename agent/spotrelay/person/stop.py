"""Stop a run: say so in the bucket, where its agent and its launcher look.

    a machine is at it    its agent sees the word within a heartbeat (15 s), asks the command to checkpoint, saves, and
                          writes the outcome. With `now` it does not wait for the checkpoint: the command is killed, and
                          what it had written is saved
    none is               the launcher writes the outcome when it is next asked for a machine. So it is asked here; not
                          where one is at it: a bell for its successor would be looked into for minutes
    one is booting        it claims, sees the word, and goes

Died between the two: the launcher's sweep asks within five minutes, and the same command again asks at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from spotrelay.core import keys, records
from spotrelay.core.errors import AlreadyExists, NotFound, RunNotOver
from spotrelay.core.messages import ResumeRequest
from spotrelay.person.glance import Glance, glance
from spotrelay.ports import BrowsableStore, ResumeQueue


@dataclass(frozen=True, slots=True)
class Stopping:
    """`before`: as it stood. `at_work`: a machine is at it, and has to be waited for."""

    before: Glance
    at_work: bool

    @property
    def over(self) -> bool:
        """It was, already."""
        return self.before.outcome is not None


async def stop(
    store: BrowsableStore, queue: ResumeQueue, run: str, *, by: str, at: float, now: bool = False
) -> Stopping:
    """As often as wanted. `by`: who says so; `at`: unix seconds. Raises StoreError, QueueError; RunNotOver for what was
    never begun to its end."""
    seen = await glance(store, run)
    if seen.outcome is not None:
        return Stopping(seen, at_work=False)
    if seen.attempt == 0 and not await _exists(store, keys.spec(run)):
        raise RunNotOver(f"{run} was never begun to its end: nothing runs", next_step=f"spotrelay rm {run} removes it")
    await _say(store, run, records.Cancel("stopped", f"stopped by {by}", at, now))
    at_work = seen.claim is not None and seen.handover is None
    if not at_work:
        await queue.post(ResumeRequest(run, seen.attempt + 1))
    return Stopping(seen, at_work)


async def _say(store: BrowsableStore, run: str, cancel: records.Cancel) -> None:
    """Who said it first is who stopped it; that it must be at once may be said later."""
    try:
        await store.create(keys.cancel(run), records.encode(cancel))
    except AlreadyExists:
        said = records.Cancel.read(await store.get(keys.cancel(run)))
        if cancel.now and not said.now:
            await store.put(keys.cancel(run), records.encode(replace(said, now=True)))


async def _exists(store: BrowsableStore, key: str) -> bool:
    try:
        await store.get(key)
    except NotFound:
        return False
    return True
