"""All checks, at once, each in a thread of its own; what comes of it is a list of findings, the most serious first."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from spotrelay.doctor import (
    alarms,
    bucket,
    clock,
    drift,
    function,
    identity,
    image,
    network,
    notifications,
    offers,
    queues,
    quotas,
    refusals,
    roles,
    stack,
)
from spotrelay.doctor.finding import Finding, State
from spotrelay.doctor.ground import Ground

Check = Callable[[Ground], Iterator[Finding]]

# In the order in which a person would look; among findings that are equally serious it is theirs.
CHECKS: dict[str, Check] = {
    "credentials": identity.credentials,
    "region": identity.region,
    "clock": clock.clock,
    "stack": stack.stack,
    "stack's version": stack.version,
    "drift": drift.drift,
    "launcher": function.function,
    "event source": function.event_source,
    "requests": queues.requests,
    "dead letters": queues.dead_letters,
    "alarms": alarms.alarms,
    "notifications": notifications.notifications,
    "bucket": bucket.reachable,
    "public access": bucket.public_access,
    "bucket policy": bucket.encrypted_transport,
    "spot quota": quotas.spot,
    "on-demand quota": quotas.on_demand,
    "instance types": offers.offers,
    "launch template": image.template,
    "image": image.image,
    "architecture": image.architecture,
    "agent": image.agent_version,
    "root disk": image.root_volume,
    "service role": roles.service_linked,
    "instance role": roles.instance,
    "network": network.network,
}
_SERIOUS = list(State)


def examine(ground: Ground) -> list[Finding]:
    """Never raises for what AWS does or does not say."""
    with ThreadPoolExecutor(len(CHECKS), thread_name_prefix="doctor") as threads:
        looking = [threads.submit(findings, name, check, ground) for name, check in CHECKS.items()]
        found = [finding for each in looking for finding in each.result()]
    return sorted(found, key=lambda finding: _SERIOUS.index(finding.state))


def findings(name: str, check: Check, ground: Ground) -> list[Finding]:
    """Of one check. What it found before it met an error stands."""
    found = []
    try:
        for each in check(ground):
            found.append(each)
    except Exception as error:  # rule 2: whatever it is, it is a finding
        found.append(refusals.finding(error, ground))
    return [dataclasses.replace(each, check=name) for each in found]
