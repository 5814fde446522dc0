"""A run's secrets reach its command, and nothing else: not the store, not the log, not the command line."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import structlog

from spotrelay import takeover
from spotrelay.core import events as ev
from spotrelay.core import spec
from spotrelay.core.errors import SecretRefused, SecretUnavailable, SpecError
from spotrelay.departure import Departure
from spotrelay.takeover import Takeover
from support.attempts import RUN, made
from support.stores import everything, memory

HUSH = "hush-hush"
NAMED = {"run": {"secrets": {"TOKEN": "ssm:/spotrelay/token"}, "env": {"EPOCHS": "9"}}}


class Vault:
    """`fails`: so often before it answers."""

    def __init__(self, fails: int = 0, error: type[Exception] = SecretUnavailable) -> None:
        self.asked: list[str] = []
        self._fails, self._error = fails, error

    async def read(self, name: str) -> str:
        self.asked.append(name)
        if len(self.asked) <= self._fails:
            raise self._error(f"the parameter {name} cannot be read")
        return HUSH


async def test_the_command_has_it_and_nobody_else(tmp_path: Path) -> None:
    """P7. What is in the bucket can be read by everybody who may read a result."""
    store, vault = memory(), Vault(fails=1)
    check = 'case "$TOKEN$EPOCHS" in hush?hush9) echo right;; *) exit 1;; esac'
    mine = made(tmp_path, store=store, secrets=vault, command=["sh", "-c", check], **NAMED)
    with structlog.testing.capture_logs() as logs:
        await Takeover(mine).claim()
        await Takeover(mine).restore()
        assert ev.Spawned() == await Takeover(mine).spawn()
        async with asyncio.timeout(60):
            assert ev.Succeeded() == await mine.ended()
        await Departure(mine).save()
        await Departure(mine).hand_over(errored=False, notice=None)
        await mine.close()
    left = await everything(store)

    assert b"right\n" in left.values()
    assert HUSH not in repr(logs)
    assert [] == [key for key, data in left.items() if HUSH.encode() in data]
    assert [] == [path for path in tmp_path.rglob("*") if path.is_file() and HUSH.encode() in path.read_bytes()]
    assert ["/spotrelay/token"] * 2 == vault.asked, "read when the command starts, and patiently"


@pytest.mark.parametrize(
    ("error", "event"), [(SecretRefused, ev.GaveUp()), (SecretUnavailable, ev.Failed())], ids=["refused", "away"]
)
async def test_without_it_the_command_does_not_start(
    error: type[Exception], event: ev.Event, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is not there is the run's own error; a service that is away is not, and another machine tries again."""
    monkeypatch.setattr(takeover, "SECRET_S", 0.0)
    mine = made(tmp_path, secrets=Vault(99, error), command=["touch", "started"], **NAMED)

    assert event == await Takeover(mine).spawn()
    assert "/spotrelay/token" in mine.message
    assert not (tmp_path / "job" / "started").exists()
    await mine.close()


@pytest.mark.parametrize(
    "secrets",
    [{"TOKEN": HUSH}, {"TOKEN": f"ssm:{HUSH}"}, {"TOKEN": "ssm:/"}, {"TO KEN": "ssm:/a"}, {"EPOCHS": "ssm:/a"}],
)
def test_what_is_no_reference_is_refused_and_not_shown(secrets: dict[str, str]) -> None:
    """Somebody has written the secret itself into the file. The error must not carry it on."""
    document = {
        "run": {"name": RUN, "command": ["true"], "directory": "/a", "env": {"EPOCHS": "9"}, "secrets": secrets}
    }

    with pytest.raises(SpecError) as caught:
        spec.parse(document, source="test")
    assert HUSH not in str(caught.value)


def test_a_run_without_any_is_written_as_before() -> None:
    """An agent that does not know the field refuses a spec that has it."""
    made_of = {"run": {"name": RUN, "command": ["true"], "directory": "/a"}}

    assert b"secrets" not in spec.parse(made_of, source="test").encode()
