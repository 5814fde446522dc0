"""EC2's answers as the launcher reads them, over the wire: every refusal is one of five kinds, or no answer at all."""

from __future__ import annotations

from typing import Any

import pytest

from spotrelay.core.spec import Run, Spec
from spotrelay.launcher.ec2 import Kind, Life, Unanswered, _read
from spotrelay.launcher.pools import fleet_request
from spotrelay.local.instances import Reason
from support.launcher_site import TYPES, ZONES, Site

SPEC = Spec(Run("r", ("true",), "/job"))
REQUEST = fleet_request(SPEC, 1, 0, template="relay", version="1", zones=ZONES, types=TYPES)


def launched(site: Site) -> str:
    instance = site.fleet.create_fleet(REQUEST, "token").instance
    assert instance is not None
    return instance


def test_instance_and_where_it_is(site: Site) -> None:
    launch = site.fleet.create_fleet(REQUEST, "token")

    (instance,) = site.launched("r", 1)
    expected = (Kind.LAUNCHED, instance.id, instance.type, instance.zone)
    assert expected == (launch.kind, launch.instance, launch.instance_type, launch.zone)


def test_same_token_is_the_same_instance(site: Site) -> None:
    assert launched(site) == launched(site)


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("InsufficientInstanceCapacity", 500, Kind.ELSEWHERE),
        ("SpotMaxPriceTooLow", 400, Kind.ELSEWHERE),
        ("MaxSpotInstanceCountExceeded", 400, Kind.LATER),
        ("VcpuLimitExceeded", 400, Kind.LATER),
        ("NeverHeardOf", 400, Kind.LATER),
        ("UnauthorizedOperation", 403, Kind.FATAL),
        ("InvalidParameterValue", 400, Kind.FATAL),
        ("IdempotentParameterMismatch", 400, Kind.BURNT),
        ("IdempotentInstanceTerminated", 400, Kind.BURNT),
    ],
)
def test_refusal_is_an_answer(site: Site, code: str, status: int, kind: Kind) -> None:
    """Nothing was launched, so another step with another token is safe, and which one the kind says."""
    site.do(lambda: site.plane.faults.refuse("CreateFleet", code, status=status, times=9))

    launch = site.fleet.create_fleet(REQUEST, "token")

    assert (kind, None) == (launch.kind, launch.instance)
    assert code in launch.errors[0]


@pytest.mark.parametrize(
    ("code", "status"), [("RequestLimitExceeded", 503), ("Throttling", 400), ("InternalError", 500), ("Anything", 503)]
)
def test_what_is_no_answer_may_have_launched(site: Site, code: str, status: int) -> None:
    """Only the same token may be used again. Another would double what an unheard call has started."""
    site.do(lambda: site.plane.faults.refuse("CreateFleet", code, status=status, times=9))

    with pytest.raises(Unanswered):
        site.fleet.create_fleet(REQUEST, "token")


def test_lost_connection_is_no_answer(site: Site) -> None:
    site.do(lambda: site.plane.faults.lose_answer("CreateFleet", times=9))

    with pytest.raises(Unanswered):
        site.fleet.create_fleet(REQUEST, "token")
    assert 1 == len(site.launched("r", 1))


def errors(*codes: str) -> dict[str, Any]:
    return {"Instances": [], "Errors": [{"ErrorCode": code, "ErrorMessage": "…"} for code in codes]}


@pytest.mark.parametrize(
    ("codes", "kind"),
    [
        ([], Kind.ELSEWHERE),
        (["InsufficientInstanceCapacity", "UnfulfillableCapacity"], Kind.ELSEWHERE),
        (["UnauthorizedOperation", "InsufficientInstanceCapacity"], Kind.ELSEWHERE),
        (["UnauthorizedOperation"] * 3 + ["UnfulfillableCapacity"] * 3, Kind.FATAL),
        (["MaxSpotInstanceCountExceeded"] * 3 + ["UnfulfillableCapacity"] * 3, Kind.LATER),
        (["UnauthorizedOperation", "NeverHeardOf"], Kind.LATER),
        (["UnfulfillableCapacity"] * 6, Kind.ELSEWHERE),
    ],
)
def test_errors_of_several_pools(codes: list[str], kind: Kind) -> None:
    """The most hopeful counts, and a pool that was not even tried says nothing. Otherwise a role without permission is
    taken for a lack of capacity, and nobody mends it."""
    assert kind == _read(errors(*codes)).kind


def test_life_of_an_instance(site: Site) -> None:
    """Ending is not yet dead: an agent there is still saving. Not shown is neither."""
    instance = launched(site)

    seen = [site.fleet.life(instance)]
    site.do(lambda: site.plane.ec2.instance_shutting_down(instance, Reason.USER))
    seen.append(site.fleet.life(instance))
    site.kill(instance)
    seen.append(site.fleet.life(instance))
    site.advance(3601)
    seen.append(site.fleet.life(instance))

    assert [Life.ALIVE, Life.ENDING, Life.DEAD, None] == seen


@pytest.mark.parametrize("instance", ["i-0123456789abcdef0", "i-nonsense"])
def test_unknown_instance_has_no_life_and_no_tags(site: Site, instance: str) -> None:
    assert site.fleet.life(instance) is None
    assert {} == site.fleet.tags(instance)


def test_tags_survive_the_instance(site: Site) -> None:
    """They are how a death before the assignment is told apart from somebody else's."""
    instance = launched(site)
    site.kill(instance)

    assert {"spotrelay:run": "r", "spotrelay:attempt": "1"}.items() <= site.fleet.tags(instance).items()
