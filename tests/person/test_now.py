"""What `status` says of a run is what its objects say, and it asks for no more than it must."""

from __future__ import annotations

from typing import Any

import pytest

from spotrelay.core import keys, records
from spotrelay.person.now import Now, standing
from support.stores import RUN, Recording, memory

NOW = 1_000_000.0
SPEC = b'{"version": 1, "run": {"name": "demo", "command": ["true"], "directory": "/tmp/demo"}}'
CLAIM = records.Claim("i-0123456789abcdef0", "token", NOW - 300, "c6i.large", "us-east-1a", "spot")


async def seen(*, attempts: int = 1, outcome: bool = False, **status: Any) -> tuple[Now, int]:
    """How a run at work stands, and what that took. `status`: of its heartbeat."""
    store = Recording(memory())
    await store.put(keys.spec(RUN), SPEC)
    for number in range(1, attempts + 1):
        await store.put(keys.claim(RUN, number), records.encode(CLAIM))
        await store.put(keys.log_segment(RUN, number, 0), b"words")
    beat = {"phase": "running", "at": NOW - 5, **status}
    await store.put(keys.status(RUN, attempts), records.encode(records.Status(CLAIM.instance, **beat)))
    if outcome:
        await store.put(keys.outcome(RUN), records.encode(records.Outcome("succeeded", attempts, NOW)))
    store.calls.clear()
    return await standing(store, RUN), len(store.calls)


@pytest.mark.parametrize("attempts", [2, 40])
async def test_it_costs_the_same_however_old_the_run(attempts: int) -> None:
    """Nine requests at work, four at the end. Otherwise the run that lasts longest is the slowest to ask for."""
    assert 9 == (await seen(attempts=attempts))[1]
    assert 4 == (await seen(attempts=attempts, outcome=True))[1]


async def test_what_a_death_would_lose_is_the_work_since_the_newest_save() -> None:
    """100 s at work, of which a snapshot keeps 70."""
    now, _ = await seen(running_since=NOW - 100, kept_s=70.0, next_save_at=NOW + 40)

    assert (100.0, 30.0, 40.0) == (now.working_s(NOW), now.lost_by_death_s(NOW), now.next_save_s(NOW))


@pytest.mark.parametrize(("needed_s", "lost_s"), [(None, None), (100.0, 0.0), (200.0, 30.0)])
async def test_what_a_notice_would_lose_is_what_does_not_fit_into_it(
    needed_s: float | None, lost_s: float | None
) -> None:
    """Nothing where command and save are done in two minutes; not known where nothing was measured (P8)."""
    now, _ = await seen(running_since=NOW - 100, kept_s=70.0, needed_s=needed_s)

    assert lost_s == now.lost_by_notice_s(NOW)


@pytest.mark.parametrize("status", [{"phase": "restoring"}, {"at": NOW - 1000, "running_since": NOW - 2000}, {}])
async def test_what_is_not_known_is_not_told(status: dict[str, Any]) -> None:
    """A command that does not run, a machine that is silent, an agent that is older than this. Otherwise a person reads
    of seconds that nobody measured."""
    now, _ = await seen(**status)

    assert [None] * 4 == [
        now.working_s(NOW),
        now.lost_by_death_s(NOW),
        now.lost_by_notice_s(NOW),
        now.next_save_s(NOW),
    ]


async def test_a_damaged_spec_is_said_and_the_rest_stays() -> None:
    """Of a run whose run.json is of a later version, the state can be told all the same."""
    store = memory()
    await store.put(keys.spec(RUN), b'{"version": 99}')
    await store.put(keys.claim(RUN, 1), records.encode(CLAIM))

    now = await standing(store, RUN)

    assert (1, None) == (now.glance.attempt, now.spec)
    assert "version 99" in now.trouble
