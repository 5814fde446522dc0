"""Requests and dead letters: is the queue reachable, does anybody work it off, and what was given up."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from datetime import UTC, datetime, timedelta

from botocore.exceptions import ClientError

from spotrelay.doctor.finding import Finding, ok, problem
from spotrelay.doctor.ground import Ground
from spotrelay.stack.meanings import code_of

_GONE = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})
# A wait for capacity is a message sent anew, whose age begins anew, with a delay of 15 minutes at most. Twice that is
# taken by nobody; the stack's own alarm has the same measure.
_OLD_S = 1800


def requests(ground: Ground) -> Iterator[Finding]:
    url = ground.outputs.get()["QueueUrl"]
    attributes = yield from _attributes(url, ground)
    if attributes is None:
        return
    waiting = int(attributes["ApproximateNumberOfMessages"])
    later = int(attributes.get("ApproximateNumberOfMessagesDelayed", 0))
    age = _age_s(url.rsplit("/", 1)[-1], ground) if waiting else 0.0
    if age > _OLD_S:
        yield problem(
            f"the oldest request has waited for {age / 60:.0f} min: nobody takes it ({waiting} are waiting)",
            remedy="See what the launcher says.",
            command=ground.aws(f"logs tail {ground.outputs.get()['LauncherLogGroup']} --since 1h"),
        )
    else:
        yield ok(f"reachable; {waiting} waiting, {later} for later")


def _age_s(name: str, ground: Ground) -> float:
    """The metric is all there is: a message tells its age to whoever takes it, and nobody here should."""
    now = datetime.now(UTC)
    points = ground.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/SQS",
        MetricName="ApproximateAgeOfOldestMessage",
        Dimensions=[{"Name": "QueueName", "Value": name}],
        StartTime=now - timedelta(minutes=15),
        EndTime=now,
        Period=60,
        Statistics=["Maximum"],
    )["Datapoints"]
    return float(max(points, key=lambda point: point["Timestamp"])["Maximum"]) if points else 0.0


def dead_letters(ground: Ground) -> Iterator[Finding]:
    url = ground.outputs.get()["DeadLetterQueueUrl"]
    attributes = yield from _attributes(url, ground)
    if attributes is None:
        return
    count = int(attributes["ApproximateNumberOfMessages"])
    if not count:
        yield ok("none")
        return
    look = f"sqs receive-message --queue-url {url} --visibility-timeout 0 --max-number-of-messages 10"
    redrive = f"sqs start-message-move-task --source-arn {attributes['QueueArn']}"
    yield problem(
        f"{count} request{'s were' if count > 1 else ' was'} given up: each may be a run that waits for ever",
        remedy="See what they are (first command), remove the cause, and have them worked off again (second).",
        command=f"{ground.aws(look)}\n{ground.aws(redrive)}",
    )


def _attributes(url: str, ground: Ground) -> Generator[Finding, None, dict[str, str] | None]:
    """Returns the queue's attributes, or None after the finding that says why not."""
    try:
        answer = ground.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
    except ClientError as error:
        if code_of(error) not in _GONE:
            raise
        yield problem(
            f"the queue {url.rsplit('/', 1)[-1]} is not there: somebody deleted it by hand",
            remedy="Make the stack anew, with the bucket and what is in it.",
            command=ground.anew(),
        )
        return None
    return dict(answer["Attributes"])
