"""A run that is followed, on a terminal: what becomes of it on standard error, what its command says on standard
output, byte for byte. Ctrl-C ends the looking and leaves the run going, and says so.

    waiting for a machine
    attempt 1: starting on c6i.large in us-east-1a, spot
    attempt 1: running
    step 7
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import aclosing, suppress

from rich.console import Console

from spotrelay.cli.receipt_drawn import print_receipt
from spotrelay.cli.told import plain
from spotrelay.core import records
from spotrelay.core.errors import RunAtLimit, RunError, RunFailed, RunStopped, StoreError
from spotrelay.person.follow import Became, Said, follow, said_of
from spotrelay.person.glance import State
from spotrelay.person.receipt import receipt
from spotrelay.ports import BrowsableStore

_ENDS: dict[str, type[RunError]] = {"failed": RunFailed, "stopped": RunStopped, "limit": RunAtLimit}


async def until_over(store: BrowsableStore, run: str, console: Console, *, options: str = "") -> records.Outcome:
    """Its outcome; its receipt has been shown. `options`: of the place, for what a person may type next. Raises
    StoreDenied."""
    try:
        async with aclosing(follow(store, run)) as news:
            async for each in news:
                match each:
                    case Said(_, data):
                        sys.stdout.buffer.write(data)
                        sys.stdout.buffer.flush()
                    case Became():
                        console.print(plain(_told(each)), markup=False, soft_wrap=True)
                        if each.seen.outcome is not None:
                            await _sum_up(store, run, console)
                            return each.seen.outcome
                    case _:
                        console.print(plain(f"the store does not answer: {each.why}"), markup=False, soft_wrap=True)
    except asyncio.CancelledError:
        console.print(f"{run} goes on without you. To end it: spotrelay stop {run}{options}", soft_wrap=True)
        raise
    raise AssertionError("unreachable: it ends with an outcome, or is left")


async def _sum_up(store: BrowsableStore, run: str, console: Console) -> None:
    """The receipt can be had later as well: a store that is away now is no reason for another end."""
    with suppress(StoreError):
        print_receipt(await receipt(store, run), time.time(), console)


def judge(run: str, outcome: records.Outcome, options: str = "") -> None:
    """Raises what the run's end is to a shell; nothing for one that succeeded."""
    error = _ENDS.get(outcome.result)
    if error is not None:
        raise error(f"{run} {said_of(outcome)}", next_step=f"to go on with it: spotrelay resume {run}{options}")


def _told(news: Became) -> str:
    seen, state = news.seen, news.state
    whose = f"attempt {seen.attempt}: " if seen.attempt else ""
    trouble = f" ({seen.trouble})" if seen.trouble else ""
    if seen.outcome is not None:
        return f"{whose}{said_of(seen.outcome)}"
    if state in (State.WAITING, State.STUCK):
        wait = seen.wait
        word = "stuck" if state is State.STUCK else "waiting for a machine"
        return f"{whose}{word}{f': {wait.why}' if wait is not None else ''}{trouble}"
    if state is State.STARTING and seen.claim is not None:
        claim = seen.claim
        return f"{whose}starting on {claim.instance_type} in {claim.zone}, {claim.market}{trouble}"
    return f"{whose}{state}{trouble}"
