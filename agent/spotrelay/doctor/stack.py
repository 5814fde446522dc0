"""The stack: is it there, is it ours, is it whole, and is it this version's."""

from __future__ import annotations

from collections.abc import Iterator

from botocore.exceptions import ClientError

import spotrelay
from spotrelay.doctor.finding import Finding, ok, problem, warning
from spotrelay.doctor.ground import OUTPUTS, Ground, NoStack
from spotrelay.doctor.versions import is_older
from spotrelay.stack.progress import is_cause
from spotrelay.stack.standing import Standing

# What each state that is not well means, and what to do. `deploy` heals by itself what it can: it removes what is
# half-made, and takes up again a way back that got stuck.
_AGAIN = "Remove the cause (the line above) and deploy again: what is half-made is removed first."
_FAILED = {
    "CREATE_FAILED": ("was never made: its creation failed", _AGAIN),
    "ROLLBACK_COMPLETE": ("was never made: its creation failed", _AGAIN),
    "ROLLBACK_FAILED": ("was never made, and could not be cleaned up", _AGAIN),
    "DELETE_FAILED": ("could not be deleted whole", "Remove the cause (the line above) and destroy it again."),
    "DELETE_COMPLETE": ("was deleted", "Deploy it."),
    "REVIEW_IN_PROGRESS": ("is only a plan that nobody carried out", "Deploy it."),
    "UPDATE_FAILED": ("is between two versions: an update failed", "Remove the cause and deploy again."),
    "UPDATE_ROLLBACK_FAILED": (
        "is between two versions: an update failed, and so did the way back",
        "Remove the cause and deploy again: that finishes the way back first.",
    ),
}
_WORKING = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE"})


def stack(ground: Ground) -> Iterator[Finding]:
    try:
        found = ground.stack.first_hand()
    except NoStack:
        yield problem(
            f"there is no stack {ground.asked.stack} in {ground.region.get()}",
            remedy="Deploy it; or name the one you have with --stack-name and its region with --region.",
            command=ground.deploy_first(),
        )
        return
    yield _judged(found, ground)


def _judged(found: Standing, ground: Ground) -> Finding:
    name, status = ground.asked.stack, found.status
    if found.foreign:
        return problem(
            f"{name} is a stack, but not one that spotrelay made",
            remedy="Leave it alone, and deploy under a name that is free.",
            command=f"{ground.spotrelay('deploy', stack=f'{name}-relay')} --image ami-…",
        )
    if status in _FAILED:
        what, remedy = _FAILED[status]
        told, command = f"{name} {what} ({status})", _command(found, ground)
        return problem(told, remedy=remedy, command=command, detail=_cause(found, ground))
    if found.under_way:
        return warning(
            f"{name} is being changed at this moment ({status})",
            remedy="Wait until it is done, then look again. What it is doing:",
            command=ground.aws(f"cloudformation describe-stack-events --max-items 5 --stack-name {name}"),
        )
    return _working(found, ground) if status in _WORKING else _strange(found, ground)


def _working(found: Standing, ground: Ground) -> Finding:
    name, deploy = ground.asked.stack, ground.spotrelay("deploy")
    if missing := OUTPUTS - found.outputs.keys():
        return problem(
            f"{name} is not finished: it has no {', '.join(sorted(missing))}",
            remedy="Deploy it again: it goes on from what there is.",
            command=deploy,
        )
    if found.status == "UPDATE_ROLLBACK_COMPLETE":
        return warning(
            f"{name} works, as it was before its last update, which failed ({found.status})",
            remedy="Remove the cause (the line above) and deploy again.",
            command=deploy,
            detail=_cause(found, ground),
        )
    return ok(f"{name} is there ({found.status})")


def _strange(found: Standing, ground: Ground) -> Finding:
    return warning(
        f"{ground.asked.stack} is in a state that spotrelay does not bring about ({found.status})",
        remedy="See who changed it, and deploy again.",
        command=ground.aws(f"cloudformation describe-stack-events --max-items 20 --stack-name {ground.asked.stack}"),
        detail=found.reason,
    )


def _command(found: Standing, ground: Ground) -> str:
    if found.status == "DELETE_FAILED":
        return ground.spotrelay("destroy")
    # Where nothing of it lives on, the next deployment is a first one, and names its image.
    return ground.deploy_first() if found.half_made else ground.spotrelay("deploy")


def _cause(found: Standing, ground: Ground) -> str:
    """What failed first: all later failures of one update are only "cancelled"."""
    try:
        events = ground.client("cloudformation").describe_stack_events(StackName=ground.asked.stack)["StackEvents"]
    except ClientError:
        return found.reason
    # The newest first.
    told = [e for e in events if is_cause(e.get("ResourceStatus", ""), e.get("ResourceStatusReason", ""))]
    if not told:
        return found.reason
    # Of the last operation: a stack that was updated often has failures of long ago on the same page.
    token = told[0].get("ClientRequestToken")
    first = [e for e in told if e.get("ClientRequestToken") == token][-1]
    return f"{first['LogicalResourceId']}: {first.get('ResourceStatusReason', first['ResourceStatus'])}"


def version(ground: Ground) -> Iterator[Finding]:
    theirs, ours = ground.outputs.get()["StackVersion"], spotrelay.__version__
    if is_older(theirs, ours):
        yield warning(
            f"the stack is spotrelay {theirs}'s, this is {ours}",
            remedy="Deploy again: running instances are not touched.",
            command=ground.spotrelay("deploy"),
        )
    elif is_older(ours, theirs):
        yield warning(
            f"the stack is spotrelay {theirs}'s, newer than this {ours}",
            remedy="Update this one; deploying from here would take the stack back.",
            command=f"pip install --upgrade 'spotrelay>={theirs}'",
        )
    else:
        yield ok(f"{theirs}, like this one")
