"""A stop is heard by whoever is at the run, and by the launcher where nobody is."""

from __future__ import annotations

from typing import Any

import pytest

from spotrelay.core import keys, records
from spotrelay.core.errors import RunNotOver
from spotrelay.core.messages import ResumeRequest
from spotrelay.person.stop import stop
from support.asking import Bell
from support.stores import RUN, Dies, Recording, dying, everything, memory

CLAIM = records.encode(records.Claim("i-0123456789abcdef0", "token", 5.0))
HANDOVER = records.encode(records.Handover("i-0123456789abcdef0", "interrupted", 6.0, None, None, True, 0, "1-0"))
OUTCOME = records.encode(records.Outcome("failed", 1, 7.0))
WAITS = {keys.spec(RUN): b"{}", keys.claim(RUN, 1): CLAIM, keys.handover(RUN, 1): HANDOVER}


async def bucket(objects: dict[str, bytes]) -> Any:
    store = memory()
    for key, data in objects.items():
        await store.put(key, data)
    return store


async def cancel(store: Any) -> records.Cancel:
    return records.Cancel.read(await store.get(keys.cancel(RUN)))


@pytest.mark.parametrize(
    ("objects", "rung"),
    [
        ({keys.spec(RUN): b"{}"}, [ResumeRequest(RUN, 1)]),
        (WAITS, [ResumeRequest(RUN, 2)]),
        ({keys.spec(RUN): b"{}", keys.claim(RUN, 1): CLAIM}, []),
    ],
    ids=["no machine yet", "between two machines", "a machine at it"],
)
async def test_who_is_told(objects: dict[str, bytes], rung: list[ResumeRequest]) -> None:
    """A run without a machine ends as well, at once; one with a machine gets no bell for a successor."""
    store, bell = await bucket(objects), Bell()
    said = await stop(store, bell, RUN, by="ada", at=9.0)

    assert records.Cancel("stopped", "stopped by ada", 9.0) == await cancel(store)
    assert (rung, bool(rung)) == (bell.posts, not said.at_work)


async def test_at_once_can_be_said_later() -> None:
    """By anybody; who stopped it stays who stopped it, and a patient word takes nothing back."""
    store, bell = await bucket({keys.spec(RUN): b"{}", keys.claim(RUN, 1): CLAIM}), Bell()
    await stop(store, bell, RUN, by="ada", at=9.0)
    await stop(store, bell, RUN, by="eve", at=10.0, now=True)
    await stop(store, bell, RUN, by="bob", at=11.0)

    assert records.Cancel("stopped", "stopped by ada", 9.0, now=True) == await cancel(store)


async def test_what_is_over_is_left_alone() -> None:
    store, bell = await bucket({keys.spec(RUN): b"{}", keys.outcome(RUN): OUTCOME}), Bell()
    before = await everything(store)
    said = await stop(store, bell, RUN, by="ada", at=9.0)

    assert (True, before, []) == (said.over, await everything(store), bell.posts)


async def test_what_was_never_begun_is_told() -> None:
    """There is nobody to hear it."""
    store, bell = await bucket({keys.begun(RUN): b"{}"}), Bell()

    with pytest.raises(RunNotOver, match="rm"):
        await stop(store, bell, RUN, by="ada", at=9.0)


@pytest.mark.parametrize("arrived", [False, True])
async def test_dying_at_any_call_is_mended_by_the_same_command(arrived: bool) -> None:
    """It is said, and rung for."""
    counting = Recording(await bucket(WAITS))
    await stop(counting, Bell(), RUN, by="ada", at=9.0)
    for at in range(len(counting.calls)):
        store, bell = await bucket(WAITS), Bell()
        with pytest.raises(Dies):
            await stop(dying(store, at, arrived=arrived), bell, RUN, by="ada", at=9.0)
        assert not bell.posts or await cancel(store)
        await stop(store, bell, RUN, by="ada", at=10.0)

        assert "stopped by ada" == (await cancel(store)).message
        assert [ResumeRequest(RUN, 2)] == bell.posts
