"""One run as the page shows it: its receipt, and how it stands. No I/O, no clock.

What became of each attempt, in moments and seconds, is the receipt's to say (person/leg.py), and what it was doing from
when to when the timeline's (person/timeline.py): the page draws what `spotrelay receipt` prints. Beside that there is
what only a page that looks again and again can show: the newest heartbeat, the wait for a machine, each save.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from spotrelay.person.history import Attempt, History
from spotrelay.person.leg import WORKS, Leg
from spotrelay.person.receipt import Receipt
from spotrelay.person.timeline import spans

# Of a run that is saved every few seconds for a week. The newest; more would lie on the same pixels.
MOST_SAVES = 5_000
# What is drawn of each.
_LEG = "number end exit why instance instance_type zone market claimed_at running_at noticed_at left_at again_s"
_LEG += " save_s saved_bytes lost_s lost_most_s unstarted dollars"
_NOW = "phase gone_at line dirty_bytes needed_s last_save_s last_save_bytes next_save_at kept_s warning"
_WAIT, _OUTCOME, _SUM = "attempt since why next_at", "result message", "known unknown"


def story(history: History, receipt: Receipt, now: float) -> dict[str, Any]:
    """The document. `receipt`: of this history; `now` only decides whether a silent machine is called so."""
    seen, stands, saves = history.glance, history.newest, defaultdict[int, list[float]](list)
    for snapshot, at in history.saves.items():
        saves[snapshot.attempt].append(at)
    legs = zip(receipt.legs, history.attempts, strict=True)
    return {
        "name": seen.name,
        "state": str(seen.state(now)),
        "at": seen.at,
        "asked_at": receipt.asked_at,
        "ended_at": receipt.ended_at,
        "command": list(history.spec.run.command) if history.spec is not None else None,
        "legs": [_leg(leg, attempt, saves[leg.number]) for leg, attempt in legs],
        "kept": _picked(receipt.kept, _SUM),
        "lost": _picked(receipt.lost, _SUM),
        "dollars": _picked(receipt.dollars, _SUM),
        "wait": _picked(seen.wait, _WAIT),
        "outcome": _picked(seen.outcome, _OUTCOME),
        "stopping": history.cancel is not None and seen.outcome is None,
        "snapshot": str(stands) if stands is not None else None,
        "saved_at": history.saves.get(stands) if stands is not None else None,
        "now": _picked(seen.status, _NOW) if seen.outcome is None and seen.handover is None else None,
        "trouble": history.trouble,
    }


def _leg(leg: Leg, attempt: Attempt, saves: Sequence[float]) -> dict[str, Any]:
    """`phase`: the agent's own word for what it is doing, as long as it does. `saves`: when they were committed."""
    phase = attempt.status.phase if attempt.status is not None and leg.end == WORKS else ""
    drawn = {"phase": phase, "spans": [asdict(span) for span in spans(leg)], "saves": sorted(saves)[-MOST_SAVES:]}
    return {**(_picked(leg, _LEG) or {}), **drawn}


def _picked(record: Any, names: str) -> dict[str, Any] | None:
    return None if record is None else {name: getattr(record, name) for name in names.split()}
