"""An account per test, with the stack deployed where the test asks for it; this process's environment points there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from spotrelay.doctor.examination import CHECKS, findings
from spotrelay.doctor.finding import Finding
from spotrelay.doctor.ground import Asked, Ground
from support.aws_account import Front, client, own_account
from support.examined_stack import STACK, deploy

Look = Callable[..., list[Finding]]


@pytest.fixture
def front(monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    with own_account(monkeypatch) as front:
        yield front


@pytest.fixture
def outputs(front: Front) -> dict[str, str]:
    """Of the stack, which is there and in order."""
    return deploy(front)


@pytest.fixture
def ask(front: Front) -> Iterator[Callable[[str], Any]]:
    """A client of the person who arranges the account."""
    made = []

    def make(service: str) -> Any:
        made.append(client(service, front))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def look(front: Front) -> Look:
    """One check's findings. `pause` is called instead of waiting."""

    def look(check: str, *, pause: Callable[[float], None] = lambda _: None, **asked: Any) -> list[Finding]:
        ground = Ground(Asked(**{"stack": STACK, **asked}), pause)
        try:
            return findings(check, CHECKS[check], ground)
        finally:
            ground.close()

    return look


@pytest.fixture
def only(look: Look) -> Callable[..., Finding]:
    """The one finding of a check."""

    def only(check: str, **asked: Any) -> Finding:
        [finding] = look(check, **asked)
        return finding

    return only
