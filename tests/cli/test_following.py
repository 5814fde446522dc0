"""Who follows a run gets its receipt at the end, beside the data, and the end whatever becomes of the receipt."""

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


@pytest.mark.parametrize(("terminal", "words"), [(True, f"{RUN}: succeeded after 60 s"), (False, "\tsucceeded")])
async def test_the_receipt_is_no_data(terminal: bool, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It goes where everything about the run goes. Otherwise `spotrelay run --follow … | tail` shows dollars where the
    command's last words should be."""
    outcome, said = await followed(terminal=terminal)

    assert outcome == OUTCOME
    assert words in said
    assert "" == capsys.readouterr().out


async def test_no_receipt_is_no_other_end() -> None:
    """A store that is away in that moment. Otherwise a run that succeeded ends with an error."""
    outcome, said = await followed(terminal=True, broken=True)

    assert outcome == OUTCOME
    assert f"{RUN}: succeeded" not in said
