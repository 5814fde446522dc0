"""All of a run is read in a number of requests that is known beforehand, and each object once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from spotrelay.core import keys, records
from spotrelay.core.keys import SnapshotId
from spotrelay.person.glance import Glance, State, glance
from spotrelay.person.history import Attempt, Chronicle, History
from spotrelay.person.receipt import receipt
from support.stores import RUN, Recording, memory

NOW = 1_000_000.0
CLAIM = records.Claim("i-0123456789abcdef0", "token", NOW - 300, "c6i.large", "us-east-1a", "spot")
BASE = records.Base("0-0", NOW - 290, CLAIM.instance)
STATUS = records.Status(CLAIM.instance, "running", NOW - 5, running_since=NOW - 280)
HANDOVER = records.Handover(CLAIM.instance, "interrupted", NOW - 2, "exit code 0", 0, True, 0, "1-3")
SPEC = b'{"version": 1, "run": {"name": "demo", "command": ["true"], "directory": "/tmp/demo"}}'
# Of what may change at any time: outcome, cancel, what it waits for, and listings of attempts, saves, past outcomes.
EVERY_LOOK = 6


async def bucket(attempts: int, *, over: bool = False) -> Recording:
    """Of a run that was interrupted `attempts` - 1 times."""
    store = Recording(memory())
    await store.put(keys.spec(RUN), SPEC)
    for number in range(1, attempts + 1):
        await store.put(keys.claim(RUN, number), records.encode(CLAIM))
        await store.put(keys.base(RUN, number), records.encode(BASE))
        await store.put(keys.status(RUN, number), records.encode(STATUS))
        await store.put(keys.snapshot(RUN, SnapshotId(number, 0)), b"")
        if number < attempts:
            await store.put(keys.handover(RUN, number), records.encode(HANDOVER))
            await store.put(keys.ledger(RUN, number), records.encode(records.Ledger(number, NOW)))
    if over:
        await store.put(keys.outcome(RUN), records.encode(records.Outcome("succeeded", attempts, NOW)))
    store.calls.clear()
    return store


@pytest.mark.parametrize("attempts", [1, 30])
async def test_a_receipt_reads_each_object_once(attempts: int) -> None:
    """Six reads an attempt and six for the run, one more while it goes on, and a price. Otherwise the run with the most
    to tell is the slowest to tell of."""
    for over, extra in ((True, 0), (False, 1)):
        store = await bucket(attempts, over=over)
        await receipt(store, RUN)

        assert {1} == set(Counter(store.calls).values())
        assert 6 * attempts + 6 + extra + 1 == len(store.calls)


@pytest.mark.parametrize("attempts", [1, 30])
async def test_who_looks_again_asks_for_what_can_change(attempts: int) -> None:
    """Of the newest attempt the heartbeat, and what is not there yet: how it ended, and what it cost. Otherwise a page
    that looks every two seconds reads a week's history each time."""
    store = await bucket(attempts)
    chronicle = Chronicle(store, RUN)
    first = await chronicle.read()
    store.calls.clear()
    second = await chronicle.read()

    own = {getattr(keys, name)(RUN, attempts) for name in ("status", "handover", "death", "ledger")}
    assert first == second
    assert {1} == set(Counter(store.calls).values())
    assert own == {key for method, key in store.calls if method == "get" and key.startswith(keys.attempts(RUN))}
    assert EVERY_LOOK + len(own) == len(store.calls)


@pytest.mark.parametrize("over", [False, True])
@pytest.mark.parametrize("attempts", [0, 2])
async def test_it_stands_as_a_glance_says(attempts: int, over: bool) -> None:
    """Read another way, the same. Otherwise the list and the page of one run tell two stories."""
    store = await bucket(attempts, over=over)

    assert await glance(store, RUN) == (await Chronicle(store, RUN).read()).glance


async def test_a_folder_without_a_run_is_none() -> None:
    """Also where all that it has is a hunt of nobody's, or a spec that cannot be read: that is one."""
    store = memory()
    assert State.UNREADABLE == (await Chronicle(store, RUN).read()).glance.state(NOW)
    await store.put(keys.spec(RUN), b"{")
    damaged = await Chronicle(store, RUN).read()

    assert State.WAITING == damaged.glance.state(NOW)
    assert keys.spec(RUN) in damaged.trouble


async def test_damage_is_told_at_each_look() -> None:
    """Also of an attempt that is over. Otherwise what is wrong is on the page for two seconds."""
    store = await bucket(3)
    await store.put(keys.claim(RUN, 1), b"[]")
    chronicle = Chronicle(store, RUN)
    looks = [await chronicle.read() for _ in range(2)]

    assert all(keys.claim(RUN, 1) in each.trouble for each in looks)


async def test_what_a_person_changed_before_going_on_is_seen() -> None:
    """A resume may change the command. Otherwise a page that was left open shows what is not run any more."""
    store = await bucket(1, over=True)
    chronicle = Chronicle(store, RUN)
    await chronicle.read()
    await store.put(keys.spec(RUN), SPEC.replace(b"true", b"other"))
    await store.delete(keys.outcome(RUN))

    found = await chronicle.read()

    assert found.spec is not None
    assert ("other",) == tuple(found.spec.run.command)


async def test_a_save_that_housekeeping_removed_is_remembered() -> None:
    """On the timeline of whoever saw it."""
    store = await bucket(2)
    chronicle = Chronicle(store, RUN)
    await chronicle.read()
    await store.delete(keys.snapshot(RUN, SnapshotId(1, 0)))

    assert [SnapshotId(1, 0), SnapshotId(2, 0)] == sorted((await chronicle.read()).saves)


@pytest.mark.parametrize(
    ("attempts", "saved", "expected"),
    [
        ((Attempt(1, base=BASE), Attempt(2)), {"1-0", "0-0"}, "1-0"),
        # What a fenced attempt commits after its successor has begun counts for nothing (P1).
        ((Attempt(1, base=BASE), Attempt(2, base=replace(BASE, snapshot="1-0"))), {"1-0", "1-1"}, "1-0"),
        ((Attempt(1, base=BASE), Attempt(2, base=replace(BASE, snapshot=None))), {"1-0"}, None),
        ((Attempt(1),), {"0-0", "0-1"}, "0-1"),
        ((), set(), None),
    ],
)
def test_the_newest_snapshot_is_the_one_that_counts(
    attempts: tuple[Attempt, ...], saved: set[str], expected: str | None
) -> None:
    """As whoever comes next would begin from. Otherwise a person downloads what the run has left behind."""
    saves = dict.fromkeys(map(SnapshotId.parse, saved), NOW)
    found = History(Glance(RUN), attempts=attempts, saves=saves).newest

    assert expected == (str(found) if found else None)
