"""Who is told of runs, and would he hear it: the webhook's address, or the topic and who subscribes to it.

Nothing is sent to find out. An e-mail address that nobody confirms is the most usual fault: AWS asks there, by a mail
that looks like spam, and takes the subscription away after 48 hours.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from spotrelay.doctor.finding import Finding, ok, problem, warning
from spotrelay.doctor.ground import Ground
from spotrelay.stack.meanings import code_of

_GONE = frozenset({"NotFound", "NotFoundException", "ResourceNotFoundException"})
_WHERE = "EMAIL|URL|ARN"


def notifications(ground: Ground) -> Iterator[Finding]:
    """As the function has it: that is where it is told from."""
    environment = ground.environment()
    email = ground.stack.get().parameters.get("NotifyEmail", "")
    if topic := environment.get("SPOTRELAY_NOTIFY_TOPIC"):
        yield from _topic(topic, email, ground)
    elif url := environment.get("SPOTRELAY_NOTIFY_WEBHOOK"):
        yield from _webhook(url, ground)
    else:
        yield ok(f"nobody is told of runs (deploy --notify {_WHERE} would have somebody told)")


def _webhook(url: str, ground: Ground) -> Iterator[Finding]:
    """Its address is a secret, and stands in no finding; its host may."""
    again = {"remedy": "Give it anew.", "command": f"{ground.spotrelay('deploy')} --notify https://…"}
    scheme, host = _parts(url)
    if not host or scheme not in ("https", "http"):
        yield problem("nobody is told of runs: the webhook's address is none; somebody changed it by hand", **again)
    elif scheme == "http":
        yield warning(
            f"the webhook at {host} is not https: who listens on the way learns its address, and may write there",
            **again,
        )
    else:
        yield ok(f"told by a webhook at {host}")


def _parts(url: str) -> tuple[str, str]:
    """Scheme and host; empty for what is no address."""
    try:
        parts = urllib.parse.urlsplit(url)
        return (parts.scheme, parts.hostname or "") if parts.port != 0 else ("", "")
    except ValueError:
        return "", ""


def _topic(arn: str, email: str, ground: Ground) -> Iterator[Finding]:
    """`email`: the topic is the stack's own, made for it."""
    name, region = arn.rpartition(":")[2], arn.split(":")[3] if arn.count(":") == 5 else ""
    try:
        found = _subscriptions(arn, region, ground)
    except ClientError as error:
        if code_of(error) not in _GONE:
            raise
        yield _gone(name, email, ground)
        return
    # In place of its ARN a subscription has the word. One that was ended stays listed for a while, as Deleted.
    waiting = sorted(each["Endpoint"] for each in found if each["SubscriptionArn"] == "PendingConfirmation")
    heard = [each for each in found if each["SubscriptionArn"].startswith("arn:")]
    subscribe = f"sns subscribe --topic-arn {arn} --protocol email --notification-endpoint"
    if waiting:
        who = ", ".join(waiting)
        say, others = (warning, f"; {len(heard)} others are told") if heard else (problem, ": nobody is told of runs")
        yield say(
            f"{who} has not confirmed the topic {name}{others}",
            remedy="Confirm it by the link in AWS's mail; or have that sent again, as it counts for 48 hours.",
            command="\n".join(ground.aws(f"{subscribe} {each}", region=region) for each in waiting),
        )
    elif not heard:
        yield problem(
            f"nobody subscribes to the topic {name}: nobody is told of runs",
            remedy="Subscribe, and confirm that within 48 hours: then AWS forgets it.",
            command=ground.aws(f"{subscribe} {email or 'me@example.com'}", region=region),
        )
    else:
        yield ok(f"told by the topic {name}, which {len(heard)} hear{'s' if len(heard) == 1 else ''}")


def _subscriptions(arn: str, region: str, ground: Ground) -> list[dict[str, Any]]:
    pages = ground.client("sns", region).get_paginator("list_subscriptions_by_topic").paginate(TopicArn=arn)
    return [each for page in pages for each in page["Subscriptions"]]


def _gone(name: str, email: str, ground: Ground) -> Finding:
    what = f"the topic {name} is not there: somebody deleted it, and nobody is told of runs"
    deploy = ground.spotrelay("deploy")
    if not email:
        return problem(what, remedy="Name another one.", command=f"{deploy} --notify {_WHERE}")
    # CloudFormation believes in it: it is made anew only after it was let go.
    return problem(
        what,
        remedy="Let the stack forget it, then make one anew, and confirm the mail that follows.",
        command=f"{deploy} --notify '' && {deploy} --notify {email}",
    )
