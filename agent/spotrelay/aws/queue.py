"""The resume queue on SQS.

One small call, made when seconds count: boto3's client is built at boot, not at the notice, its timeouts are short, and
it runs in a thread of its own, so that a hanging endpoint blocks neither the loop nor a save.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import botocore.exceptions
import botocore.session
from botocore.config import Config

from spotrelay.core.errors import QueueError
from spotrelay.core.messages import ResumeRequest

# SQS answers within tens of milliseconds. Three tries of at most 2 + 3 s stay far below the two minutes of a notice.
CONFIG = Config(connect_timeout=2, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 3})


class SqsQueue:
    """ports.ResumeQueue. `url` is the queue's URL; the region is the instance's."""

    def __init__(self, url: str, *, region: str, endpoint: str | None = None) -> None:
        self._url, self._region, self._endpoint = url, region, endpoint
        # Two: a post that hangs must not delay the one that a later phase makes.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="sqs")
        self._client: Any = None

    async def open(self) -> None:
        """Build the client (imports and reads botocore's service model: tenths of a second of CPU)."""
        await self._call(self._connect)

    async def post(self, request: ResumeRequest) -> None:
        await self._call(self._send, request.encode())

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _call(self, function: Any, *arguments: Any) -> None:
        await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    def _connect(self) -> None:
        if self._client is None:
            # What is below boto3: that adds resources and S3 transfers, and a tenth of an agent's start-up.
            session = botocore.session.get_session()
            self._client = session.create_client(
                "sqs", region_name=self._region, endpoint_url=self._endpoint, config=CONFIG
            )

    def _send(self, body: str) -> None:
        try:
            self._connect()
            self._client.send_message(QueueUrl=self._url, MessageBody=body)
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            raise QueueError(
                f"cannot post to {self._url}: {error}",
                next_step="check that the queue exists and that the instance's role allows sqs:SendMessage on it",
            ) from error
