"""Our instances as EC2 counts them, over the wire: none of anybody else, and no end that one refusal could prevent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from spotrelay.launcher.ec2 import Unanswered
from spotrelay.launcher.inventory import Instance, Inventory, Refused
from spotrelay.launcher.pools import FLEET_TAG, STACK_TAG
from spotrelay.local.instances import Reason
from support.launcher_site import STACK, Site

UNKNOWN = "i-00000000000000000"


@pytest.fixture
def inventory(site: Site) -> Iterator[Inventory]:
    opened = Inventory(STACK)
    yield opened
    opened._client.close()


def launched(site: Site, count: int = 1, *, spot: bool = False, **params: Any) -> list[str]:
    tags = {STACK_TAG: STACK, **params.pop("tags", {})}
    asked = {
        "ImageId": "ami-0123456789abcdef0",
        "InstanceType": "m5.large",
        "MinCount": count,
        "MaxCount": count,
        "TagSpecifications": [
            {"ResourceType": "instance", "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
        ],
        **({"InstanceMarketOptions": {"MarketType": "spot"}} if spot else {}),
        **params,
    }
    answer = site.do(lambda: site.plane.ec2.call("RunInstances", asked))
    return [each["InstanceId"] for each in answer["Instances"]]


def states(site: Site, instances: list[str]) -> set[str]:
    return {site.do(lambda i=i: site.plane.ec2.instances.known(i)).state.label for i in instances}


def test_an_instance_as_it_is(site: Site, inventory: Inventory) -> None:
    """Its launch time in seconds above all: read in another unit or zone, it would be orphaned at once, or never."""
    site.do(lambda: setattr(site.plane.ec2.instances, "boot_s", 60.0))
    [instance] = launched(site, spot=True, tags={FLEET_TAG: "f-1"})

    expected = Instance(instance, "pending", site.clock.now(), {STACK_TAG: STACK, FLEET_TAG: "f-1"}, spot=True)
    assert [expected] == inventory.instances()


def test_only_what_carries_our_tag(site: Site, inventory: Inventory) -> None:
    """Whatever else runs in the account is not even looked at."""
    [ours] = launched(site)
    launched(site, tags={STACK_TAG: "other"})
    launched(site, tags={STACK_TAG: f"{STACK}-2"})
    launched(site, TagSpecifications=[])

    assert [ours] == [each.id for each in inventory.instances()]


def test_stopped_ones_count_and_those_that_go_do_not(site: Site, inventory: Inventory) -> None:
    """A stopped one pays for its disk. One that ends needs nobody to end it."""
    [stopped] = launched(site)
    [terminated] = launched(site)
    [ending] = launched(site)
    for instance, reason in ((stopped, Reason.ITSELF), (terminated, Reason.USER)):
        site.do(lambda i=instance, r=reason: site.plane.ec2.instance_gone(i, r))
    site.do(lambda: site.plane.ec2.instance_shutting_down(ending, Reason.USER))

    assert [(stopped, "stopped", False)] == [(each.id, each.state, each.up) for each in inventory.instances()]


@pytest.mark.slow
def test_all_pages(site: Site, inventory: Inventory) -> None:
    """What lies on the second page burns like the rest."""
    ids = [each for _ in range(3) for each in launched(site, 400)]

    assert sorted(ids) == sorted(each.id for each in inventory.instances())


def test_ended_together(site: Site, inventory: Inventory) -> None:
    ids = launched(site, 3)

    assert {} == inventory.terminate(ids)
    assert {"terminated"} == states(site, ids)


def test_ending_twice_is_no_error(site: Site, inventory: Inventory) -> None:
    """Two sweeps at once find the same orphans."""
    ids = launched(site, 2)
    inventory.terminate(ids)

    assert {} == inventory.terminate(ids)


def test_one_that_is_gone_does_not_keep_the_others(site: Site, inventory: Inventory) -> None:
    """EC2 refuses a whole batch for one id that it does not know any more, and fifty would burn on."""
    ids = launched(site, 3)

    assert {} == inventory.terminate([ids[0], UNKNOWN, *ids[1:]])
    assert {"terminated"} == states(site, ids)


def test_one_that_is_protected_is_named_and_the_others_end(site: Site, inventory: Inventory) -> None:
    """Somebody switched termination protection on: only they can say whether it may go."""
    ids = launched(site, 3)
    site.do(
        lambda: site.plane.faults.refuse(
            "TerminateInstances", "OperationNotPermitted", times=9, when=lambda asked: ids[1] in asked["InstanceIds"]
        )
    )

    refused = inventory.terminate(ids)

    assert [ids[1]] == list(refused)
    assert "take its termination protection away" in refused[ids[1]]
    assert ({"terminated"}, {"running"}) == (states(site, [ids[0], ids[2]]), states(site, [ids[1]]))


@pytest.mark.parametrize(("code", "status"), [("RequestLimitExceeded", 503), ("InternalError", 500)])
def test_no_answer_is_none(site: Site, inventory: Inventory, code: str, status: int) -> None:
    """Neither "there are no instances", which would call for a successor of each, nor "they were ended"."""
    for action in ("DescribeInstances", "TerminateInstances"):
        site.do(lambda a=action: site.plane.faults.refuse(a, code, status=status, times=9))

    for call in (inventory.instances, lambda: inventory.terminate([UNKNOWN])):
        with pytest.raises(Unanswered):
            call()


def test_answer_that_is_lost_is_none(site: Site, inventory: Inventory) -> None:
    """It was ended, and nobody was told. The next sweep says it again."""
    [instance] = launched(site)
    site.do(lambda: site.plane.faults.lose_answer("TerminateInstances", times=9))

    with pytest.raises(Unanswered):
        inventory.terminate([instance])
    site.do(site.plane.faults.clear)

    assert {} == inventory.terminate([instance])


def test_refused_list_is_no_answer(site: Site, inventory: Inventory) -> None:
    """A role without DescribeInstances must not look like an empty account, and only a person can give it."""
    site.do(lambda: site.plane.faults.refuse("DescribeInstances", "UnauthorizedOperation", status=403, times=9))

    with pytest.raises(Refused, match="role may not do this"):
        inventory.instances()
