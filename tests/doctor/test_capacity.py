"""Quotas, instance types and pools: what keeps EC2 from launching anything although the stack is in order."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from spotrelay.doctor.families import family_of
from spotrelay.doctor.finding import Finding, State
from support.aws_account import Front

Look = Callable[..., list[Finding]]
Only = Callable[..., Finding]
ASK = "aws service-quotas request-service-quota-increase --service-code ec2 --quota-code"

# Instance type; quota codes for spot and on demand.
FAMILIES = {
    "m5.large": ("L-34B43A08", "L-1216C47A"),
    "c7gd.16xlarge": ("L-34B43A08", "L-1216C47A"),
    "i4i.large": ("L-34B43A08", "L-1216C47A"),
    "im4gn.large": ("L-34B43A08", "L-1216C47A"),
    "d3.xlarge": ("L-34B43A08", "L-1216C47A"),
    "t4g.small": ("L-34B43A08", "L-1216C47A"),
    "m7i-flex.large": ("L-34B43A08", "L-1216C47A"),
    "g5.xlarge": ("L-3819A6DF", "L-DB2E81BA"),
    "g6e.12xlarge": ("L-3819A6DF", "L-DB2E81BA"),
    "gr6.4xlarge": ("L-3819A6DF", "L-DB2E81BA"),
    "vt1.3xlarge": ("L-3819A6DF", "L-DB2E81BA"),
    "p5.48xlarge": ("L-7212CCBC", "L-417A185B"),
    "f2.6xlarge": ("L-88CF9481", "L-74FC7D96"),
    "x2idn.16xlarge": ("L-E3A00192", "L-7295265B"),
    "inf2.xlarge": ("L-B5D1601B", "L-1945791B"),
    "trn1.2xlarge": ("L-6B0D517C", "L-2C3B7624"),
    "dl1.24xlarge": ("L-85EED4F7", "L-6E869C2A"),
    "hpc7g.4xlarge": ("", "L-F7808C92"),
    "u-6tb1.56xlarge": ("", "L-43DA4232"),
    "u7i-12tb.224xlarge": ("", "L-43DA4232"),
}


@pytest.mark.parametrize("instance_type", FAMILIES)
def test_the_family_whose_quota_counts(instance_type: str) -> None:
    """dl1 is no D, im4gn an I, gr6 a G, trn1 no T. Otherwise the wrong quota is asked for, and days later again."""
    family = family_of(instance_type)

    assert family is not None
    assert FAMILIES[instance_type] == (family.spot, family.on_demand)


@pytest.mark.parametrize("instance_type", ["mac2.metal", "nonsense", "5", ""])
def test_a_type_of_no_family(instance_type: str) -> None:
    assert family_of(instance_type) is None


QUOTAS = {
    "none": (0, State.PROBLEM, "is 0 vCPUs; g5.2xlarge needs 8, g5.xlarge needs 4"),
    "too small for one type": (7, State.PROBLEM, "is 7 vCPUs; g5.2xlarge needs 8"),
    "no room for a successor": (15, State.WARNING, "is 15 vCPUs: an instance of 8 fits, its successor beside it does"),
    "enough": (16, State.OK, "G and VT Spot Instance Requests: 16 vCPUs, 2 of the largest type"),
}


@pytest.mark.parametrize(("vcpus", "state", "what"), QUOTAS.values(), ids=QUOTAS.keys())
def test_the_spot_quota(
    vcpus: float, state: State, what: str, front: Front, outputs: dict[str, str], only: Only
) -> None:
    """A new account has 0 for GPUs, told only in a fleet's errors. The command asks for two: one dies, one begins."""
    front.quota("L-3819A6DF", "All G and VT Spot Instance Requests", vcpus)
    finding = only("spot quota", types=("g5.xlarge", "g5.2xlarge"))

    assert state == finding.state
    assert what in finding.what
    asks = f"{ASK} L-3819A6DF --desired-value 16 --region us-east-1"
    assert ("" if state is State.OK else asks) == finding.command


def test_each_family_has_its_own_quota(front: Front, outputs: dict[str, str], look: Look) -> None:
    """One that is in order does not hide one that is not."""
    front.quota("L-7212CCBC", "All P Spot Instance Requests", 0)
    found = look("spot quota", types=("m5.large", "p4d.24xlarge"))

    assert {State.OK, State.PROBLEM} == {each.state for each in found}
    assert ["p4d.24xlarge needs 96" in each.what for each in found if each.state is State.PROBLEM] == [True]


def test_the_stacks_own_types_are_looked_at(front: Front, outputs: dict[str, str], only: Only) -> None:
    front.quota("L-34B43A08", "All Standard Spot Instance Requests", 1)

    assert "m5.large needs 2, m6i.large needs 2" in only("spot quota").what


def test_before_the_first_deployment_types_can_be_named(front: Front, only: Only) -> None:
    """Whether an account may launch g5 at all is the question *before* one deploys. Without --types it is skipped."""
    front.quota("L-3819A6DF", "All G and VT Spot Instance Requests", 0)

    assert State.PROBLEM == only("spot quota", types=("g5.xlarge",)).state
    assert (State.SKIPPED, "it needs the stack") == ((skipped := only("spot quota")).state, skipped.what)


def test_an_account_without_a_value_of_its_own(front: Front, outputs: dict[str, str], only: Only) -> None:
    """AWS's default counts then."""
    quota = {"QuotaCode": "L-3819A6DF", "QuotaName": "All G and VT Spot Instance Requests", "Value": 0.0}
    front.say("GetAWSDefaultServiceQuota", {"Quota": quota})

    assert State.PROBLEM == only("spot quota", types=("g5.xlarge",)).state


def test_an_increase_that_is_under_way(front: Front, outputs: dict[str, str], only: Only) -> None:
    """Wait, instead of asking a second time."""
    front.quota("L-3819A6DF", "All G and VT Spot Instance Requests", 0)
    closed = {"Id": "r-1", "Status": "CASE_CLOSED", "DesiredValue": 4.0}
    under_way = {"Id": "r-2", "Status": "PENDING", "DesiredValue": 16.0}
    front.say("ListRequestedServiceQuotaChangeHistoryByQuota", {"RequestedQuotas": [closed, under_way]})
    finding = only("spot quota", types=("g5.xlarge",))

    assert (State.PROBLEM, "16 are asked for already (PENDING): wait for them.") == (finding.state, finding.remedy)
    assert "--request-id r-2 " in finding.command


def test_the_quota_is_said_though_its_requests_are_denied(front: Front, outputs: dict[str, str], only: Only) -> None:
    front.quota("L-3819A6DF", "All G and VT Spot Instance Requests", 0)
    front.deny("ListRequestedServiceQuotaChangeHistoryByQuota")

    assert only("spot quota", types=("g5.xlarge",)).command.startswith(ASK)


def test_on_demand_is_looked_at_when_asked(front: Front, outputs: dict[str, str], only: Only) -> None:
    """A run's fallback has a quota of its own."""
    front.quota("L-DB2E81BA", "Running On-Demand G and VT instances", 0)

    assert State.OK == only("on-demand quota", types=("g5.xlarge",)).state
    finding = only("on-demand quota", types=("g5.xlarge",), on_demand=True)
    assert State.PROBLEM == finding.state
    assert f"{ASK} L-DB2E81BA --desired-value 8 --region us-east-1" == finding.command


def test_a_type_that_is_never_spot(front: Front, outputs: dict[str, str], only: Only) -> None:
    finding = only("spot quota", types=("hpc6a.48xlarge",))

    assert (State.PROBLEM, "hpc6a.48xlarge cannot be had as spot") == (finding.state, finding.what)


def test_a_type_that_does_not_exist(front: Front, outputs: dict[str, str], look: Look) -> None:
    """Named, and the others are looked at all the same: EC2 would refuse the whole list."""
    found = look("instance types", types=("m5.large", "m5.lagre", "c5.large"))

    assert ["there is no m5.lagre in us-east-1"] == [each.what for each in found if each.state is State.PROBLEM]
    assert ["2 types in 3 zones: 6 pools"] == [each.what for each in found if each.state is State.OK]


def only_in(zone: str) -> Callable[[str], str]:
    def change(body: str) -> str:
        rows = body.split("<item>")
        kept = [row for row in rows[1:] if "m6i" not in row or f"<location>{zone}<" in row]
        tail = body[body.rindex("</item>") + len("</item>") :]
        return rows[0] + "".join("<item>" + row.split("</item>")[0] + "</item>" for row in kept) + tail

    return change


def test_a_type_that_our_zones_do_not_offer(front: Front, outputs: dict[str, str], look: Look) -> None:
    """With the zone that does."""
    front.rewrite("DescribeInstanceTypeOfferings", only_in("us-east-1f"))
    found = look("instance types")

    [told] = [each for each in found if "m6i" in each.what]
    assert State.WARNING == told.state
    assert "m6i.large is not offered in us-east-1a, us-east-1b, us-east-1c, but in us-east-1f" == told.what
    assert told.command.startswith("spotrelay deploy --stack-name relay --zones ")


def test_few_pools(front: Front, outputs: dict[str, str], only: Only) -> None:
    """It works, and waits long: where one looks is what decides how long a run waits."""
    finding = only("instance types", types=("m5.large",))

    assert State.WARNING == finding.state
    assert "only 3 pools" in finding.what
    assert finding.command.startswith("spotrelay deploy --stack-name relay --types ")


def test_zones_without_a_default_subnet(front: Front, outputs: dict[str, str], only: Only) -> None:
    """A launch names zones, and EC2 takes the zone's default subnet."""
    front.replace("DescribeSubnets", "us-east-1b", "us-east-1e")
    finding = only("network")

    assert (State.WARNING, "us-east-1b cannot be used: no default subnet there") == (finding.state, finding.what)
    assert "aws ec2 create-default-subnet --availability-zone us-east-1b --region us-east-1" == finding.command


def test_no_default_subnet_at_all(front: Front, outputs: dict[str, str], only: Only) -> None:
    front.replace("DescribeSubnets", "us-east-1", "us-west-2")
    finding = only("network")

    assert State.PROBLEM == finding.state
    assert 3 == len(finding.command.splitlines())


def test_no_default_vpc(front: Front, outputs: dict[str, str], only: Only, ask: Callable[[str], object]) -> None:
    """Old accounts, and those that a company sets up, have none."""
    front.rewrite("DescribeVpcs", lambda body: body[: body.index("<vpcSet>")] + "<vpcSet/></DescribeVpcsResponse>")
    finding = only("network")

    assert State.PROBLEM == finding.state
    assert "aws ec2 create-default-vpc --region us-east-1" == finding.command


def test_zones_are_the_launchers(front: Front, outputs: dict[str, str], only: Only) -> None:
    """What it was told when it was deployed; a zone that it never uses is nobody's business."""

    def elsewhere(body: str) -> str:
        document = json.loads(body)
        document["Environment"]["Variables"]["SPOTRELAY_ZONES"] = "us-east-1d"
        return json.dumps(document)

    front.rewrite("GET /2015-03-31/functions/", elsewhere)

    assert "a default subnet in each of us-east-1d" == only("network").what
