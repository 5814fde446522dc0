"""A run that is over goes on as the same run; dying on the way leaves it over, or going on, and never in between."""

from __future__ import annotations

from typing import Any

import pytest

from spotrelay.core import keys, records, spec
from spotrelay.core.errors import RunAtLimit, RunNotOver, RunOver, SpecError
from spotrelay.core.messages import ResumeRequest
from spotrelay.person.resume import Resumed, resume
from spotrelay.ports import Store
from support.asking import Bell
from support.stores import RUN, Dies, Recording, dying, everything, memory

CLAIM = records.Claim("i-0123456789abcdef0", "token", 5.0)
CHANGE = {"instance.types": ["g6.xlarge"]}
NOW = 10_000.0


def document(**tables: Any) -> spec.Spec:
    run = {"name": RUN, "command": ["python", "train.py"], "directory": "/srv/demo"}
    return spec.parse({"run": run, **tables}, source="test")


async def bucket(result: str = "stopped", *, ledger: records.Ledger | None = None, **tables: Any) -> Store:
    """A run that ended so, after two attempts."""
    store = memory()
    objects: dict[str, Any] = {
        keys.claim(RUN, 1): CLAIM,
        keys.claim(RUN, 2): CLAIM,
        keys.cancel(RUN): records.Cancel(),
        keys.outcome(RUN): records.Outcome(result, 2, 7.0, snapshot="2-1"),
        **({keys.ledger(RUN, 2): ledger} if ledger is not None else {}),
    }
    await store.put(keys.spec(RUN), document(**tables).encode())
    await store.put(keys.snapshot(RUN, keys.SnapshotId(2, 1)), b"")
    for key, record in objects.items():
        await store.put(key, records.encode(record))
    return store


async def ask(store: Any, bell: Bell, **how: Any) -> Resumed:
    return await resume(store, bell, RUN, **{"at": NOW, **how})


async def written(store: Store) -> spec.Spec:
    return spec.from_json(await store.get(keys.spec(RUN)), source="run.json")


@pytest.mark.parametrize("result", ["stopped", "failed", "limit"])
async def test_what_ended_it_is_taken_away(result: str) -> None:
    """And kept as a past outcome; the next attempt is asked for, from the newest snapshot."""
    store, bell = await bucket(result), Bell()
    was = await store.get(keys.outcome(RUN))
    resumed = await ask(store, bell, given=CHANGE)
    left = await everything(store)

    assert (3, keys.SnapshotId(2, 1)) == (resumed.attempt, resumed.snapshot)
    assert [ResumeRequest(RUN, 3)] == bell.posts
    assert not {keys.outcome(RUN), keys.cancel(RUN)} & left.keys()
    assert {keys.open_run(RUN): b"", keys.past_outcome(RUN, 2, 7.0): was}.items() <= left.items()
    assert ("g6.xlarge",) == (await written(store)).instance.types


class Passing:
    """A sweep that comes by before every call: it takes the mark of a run that is over."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def __call__(self, _method: str, _key: str) -> None:
        names = await self._store.list("")
        if keys.outcome(RUN) in names and keys.open_run(RUN) in names:
            await self._store.delete(keys.open_run(RUN))


@pytest.mark.parametrize("arrived", [False, True])
async def test_dying_at_any_call_leaves_it_over_or_going_on(arrived: bool) -> None:
    """Over, as it was; or found by the sweep. And the same command brings it to its end in either case."""
    counting = Recording(await bucket())
    await ask(counting, Bell(), given=CHANGE)
    for at in range(len(counting.calls)):
        store, bell = await bucket(), Bell()
        with pytest.raises(Dies):
            await ask(dying(store, at, arrived=arrived), bell, given=CHANGE)
        left = await everything(store)
        over, marked = keys.outcome(RUN) in left, keys.open_run(RUN) in left
        assert over or marked, f"call {at}: nobody would ever look at it"
        assert over or keys.cancel(RUN) not in left, "it would be stopped as soon as it began"
        assert over or ("g6.xlarge",) == (await written(store)).instance.types, "it would begin as it was before"
        await ask(store, bell, given=CHANGE)
        left = await everything(store)

        assert keys.outcome(RUN) not in left
        assert keys.open_run(RUN) in left
        assert ("g6.xlarge",) == (await written(store)).instance.types
        assert ResumeRequest(RUN, 3) == bell.posts[-1]
        assert 1 == len(await store.list(keys.past_outcomes(RUN)))


async def test_a_sweep_that_comes_by_does_not_lose_it() -> None:
    """It takes the mark of what is over, as long as it is. So there is a second mark."""
    kept = await bucket()
    store = Recording(kept)
    store.before = Passing(kept)
    await ask(store, Bell())

    assert keys.open_run(RUN) in await everything(kept)


async def test_what_goes_on_is_not_resumed() -> None:
    """Two attempts would be asked for at a time."""
    store, bell = await bucket(), Bell()
    await store.delete(keys.outcome(RUN))

    with pytest.raises(RunNotOver, match="goes on by itself"):
        await ask(store, bell)
    assert [] == bell.posts


async def test_success_is_not_gone_on_with_without_a_reason() -> None:
    """With another command it is: to evaluate what was trained."""
    store, bell = await bucket("succeeded"), Bell()
    with pytest.raises(RunOver, match="nothing to go on with"):
        await ask(store, bell, given=CHANGE)
    await ask(store, bell, given={"run.command": ["python", "evaluate.py"]})

    assert ("python", "evaluate.py") == (await written(store)).run.command


@pytest.mark.parametrize(
    ("tables", "ledger", "given"),
    [
        ({"limits": {"dollars": 40}}, records.Ledger(2, dollars=41.0), {"limits.dollars": 80}),
        ({"limits": {"hours": 2}}, None, {"limits.hours": 9}),
    ],
)
async def test_money_and_time_must_be_raised(tables: Any, ledger: records.Ledger | None, given: dict[str, Any]) -> None:
    """A person's 40 dollars are 40 dollars. Refused at once, and not by the next outcome an hour later."""
    store, bell = await bucket("limit", ledger=ledger, **tables), Bell()
    before = await everything(store)
    with pytest.raises(RunAtLimit, match="allow more"):
        await ask(store, bell)
    assert before == await everything(store)
    await ask(store, bell, given=given)

    assert keys.outcome(RUN) not in await everything(store)


@pytest.mark.parametrize(
    ("tables", "ledger", "name", "after"),
    [
        ({"limits": {"attempts": 1}}, None, "attempts", 3),
        ({"limits": {"attempts": 50}}, None, "attempts", 50),
        ({"limits": {"fruitless": 2}}, records.Ledger(2, fruitless=2), "fruitless", 3),
        ({"limits": {"fruitless": 0}}, records.Ledger(2, fruitless=9), "fruitless", 0),
    ],
)
async def test_a_try_by_hand_is_one_more(tables: Any, ledger: records.Ledger | None, name: str, after: int) -> None:
    """Who resumes has said that it shall be tried: a run without auto-resume by just one attempt."""
    store = await bucket("limit", ledger=ledger, **tables)
    await ask(store, Bell())

    assert after == getattr((await written(store)).limits, name)


@pytest.mark.parametrize("field", ["name", "directory", "user"])
async def test_what_its_snapshots_hang_on_stays(field: str) -> None:
    with pytest.raises(SpecError, match="stay as they are"):
        await ask(await bucket(), Bell(), given={f"run.{field}": "/other" if field == "directory" else "other"})


async def test_half_a_run_is_no_run() -> None:
    """Somebody is removing it, or has given up doing so."""
    store = await bucket()
    await store.delete(keys.spec(RUN))

    with pytest.raises(RunOver, match="rm"):
        await ask(store, Bell())
