"""What a fleet that launched nothing means, by the refusals of all its pools."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from spotrelay.launcher.refusals import HOPE, Action, refusal, verdict
from support.cloud_plane import cloud, codes, fleet
from support.ec2_codes import ROWS


@pytest.mark.parametrize(
    ("said", "code", "action"),
    [
        (["InsufficientInstanceCapacity", "UnfulfillableCapacity"], "InsufficientInstanceCapacity", "elsewhere"),
        (["UnfulfillableCapacity"] * 6, "UnfulfillableCapacity", "elsewhere"),
        (["UnauthorizedOperation", "InsufficientInstanceCapacity"], "InsufficientInstanceCapacity", "elsewhere"),
        (["UnauthorizedOperation"] * 3 + ["UnfulfillableCapacity"] * 3, "UnauthorizedOperation", "person"),
        (["UnauthorizedOperation", "NeverHeardOf"], "NeverHeardOf", "later"),
        (["MaxSpotInstanceCountExceeded"] * 3 + ["UnfulfillableCapacity"], "MaxSpotInstanceCountExceeded", "on demand"),
        (["VcpuLimitExceeded", "MaxSpotInstanceCountExceeded"], "MaxSpotInstanceCountExceeded", "on demand"),
        (["MaxSpotInstanceCountExceeded", "SpotMaxPriceTooLow"], "SpotMaxPriceTooLow", "elsewhere"),
        (["InvalidFleetConfiguration", "InsufficientInstanceCapacity"], "InsufficientInstanceCapacity", "elsewhere"),
        (["InvalidFleetConfiguration", "UnfulfillableCapacity"], "InvalidFleetConfiguration", "elsewhere"),
        (["InsufficientInstanceCapacity", "RequestLimitExceeded"], "RequestLimitExceeded", "pace"),
        (["InvalidParameterValue", "InternalError"], "InternalError", "later"),
        ([], "", "elsewhere"),
    ],
)
def test_the_most_hopeful_of_several_counts(said: list[str], code: str, action: str) -> None:
    """In whatever order. Otherwise one forbidden pool would stop a hunt that others can end, or a role without
    permission would be taken for a lack of capacity that nobody has to mend."""
    assert {(code, Action(action))} == {
        (found.code, found.action) for order in permutations(said[:4]) for found in [verdict([*order, *said[4:]])]
    }


SIX = [(kind, letter) for kind in ("c5.large", "m5.large", "r5.large") for letter in "ab"]


async def test_what_a_real_fleet_answers() -> None:
    """Six pools of which three were tried. Otherwise the words of those that were not would decide."""
    async with cloud() as here:
        here.plane.ec2.pools.drain()
        template = await here.template()
        full = codes(await here.ec2.create_fleet(**fleet(template, *SIX)))
        absent = codes(await here.ec2.create_fleet(**fleet(template, ("m5.large", "e"), ("c5.large", "e"))))
        mixed = codes(await here.ec2.create_fleet(**fleet(template, ("m5.large", "e"), ("c5.large", "a"))))

    assert {"InsufficientInstanceCapacity", "UnfulfillableCapacity"} == set(full)
    assert refusal("InsufficientInstanceCapacity") == verdict(full)
    assert (Action.ELSEWHERE, True) == (verdict(absent).action, verdict(absent).drops_pool)
    assert refusal("InsufficientInstanceCapacity") == verdict(mixed)


@pytest.mark.parametrize("code", [code for code, row in ROWS.items() if row.action is Action.UNANSWERED])
def test_inside_of_an_answer_everything_is_answered(code: str) -> None:
    """The same token would bring the same 200 for ever. The hunt would stand still with capacity all around it."""
    assert (Action.UNANSWERED, Action.LATER) == (refusal(code).action, verdict([code]).action)


def test_the_order_of_hope_is_of_all_actions() -> None:
    """But for the one that an answer cannot have."""
    assert set(Action) - {Action.UNANSWERED} == set(HOPE)
    assert len(set(HOPE)) == len(HOPE)


def test_a_verdict_takes_any_iterable() -> None:
    errors: list[dict[str, Any]] = [{"ErrorCode": "Unsupported"}, {}]

    assert "Unsupported" == verdict(error.get("ErrorCode", "") for error in errors).code
