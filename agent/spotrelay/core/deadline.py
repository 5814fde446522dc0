"""Divide the seconds that are left between the command's checkpoint and the save of it.

    now ──── signal ──────────────── kill ─────────── commit ── reserve ── the machine is gone
             │◄─ the child's share ─►│◄─ the save's ─►│◄────►│

1. The reserve comes first: the hand-over and the manifest are two small requests, and one of them may need a retry.
2. The save gets what it is expected to take, half as much again, and a floor: an estimate made from earlier saves
   is wrong just when a checkpoint is the first one.
3. The child gets the rest. A child that ends early leaves its rest to the save.

Pure arithmetic: seconds in, seconds out.
"""

from __future__ import annotations

from dataclasses import dataclass

# Two puts at 200 ms with one retry after a second each (S3's usual tail), and as much again.
RESERVE_S = 5.0
# A notice without time left (hibernate begins at once, a clock minutes off) is still worth a try: EC2 takes some
# seconds to get to it. Fewer than this and even SIGTERM → exit of a quick program cannot be seen.
SHORTEST_S = 10.0
SAVE_FLOOR_S = 5.0
SAVE_FACTOR = 1.5
# Whatever the estimate says, each side keeps this share: a child killed at once has no checkpoint to save.
LEAST_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Plan:
    """Moments on the clock that `plan` was given."""

    kill_at: float
    commit_by: float
    gone_at: float


def plan(*, now: float, gone_at: float, save_estimate_s: float) -> Plan:
    """`gone_at`: when the machine is taken. `save_estimate_s`: how long a save of what is dirty would take."""
    gone_at = max(gone_at, now + SHORTEST_S)
    left = gone_at - now
    reserve = min(RESERVE_S, left * LEAST_SHARE)
    usable = left - reserve
    save = max(SAVE_FLOOR_S, save_estimate_s * SAVE_FACTOR)
    save = min(max(save, usable * LEAST_SHARE), usable * (1 - LEAST_SHARE))
    return Plan(kill_at=now + usable - save, commit_by=gone_at - reserve, gone_at=gone_at)
