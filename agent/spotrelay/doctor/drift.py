"""What was changed by hand in what the stack made: as CloudFormation saw it last, or, when asked, as it is now."""

from __future__ import annotations

from collections.abc import Iterator

from spotrelay.doctor.finding import Finding, ok, unknown, warning
from spotrelay.doctor.ground import Ground

_LOOKS = 30  # × 2 s: CloudFormation compares a stack of this size in about half a minute
_BETWEEN_S = 2.0


def drift(ground: Ground) -> Iterator[Finding]:
    ground.outputs.get()
    found = ground.stack.get()
    status = _detect(ground) if ground.asked.drift else found.drift
    seen = "" if ground.asked.drift or found.drift_seen is None else f" (seen {found.drift_seen:%Y-%m-%d})"
    if status == "DRIFTED":
        yield warning(
            f"somebody changed by hand what the stack made{seen}: {_drifted(ground)}",
            remedy="Undo it by hand: deploying changes only what the template changes. This shows the difference.",
            command=ground.aws(f"cloudformation describe-stack-resource-drifts --stack-name {ground.asked.stack}"),
        )
    elif status == "IN_SYNC":
        yield ok(f"everything is as the template says{seen}")
    elif ground.asked.drift:
        yield unknown(
            "CloudFormation could not compare all of it",
            remedy="Look again later; or see what it has found.",
            command=ground.aws(f"cloudformation describe-stack-resource-drifts --stack-name {ground.asked.stack}"),
            detail=status,
        )
    else:
        yield ok("not looked for (--drift does)")


def _detect(ground: Ground) -> str:
    """The drift as it is now; CloudFormation's reason when it cannot say."""
    client = ground.client("cloudformation")
    started = client.detect_stack_drift(StackName=ground.asked.stack)["StackDriftDetectionId"]
    for _ in range(_LOOKS):
        seen = client.describe_stack_drift_detection_status(StackDriftDetectionId=started)
        if seen["DetectionStatus"] == "DETECTION_COMPLETE":
            return str(seen["StackDriftStatus"])
        if seen["DetectionStatus"] == "DETECTION_FAILED":
            return str(seen.get("DetectionStatusReason", "DETECTION_FAILED"))
        ground.pause(_BETWEEN_S)
    return f"it had not ended after {_LOOKS * _BETWEEN_S:.0f} s"


def _drifted(ground: Ground) -> str:
    drifts = ground.client("cloudformation").describe_stack_resource_drifts(
        StackName=ground.asked.stack, StackResourceDriftStatusFilters=["MODIFIED", "DELETED"]
    )["StackResourceDrifts"]
    told = [f"{each['LogicalResourceId']} {each['StackResourceDriftStatus'].lower()}" for each in drifts]
    return ", ".join(told) or "which, it does not say"
