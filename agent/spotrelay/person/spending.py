"""What a run has cost so far, as far as it has been written down.

The launcher closes an attempt's ledger once it knows how the attempt ended and what its pool's hour cost; of an attempt
that works, or has just ended, there is none yet. So what is known is the ledger through the newest attempt, or the one
through the attempt before it.
"""

from __future__ import annotations

from spotrelay.core import keys, records
from spotrelay.person.glance import Reading
from spotrelay.ports import BrowsableStore


async def spent(store: BrowsableStore, run: str, attempt: int) -> records.Ledger | None:
    """What is known of the cost through `attempt`: `ledger.attempt` says through which. One request, or two; none
    before the first attempt. Raises StoreUnavailable, StoreDenied."""
    reading = Reading(store)
    for number in range(attempt, max(0, attempt - 2), -1):
        ledger = await reading.record(records.Ledger, keys.ledger(run, number))
        if ledger is not None:
            return ledger
    return None
