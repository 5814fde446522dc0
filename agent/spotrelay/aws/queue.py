"""The resume queue on SQS: one small request, made when seconds count (`json_request.py`)."""

from __future__ import annotations

from spotrelay.aws.json_request import Caller, JsonService, Refused, Unanswered
from spotrelay.core.errors import QueueError
from spotrelay.core.messages import ResumeRequest


class SqsQueue:
    """ports.ResumeQueue. `url` is the queue's; it is asked in the caller's region."""

    def __init__(self, url: str, caller: Caller) -> None:
        self._url = url
        self._sqs = JsonService("sqs", "AmazonSQS", url, caller, version="1.0")

    async def post(self, request: ResumeRequest) -> None:
        try:
            await self._sqs.call("SendMessage", {"QueueUrl": self._url, "MessageBody": request.encode()})
        except (Refused, Unanswered) as error:
            raise QueueError(
                f"cannot post to {self._url}: {error.what}",
                next_step="check that the queue exists and that the instance's role allows sqs:SendMessage on it",
            ) from error
