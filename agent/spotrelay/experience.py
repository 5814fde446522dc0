"""What earlier attempts of this run took to end, and to save: from their hand-overs, for the next plan.

The longest checkpoint of the last few counts, and the most that an interruption had to send: a plan that is too
generous costs seconds, one that is too tight costs the checkpoint. What the wire carried counts only where the machine
was of the same type.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from spotrelay.history import History

# Two small reads each, once in an attempt's life. What was ten machines ago is another program by now.
ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Experience:
    """None where no earlier attempt tells."""

    checkpoint_s: float | None = None
    dirty: int | None = None
    rate: float | None = None


async def experience(history: History, attempt: int, instance_type: str) -> Experience:
    """Of those before `attempt`. Raises StoreError."""
    before = range(max(1, attempt - ATTEMPTS), attempt)
    claims = await asyncio.gather(*map(history.claim, before))
    handovers = await asyncio.gather(*map(history.handover, before))
    told = [(claim, handover) for claim, handover in zip(claims, handovers, strict=True) if claim and handover]
    rates = [handover.upload_bytes_s for claim, handover in told if claim.instance_type == instance_type]
    return Experience(
        checkpoint_s=max(
            (h.timings["signal_to_exit_s"] for _, h in told if "signal_to_exit_s" in h.timings), default=None
        ),
        # One that began from no snapshot had all to send, not a checkpoint.
        dirty=max((h.saved_bytes for _, h in told if "save_s" in h.timings and h.restored_bytes), default=None),
        rate=max(filter(None, rates), default=None),
    )
