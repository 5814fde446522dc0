"""The page tells what the receipt does, and beside it how the run stands."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from spotrelay.core import records
from spotrelay.core.keys import SnapshotId
from spotrelay.person import receipt
from spotrelay.person.glance import Glance
from spotrelay.person.history import Attempt, History
from spotrelay.person.leg import DIED, WORKS
from spotrelay.ui.story import story
from support.served import claim

T = 1_000_000.0
CLAIMED = claim(at=T)
BASE = records.Base("0-0", T + 1, CLAIMED.instance)
STATUS = records.Status(CLAIMED.instance, "running", T + 95, kept_s=60.0, last_save_s=2.0, running_since=T + 10)
HANDOVER = records.Handover(
    CLAIMED.instance, "interrupted", T + 100, "exit code 0", 0, True, 0, "1-3", "spot terminate",
    timings={"notice_to_signal_s": 1.0, "signal_to_exit_s": 2.0, "save_s": 3.0}, kept_s=80.0,
    noticed_at=T + 93, worked_s=85.0,
)  # fmt: skip
SAVES = {SnapshotId(0, 0): T - 20, SnapshotId(1, 1): T + 72, SnapshotId(1, 0): T + 40}


def told(*attempts: Attempt, outcome: records.Outcome | None = None) -> dict[str, Any]:
    last = attempts[-1] if attempts else Attempt(0)
    seen = Glance("demo", last.number, outcome, last.claim, last.status, last.handover)
    history = History(seen, attempts=attempts, saves=SAVES)
    return story(history, receipt.of(history), T + 100)


def test_an_attempt_at_work() -> None:
    """It has begun, it runs, it has saved; it has no end, and loses nothing as long as it has none."""
    found = told(Attempt(1, CLAIMED, BASE, STATUS))
    (each,) = found["legs"]

    assert ("running", T - 20, None) == (found["state"], found["asked_at"], found["ended_at"])
    assert (T, T + 10, None, WORKS, "running", None) == tuple(
        each[name] for name in ("claimed_at", "running_at", "noticed_at", "end", "phase", "lost_s")
    )
    assert [T + 40, T + 72] == each["saves"]
    assert [("in", T, T + 10), ("work", T + 10, None)] == [tuple(span.values()) for span in each["spans"]]
    assert ("1-1", T + 72, 60.0) == (found["snapshot"], found["saved_at"], found["now"]["kept_s"])


def test_an_interruption() -> None:
    """From the notice to the hand-over, and what no snapshot kept."""
    found = told(Attempt(1, CLAIMED, BASE, STATUS, HANDOVER))
    (each,) = found["legs"]

    assert ("interrupted", "", T + 93, T + 100, 5.0, 3.0) == tuple(
        each[name] for name in ("end", "phase", "noticed_at", "left_at", "lost_s", "save_s")
    )
    assert {"known": 5.0, "unknown": 0} == found["lost"]
    assert {"known": 80.0, "unknown": 0} == found["kept"]
    assert found["now"] is None


@pytest.mark.parametrize("death", [records.Death(CLAIMED.instance, T + 96), None])
def test_a_sudden_death_has_bounds_on_the_page_too(death: records.Death | None) -> None:
    """As the receipt has them: saved at 72 s, heard of at 95, found dead at 96. Otherwise the page says to a tenth of a
    second what nobody was there to see."""
    found = told(
        Attempt(1, CLAIMED, BASE, STATUS, death=death),
        Attempt(2, claim(2, at=T + 98), records.Base("1-1", T + 99, "i")),
    )
    (first, _) = found["legs"]

    assert (DIED, T + 95, 23.0) == (first["end"], first["left_at"], first["lost_s"])
    assert (26.0 if death else None) == first["lost_most_s"]


def test_the_end_of_a_run_is_its_last_attempts() -> None:
    """And the snapshot is the one that the outcome names."""
    outcome = records.Outcome("succeeded", 1, T + 200, 0, "1-0")
    found = told(Attempt(1, CLAIMED, BASE, STATUS), outcome=outcome)

    assert ("succeeded", T + 200, "succeeded") == (found["state"], found["ended_at"], found["legs"][0]["end"])
    assert (None, "1-0", 0.0) == (found["now"], found["snapshot"], found["legs"][0]["lost_s"])


def test_a_run_that_nobody_has_begun() -> None:
    """It has its directory, and no numbers."""
    found = told()

    assert ([], "0-0", T - 20, 0) == (found["legs"], found["snapshot"], found["asked_at"], found["dollars"]["unknown"])


def test_what_it_has_cost_is_the_receipts_sum() -> None:
    """Of the attempts whose cost is written; the others are counted, not guessed (P8)."""
    paid = Attempt(1, CLAIMED, BASE, STATUS, HANDOVER, ledger=records.Ledger(1, T + 100, dollars=0.5))
    found = told(paid, replace(paid, number=2, handover=None, ledger=None))

    assert {"known": 0.5, "unknown": 1} == found["dollars"]
