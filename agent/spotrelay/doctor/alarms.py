"""The stack's own alarms: does one ring, and would anybody hear it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from spotrelay.doctor.finding import Finding, ok, problem, warning
from spotrelay.doctor.ground import Ground
from spotrelay.doctor.topics import Purpose, hearing


def alarms(ground: Ground) -> Iterator[Finding]:
    names = _names(ground)
    if not names:
        yield warning(
            "the stack has no alarms: nobody is told of dead letters, or of runs that wait for a person",
            remedy="Deploy again.",
            command=ground.spotrelay("deploy"),
        )
        return
    found = ground.client("cloudwatch").describe_alarms(AlarmNames=names)["MetricAlarms"]
    missing = sorted(set(names) - {alarm["AlarmName"] for alarm in found})
    if missing:
        yield warning(
            f"somebody deleted {', '.join(missing)}: what it would tell of, nobody hears",
            remedy="Make the stack anew, with the bucket and what is in it: deploying again does not bring it back.",
            command=ground.anew(),
        )
    ringing = [alarm for alarm in found if alarm["StateValue"] == "ALARM"]
    for alarm in ringing:
        told = alarm.get("AlarmDescription") or "see what it counts"
        yield problem(
            f"{alarm['AlarmName']} rings",
            remedy=f"{told.rstrip('.')}. What made it ring:",
            command=ground.aws(f"cloudwatch describe-alarm-history --max-items 5 --alarm-name {alarm['AlarmName']}"),
            detail=alarm.get("StateReason", ""),
        )
    silent = [alarm["AlarmName"] for alarm in found if not alarm.get("ActionsEnabled", True)]
    if silent:
        yield warning(
            f"nobody would hear {', '.join(silent)}: actions are disabled",
            remedy="Enable them.",
            command=ground.aws(f"cloudwatch enable-alarm-actions --alarm-names {' '.join(silent)}"),
        )
    unheard = list(_unheard(found, ground))
    yield from unheard
    if not missing and not ringing and not silent and not unheard:
        yield ok(f"{len(found)}, none rings")


def _unheard(found: Iterable[dict[str, Any]], ground: Ground) -> Iterator[Finding]:
    """By the topics that they ring; without any they only show in the console, as whoever deployed wanted it."""
    email = ground.stack.get().parameters.get("AlarmEmail", "")
    purpose = Purpose("nobody hears alarms", email, "--email", serious=False)
    for topic in sorted({arn for alarm in found for arn in alarm.get("AlarmActions", []) if ":sns:" in arn}):
        yield from hearing(topic, purpose, ground)


def _names(ground: Ground) -> list[str]:
    """Of the stack's own alarms: by prefix, those of `relay-2` would count as `relay`'s."""
    ground.outputs.get()
    pages = ground.client("cloudformation").get_paginator("list_stack_resources")
    resources = [r for page in pages.paginate(StackName=ground.asked.stack) for r in page["StackResourceSummaries"]]
    return [r["PhysicalResourceId"] for r in resources if r["ResourceType"] == "AWS::CloudWatch::Alarm"]
