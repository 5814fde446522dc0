"""Rehearse an interruption in the cloud: which instance it would be, and why there may be none.

By a real notice, which EC2 gives for AWS FIS (`aws/fis.py`): the run goes through all that it will go through one day,
at a moment when somebody looks. The machine is lost, as it would be; so is its free first hour, if it is younger.
"""

from __future__ import annotations

from typing import Protocol

from spotrelay.core import records
from spotrelay.core.errors import NotInterruptible
from spotrelay.person.glance import State, glance
from spotrelay.ports import BrowsableStore

# With these the instance is there, and nothing has told it to go yet.
_WORKS = {State.STARTING, State.RUNNING}


class Faults(Protocol):
    async def interrupt(self, instance: str) -> None:
        """Raises NotInterruptible."""
        ...


async def victim(store: BrowsableStore, run: str, *, at: float) -> records.Claim:
    """Raises NotInterruptible with the reason."""
    seen = await glance(store, run)
    state, claim = seen.state(at), seen.claim
    if state not in _WORKS or claim is None:
        raise NotInterruptible(f"{run} has no machine at work: it is {state}", next_step="wait until it is running")
    if claim.market != "spot":
        what = f"{run} runs on {claim.instance}, which is {claim.market or 'of a market that nobody told'}"
        raise NotInterruptible(f"{what}: only spot instances are interrupted", next_step="rehearse with --use-spot")
    return claim
