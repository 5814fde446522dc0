"""Would anybody hear an SNS topic: is it there, who subscribes to it, and has he confirmed that.

Nothing is sent to find out. An e-mail address that nobody confirms is the most usual fault: AWS asks there, by a mail
that looks like spam, and takes the subscription away after 48 hours (since May 2023).
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from spotrelay.doctor.finding import Finding, problem, warning
from spotrelay.doctor.ground import Ground
from spotrelay.stack.meanings import code_of

_GONE = frozenset({"NotFound", "NotFoundException", "ResourceNotFoundException"})


@dataclass(frozen=True, slots=True)
class Purpose:
    """`nobody`: what it is when nobody hears it. `email`: the stack made it for that address; empty: somebody else's.
    `option`: of `spotrelay deploy`."""

    nobody: str
    email: str
    option: str
    serious: bool = True


def hearing(arn: str, purpose: Purpose, ground: Ground) -> Generator[Finding, None, int]:
    """Returns how many hear it, where there is nothing to say."""
    say = problem if purpose.serious else warning
    name, region = arn.rpartition(":")[2], arn.split(":")[3] if arn.count(":") == 5 else ""
    subscribe = f"sns subscribe --topic-arn {arn} --protocol email --notification-endpoint"
    try:
        found = _subscriptions(arn, region, ground)
    except ClientError as error:
        if code_of(error) not in _GONE:
            raise
        remedy, command = _anew(purpose, ground)
        yield say(f"the topic {name} is not there: {purpose.nobody}", remedy=remedy, command=command)
        return 0
    # In place of its ARN a subscription has the word. One that was ended stays listed for a while, as Deleted.
    waiting = sorted(each["Endpoint"] for each in found if each["SubscriptionArn"] == "PendingConfirmation")
    heard = len([each for each in found if each["SubscriptionArn"].startswith("arn:")])
    if waiting:
        others = f"{heard} others hear it" if heard else purpose.nobody
        yield (warning if heard else say)(
            f"{', '.join(waiting)} has not confirmed the topic {name}: {others}",
            remedy="Confirm it by the link in AWS's mail; or have that sent again, as it counts for 48 hours.",
            command="\n".join(ground.aws(f"{subscribe} {each}", region=region) for each in waiting),
        )
        return 0
    if not heard:
        yield say(
            f"nobody subscribes to the topic {name}: {purpose.nobody}",
            remedy="Subscribe, and confirm that within 48 hours: then AWS forgets it.",
            command=ground.aws(f"{subscribe} {purpose.email or 'me@example.com'}", region=region),
        )
    return heard


def _subscriptions(arn: str, region: str, ground: Ground) -> list[dict[str, Any]]:
    pages = ground.client("sns", region).get_paginator("list_subscriptions_by_topic").paginate(TopicArn=arn)
    return [each for page in pages for each in page["Subscriptions"]]


def _anew(purpose: Purpose, ground: Ground) -> tuple[str, str]:
    """What to do, and the command."""
    deploy = f"{ground.spotrelay('deploy')} {purpose.option}"
    if not purpose.email:
        return "Somebody deleted it: name another one.", f"{deploy} EMAIL"
    # CloudFormation believes in it: it is made anew only after it was let go.
    remedy = "Somebody deleted it. Let the stack forget it, then make one anew, and confirm the mail that follows."
    return remedy, f"{deploy} '' && {deploy} {purpose.email}"
