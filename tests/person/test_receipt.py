"""A receipt says what was written down by those who were there, and "not known" of the rest (P8)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from spotrelay.cli import receipt_told
from spotrelay.core import keys, records
from spotrelay.core.keys import SnapshotId
from spotrelay.person import timeline
from spotrelay.person.leg import DIED, ERROR, INTERRUPTED, WORKS, Leg
from spotrelay.person.receipt import Receipt, Sum, receipt
from spotrelay.person.timeline import Span, drawing, spans, svg
from support.stores import RUN, memory

NOW = 1_000_000.0
SPOT = records.Claim("i-1", "token", NOW, "c6i.large", "us-east-1a", "spot")
# Ran 100 s, of which 98 are kept; told at 90 s, handed over at 105.
STATUS = records.Status("i-1", "staying", NOW + 105, running_since=NOW + 5, kept_s=98.0, restored_bytes=7)
HANDOVER = records.Handover(
    "i-1", "interrupted", NOW + 110, "exit code 0", 0, True, 0, "1-3", "spot terminate",
    saved_bytes=9, kept_s=98.0, noticed_at=NOW + 90, worked_s=100.0,
)  # fmt: skip


async def of(*attempts: dict[str, Any], outcome: records.Outcome | None = None, **prices: float) -> Receipt:
    """`attempts`: their records, by the names of functions in `keys`. `prices`: of c6i_large, for an hour."""
    store = memory()
    for number, left in enumerate(attempts, 1):
        for name, record in left.items():
            await store.put(getattr(keys, name)(RUN, number), records.encode(record))
    for kind, hourly in prices.items():
        price = records.Price(hourly, NOW)
        await store.put(keys.price("us-east-1", kind.replace("_", ".")), records.encode(price))
    if outcome is not None:
        await store.put(keys.outcome(RUN), records.encode(outcome))
    return await receipt(store, RUN)


def ledger(attempt: int, machine_s: float, dollars: float, unpriced_s: float = 0.0) -> records.Ledger:
    return records.Ledger(attempt, machine_s=machine_s, dollars=dollars, unpriced_s=unpriced_s)


LATER = replace(SPOT, instance="i-2", at=NOW + 130, market="spot")
BASE = records.Base("1-3", NOW + 131, "i-2")
RUNNING = records.Status("i-2", "running", NOW + 190, running_since=NOW + 140, kept_s=20.0)


async def test_an_interruption_in_seconds() -> None:
    """Notice, saved, running again, lost: each from the agent's own clock."""
    first, second = (await of({"claim": SPOT, "status": STATUS, "handover": HANDOVER}, {"status": RUNNING})).legs

    assert (INTERRUPTED, 20.0, 50.0) == (first.end, first.saved_s, first.again_s)
    assert (100.0, 2.0, None) == (first.worked_s, first.lost_s, first.lost_most_s)
    assert (7, 9) == (first.restored_bytes, first.saved_bytes)
    assert (WORKS, 50.0, None) == (second.end, second.worked_s, second.lost_s)


async def test_a_death_without_a_word_has_bounds() -> None:
    """Kept to 20 s, heard of at 50, found dead at 53: between 30 and 33 s are lost. Without EC2's word, 30 at least."""
    left = {"claim": LATER, "status": RUNNING}
    (known, _) = (await of({**left, "death": records.Death("i-2", NOW + 193)}, {"claim": SPOT})).legs
    (silent, _) = (await of(left, {"base": BASE})).legs

    assert (DIED, 30.0, 33.0) == (known.end, known.lost_s, known.lost_most_s)
    assert (DIED, 30.0, None) == (silent.end, silent.lost_s, silent.lost_most_s)


EARLY = records.Status("i-2", "restoring", NOW + 140)
DEAD = records.Death("i-2", NOW + 150)
TURNED_BACK = records.Handover(
    "i-2", "interrupted", NOW + 145, None, None, False, 0, "1-3", "spot terminate", worked_s=0.0
)


@pytest.mark.parametrize(
    ("left", "end", "most", "told"),
    [
        ({"handover": TURNED_BACK, "base": BASE}, INTERRUPTED, None, "nothing lost: it had not started"),
        (
            {"handover": replace(TURNED_BACK, reason="error", ended="exit code 127"), "base": BASE},
            ERROR, None, "nothing lost: it had not started",
        ),
        ({"handover": replace(TURNED_BACK, worked_s=None)}, INTERRUPTED, None, "nothing lost: it had not started"),
        ({"status": EARLY, "base": BASE, "death": DEAD}, DIED, 0.0, "nothing lost: it had not started"),
        ({"death": DEAD}, DIED, 0.0, "nothing lost: it had not started"),
        ({"status": replace(EARLY, phase="waiting")}, DIED, 0.0, "nothing lost: it had not started"),
        ({"base": BASE, "death": DEAD}, DIED, 0.0, "nothing lost: it had not started"),
        (
            {"status": EARLY, "base": BASE, "death": replace(DEAD, at=NOW + 400)},
            DIED, 260.0, "nothing lost: it had not started when it was last heard of",
        ),
        (
            {"status": EARLY, "base": BASE},
            DIED, None, "nothing lost: it had not started when it was last heard of",
        ),
    ],
    ids=[
        "notice", "no such command", "older agent", "death while it restored", "death after the claim",
        "silent before it had a base", "never heard of", "found dead late", "silent",
    ],
)  # fmt: skip
async def test_an_attempt_that_ends_before_its_command_starts_loses_nothing(
    left: dict[str, Any], end: str, most: float | None, told: str
) -> None:
    """All that it restored is there to be restored again, and the sums have no gap. One that was silent for long has
    bounds: it may have been cut off, and started (P8)."""
    found = await of({"claim": LATER, **left}, {"claim": SPOT, "base": BASE})
    (first, _) = found.legs

    assert (end, True, 0.0, most) == (first.end, first.unstarted, first.lost_s, first.lost_most_s)
    assert (0.0, 0.0, 0.0) == (first.worked_s, first.kept_s, found.lost.whole)
    assert told in receipt_told.leg(first).split(" · ")
    assert ("at least" in dict(receipt_told.totals(found))["lost"]) == ("last heard of" in told)


@pytest.mark.parametrize(
    "left",
    [
        {"status": replace(EARLY, phase="running")},
        {"status": replace(EARLY, phase="draining")},
        {"handover": replace(TURNED_BACK, worked_s=None)},
        {"handover": replace(TURNED_BACK, worked_s=None, ended="exit code 0")},
    ],
    ids=["older agent at work", "older agent told to go", "restarted agent", "older agent, handed over"],
)
async def test_whether_it_had_started_is_not_known_where_nobody_said(left: dict[str, Any]) -> None:
    """Otherwise what was lost is told as nothing (P8)."""
    (first, _) = (await of({"claim": LATER, "base": BASE, "death": DEAD, **left}, {"base": BASE})).legs

    assert (False, None, None) == (first.unstarted, first.lost_s, first.worked_s)


async def test_a_snapshot_of_its_own_shows_that_it_had_started() -> None:
    """An agent that was restarted says "restoring" of a command that its predecessor on the machine had started."""
    store = memory()
    for key, record in ((keys.claim, LATER), (keys.status, EARLY), (keys.base, BASE), (keys.death, DEAD)):
        await store.put(key(RUN, 1), records.encode(record))
    await store.put(keys.snapshot(RUN, SnapshotId(1, 0)), b"")

    (leg,) = (await receipt(store, RUN)).legs

    assert (DIED, False, None) == (leg.end, leg.unstarted, leg.lost_s)


async def test_a_word_that_is_damaged_says_nothing() -> None:
    store = memory()
    for key, record in ((keys.claim, LATER), (keys.death, DEAD)):
        await store.put(key(RUN, 1), records.encode(record))
    await store.put(keys.status(RUN, 1), b"{")

    (leg,) = (await receipt(store, RUN)).legs

    assert (DIED, False, None) == (leg.end, leg.unstarted, leg.lost_s)


async def test_an_attempt_on_its_way_in_is_no_gap_in_what_was_worked() -> None:
    """Otherwise a run that restores is told as one that nobody knows of."""
    found = await of({"claim": LATER, "status": EARLY})

    assert (WORKS, 0.0, None) == (found.legs[0].end, found.worked.whole, found.legs[0].lost_s)


async def test_a_claim_alone_ends_nobody() -> None:
    """An attempt that was told to go is still saving while its successor has claimed and waits for it. Otherwise a
    person reads of a death that was none."""
    (first, _) = (await of({"claim": LATER, "status": RUNNING}, {"claim": SPOT, "status": STATUS})).legs

    assert (WORKS, None) == (first.end, first.lost_s)


async def test_an_end_that_a_resume_took_away_is_still_its_attempts() -> None:
    """It was stopped then, and did not die: nothing was lost, and nobody waited for what came after. EC2's word that
    its machine is gone comes later, when somebody asks for the next one."""
    store, left = memory(), {"claim": LATER, "status": RUNNING, "death": records.Death("i-2", NOW + 900)}
    for name, record in left.items():
        await store.put(getattr(keys, name)(RUN, 1), records.encode(record))
    await store.put(keys.status(RUN, 2), records.encode(replace(RUNNING, running_since=NOW + 990)))
    past = records.Outcome("stopped", 1, NOW + 200, snapshot="1-1")
    await store.put(keys.past_outcome(RUN, 1, past.at), records.encode(past))

    (first, second) = (await receipt(store, RUN)).legs

    assert ("stopped", NOW + 200, 0.0, 20.0, None) == (
        first.end, first.left_at, first.lost_s, first.worked_s, first.again_s,
    )  # fmt: skip
    assert WORKS == second.end


@pytest.mark.parametrize(
    ("left", "end", "lost_s"),
    [
        ({"claim": SPOT, "status": STATUS, "handover": HANDOVER}, INTERRUPTED, 2.0),
        ({"claim": LATER, "status": RUNNING, "death": records.Death("i-2", NOW + 193)}, DIED, 30.0),
    ],
    ids=["handed over", "died"],
)
async def test_a_limit_that_ends_the_run_is_not_how_its_last_attempt_ended(
    left: dict[str, Any], end: str, lost_s: float
) -> None:
    """The launcher writes that outcome when it is asked for another machine. Otherwise what was lost is told as
    nothing (P8)."""
    found = await of(left, outcome=records.Outcome("limit", 1, NOW + 300))

    assert ("limit", end, lost_s) == (found.result, found.legs[0].end, found.lost.whole)


async def test_all_that_was_saved_is_told_from_when_it_was() -> None:
    """The wait for the first machine is part of how long it took."""
    store = memory()
    await store.put(keys.snapshot(RUN, SnapshotId(0, 0)), b"")
    await store.put(keys.claim(RUN, 1), records.encode(replace(SPOT, at=4e9)))

    found = await receipt(store, RUN)

    assert 4e9 == found.began_at
    assert (found.asked_at or 0) < 3e9


async def test_a_snapshot_after_the_last_heartbeat_counts() -> None:
    """The store's own time of it is a sign of life. Otherwise what was saved is told as lost."""
    store = memory()
    long_ago = records.Status("i-2", "running", 10.0, running_since=5.0, kept_s=0.0)
    await store.put(keys.claim(RUN, 1), records.encode(LATER))
    await store.put(keys.status(RUN, 1), records.encode(long_ago))
    await store.put(keys.base(RUN, 2), records.encode(BASE))
    await store.put(keys.snapshot(RUN, SnapshotId(1, 0)), b"")

    (leg, _) = (await receipt(store, RUN)).legs

    assert 0.0 == leg.lost_s
    assert (leg.worked_s or 0) > 1e9


async def test_dollars_against_on_demand() -> None:
    """An hour on spot for 3 cents, where the list says 10; half an hour that EC2 took, free; and what that saved."""
    taken = {"claim": SPOT, "status": STATUS, "handover": HANDOVER, "ledger": ledger(1, 1800.0, 0.0)}
    last = {"claim": LATER, "status": RUNNING, "ledger": ledger(2, 5400.0, 0.03)}
    found = await of(taken, last, outcome=records.Outcome("succeeded", 2, NOW + 3800), c6i_large=0.1)

    assert [0.0, 0.03] == [leg.dollars for leg in found.legs]
    assert [True, False] == [leg.free for leg in found.legs]
    assert (0.03, 5400.0) == (found.dollars.whole, found.machine.whole)
    assert pytest.approx(0.15) == found.on_demand.whole
    assert pytest.approx(0.12) == found.saved_dollars
    assert (1, 1800.0, 0.05) == (found.free_legs, found.free_s, found.free_dollars)
    assert ("succeeded", NOW, NOW + 3800) == (found.result, found.began_at, found.ended_at)


@pytest.mark.parametrize(
    "ledgers",
    [
        {},
        {"ledger": ledger(1, 100.0, 0.0, unpriced_s=100.0)},
    ],
    ids=["no ledger", "no price"],
)
async def test_what_nobody_wrote_down_is_not_known(ledgers: dict[str, Any]) -> None:
    """Not zero. Otherwise a run without prices was free."""
    found = await of({"claim": SPOT, "status": STATUS, "handover": HANDOVER, **ledgers})

    (leg,) = found.legs
    assert (None, None, False) == (leg.dollars, leg.on_demand_dollars, leg.free)
    assert (None, 1, None) == (found.dollars.whole, found.dollars.unknown, found.saved_dollars)


async def test_records_of_an_older_agent_are_told_as_far_as_they_go() -> None:
    """It wrote no `noticed_at`, no `worked_s`."""
    old = replace(HANDOVER, noticed_at=None, worked_s=None)
    (leg,) = (await of({"claim": SPOT, "status": replace(STATUS, running_since=None), "handover": old})).legs

    assert (INTERRUPTED, None, None, None) == (leg.end, leg.saved_s, leg.worked_s, leg.lost_s)


async def test_a_run_that_has_not_begun_has_an_empty_receipt() -> None:
    """And one that is over without an attempt, too."""
    assert () == (await of()).legs
    assert "stopped" == (await of(outcome=records.Outcome("stopped", 0, NOW))).result


@pytest.mark.parametrize(
    ("leg", "expected"),
    [
        (Leg(1, WORKS), []),
        (Leg(1, WORKS, claimed_at=1.0, left_at=9.0), [Span("in", 1.0, None)]),
        (Leg(1, WORKS, claimed_at=1.0, running_at=3.0, left_at=9.0), [Span("in", 1.0, 3.0), Span("work", 3.0, None)]),
        (
            Leg(1, INTERRUPTED, claimed_at=1.0, running_at=3.0, noticed_at=7.0, left_at=9.0, lost_s=1.0),
            [Span("in", 1.0, 3.0), Span("work", 3.0, 7.0), Span("out", 7.0, 9.0), Span("lost", 6.0, 7.0)],
        ),
        (
            Leg(1, INTERRUPTED, claimed_at=1.0, noticed_at=7.0, left_at=9.0),
            [Span("in", 1.0, 7.0), Span("out", 7.0, 9.0)],
        ),
        (
            Leg(1, DIED, claimed_at=1.0, running_at=3.0, left_at=9.0, lost_s=99.0),
            [Span("in", 1.0, 3.0), Span("work", 3.0, 9.0), Span("lost", 3.0, 9.0)],
        ),
        (Leg(1, DIED, claimed_at=1.0, running_at=3.0), [Span("in", 1.0, 3.0)]),
        (Leg(1, "succeeded", claimed_at=9.0, left_at=1.0), []),
    ],
)
def test_what_a_leg_was_doing_from_when_to_when(leg: Leg, expected: list[Span]) -> None:
    """All timelines draw these. What is not over has no end, and what is not known, or is in no order, is not drawn."""
    assert expected == list(spans(leg))


@pytest.mark.parametrize("count", [0, 1, 300])
async def test_a_drawing_is_to_scale_and_within_its_width(count: int) -> None:
    """However many attempts, however short. Otherwise a month with a crash loop in it draws beside the page."""
    attempts: list[dict[str, Any]] = [{"claim": SPOT, "status": STATUS, "handover": HANDOVER}] * count
    found = await of(*attempts)

    picture = drawing(found, lambda leg: "<b>&", "title", ["note"])
    bars = [box for box in picture.boxes if box.y < picture.height - 80 or count]

    assert all(timeline.LABEL <= box.x <= timeline.WIDTH for box in bars)
    assert all(box.x + box.width <= timeline.WIDTH + timeline.HAIR for box in bars)
    assert "<b>" not in svg(picture)
    if count == 1:
        came, worked, out, lost = picture.boxes[:4]
        assert ["in", "work", "out", "lost"] == [box.kind for box in (came, worked, out, lost)]
        assert pytest.approx(17, rel=0.01) == worked.width / came.width


def test_a_sum_with_a_gap_has_no_whole() -> None:
    assert (None, 3.0) == (Sum(3.0, 1).whole, Sum(3.0).whole)
    assert Leg(1, WORKS).dollars is None
