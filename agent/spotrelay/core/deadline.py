"""Divide the seconds that are left between the command's checkpoint and the save of it.

    now ──── signal ──────────────── kill ─────────── commit ── reserve ── the machine is gone
             │◄─ the child's share ─►│◄─ the save's ─►│◄────►│

1. The reserve comes first: the hand-over and the manifest are two small requests, and one of them may need a retry.
2. The save gets what it is expected to take, half as much again, and a floor: an estimate made from earlier saves
   is wrong just when a checkpoint is the first one.
3. The child gets the rest. A child that ends early leaves its rest to the save.
4. Where earlier attempts say that the rest is not enough for the child, both get the same part of what they need: a
   checkpoint that is cut off is worth as little as one that does not arrive, and either estimate may be too high.

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
# A command's checkpoint takes about as long each time: it is made of the same bytes.
CHILD_FACTOR = 1.25
# Whatever the estimate says, each side keeps this share: a child killed at once has no checkpoint to save.
LEAST_SHARE = 0.2
# An estimate beyond a year is as good as none, and infinity cannot be divided.
_HOPELESS_S = 3e7


@dataclass(frozen=True, slots=True)
class Plan:
    """Moments on the clock that `plan` was given."""

    kill_at: float
    commit_by: float
    gone_at: float


def plan(*, now: float, gone_at: float, save_estimate_s: float, checkpoint_s: float = 0.0) -> Plan:
    """`gone_at`: when the machine is taken. `save_estimate_s`: how long a save of what is dirty would take.
    `checkpoint_s`: how long the command took to end in earlier attempts; 0: nobody knows."""
    gone_at = max(gone_at, now + SHORTEST_S)
    left = gone_at - now
    reserve = min(RESERVE_S, left * LEAST_SHARE)
    usable = left - reserve
    save = min(max(SAVE_FLOOR_S, save_estimate_s * SAVE_FACTOR), _HOPELESS_S)
    child = checkpoint_s * CHILD_FACTOR
    if child > 0 and child + save > usable:
        save *= usable / (child + save)
    save = min(max(save, usable * LEAST_SHARE), usable * (1 - LEAST_SHARE))
    return Plan(kill_at=now + usable - save, commit_by=gone_at - reserve, gone_at=gone_at)
