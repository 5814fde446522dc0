"""Who follows a run on a terminal gets its receipt at the end, and the end whatever becomes of the receipt."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from spotrelay.cli.following import until_over
from spotrelay.core import keys, records
from spotrelay.core.errors import StoreUnavailable
from support.stores import RUN, failing, memory

OUTCOME = records.Outcome("succeeded", 1, 160.0, 0)


async def followed(*, terminal: bool, broken: bool = False) -> tuple[records.Outcome, str]:
    """The outcome, and what was said."""
    store = memory()
    claim = records.Claim("i-1", "token", 100.0, "c6i.large", "us-east-1a", "spot")
    status = records.Status("i-1", "publishing", 160.0, running_since=110.0, kept_s=50.0)
    await store.put(keys.spec(RUN), b"{}")
    await store.put(keys.claim(RUN, 1), records.encode(claim))
    await store.put(keys.status(RUN, 1), records.encode(status))
    await store.put(keys.outcome(RUN), records.encode(OUTCOME))
    if broken:
        store = failing(store, StoreUnavailable("away"), when=lambda method, _: method == "times")
    said = io.StringIO()
    return await until_over(store, RUN, Console(file=said, force_terminal=terminal, width=100)), said.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
async def test_the_receipt_is_for_eyes(terminal: bool) -> None:
    """In a pipe, or a job's log, the run's own end is the last word."""
    outcome, said = await followed(terminal=terminal)

    assert outcome == OUTCOME
    assert terminal == (f"{RUN}: succeeded after 60 s, 1 attempt" in said)


async def test_no_receipt_is_no_other_end() -> None:
    """A store that is away in that moment. Otherwise a run that succeeded ends with an error."""
    outcome, said = await followed(terminal=True, broken=True)

    assert outcome == OUTCOME
    assert "succeeded after" not in said
