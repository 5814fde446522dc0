"""The resume queue on SQS: one small request, made when seconds count (`json_request.py`)."""

from __future__ import annotations

import time
from collections.abc import Callable

from spotrelay.aws.credentials import Credentials
from spotrelay.aws.json_request import JsonService, Refused, Unanswered
from spotrelay.core.errors import QueueError
from spotrelay.core.messages import ResumeRequest


class SqsQueue:
    """ports.ResumeQueue. `url` is the queue's URL; the region is the instance's. `endpoint`: instead of the URL's own
    host; AWS_ENDPOINT_URL_SQS and AWS_ENDPOINT_URL say the same. `wall`: the time of day, in seconds since 1970.
    """

    def __init__(
        self,
        url: str,
        *,
        region: str,
        credentials: Credentials,
        endpoint: str | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._url = url
        self._sqs = JsonService(
            "sqs",
            "AmazonSQS",
            url,
            version="1.0",
            region=region,
            credentials=credentials,
            endpoint=endpoint,
            wall=wall,
        )

    async def post(self, request: ResumeRequest) -> None:
        try:
            await self._sqs.call("SendMessage", {"QueueUrl": self._url, "MessageBody": request.encode()})
        except (Refused, Unanswered) as error:
            raise QueueError(
                f"cannot post to {self._url}: {error.what}",
                next_step="check that the queue exists and that the instance's role allows sqs:SendMessage on it",
            ) from error
