"""All runs are listed in a number of requests that is known beforehand."""

from __future__ import annotations

from typing import Any

import obstore

from spotrelay.core import keys, records
from spotrelay.person.overview import overview
from support.stores import Recording, memory

PAGE = 1000  # names in an answer of S3's


class Counting(Recording):
    """`requests`: as S3 would count them."""

    requests = 0

    def __getattr__(self, method: str) -> Any:
        call = super().__getattr__(method)

        async def counted(key: str, *arguments: Any) -> Any:
            try:
                answer = await call(key, *arguments)
            except Exception:
                self.requests += 1
                raise
            self.requests += max(1, -(-len(answer) // PAGE)) if method in ("list", "folders", "sizes") else 1
            return answer

        return counted


async def put(store: Any, key: str, record: Any) -> None:
    await store.put(key, records.encode(record))


async def over(store: Any, run: str, *, at: float = 1.0) -> None:
    await put(store, keys.outcome(run), records.Outcome("succeeded", 1, at))
    await put(store, keys.ledger(run, 1), records.Ledger(1, at, dollars=0.5))


async def at_work(store: Any, run: str, *, attempt: int = 1, at: float = 1.0) -> None:
    await store.put(keys.spec(run), b"{}")
    await store.put(keys.open_run(run), b"")
    for number in range(1, attempt + 1):
        await put(store, keys.claim(run, number), records.Claim("i-1", "token", at))
        for segment in range(3):
            await store.put(keys.log_segment(run, number, segment), b"words")
        if number < attempt:
            await put(store, keys.ledger(run, number), records.Ledger(number, at, dollars=0.5 * number))


async def test_ten_thousand_runs_are_listed_in_a_few_dozen_requests() -> None:
    """Three at work among 10,000: the names (11 pages), the marks, eight for each at work. Otherwise `ls` slows down
    with every run that anybody ever finished."""
    inner: Any = memory()
    outcome = records.encode(records.Outcome("succeeded", 1, 1.0))
    for number in range(10_000):  # below our own adapter, whose care for 10,000 objects takes half a minute here
        obstore.put(inner._store, keys.outcome(f"old-{number}"), outcome)
    for name in ("now-1", "now-2", "now-3"):
        await at_work(inner, name, attempt=40)
    store = Counting(inner)

    found = await overview(store)

    assert ({"now-1", "now-2", "now-3"}, 10_000) == ({line.glance.name for line in found.lines}, found.over)
    assert 11 + 1 + 3 * 8 == store.requests


async def test_all_of_them_take_two_requests_more_for_each_that_is_over() -> None:
    """What `--all` costs is said, and holds."""
    store = Counting(memory())
    for number in range(100):
        await over(store.store, f"old-{number}")
    await at_work(store.store, "now", attempt=3)

    found = await overview(store, everything=True)

    assert (101, 0) == (len(found.lines), found.over)
    assert 1 + 1 + 8 + 100 * 2 == store.requests


async def test_the_newest_comes_first_and_says_what_it_has_cost() -> None:
    """Of one at work, through the attempt before: what is not written yet is not guessed (P8)."""
    store = memory()
    await at_work(store, "young", attempt=3, at=30.0)
    await over(store, "old", at=10.0)
    await at_work(store, "first", at=20.0)

    found = await overview(store, everything=True)

    assert ["young", "first", "old"] == [line.glance.name for line in found.lines]
    costs = [(line.ledger.attempt, line.ledger.dollars) if line.ledger else None for line in found.lines]
    assert [(2, 1.0), None, (1, 0.5)] == costs


async def test_a_mark_without_a_run_is_no_run() -> None:
    """Whoever made it died, and the launcher takes it away. Otherwise a person reads of a run that never was."""
    store = memory()
    await store.put(keys.open_run("lonely"), b"")

    assert ((), 0) == ((found := await overview(store)).lines, found.over)
