"""The rhythm of a hunt for capacity: when to try again, and for how long.

Capacity comes and goes in seconds, and a run that waits loses more to waiting than to anything else. So:

1. **Fast**, in the first minute: every pool about once a second. An interrupted run has two minutes in which its
   successor can boot beside it, and what opens now is often gone in a moment.
2. **Patient**, after that: at each wake every pool once, then a rest of a tenth of what the run has waited already,
   at most a minute. For days, if need be; a try costs about a hundredth of a cent.

Between two tries of one wake a launcher sleeps; between wakes the request lies in the queue, and nobody pays.
"""

from __future__ import annotations

import random

FAST_S = 60.0
# One round through all pools. A little under a second, so that calls and queue fit into it too.
ROUND_S = 0.8
# Below that, ten hunts that share nothing would use up the account's five calls a second within the fast minute.
SHORTEST_PAUSE_S = 0.25
# How long one wake may hold its environment: others wait for theirs meanwhile.
HOLD_S = 2.0
LONGEST_REST_S = 60.0


def fast(since: float, now: float) -> bool:
    return now - since < FAST_S


def pause_s(calls_a_round: int) -> float:
    """Between two tries of one wake."""
    return max(SHORTEST_PAUSE_S, ROUND_S / max(1, calls_a_round))


def rest_s(since: float, now: float) -> int:
    """Between two wakes: whole seconds, as the queue counts. Less up to a quarter: many must not come back together."""
    if fast(since, now):
        return 0
    longest = min(LONGEST_REST_S, (now - since) / 10)
    return max(1, round(longest * random.uniform(0.75, 1.0)))  # noqa: S311 - jitter
