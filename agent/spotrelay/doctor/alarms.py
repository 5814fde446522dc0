"""The stack's own alarms: does one ring, and would anybody hear it."""

from __future__ import annotations

from collections.abc import Iterator

from spotrelay.doctor.finding import Finding, ok, problem, warning
from spotrelay.doctor.ground import Ground


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
    if not missing and not ringing and not silent:
        yield ok(f"{len(found)}, none rings")


def _names(ground: Ground) -> list[str]:
    """Of the stack's own alarms: by prefix, those of `relay-2` would count as `relay`'s."""
    ground.outputs.get()
    pages = ground.client("cloudformation").get_paginator("list_stack_resources")
    resources = [r for page in pages.paginate(StackName=ground.asked.stack) for r in page["StackResourceSummaries"]]
    return [r["PhysicalResourceId"] for r in resources if r["ResourceType"] == "AWS::CloudWatch::Alarm"]
