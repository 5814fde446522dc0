"""From the queue to the function, as Lambda's own poller does it (an event source mapping on SQS).

It receives a batch, hands it to the function as one event, and deletes the messages that the function did not report as
failed. What it leaves comes back when its visibility timeout ends: the poller never shortens that, so a message that
fails is paced by the queue, and its receive count leads to the dead-letter queue. The rules of a partial answer
(ReportBatchItemFailures) are in `failures`, and the shape of an event in `record`.

The real SQS client does the receiving, in threads of its own: a long poll would hold up the others in a shared pool.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import boto3
import structlog
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from spotrelay.local.imds_documents import Credentials
from spotrelay.local.lambda_runtime import Invocation

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient
    from types_boto3_sqs.type_defs import DeleteMessageBatchRequestEntryTypeDef, MessageTypeDef

# The shortest long poll. Lambda's is 20 s; but a thread in a poll cannot be called back, and `close` waits for it.
_POLL_S = 1
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0

log = structlog.get_logger()
_T = TypeVar("_T")


class Invocable(Protocol):
    async def invoke(self, event: Mapping[str, Any]) -> Invocation: ...


class Pump:
    """Runs from `start` to `close`; `pollers` batches at a time, of up to `batch` messages. `keys`: the function's
    role's, as Lambda polls with them."""

    def __init__(
        self,
        *,
        endpoint: str,
        queue_url: str,
        queue_arn: str,
        function: Invocable,
        region: str = "us-east-1",
        pollers: int = 1,
        batch: int = 10,
        keys: Credentials | None = None,
    ) -> None:
        self._endpoint, self._queue_url, self._queue_arn = endpoint, queue_url, queue_arn
        self._function, self._region, self._pollers = function, region, pollers
        self._batch, self._keys = batch, keys or Credentials()
        self._threads = ThreadPoolExecutor(pollers, thread_name_prefix="pump")
        self._stopping, self._draining = asyncio.Event(), False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._poll()) for _ in range(self._pollers)]

    def stop(self) -> None:
        """Hand over no further batch; what is on its way comes to its end. For who has more to close meanwhile."""
        self._stopping.set()

    async def drain(self) -> None:
        """Receive no more, and come to the end of what was received: a message left behind is hidden for minutes."""
        self._draining = True
        await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        """`stop`, and wait for the batch at work and for the last poll (1 s)."""
        self.stop()
        await asyncio.gather(*self._tasks)
        self._threads.shutdown()

    async def _poll(self) -> None:
        client = await self._in_thread(self._connect)
        pause = _FIRST_PAUSE_S
        while not (self._draining or self._stopping.is_set()):
            try:
                await self._pass_on_batch(client)
                pause = _FIRST_PAUSE_S
            except (BotoCoreError, ClientError) as error:
                # Throttled, or the queue is away for a moment: what was received comes back by itself.
                log.warning("pump.failed", error=str(error), again_in_s=pause)
                await self._rest(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    async def _pass_on_batch(self, client: SQSClient) -> None:
        messages = await self._in_thread(lambda: self._receive(client))
        if not messages or self._stopping.is_set():
            return
        event = {"Records": [record(message, self._queue_arn, self._region) for message in messages]}
        invocation = await self._function.invoke(event)
        failed = failures(invocation, {message["MessageId"] for message in messages})
        if not invocation.ok:
            log.warning("function.failed", error=invocation.error_type, messages=len(messages))
        done = [message for message in messages if message["MessageId"] not in failed]
        if done:
            await self._in_thread(lambda: self._delete(client, done))

    async def _in_thread(self, call: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def _connect(self) -> SQSClient:
        # A session of its own: the default one is shared by threads, and making a client there is not safe.
        client: SQSClient = boto3.Session().client(
            "sqs",
            region_name=self._region,
            endpoint_url=self._endpoint,
            aws_access_key_id=self._keys.access_key,
            aws_secret_access_key=self._keys.secret_key,
            aws_session_token=self._keys.session_token,
            config=Config(connect_timeout=2, read_timeout=_POLL_S + 10, retries={"total_max_attempts": 1}),
        )
        return client

    def _receive(self, client: SQSClient) -> list[MessageTypeDef]:
        answer = client.receive_message(
            QueueUrl=self._queue_url,
            MaxNumberOfMessages=self._batch,
            WaitTimeSeconds=_POLL_S,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        return answer.get("Messages", [])

    def _delete(self, client: SQSClient, messages: Sequence[MessageTypeDef]) -> None:
        entries: list[DeleteMessageBatchRequestEntryTypeDef] = [
            {"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]} for n, message in enumerate(messages)
        ]
        answer = client.delete_message_batch(QueueUrl=self._queue_url, Entries=entries)
        for failed in answer.get("Failed", []):
            log.warning("message.not_deleted", message=messages[int(failed["Id"])]["MessageId"], error=failed["Code"])


def record(message: MessageTypeDef, queue_arn: str, region: str) -> dict[str, Any]:
    """One of an event's `Records`: names in lower camel case, every system attribute a string, bytes in base64."""
    found: dict[str, Any] = {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": dict(message.get("Attributes", {})),
        "messageAttributes": {name: _attribute(it) for name, it in message.get("MessageAttributes", {}).items()},
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": region,
    }
    if "MD5OfMessageAttributes" in message:
        found["md5OfMessageAttributes"] = message["MD5OfMessageAttributes"]
    return found


def _attribute(value: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"stringListValues": [], "binaryListValues": [], "dataType": value["DataType"]}
    if "StringValue" in value:
        found["stringValue"] = value["StringValue"]
    if "BinaryValue" in value:
        found["binaryValue"] = base64.b64encode(value["BinaryValue"]).decode()
    return found


def failures(invocation: Invocation, batch: set[str]) -> set[str]:
    """The message ids of `batch` that stay in the queue.

    None of them: nothing or null was answered, or there is no list, or it is empty. All of them: the function failed,
    or its answer is no JSON object, or any entry names no message of this batch: a handler that cannot say which
    message failed is not believed about the others.
    """
    if not invocation.ok:
        return batch
    try:
        answer = json.loads(invocation.payload or b"null")
    except (ValueError, RecursionError):
        return batch
    if answer is None:
        return set()
    if not isinstance(answer, dict):
        return batch
    return _named(answer.get("batchItemFailures"), batch)


def _named(entries: object, batch: set[str]) -> set[str]:
    if entries is None:
        return set()
    if not isinstance(entries, list):
        return batch
    names = [entry.get("itemIdentifier") if isinstance(entry, dict) else None for entry in entries]
    known = [name for name in names if isinstance(name, str) and name in batch]
    return set(known) if len(known) == len(names) else batch
