"""The API of SQS over `queues`: its actions, limits and exact refusals.

Standard queues only. FIFO queues are refused by name rather than half done: nothing in spotrelay uses one, and a fake
that gets deduplication almost right would prove what is not so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from random import Random

from spotrelay.local.clock import Clock
from spotrelay.local.queues import Message, Queue, Redrive
from spotrelay.local.sqs_checks import (
    LARGEST_BATCH,
    LARGEST_MESSAGE,
    LONGEST_DELAY_S,
    LONGEST_VISIBILITY_S,
    Params,
    Result,
    batch,
    check_body,
    chosen,
    md5,
    md5_of_attributes,
    size,
    within,
    within_visibility,
)
from spotrelay.local.wire import AwsError

# Attribute: (default, least, most), from the API reference of SetQueueAttributes.
NUMBERS = {
    "DelaySeconds": (0, 0, LONGEST_DELAY_S),
    "MaximumMessageSize": (LARGEST_MESSAGE, 1_024, LARGEST_MESSAGE),
    "MessageRetentionPeriod": (345_600, 60, 1_209_600),
    "ReceiveMessageWaitTimeSeconds": (0, 0, 20),
    "VisibilityTimeout": (30, 0, LONGEST_VISIBILITY_S),
}
# Kept and given back; nothing here encrypts or judges.
KEPT = {"KmsDataKeyReusePeriodSeconds", "KmsMasterKeyId", "Policy", "RedriveAllowPolicy", "SqsManagedSseEnabled"}
QUEUE_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
PURGE_INTERVAL_S = 60


class Sqs:
    """All queues of one account in one region, by name. Knobs for tests: `sqs.queue("name").duplicates = 0.2`."""

    def __init__(self, clock: Clock, rng: Random, account: str, region: str) -> None:
        self.endpoint = ""
        self._clock, self._rng = clock, rng
        self._account, self._region = account, region
        self._queues: dict[str, Queue] = {}
        self._attributes: dict[str, dict[str, str]] = {}
        self._purged: dict[str, float] = {}
        self._actions: dict[str, Callable[[Params], Result | Awaitable[Result]]] = {
            "ChangeMessageVisibility": self.change_message_visibility,
            "ChangeMessageVisibilityBatch": self.change_message_visibility_batch,
            "CreateQueue": self.create_queue,
            "DeleteMessage": self.delete_message,
            "DeleteMessageBatch": self.delete_message_batch,
            "DeleteQueue": self.delete_queue,
            "GetQueueAttributes": self.get_queue_attributes,
            "GetQueueUrl": self.get_queue_url,
            "ListQueues": self.list_queues,
            "PurgeQueue": self.purge_queue,
            "ReceiveMessage": self.receive_message,
            "SendMessage": self.send_message,
            "SendMessageBatch": self.send_message_batch,
            "SetQueueAttributes": self.set_queue_attributes,
        }

    def call(self, action: str, params: Params) -> Result | Awaitable[Result]:
        """Raises AwsError."""
        if action not in self._actions:
            raise AwsError("UnsupportedOperation", f"The local cloud does not do {action}.")
        return self._actions[action](params)

    def queue(self, name: str) -> Queue:
        """By name, URL or ARN. Raises AwsError."""
        try:
            return self._queues[re.split("[/:]", name)[-1]]
        except KeyError:
            raise AwsError("QueueDoesNotExist", "The specified queue does not exist.") from None

    def close(self) -> None:
        for queue in self._queues.values():
            queue.close()

    # ---- queues

    def create_queue(self, params: Params) -> Result:
        name, attributes = params["QueueName"], params.get("Attributes", {})
        if name.endswith(".fifo") or "FifoQueue" in attributes:
            raise AwsError("UnsupportedOperation", "The local cloud has standard queues only, no FIFO queues.")
        if not QUEUE_NAME.fullmatch(name):
            raise AwsError(
                "InvalidParameterValue",
                "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
            )
        if name in self._queues:
            self._same_attributes(name, attributes)
        else:
            self._create(name, attributes)
        return {"QueueUrl": self._url(name)}

    def _create(self, name: str, attributes: Mapping[str, str]) -> None:
        checked = self._check(attributes)
        arn = f"arn:aws:sqs:{self._region}:{self._account}:{name}"
        self._queues[name] = Queue(name, arn, self._clock, self._rng)
        self._attributes[name] = {key: str(default) for key, (default, _, _) in NUMBERS.items()}
        self._apply(name, checked)

    def _same_attributes(self, name: str, attributes: Mapping[str, str]) -> None:
        for key, value in attributes.items():
            if self._attributes[name].get(key) != value:
                raise AwsError(
                    "QueueNameExists",
                    f"A queue already exists with the same name and a different value for attribute {key}",
                )

    def _check(self, attributes: Mapping[str, str]) -> Mapping[str, str]:
        for key, value in attributes.items():
            if key in NUMBERS:
                _, least, most = NUMBERS[key]
                if not value.isascii() or not value.isdigit() or not least <= int(value) <= most:
                    raise AwsError("InvalidAttributeValue", f"Invalid value for the parameter {key}.")
            elif key not in KEPT | {"RedrivePolicy"}:
                raise AwsError("InvalidAttributeName", f"Unknown Attribute {key}.")
        self._redrive(attributes)
        return attributes

    def _redrive(self, attributes: Mapping[str, str]) -> Redrive | None:
        text = attributes.get("RedrivePolicy")
        if not text:
            return None
        try:
            policy = json.loads(text)
            limit = int(policy["maxReceiveCount"])
            return Redrive(self.queue(policy["deadLetterTargetArn"]), limit)
        except (ValueError, TypeError, KeyError):
            reason = "Amazon SQS can't create the redrive policy, as it's in an unsupported format."
        except AwsError:
            reason = "Dead letter target does not exist."
        raise AwsError(
            "InvalidParameterValue", f"Value {text} for parameter RedrivePolicy is invalid. Reason: {reason}"
        )

    def _apply(self, name: str, attributes: Mapping[str, str]) -> None:
        settings = self._attributes[name]
        settings.update(attributes)
        queue = self._queues[name]
        queue.redrive = self._redrive(settings)
        queue.retention_s = float(settings["MessageRetentionPeriod"])

    def _url(self, name: str) -> str:
        return f"{self.endpoint}/{self._account}/{name}"

    def get_queue_url(self, params: Params) -> Result:
        return {"QueueUrl": self._url(self.queue(params["QueueName"]).name)}

    def list_queues(self, params: Params) -> Result:
        prefix = params.get("QueueNamePrefix", "")
        return {"QueueUrls": [self._url(name) for name in sorted(self._queues) if name.startswith(prefix)]}

    def delete_queue(self, params: Params) -> Result:
        queue = self.queue(params["QueueUrl"])
        queue.close()
        del self._queues[queue.name], self._attributes[queue.name]
        return {}

    def get_queue_attributes(self, params: Params) -> Result:
        queue = self.queue(params["QueueUrl"])
        visible, in_flight, delayed = queue.counts()
        attributes = {
            **self._attributes[queue.name],
            "QueueArn": queue.arn,
            "ApproximateNumberOfMessages": str(visible),
            "ApproximateNumberOfMessagesNotVisible": str(in_flight),
            "ApproximateNumberOfMessagesDelayed": str(delayed),
        }
        wanted = params.get("AttributeNames", [])
        return {"Attributes": chosen(attributes, wanted)}

    def set_queue_attributes(self, params: Params) -> Result:
        queue = self.queue(params["QueueUrl"])
        self._apply(queue.name, self._check(params["Attributes"]))
        return {}

    def purge_queue(self, params: Params) -> Result:
        queue, now = self.queue(params["QueueUrl"]), self._clock.now()
        if now - self._purged.get(queue.name, float("-inf")) < PURGE_INTERVAL_S:
            raise AwsError(
                "PurgeQueueInProgress",
                f"Only one PurgeQueue operation on {queue.name} is allowed every {PURGE_INTERVAL_S} seconds.",
                403,
            )
        self._purged[queue.name] = now
        queue.purge()
        return {}

    # ---- messages

    def send_message(self, params: Params) -> Result:
        return self._send(self.queue(params["QueueUrl"]), params)

    def send_message_batch(self, params: Params) -> Result:
        queue = self.queue(params["QueueUrl"])
        total = sum(size(entry) for entry in params["Entries"])
        if total > LARGEST_MESSAGE:
            told = f"Batch requests cannot be longer than {LARGEST_MESSAGE} bytes. You have sent {total} bytes."
            raise AwsError("BatchRequestTooLong", told)
        return batch(params["Entries"], lambda entry: self._send(queue, entry))

    def _send(self, queue: Queue, params: Params) -> Result:
        settings = self._attributes[queue.name]
        body, attributes = params.get("MessageBody", ""), params.get("MessageAttributes") or {}
        check_body(body)
        if size(params) > int(settings["MaximumMessageSize"]):
            reason = f"Message must be shorter than {settings['MaximumMessageSize']} bytes."
            raise AwsError("InvalidParameterValue", f"One or more parameters are invalid. Reason: {reason}")
        delay = params.get("DelaySeconds", int(settings["DelaySeconds"]))
        within("DelaySeconds", delay, 0, LONGEST_DELAY_S, f"DelaySeconds must be >= 0 and <= {LONGEST_DELAY_S}.")
        sent = queue.send(body, attributes, delay)
        return {
            "MessageId": sent.id,
            "MD5OfMessageBody": md5(body.encode()),
            **({"MD5OfMessageAttributes": md5_of_attributes(attributes)} if attributes else {}),
        }

    async def receive_message(self, params: Params) -> Result:
        queue = self.queue(params["QueueUrl"])
        settings = self._attributes[queue.name]
        most = params.get("MaxNumberOfMessages", 1)
        wait = params.get("WaitTimeSeconds", int(settings["ReceiveMessageWaitTimeSeconds"]))
        hidden = params.get("VisibilityTimeout", int(settings["VisibilityTimeout"]))
        within("MaxNumberOfMessages", most, 1, LARGEST_BATCH, "Must be between 1 and 10, if provided.")
        within("WaitTimeSeconds", wait, 0, 20, "Must be >= 0 and <= 20, if provided.")
        within_visibility(hidden)
        messages = await queue.receive(most, hidden, wait)
        return {"Messages": [self._show(queue, message, params) for message in messages]} if messages else {}

    def _show(self, queue: Queue, message: Message, params: Params) -> Result:
        shown: Result = {
            "MessageId": message.id,
            "ReceiptHandle": queue.handle(message),
            "Body": message.body,
            "MD5OfBody": md5(message.body.encode()),
        }
        # Its name of old is what Lambda's poller and much code still send.
        wanted = params.get("MessageSystemAttributeNames", []) + params.get("AttributeNames", [])
        system = chosen(self._system_attributes(message), wanted)
        own = chosen(message.attributes, params.get("MessageAttributeNames", []))
        if system:
            shown["Attributes"] = system
        if own:
            shown |= {"MessageAttributes": own, "MD5OfMessageAttributes": md5_of_attributes(own)}
        return shown

    def _system_attributes(self, message: Message) -> dict[str, str]:
        attributes = {
            "SenderId": f"AROALOCALCLOUD:{self._account}",
            "SentTimestamp": str(int(message.sent * 1000)),
            "ApproximateReceiveCount": str(message.received),
            "ApproximateFirstReceiveTimestamp": str(int(message.first_received * 1000)),
        }
        return attributes | ({"DeadLetterQueueSourceArn": message.source_arn} if message.source_arn else {})

    def delete_message(self, params: Params) -> Result:
        self.queue(params["QueueUrl"]).delete(params["ReceiptHandle"])
        return {}

    def delete_message_batch(self, params: Params) -> Result:
        queue = self.queue(params["QueueUrl"])
        return batch(params["Entries"], lambda entry: queue.delete(entry["ReceiptHandle"]))

    def change_message_visibility(self, params: Params) -> Result:
        _change(self.queue(params["QueueUrl"]), params)
        return {}

    def change_message_visibility_batch(self, params: Params) -> Result:
        queue = self.queue(params["QueueUrl"])
        return batch(params["Entries"], lambda entry: _change(queue, entry))


def _change(queue: Queue, params: Params) -> None:
    seconds = params.get("VisibilityTimeout")
    if seconds is None:
        raise AwsError("MissingParameter", "The request must contain the parameter VisibilityTimeout.")
    within_visibility(seconds)
    queue.change_visibility(params["ReceiptHandle"], seconds)
