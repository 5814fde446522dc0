"""What earlier attempts took, as the next one plans by it."""

from __future__ import annotations

import pytest

from spotrelay.core import keys, records
from spotrelay.experience import ATTEMPTS, Experience, experience
from spotrelay.history import History
from spotrelay.ports import Store
from support.stores import RUN, memory

MB = 10**6


async def lived(
    store: Store,
    number: int,
    *,
    checkpoint_s: float | None = None,
    save_s: float | None = None,
    saved: int = 0,
    restored: int = 1,
    rate: float | None = None,
    instance_type: str = "m5.large",
) -> None:
    """An attempt that ended so."""
    timings = {"signal_to_exit_s": checkpoint_s, "save_s": save_s}
    claim = records.Claim("i-1", "token", 1.0, instance_type)
    handover = records.Handover(
        "i-1",
        "interrupted",
        1.0,
        None,
        None,
        True,
        0,
        None,
        timings={name: seconds for name, seconds in timings.items() if seconds is not None},
        saved_bytes=saved,
        upload_bytes_s=rate,
        restored_bytes=restored,
    )
    await store.create(keys.claim(RUN, number), records.encode(claim))
    await store.create(keys.handover(RUN, number), records.encode(handover))


async def learned(store: Store, number: int) -> Experience:
    return await experience(History(store, RUN), number, "m5.large")


async def test_first_attempt_has_none() -> None:
    assert Experience() == await learned(memory(), 1)


async def test_longest_checkpoint_and_largest_save_count() -> None:
    """A plan that is too generous costs seconds, one that is too tight the checkpoint. The wire's rate is as it was
    measured, whatever the last save took: others may have sent most of it."""
    store = memory()
    await lived(store, 1, checkpoint_s=30, save_s=10, saved=900 * MB, rate=90e6)
    await lived(store, 2, checkpoint_s=12, save_s=0.1, saved=500 * MB, rate=100e6)

    assert Experience(30, 900 * MB, 100e6) == await learned(store, 3)


async def test_wire_of_another_type_of_machine_tells_nothing() -> None:
    """Its checkpoint does. Otherwise a small machine plans with a large one's network."""
    store = memory()
    await lived(store, 1, checkpoint_s=30, save_s=1, saved=900 * MB, rate=9e9, instance_type="m5.24xlarge")

    assert Experience(30, 900 * MB, None) == await learned(store, 2)


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("it died before it was told anything", {}),
        ("its last save did not arrive", {"checkpoint_s": 20.0, "saved": 100 * MB}),
        ("it had all to send, not a checkpoint", {"checkpoint_s": 20.0, "save_s": 1.0, "restored": 0, "saved": 5}),
    ],
)
async def test_what_an_attempt_cannot_tell_is_not_guessed(what: str, told: dict[str, float]) -> None:
    store = memory()
    await lived(store, 1, **told)  # type: ignore[arg-type]

    found = await learned(store, 2)

    assert (told.get("checkpoint_s"), None, None) == (found.checkpoint_s, found.dirty, found.rate), what


async def test_only_the_last_few_count() -> None:
    """A program that was made faster is not held to its past for ever."""
    store = memory()
    await lived(store, 1, checkpoint_s=500)
    for number in range(2, 2 + ATTEMPTS):
        await lived(store, number, checkpoint_s=5)

    assert 5 == (await learned(store, 2 + ATTEMPTS)).checkpoint_s
