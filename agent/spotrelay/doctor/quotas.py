"""The account's vCPU quotas, held against the instance types: a new account has none for GPUs, which shows at launch.

A quota counts the vCPUs of all running instances of a family and market. Three sizes matter: nothing fits; some types
do not fit; one fits, but not its successor beside it. The last one counts too: a dying instance counts against the
quota for about a minute after its successor is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from botocore.exceptions import ClientError

from spotrelay.doctor.families import Family, family_of
from spotrelay.doctor.finding import Finding, ok, problem, warning
from spotrelay.doctor.ground import Ground
from spotrelay.stack.meanings import code_of

_OPEN_REQUESTS = frozenset({"PENDING", "CASE_OPENED"})


@dataclass(frozen=True, slots=True)
class Quota:
    code: str
    name: str
    vcpus: float


def spot(ground: Ground) -> Iterator[Finding]:
    yield from _quotas(ground, "spot")


def on_demand(ground: Ground) -> Iterator[Finding]:
    if not ground.asked.on_demand:
        yield ok("not looked at (--on-demand does)")
        return
    yield from _quotas(ground, "on demand")


def _quotas(ground: Ground, market: str) -> Iterator[Finding]:
    by_family: dict[Family, dict[str, int]] = {}
    for name, kind in sorted(ground.kinds.get().items()):
        family = family_of(name)
        if family is None or not _code(family, market):
            yield problem(
                f"{name} cannot be had {'as spot' if market == 'spot' else market}",
                remedy="Take it off the list of instance types.",
                command=ground.spotrelay("deploy") + " --types …",
            )
        else:
            by_family.setdefault(family, {})[name] = kind["VCpuInfo"]["DefaultVCpus"]
    for family, vcpus in by_family.items():
        yield _judged(_ask(_code(family, market), ground), vcpus, ground)


def _code(family: Family, market: str) -> str:
    return family.spot if market == "spot" else family.on_demand


def _ask(code: str, ground: Ground) -> Quota:
    client = ground.client("service-quotas")
    try:
        quota = client.get_service_quota(ServiceCode="ec2", QuotaCode=code)["Quota"]
    except ClientError as error:
        if code_of(error) != "NoSuchResourceException":
            raise
        # An account that never came near a quota has no value of its own yet.
        quota = client.get_aws_default_service_quota(ServiceCode="ec2", QuotaCode=code)["Quota"]
    return Quota(code, quota["QuotaName"], quota["Value"])


def _judged(quota: Quota, vcpus: dict[str, int], ground: Ground) -> Finding:
    told = f'the quota "{quota.name}" is {quota.vcpus:g} vCPUs'
    too_large = {name: count for name, count in vcpus.items() if count > quota.vcpus}
    largest, wanted = max(vcpus.values()), 2 * max(vcpus.values())
    if too_large:
        needs = ", ".join(f"{name} needs {count}" for name, count in too_large.items())
        return problem(f"{told}; {needs}", **_increase(quota, wanted, ground))
    if quota.vcpus < wanted:
        return warning(
            f"{told}: an instance of {largest} fits, its successor beside it does not",
            **_increase(quota, wanted, ground),
        )
    return ok(f"{quota.name}: {quota.vcpus:g} vCPUs, {math.floor(quota.vcpus / largest)} of the largest type")


def _increase(quota: Quota, wanted: int, ground: Ground) -> dict[str, str]:
    if asked := _asked_already(quota, ground):
        return {
            "remedy": f"{asked['DesiredValue']:g} are asked for already ({asked['Status']}): wait for them.",
            "command": ground.aws(f"service-quotas get-requested-service-quota-change --request-id {asked['Id']}"),
        }
    return {
        "remedy": f"Ask for {wanted}, room for one instance and its successor (minutes to days), or use other types.",
        "command": ground.aws(
            "service-quotas request-service-quota-increase --service-code ec2"
            f" --quota-code {quota.code} --desired-value {wanted}"
        ),
    }


def _asked_already(quota: Quota, ground: Ground) -> dict[str, object] | None:
    try:
        answer = ground.client("service-quotas").list_requested_service_quota_change_history_by_quota(
            ServiceCode="ec2", QuotaCode=quota.code
        )
    except ClientError:  # asking twice does no harm; that the quota is too small is what matters
        return None
    open_ones = [each for each in answer.get("RequestedQuotas", []) if each["Status"] in _OPEN_REQUESTS]
    return dict(open_ones[0]) if open_ones else None
