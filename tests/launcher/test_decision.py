"""Whose word counts when a predecessor's life is judged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from spotrelay.core import keys, records
from spotrelay.launcher.decision import FORGOTTEN_S, HEARD_S, Lives, Predecessor, predecessor
from spotrelay.launcher.ec2 import Life
from spotrelay.launcher.standing import Before
from support.launcher_site import Site

NOW = 1_800_000_000.0
OWNER = "i-0123456789abcdef0"
LONG = 2 * FORGOTTEN_S


def before(claimed_ago: float, heard_ago: float | None, gone_in: float | None = None) -> Before:
    gone_at = None if gone_in is None else NOW + gone_in
    status = None if heard_ago is None else records.Status(OWNER, "running", NOW - heard_ago, gone_at=gone_at)
    return Before(records.Claim(OWNER, "token", NOW - claimed_ago), None, status)


@pytest.mark.parametrize(
    ("left", "known", "expected"),
    [
        (before(60, 5), {OWNER: Life.ALIVE}, Predecessor.HEALTHY),
        (before(60, 5), {OWNER: Life.DEAD}, Predecessor.GONE),
        (before(60, 5), {OWNER: Life.ENDING}, Predecessor.ENDING),
        (before(60, 5, gone_in=100), {OWNER: Life.ALIVE}, Predecessor.ENDING),
        # EC2 does not show it:
        (before(60, 5), {}, Predecessor.HEALTHY),
        (before(60, None), {}, Predecessor.HEALTHY),
        (before(LONG, LONG), {}, Predecessor.GONE),
        (before(LONG, None), {}, Predecessor.GONE),
        (before(LONG, HEARD_S + 1), {}, Predecessor.GONE),
        (before(LONG, 5), {}, Predecessor.HEALTHY),
        (before(LONG, 5, gone_in=100), {}, Predecessor.ENDING),
    ],
)
def test_what_a_predecessor_is(left: Before, known: dict[str, Life], expected: Predecessor) -> None:
    """EC2's word that it is dead counts at once; that EC2 does not show it counts only where nobody has heard of it."""
    assert expected is predecessor(left, Lives(known), NOW)


def test_owner_that_ec2_fails_to_show_is_not_fenced(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stale request meets a list of EC2's in which a machine at work is missing. Taken for dead, it would lose its
    run to a successor that need not even wait for it."""
    run = site.begin()
    owner = site.owned(run)
    site.advance(LONG)
    site.objects.put(keys.status(run, 1), records.encode(records.Status(owner, "running", site.clock.now())))

    def nothing(_: Iterable[str]) -> dict[str, Any]:
        return {}

    monkeypatch.setattr(site.ec2, "lives", nothing)
    site.ask(run, 2)

    assert [] == site.launched(run, 2)
    assert "resume.predecessor_healthy" in site.log
