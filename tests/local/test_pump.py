"""Messages reach the function as Lambda's poller hands them over, and come back when they must."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from spotrelay.local.lambda_runtime import Function, Invocation, Settings
from spotrelay.local.pump import Pump, failures
from spotrelay.local.server import ControlPlane
from support.cloud_plane import Client
from support.processes import eventually

ARN = "arn:aws:sqs:us-east-1:123456789012:requests"
Handler = Callable[[Mapping[str, Any]], Invocation]


class Scripted:
    """A function in this process: `handler` answers, and every event is kept."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self.events: list[Mapping[str, Any]] = []

    async def invoke(self, event: Mapping[str, Any]) -> Invocation:
        self.events.append(event)
        return self._handler(event)

    @property
    def bodies(self) -> list[str]:
        return [record["body"] for event in self.events for record in event["Records"]]


class Bench:
    """A queue whose failed messages come back after a second, and a pump on it."""

    def __init__(self, plane: ControlPlane, sqs: Client, url: str) -> None:
        self.plane, self.sqs, self.url = plane, sqs, url
        self.pumps: list[Pump] = []

    def pump(self, function: Any, **options: Any) -> Pump:
        pump = Pump(endpoint=self.plane.endpoint, queue_url=self.url, queue_arn=ARN, function=function, **options)
        self.pumps.append(pump)
        pump.start()
        return pump

    async def send(self, *bodies: str) -> None:
        for body in bodies:
            await self.sqs.send_message(QueueUrl=self.url, MessageBody=body)

    async def count(self) -> int:
        """Messages in the queue, shown or hidden."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = await self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)
        return sum(int(answer["Attributes"][name]) for name in names)

    async def empty(self) -> None:
        async with asyncio.timeout(60):
            while await self.count():
                await asyncio.sleep(0.01)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    plane = ControlPlane()
    await plane.start()
    sqs = await asyncio.to_thread(Client, "sqs", plane.endpoint)
    made = await sqs.create_queue(QueueName="requests", Attributes={"VisibilityTimeout": "1"})
    bench = Bench(plane, sqs, made["QueueUrl"])
    yield bench
    for pump in bench.pumps:
        pump.stop()
    await plane.close()
    for pump in bench.pumps:
        await pump.close()


def ok(_: Mapping[str, Any]) -> Invocation:
    return Invocation(True, b"null")


def reporting(*bad: str) -> Handler:
    """Reports messages with these bodies as failed, the first time that it sees each."""
    left = list(bad)

    def handler(event: Mapping[str, Any]) -> Invocation:
        failed = [record for record in event["Records"] if record["body"] in left]
        for record in failed:
            left.remove(record["body"])
        answer = {"batchItemFailures": [{"itemIdentifier": record["messageId"]} for record in failed]}
        return Invocation(True, json.dumps(answer).encode())

    return handler


async def test_shape_of_a_record(bench: Bench) -> None:
    """Names, types and values of a record are those that Lambda sends: system attributes are strings, bytes base64.
    Otherwise a handler that works here breaks on a KeyError in the cloud."""
    function = Scripted(ok)
    await bench.sqs.send_message(
        QueueUrl=bench.url,
        MessageBody="hello",
        MessageAttributes={
            "text": {"DataType": "String", "StringValue": "v"},
            "raw": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
        },
    )
    bench.pump(function)
    await bench.empty()
    (record,) = function.events[0]["Records"]
    system = record.pop("attributes")

    assert {"messageId", "receiptHandle", "md5OfMessageAttributes"} <= record.keys()
    assert {
        "body": "hello",
        "md5OfBody": "5d41402abc4b2a76b9719d911017c592",
        "messageAttributes": {
            "text": {"stringValue": "v", "stringListValues": [], "binaryListValues": [], "dataType": "String"},
            "raw": {"binaryValue": "AP8=", "stringListValues": [], "binaryListValues": [], "dataType": "Binary"},
        },
        "eventSource": "aws:sqs",
        "eventSourceARN": ARN,
        "awsRegion": "us-east-1",
    } == {key: record[key] for key in record.keys() - {"messageId", "receiptHandle", "md5OfMessageAttributes"}}
    assert {"ApproximateReceiveCount", "SentTimestamp", "SenderId", "ApproximateFirstReceiveTimestamp"} <= system.keys()
    assert "1" == system["ApproximateReceiveCount"]
    assert all(isinstance(text, str) for text in system.values())


async def test_batches(bench: Bench) -> None:
    """An event holds ten messages at most, and each message comes once when all goes well."""
    function = Scripted(ok)
    bodies = [f"message {n}" for n in range(23)]
    await bench.send(*bodies)
    bench.pump(function)
    await bench.empty()

    assert sorted(bodies) == sorted(function.bodies)
    assert all(len(event["Records"]) <= 10 for event in function.events)


async def test_failed_message_comes_back_alone(bench: Bench) -> None:
    """What the handler reports comes back after the visibility timeout, counted; the rest of its batch is done.
    Otherwise one poisoned message holds up nine runs, or a failed one is lost."""
    function = Scripted(reporting("bad"))
    await bench.send("good", "bad", "fine")
    bench.pump(function)
    await bench.empty()
    (again,) = [event["Records"] for event in function.events][-1]

    assert ["bad", "bad", "fine", "good"] == sorted(function.bodies)
    assert ("bad", "2") == (again["body"], again["attributes"]["ApproximateReceiveCount"])


async def test_failed_function_brings_all_back(bench: Bench) -> None:
    """A function that crashes or times out has done nothing: its whole batch comes back."""
    outcomes = [Invocation(False, b"{}", "Sandbox.Timedout"), Invocation(True, b"null")]
    function = Scripted(lambda _: outcomes.pop(0) if outcomes else Invocation(True, b"null"))
    await bench.send("one")
    bench.pump(function)
    await bench.empty()

    assert ["one", "one"] == function.bodies


async def test_trouble_with_the_queue(bench: Bench) -> None:
    """A queue that is throttled or away is asked again. Otherwise one bad answer ends all relaunching."""
    function = Scripted(ok)
    bench.url = bench.url.replace("requests", "later")
    bench.pump(function)

    def asked() -> None:
        assert bench.plane.calls["ReceiveMessage"] > 1

    await eventually(asked)
    await bench.sqs.create_queue(QueueName="later")
    await bench.send("found")
    await bench.empty()

    assert ["found"] == function.bodies


async def test_stop_takes_no_more(bench: Bench) -> None:
    """After `close` nothing is taken from the queue and no thread is left. Otherwise messages vanish into a function
    that is gone, and are missing for their visibility timeout."""
    function = Scripted(ok)
    pump = bench.pump(function)
    await bench.send("first")
    await bench.empty()
    await pump.close()
    await bench.send("second")

    assert ["first"] == function.bodies
    assert 1 == await bench.count()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pump")]


async def test_real_function(bench: Bench, tmp_path: Path) -> None:
    """From the queue through Lambda's real client to a handler and back, a partial failure included."""
    (tmp_path / "handler.py").write_text(
        "def handle(event, context):\n"
        "    bad = [r for r in event['Records'] if r['body'] == 'bad'\n"
        "           and r['attributes']['ApproximateReceiveCount'] == '1']\n"
        "    print([r['body'] for r in event['Records']], flush=True)\n"
        "    return {'batchItemFailures': [{'itemIdentifier': r['messageId']} for r in bad]}\n"
    )
    function = Function(
        tmp_path / "function",
        [("handler.py", tmp_path / "handler.py")],
        Settings("handler.handle"),
        log=tmp_path / "log",
    )
    await bench.send("bad")
    bench.pump(function)
    await bench.empty()
    await function.close()

    assert ["['bad']", "['bad']"] == (tmp_path / "log").read_text().splitlines()


async def test_pollers_work_side_by_side(bench: Bench) -> None:
    """Two pollers hand over two batches at once, so that one slow launch does not hold up all others."""
    both = asyncio.Event()
    at_work: list[int] = []

    class Slow:
        async def invoke(self, event: Mapping[str, Any]) -> Invocation:
            at_work.append(len(event["Records"]))
            if len(at_work) == 2:
                both.set()
            await both.wait()
            return ok(event)

    bench.pump(Slow(), pollers=2)
    await bench.send(*(f"message {n}" for n in range(20)))
    async with asyncio.timeout(60):
        await both.wait()


BATCH = {"a", "b"}


@pytest.mark.parametrize(
    ("answer", "stay"),
    [
        ("", set()),
        ("null", set()),
        ("{}", set()),
        ('{"batchItemFailures": null}', set()),
        ('{"batchItemFailures": []}', set()),
        ('{"statusCode": 200}', set()),
        ('{"batchItemFailures": [{"itemIdentifier": "a"}]}', {"a"}),
        ('{"batchItemFailures": [{"itemIdentifier": "a"}, {"itemIdentifier": "a"}]}', {"a"}),
        ('{"batchItemFailures": [{"itemIdentifier": "a"}, {"itemIdentifier": "b"}]}', BATCH),
        ('{"batchItemFailures": [{"itemIdentifier": "a"}, {"itemIdentifier": "x"}]}', BATCH),
        ('{"batchItemFailures": [{"itemIdentifier": ""}]}', BATCH),
        ('{"batchItemFailures": [{"itemIdentifier": null}]}', BATCH),
        ('{"batchItemFailures": [{"itemIdentifier": ["a"]}]}', BATCH),
        ('{"batchItemFailures": [{"messageId": "a"}]}', BATCH),
        ('{"batchItemFailures": ["a"]}', BATCH),
        ('{"batchItemFailures": "a"}', BATCH),
        ('{"batchItemFailures": ', BATCH),
        ('"done"', BATCH),
        ("[]", BATCH),
    ],
)
def test_rules_of_a_partial_answer(answer: str, stay: set[str]) -> None:
    """An answer that names failures wrongly counts for nothing: all come back. Otherwise a handler with a typo loses
    every message that it failed."""
    assert stay == failures(Invocation(True, answer.encode()), BATCH)


def test_failed_function_answers_nothing() -> None:
    """What a failed function says is an error, not a list of failures."""
    assert BATCH == failures(Invocation(False, b'{"batchItemFailures": []}', "Unhandled"), BATCH)
