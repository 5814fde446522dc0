"""One run as the page shows it: who ran it from when to when, what was saved, and what it cost. No I/O, no clock.

An attempt's life is told by moments in unix seconds, each null as long as it has not come or nobody wrote it down:

    claimed ── restoring ── running ──── noticed ── ended
                              saves: when each snapshot was committed, by the store's clock

`end` says which end that was: interrupted, error, died, or the run's own result. Where no hand-over tells how an
attempt ended (its machine died, or just vanished), it ended when it was last heard of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from spotrelay.core import keys, records
from spotrelay.core.keys import SnapshotId
from spotrelay.person.history import Attempt, History

# Of a run that is saved every few seconds for a week. The newest; more would lie on the same pixels.
MOST_SAVES = 5_000


def moments_of(found: Mapping[str, float]) -> dict[SnapshotId, float]:
    """When each snapshot was committed, of a listing of manifests."""
    return {snapshot: found[key] for key in found for snapshot in keys.snapshots_among([key])}


def newest(history: History, snapshots: Iterable[SnapshotId]) -> SnapshotId | None:
    """The snapshot that the run stands at (P1): what the outcome names, or whoever comes next would begin from. The
    rule is `history.History.newest_allowed`'s, on what has been read already."""
    outcome, saved = history.glance.outcome, list(snapshots)
    if outcome is not None and outcome.snapshot is not None:
        return SnapshotId.parse(outcome.snapshot)
    for attempt in reversed(history.attempts):
        own = [snapshot for snapshot in saved if snapshot.attempt == attempt.number]
        if own:
            return max(own)
        if attempt.base is not None:
            return SnapshotId.parse(attempt.base.snapshot) if attempt.base.snapshot else None
    return max((snapshot for snapshot in saved if snapshot.attempt == 0), default=None)


def story(
    history: History, moments: Mapping[SnapshotId, float], now: float, past: Iterable[records.Outcome] = ()
) -> dict[str, Any]:
    """The document; `now` only decides whether a silent machine is called so. `past`: outcomes that a person's resume
    took away."""
    seen, outcome = history.glance, history.glance.outcome
    before = {each.attempt: each for each in past}
    attempts = [_attempt(history, index, moments, before) for index in range(len(history.attempts))]
    stands = newest(history, moments)
    began = min([*moments.values(), *(each["claimed"] for each in attempts if each["claimed"])], default=None)
    return {
        "name": seen.name,
        "state": str(seen.state(now)),
        "at": seen.at,
        "began": began,
        "ended": outcome.at if outcome is not None else None,
        "command": list(history.spec.run.command) if history.spec is not None else None,
        "attempts": attempts,
        "wait": _wait(seen.wait),
        "outcome": _outcome(outcome),
        "stopping": history.cancel is not None and outcome is None,
        "snapshot": str(stands) if stands is not None else None,
        "saved_at": moments.get(stands) if stands is not None else None,
        "now": _now(seen.status) if outcome is None and seen.handover is None else None,
        "dollars": max((each.ledger.dollars for each in history.attempts if each.ledger), default=None),
        "trouble": history.trouble,
    }


def _attempt(
    history: History, index: int, moments: Mapping[SnapshotId, float], past: Mapping[int, records.Outcome]
) -> dict[str, Any]:
    each = history.attempts[index]
    later = history.attempts[index + 1] if index + 1 < len(history.attempts) else None
    claim, status, handover = each.claim, each.status, each.handover
    saves = sorted((at, str(snapshot)) for snapshot, at in moments.items() if snapshot.attempt == each.number)
    end, ended = _end(history, each, later, past.get(each.number))
    running = _running(each, moments)
    return {
        "number": each.number,
        "instance": claim.instance if claim else "",
        "type": claim.instance_type if claim else "",
        "zone": claim.zone if claim else "",
        "market": claim.market if claim else "",
        "claimed": claim.at if claim else None,
        "restoring": each.base.at if each.base else None,
        "base": each.base.snapshot if each.base else None,
        "running": running,
        "noticed": _noticed(handover),
        "gone_at": status.gone_at if status and not end else None,
        "ended": ended,
        "end": end,
        "phase": status.phase if status and not end else "",
        "saves": saves[-MOST_SAVES:],
        "exit": handover.ended if handover else None,
        "clean": handover.clean if handover else None,
        "message": handover.message if handover else "",
        "save_s": handover.timings.get("save_s") if handover else None,
        "saved_bytes": handover.saved_bytes if handover else None,
        "restored_bytes": handover.restored_bytes if handover else status.restored_bytes if status else None,
        "kept_s": handover.kept_s if handover else status.kept_s if status else 0.0,
        "lost_s": _lost(each, end, ended, running),
    }


def _end(
    history: History, each: Attempt, later: Attempt | None, past: records.Outcome | None
) -> tuple[str, float | None]:
    """Which end it was, and when; "" and None: it goes on."""
    outcome, heard = history.glance.outcome, each.status.at if each.status else each.claim.at if each.claim else None
    if each.handover is not None:
        return each.handover.reason, each.handover.at
    if outcome is not None and later is None:
        return outcome.result, outcome.at
    if past is not None and later is not None:
        return past.result, past.at
    if each.death is not None:
        return "died", each.death.at
    if later is not None and later.base is not None:
        return "died", heard
    return "", None


def _running(each: Attempt, moments: Mapping[SnapshotId, float]) -> float | None:
    """Since when the command ran."""
    if each.status is not None and each.status.running_since is not None:
        return each.status.running_since
    own = [at for snapshot, at in moments.items() if snapshot.attempt == each.number]
    if not own or each.status is None:
        return None
    # An older agent did not say. Its newest save began when the command had worked for `kept_s`.
    return max(own) - (each.status.last_save_s or 0.0) - each.status.kept_s


def _noticed(handover: records.Handover | None) -> float | None:
    if handover is None or handover.notice is None:
        return None
    if handover.noticed_at is not None:
        return handover.noticed_at
    return handover.at - sum(handover.timings.values())


def _lost(each: Attempt, end: str, ended: float | None, running: float | None) -> float | None:
    """Seconds of the command's work that no snapshot keeps. Of a death, as far as it was heard of."""
    if not end or running is None:
        return None
    if each.handover is not None:
        worked = each.handover.worked_s
        return None if worked is None else max(0.0, worked - each.handover.kept_s)
    if end == "died" and each.status is not None and ended is not None:
        return max(0.0, ended - running - each.status.kept_s)
    return 0.0


def _wait(hunt: records.Hunt | None) -> dict[str, Any] | None:
    if hunt is None:
        return None
    return {
        "attempt": hunt.attempt,
        "since": hunt.since,
        "why": hunt.why,
        "next_at": hunt.next_at,
        "person": hunt.person,
        "errors": hunt.errors[:10],
    }


def _outcome(outcome: records.Outcome | None) -> dict[str, Any] | None:
    if outcome is None:
        return None
    return {"result": outcome.result, "exit_code": outcome.exit_code, "message": outcome.message}


def _now(status: records.Status | None) -> dict[str, Any] | None:
    """The numbers of the heartbeat."""
    if status is None:
        return None
    return {
        "phase": status.phase,
        "at": status.at,
        "line": status.line,
        "dirty_bytes": status.dirty_bytes,
        "needed_s": status.needed_s,
        "checkpoint_s": status.checkpoint_s,
        "upload_bytes_s": status.upload_bytes_s,
        "last_save_s": status.last_save_s,
        "last_save_bytes": status.last_save_bytes,
        "next_save_at": status.next_save_at,
        "kept_s": status.kept_s,
        "warning": status.warning,
    }
