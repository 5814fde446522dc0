"""How a run stands is told from a handful of objects, whatever lies beside them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from spotrelay.core import keys, records
from spotrelay.core.errors import AmbiguousRun, NoSuchRun, StoreDenied
from spotrelay.person import glance as glancing
from spotrelay.person import runs
from spotrelay.person.glance import SILENT_S, State, glance, glances
from support.stores import RUN, Recording, failing, memory

NOW = 1_000_000.0
CLAIM = records.Claim("i-0123456789abcdef0", "token", NOW - 300, "c6i.large", "us-east-1a", "spot")
FRESH = replace(CLAIM, at=NOW - 5)
HANDOVER = records.Handover(CLAIM.instance, "interrupted", NOW - 2, "exit code 0", 0, True, 0, "1-3")


def status(phase: str, at: float = NOW - 5) -> records.Status:
    return records.Status(CLAIM.instance, phase, at)


def hunt(attempt: int, *, person: bool = False) -> records.Hunt:
    return records.Hunt(attempt, 0, NOW - 20, NOW - 1, "no capacity", person=person)


async def bucket(**objects: Any) -> Recording:
    """With a run in it. Names are those of functions in `keys`, of attempt 1 where they need one."""
    store = Recording(memory())
    for name, record in objects.items():
        of_attempt = name in ("claim", "status", "handover", "base", "death", "ledger")
        key = getattr(keys, name)(RUN, 1) if of_attempt else getattr(keys, name)(RUN)
        await store.put(key, record if isinstance(record, bytes) else records.encode(record))
    store.calls.clear()
    return store


@pytest.mark.parametrize(
    ("objects", "state"),
    [
        ({}, State.UNREADABLE),
        ({"spec": b"{}"}, State.WAITING),
        ({"hunt": hunt(1)}, State.WAITING),
        ({"hunt": hunt(1, person=True)}, State.STUCK),
        ({"claim": FRESH}, State.STARTING),
        ({"claim": CLAIM}, State.SILENT),
        ({"claim": CLAIM, "status": status("restoring")}, State.STARTING),
        ({"claim": CLAIM, "status": status("running")}, State.RUNNING),
        ({"claim": CLAIM, "status": status("running"), "hunt": hunt(1)}, State.RUNNING),
        ({"claim": CLAIM, "status": status("draining")}, State.ENDING),
        ({"claim": CLAIM, "status": status("staying")}, State.WAITING),
        ({"claim": CLAIM, "status": status("running", NOW - SILENT_S - 1)}, State.SILENT),
        ({"claim": CLAIM, "status": status("running", NOW - SILENT_S - 1), "hunt": hunt(2)}, State.WAITING),
        ({"claim": CLAIM, "status": status("staying"), "handover": HANDOVER}, State.WAITING),
        ({"claim": CLAIM, "outcome": records.Outcome("succeeded", 1, NOW)}, State.SUCCEEDED),
        ({"outcome": records.Outcome("limit", 1, NOW)}, State.LIMIT),
        ({"outcome": records.Outcome("glorious", 1, NOW)}, State.UNREADABLE),
        ({"outcome": b"{"}, State.UNREADABLE),
        ({"claim": b"garbage", "status": status("running")}, State.UNREADABLE),
        ({"claim": FRESH, "status": b"[]"}, State.STARTING),
    ],
)
async def test_a_state_is_what_the_objects_say(objects: dict[str, Any], state: State) -> None:
    """Each state has its traces, and damage to one does not hide the rest. Otherwise a person acts on a guess."""
    seen = await glance(await bucket(**objects), RUN)

    assert state == seen.state(NOW)


@pytest.mark.parametrize(("phase", "since"), [("running", NOW - 60), ("restoring", CLAIM.at)])
async def test_what_it_does_now_began_with_its_command_only_where_that_is_at_work(phase: str, since: float) -> None:
    """An agent that is started again knows of work before it does any. Otherwise it "starts" for hours."""
    said = replace(status(phase), running_since=NOW - 60)

    assert since == (await glance(await bucket(claim=CLAIM, status=said), RUN)).since


async def test_damage_is_named() -> None:
    """The object's name, for whoever has to look at it."""
    seen = await glance(await bucket(claim=CLAIM, status=b"[]"), RUN)

    assert keys.status(RUN, 1) in seen.trouble


@pytest.mark.parametrize("attempts", [1, 40])
async def test_a_glance_costs_the_same_however_old_the_run(attempts: int) -> None:
    """One request for a run that is over, six for one that is not. Otherwise a list of runs takes longer each day."""
    store = await bucket()
    for number in range(1, attempts + 1):
        await store.put(keys.claim(RUN, number), records.encode(CLAIM))
        await store.put(keys.log_segment(RUN, number, 0), b"words")
    store.calls.clear()
    seen = await glance(store, RUN)
    alive = len(store.calls)
    await store.put(keys.outcome(RUN), records.encode(records.Outcome("succeeded", attempts, NOW)))
    store.calls.clear()
    await glance(store, RUN)

    assert (attempts, 6, 1) == (seen.attempt, alive, len(store.calls))


async def test_many_are_looked_at_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order that was asked for, and not more at once than S3 gives connections for."""
    monkeypatch.setattr(glancing, "AT_ONCE", 2)
    store = await bucket(outcome=records.Outcome("failed", 1, NOW))

    assert ["b", RUN, "a"] == [each.name for each in await glances(store, ["b", RUN, "a"])]


async def test_a_store_that_refuses_is_no_empty_store() -> None:
    """Otherwise someone whose key has expired reads that his runs are waiting."""
    refusing = failing(memory(), StoreDenied("no"), when=lambda method, key: True)

    with pytest.raises(StoreDenied):
        await glance(refusing, RUN)


async def test_what_is_no_run_is_not_listed() -> None:
    """Anybody may keep notes in the bucket. Otherwise `ls` shows runs that nobody can ask anything of."""
    store = memory()
    for key in (
        "runs/resnet-7/run.json",
        "runs/Notes of mine/x",
        "runs/stray",
        "other/a/b",
        "open/resnet-7",
        "open/No!",
    ):
        await store.put(key, b"")

    assert ["resnet-7"] == await runs.names(store)
    assert {"resnet-7"} == await runs.open_names(store)


NAMES = ["resnet", "resnet-7", "resnet-70", "vit"]


@pytest.mark.parametrize(("text", "name"), [("resnet", "resnet"), ("resnet-7", "resnet-7"), ("v", "vit")])
def test_a_beginning_is_enough(text: str, name: str) -> None:
    """A whole name means itself even where others begin with it."""
    assert name == runs.meant(text, NAMES)


def test_a_beginning_of_several_is_asked_back() -> None:
    """Never the first of them: `stop` would end somebody else's night."""
    with pytest.raises(AmbiguousRun, match="resnet-7, resnet-70"):
        runs.meant("resnet-", NAMES)


@pytest.mark.parametrize("text", ["", "x", "resnet-7/..", "RESNET"])
def test_no_such_run(text: str) -> None:
    with pytest.raises(NoSuchRun):
        runs.meant(text, NAMES)
