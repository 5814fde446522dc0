"""The queue, from the launcher's side: ring again later, and how many wait.

Rings go out ten a call. What SQS does not take is told to the caller, whose own message then comes back by itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import boto3
import botocore.exceptions
from botocore.config import Config

from spotrelay.core.errors import QueueError
from spotrelay.core.messages import ResumeRequest
from spotrelay.launcher.answers import Failed, Rings

CONFIG = Config(connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3})
A_CALL = 10
LONGEST_DELAY_S = 900
# The number is an estimate that SQS itself corrects within a minute.
FRESH_S = 10.0
# What is visible has not been looked at yet, and in a storm most of it are copies; what was found to wait hangs here.
_WAITING = "ApproximateNumberOfMessagesDelayed"


class SqsBell:
    def __init__(self, url: str, now: Callable[[], float]) -> None:
        self._client: Any = boto3.client("sqs", config=CONFIG)
        self._url, self._now = url, now
        self._waiting, self._until = 0, 0.0
        self._lock = threading.Lock()

    def ring(self, rings: Rings) -> Failed:
        """Those that could not be sent, with the error."""
        failed = Failed()
        for part in _in_parts(rings):
            failed |= self._send(part)
        return failed

    def again(self, body: str, delay_s: int) -> None:
        """The same message once more, later: for one whose ground (store, EC2) is away. Raises QueueError."""
        try:
            self._client.send_message(QueueUrl=self._url, MessageBody=body, DelaySeconds=delay_s)
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
            raise QueueError(str(error), next_step="the message will be delivered again") from error

    def waiting(self) -> int:
        """About how many bells hang."""
        with self._lock:
            stale = self._now() >= self._until
            if stale:  # one thread asks; the others do with the last number rather than wait for its answer
                self._until = self._now() + FRESH_S
        if stale:
            self._waiting = self._count()
        return self._waiting

    def _count(self) -> int:
        try:
            answer = self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=[_WAITING])
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError):
            return self._waiting
        return int(answer["Attributes"].get(_WAITING, 0))

    def _send(self, rings: Rings) -> Failed:
        entries = [
            {"Id": str(number), "MessageBody": request.encode(), "DelaySeconds": min(delay_s, LONGEST_DELAY_S)}
            for number, (request, delay_s) in enumerate(rings)
        ]
        try:
            answer = self._client.send_message_batch(QueueUrl=self._url, Entries=entries)
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
            return {request: error for request, _ in rings}
        return {
            rings[int(each["Id"])][0]: QueueError(each.get("Message") or each["Code"])
            for each in answer.get("Failed", [])
        }


def _in_parts(rings: Rings) -> Iterator[Sequence[tuple[ResumeRequest, int]]]:
    for first in range(0, len(rings), A_CALL):
        yield rings[first : first + A_CALL]
