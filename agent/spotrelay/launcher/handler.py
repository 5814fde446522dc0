"""The Lambda: a batch of messages in, the ones to be delivered again out.

    SPOTRELAY_STORE             s3://bucket/prefix, or file:///folder
    SPOTRELAY_QUEUE_URL         the queue that it is fed from, and rings
    SPOTRELAY_LAUNCH_TEMPLATE   name:version; a fixed version, because one that moves changes a request under its token
    SPOTRELAY_ZONES             us-east-1a,us-east-1b
    SPOTRELAY_TYPES             instance types for runs that name none
    SPOTRELAY_RETRY_S           the first wait for capacity (15)

A message that fails is reported by its id and comes back alone; the others of its batch are done. One that never can
succeed (garbage) fails each time and so ends in the dead-letter queue, where an alarm tells a person. Waiting for
capacity is no failure.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import boto3
from botocore.config import Config

from spotrelay.core.messages import Ignored, InstanceGone, ResumeRequest, decode
from spotrelay.launcher.ec2 import Ec2
from spotrelay.launcher.objects import open_objects
from spotrelay.launcher.succession import Ground, Succession

CONFIG = Config(connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3})

_succession: Succession | None = None


def handle(event: dict[str, Any], context: object) -> dict[str, Any]:
    """SQS's event shape; the answer names failed messages (ReportBatchItemFailures)."""
    failures = []
    for record in event.get("Records", []):
        try:
            _act(record["body"])
        except Exception as error:  # one bad message must not take the others with it
            log("message.failed", id=record.get("messageId"), error=f"{type(error).__name__}: {error}")
            failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures}


def _act(body: str) -> None:
    match decode(body):
        case ResumeRequest() as request:
            _ready().ensure(request)
        case InstanceGone(instance=instance):
            _ready().instance_gone(instance)
        case Ignored(what=what):
            log("event.ignored", what=what)


def log(event: str, **fields: Any) -> None:
    """One JSON line: what CloudWatch indexes, without a library in the zip."""
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


class SqsBell:
    def __init__(self, url: str) -> None:
        self._client: Any = boto3.client("sqs", config=CONFIG)
        self._url = url

    def ring(self, request: ResumeRequest, delay_s: int) -> None:
        self._client.send_message(QueueUrl=self._url, MessageBody=request.encode(), DelaySeconds=delay_s)


def _ready() -> Succession:
    """Clients are made once for each execution environment: a warm call costs about a millisecond."""
    global _succession  # noqa: PLW0603 - that is how a Lambda keeps what is warm
    if _succession is None:
        _succession = from_environment(dict(os.environ))
    return _succession


def from_environment(environment: dict[str, str]) -> Succession:
    template, _, version = environment["SPOTRELAY_LAUNCH_TEMPLATE"].partition(":")
    ground = Ground(
        template=template,
        version=version or "1",
        zones=_words(environment.get("SPOTRELAY_ZONES", "")),
        types=_words(environment.get("SPOTRELAY_TYPES", "")),
        retry_s=float(environment.get("SPOTRELAY_RETRY_S", "15")),
    )
    objects = open_objects(environment["SPOTRELAY_STORE"])
    return Succession(objects, Ec2(), SqsBell(environment["SPOTRELAY_QUEUE_URL"]), ground, log=log, now=time.time)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())
