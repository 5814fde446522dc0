"""A run is removed when nothing of it lives; half removed, it is over and its name is taken."""

from __future__ import annotations

from typing import Any

import pytest

from spotrelay.core import keys, records, spec
from spotrelay.core.errors import RunExists, RunNotOver
from spotrelay.person import remove, runs
from spotrelay.person.begin import Beginning, Origin
from spotrelay.person.glance import glance
from spotrelay.person.wishes import Wish
from spotrelay.ports import Store
from support.asking import Bell
from support.stores import RUN, Dies, Recording, dying, everything, memory

NOW = 10_000.0
OLD, FRESH = NOW - 1000, NOW - 20
OTHERS = {"runs/demo-2/run.json": b"{}", "open/demo-2": b"", "launches/demo-2/00001-0000.json": b"{}"}


def wanted(**instance: Any) -> spec.Spec:
    run = {"name": RUN, "command": ["true"], "directory": "/srv/demo"}
    return spec.parse({"run": run, "instance": instance}, source="test")


async def bucket(*, heard: float = OLD, phase: str = "staying", outcome: bool = True, **instance: Any) -> Store:
    store = memory()
    claim = records.Claim("i-0123456789abcdef0", "token", OLD)
    objects = {
        keys.spec(RUN): wanted(**instance).encode(),
        keys.open_run(RUN): b"",
        keys.claim(RUN, 1): records.encode(claim),
        keys.status(RUN, 1): records.encode(records.Status(claim.instance, phase, heard)),
        keys.log_segment(RUN, 1, 0): b"words",
        keys.snapshot(RUN, keys.SnapshotId(1, 0)): b"manifest",
        keys.pack(RUN, "a" * 64): b"pack",
        keys.seat(keys.Member(RUN, 1, 0)): b"{}",
        keys.artifact(RUN, "result"): b"result",
        **OTHERS,
    }
    if outcome:
        objects[keys.outcome(RUN)] = records.encode(records.Outcome("succeeded", 1, OLD))
    for key, data in objects.items():
        await store.put(key, data)
    return store


async def gone(store: Any) -> None:
    await remove.check(store, RUN, by="ada", at=NOW)
    await remove.remove(store, await remove.holding(store, RUN), at=NOW)


async def test_all_of_it_goes_and_nothing_else() -> None:
    """The neighbour whose name begins alike is as it was."""
    store = await bucket()
    found = await remove.holding(store, RUN)
    await gone(store)

    assert OTHERS == await everything(store)
    assert (9, sum(found.sizes.values())) == (found.objects, found.bytes)


@pytest.mark.parametrize("arrived", [False, True])
async def test_half_removed_it_is_over_and_there(arrived: bool, tmp_path: Any) -> None:
    """Until the last call: nothing starts, its name is not to be had, and the same command ends it."""
    counting = Recording(await bucket())
    await gone(counting)
    for at in range(len(counting.calls) - arrived):
        store = await bucket()
        with pytest.raises(Dies):
            await gone(dying(store, at, arrived=arrived))
        assert (await glance(store, RUN)).state(NOW).over, at
        assert RUN in await runs.names(store)
        with pytest.raises(RunExists):
            await Beginning(store, Bell(), Wish(wanted(), True), Origin(tmp_path, "ada")).run()
        left = await everything(store)
        packs, manifests = keys.pack(RUN, "a" * 64) in left, keys.snapshots_among(left)
        assert packs or not manifests, "a snapshot that can be seen and not be restored"
        await gone(store)

        assert OTHERS == await everything(store)


REFUSED: dict[str, tuple[dict[str, Any], str, bool]] = {
    "it waits for a machine": ({"outcome": False, "phase": "leaving"}, "--force", True),
    "a machine is at it": ({"outcome": False, "heard": FRESH, "phase": "running"}, "stop", False),
    "its store is away for a while": ({"outcome": False, "heard": NOW - 100, "phase": "running"}, "stop", False),
    "its machine publishes": ({"heard": FRESH, "phase": "publishing"}, "in a minute", False),
    "its machine was to be kept": ({"keep_alive": True}, "keep_alive", True),
}


@pytest.mark.parametrize(("how", "why", "forced"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_is_not_removed(how: dict[str, Any], why: str, forced: bool) -> None:
    """And by force only where no machine is heard of. Otherwise it writes into what is gone."""
    store = await bucket(**how)
    with pytest.raises(RunNotOver, match=why):
        await remove.check(store, RUN, by="ada", at=NOW)
    if forced:
        await remove.check(store, RUN, by="ada", at=NOW, force=True)
    else:
        with pytest.raises(RunNotOver):
            await remove.check(store, RUN, by="ada", at=NOW, force=True)


async def test_by_force_a_machine_that_boots_for_it_is_turned_away() -> None:
    """The outcome stands from the first write to the last."""
    store = Recording(await bucket(outcome=False, phase="leaving"))
    await remove.remove(store, await remove.holding(store, RUN), at=NOW)  # type: ignore[arg-type]
    written = store.written()

    assert (keys.outcome(RUN), keys.outcome(RUN)) == (written[0], written[-1])
    assert OTHERS == await everything(store.store)


@pytest.mark.parametrize(("by", "may"), [("ada", True), ("eve", False)])
async def test_what_was_never_begun_to_its_end(by: str, may: bool) -> None:
    """Whose it is removes it; somebody else may be sending it this very moment."""
    store = memory()
    await store.put(keys.begun(RUN), records.encode(records.Begun("ada", "/home/ada/demo", "digest", OLD)))
    await store.put(keys.pack(RUN, "a" * 64), b"pack")
    if may:
        await remove.check(store, RUN, by=by, at=NOW)
    else:
        with pytest.raises(RunNotOver):
            await remove.check(store, RUN, by=by, at=NOW)


async def test_damage_does_not_keep_it_here() -> None:
    """Otherwise what is broken stays for ever."""
    store = await bucket()
    for key in (keys.spec(RUN), keys.claim(RUN, 1), keys.status(RUN, 1)):
        await store.put(key, b"\xff{")
    await gone(store)

    assert OTHERS == await everything(store)
