"""A run's life is told by what was written about it, and guessed at nowhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from spotrelay.core import records
from spotrelay.core.keys import SnapshotId
from spotrelay.person.glance import Glance
from spotrelay.person.history import Attempt, History
from spotrelay.ui.story import newest, story
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
MOMENTS = {SnapshotId(0, 0): T - 20, SnapshotId(1, 0): T + 40, SnapshotId(1, 1): T + 72}


def told(*attempts: Attempt, outcome: records.Outcome | None = None, **more: Any) -> dict[str, Any]:
    last = attempts[-1] if attempts else Attempt(0)
    seen = Glance("demo", last.number, outcome, last.claim, last.status, last.handover)
    return story(History(seen, None, None, attempts, **more), MOMENTS, T + 100)


def test_an_attempt_at_work() -> None:
    """It has begun, it runs, it has saved; it has no end, and loses nothing as long as it has none."""
    found = told(Attempt(1, CLAIMED, BASE, STATUS))
    (each,) = found["attempts"]

    assert ("running", T - 20, None) == (found["state"], found["began"], found["ended"])
    assert (T, T + 1, T + 10, None, None) == tuple(
        each[name] for name in ("claimed", "restoring", "running", "noticed", "ended")
    )
    assert [(T + 40, "1-0"), (T + 72, "1-1")] == each["saves"]
    assert ("", None) == (each["end"], each["lost_s"])
    assert "1-1" == found["snapshot"]
    assert T + 72 == found["saved_at"]


def test_an_interruption() -> None:
    """From the notice to the hand-over, and what no snapshot kept."""
    (each,) = told(Attempt(1, CLAIMED, BASE, STATUS, HANDOVER))["attempts"]

    assert ("interrupted", T + 93, T + 100, 5.0, 3.0) == tuple(
        each[name] for name in ("end", "noticed", "ended", "lost_s", "save_s")
    )


def test_an_older_agent_did_not_say_when() -> None:
    """Its timings and its newest save do."""
    status, handover = replace(STATUS, running_since=None), replace(HANDOVER, noticed_at=None, worked_s=None)
    (each,) = told(Attempt(1, CLAIMED, BASE, status, handover))["attempts"]

    assert (T + 10, T + 94, None) == (each["running"], each["noticed"], each["lost_s"])


@pytest.mark.parametrize("death", [records.Death(CLAIMED.instance, T + 96), None])
def test_a_sudden_death(death: records.Death | None) -> None:
    """By EC2's word, or because somebody else has begun: then it ended when it was last heard of."""
    found = told(
        Attempt(1, CLAIMED, BASE, STATUS, death=death),
        Attempt(2, claim(2, at=T + 98), records.Base("1-1", T + 99, "i")),
    )
    ended = T + 96 if death else T + 95

    assert ("died", ended) == (found["attempts"][0]["end"], found["attempts"][0]["ended"])
    assert ended - (T + 10) - 60 == found["attempts"][0]["lost_s"]


def test_an_attempt_whose_run_was_taken_up_again() -> None:
    """It was stopped then, and did not die: nothing was lost."""
    seen = Glance("demo", 2, claim=claim(2, at=T + 900))
    attempts = (Attempt(1, CLAIMED, BASE, STATUS), Attempt(2, claim(2, at=T + 900), records.Base("1-1", T + 901, "i")))
    past = [records.Outcome("stopped", 1, T + 120, snapshot="1-1")]
    first, second = story(History(seen, None, None, attempts), MOMENTS, T + 905, past)["attempts"]

    assert ("stopped", T + 120, 0.0) == (first["end"], first["ended"], first["lost_s"])
    assert ("", None) == (second["end"], second["ended"])


def test_a_claim_alone_ends_nobody() -> None:
    """The predecessor is still saving while its successor waits for it."""
    found = told(Attempt(1, CLAIMED, BASE, STATUS), Attempt(2, claim(2, at=T + 98)))

    assert "" == found["attempts"][0]["end"]


def test_the_end_of_a_run_is_its_last_attempts() -> None:
    """And the snapshot is the one that the outcome names."""
    outcome = records.Outcome("succeeded", 1, T + 200, 0, "1-0")
    found = told(Attempt(1, CLAIMED, BASE, STATUS), outcome=outcome)

    assert ("succeeded", T + 200, "succeeded") == (found["state"], found["ended"], found["attempts"][0]["end"])
    assert (None, "1-0", 0.0) == (found["now"], found["snapshot"], found["attempts"][0]["lost_s"])


def test_a_run_that_nobody_has_begun() -> None:
    """It has its directory, and no numbers."""
    found = told()

    assert ([], "0-0", T - 20, None) == (found["attempts"], found["snapshot"], found["began"], found["dollars"])


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
    found = newest(History(Glance("demo"), None, None, attempts), map(SnapshotId.parse, saved))

    assert expected == (str(found) if found else None)
