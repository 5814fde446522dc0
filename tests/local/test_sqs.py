"""SQS where requests are lost and doubled: receipts, visibility, delays, dead letters, over real boto3."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest

from support.cloud_plane import Cloud, cloud, eventually, refusal


async def receive(here: Cloud, url: str, **params: Any) -> list[dict[str, Any]]:
    everything = {"MessageSystemAttributeNames": ["All"], "MessageAttributeNames": ["All"], "MaxNumberOfMessages": 10}
    answer = await here.sqs.receive_message(QueueUrl=url, **{**everything, **params})
    return answer.get("Messages", [])


async def send(here: Cloud, url: str, *bodies: str, **params: Any) -> None:
    for body in bodies:
        await here.sqs.send_message(QueueUrl=url, MessageBody=body, **params)


def bodies(messages: list[dict[str, Any]]) -> list[str]:
    return [message["Body"] for message in messages]


async def counts(here: Cloud, url: str) -> tuple[int, int, int]:
    """Visible, in flight, delayed."""
    answer = await here.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
    name = "ApproximateNumberOfMessages"
    return tuple(int(answer["Attributes"][name + suffix]) for suffix in ("", "NotVisible", "Delayed"))


async def test_a_message_carries_its_history():
    """Body, attributes, receive count and times arrive as Lambda's poller passes them on. Otherwise the launcher could
    not tell the first delivery from the tenth."""
    async with cloud() as here:
        url = await here.queue()
        attributes = {
            "run": {"DataType": "String", "StringValue": "digits"},
            "raw": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
        }
        await send(here, url, "ring ☎", MessageAttributes=attributes)
        here.clock.advance(5)
        [message] = await receive(here, url)

        assert "ring ☎" == message["Body"]
        assert attributes == message["MessageAttributes"]
        sent = int((here.clock.now() - 5) * 1000)
        assert {
            "SenderId": "AROALOCALCLOUD:123456789012",
            "SentTimestamp": str(sent),
            "ApproximateReceiveCount": "1",
            "ApproximateFirstReceiveTimestamp": str(sent + 5000),
        } == message["Attributes"]


async def test_what_is_received_is_hidden_and_comes_back():
    """A consumer that dies gives its message back after the visibility timeout. Otherwise its run would be lost."""
    async with cloud() as here:
        url = await here.queue(VisibilityTimeout=30)
        await send(here, url, "a")
        first = await receive(here, url)
        here.clock.advance(29)
        hidden = await receive(here, url)
        here.clock.advance(1)
        again = await receive(here, url)

        assert (["a"], [], ["a"]) == (bodies(first), bodies(hidden), bodies(again))
        assert "2" == again[0]["Attributes"]["ApproximateReceiveCount"]
        assert (0, 1, 0) == await counts(here, url)


async def test_only_the_newest_receipt_deletes():
    """A slow consumer that deletes by an outlived receipt is answered 200, and the message lives. Otherwise a test
    would see a message gone that in SQS is delivered again."""
    async with cloud() as here:
        url = await here.queue(VisibilityTimeout=30)
        await send(here, url, "a")
        [slow] = await receive(here, url)
        here.clock.advance(30)
        [quick] = await receive(here, url)
        await here.sqs.delete_message(QueueUrl=url, ReceiptHandle=slow["ReceiptHandle"])

        assert (0, 1, 0) == await counts(here, url)
        await here.sqs.delete_message(QueueUrl=url, ReceiptHandle=quick["ReceiptHandle"])
        assert (0, 0, 0) == await counts(here, url)


async def test_an_outlived_receipt_still_deletes_until_the_next_receive():
    """The newest receipt counts even when its time is over. Otherwise finished work would be done twice needlessly."""
    async with cloud() as here:
        url = await here.queue(VisibilityTimeout=30)
        await send(here, url, "a")
        [message] = await receive(here, url)
        here.clock.advance(31)
        await here.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

        assert [] == await receive(here, url)


async def test_visibility_can_be_moved_while_in_flight_only():
    """Sooner, later, and not at all once the receipt is outlived or superseded. Otherwise a heartbeat that comes too
    late would seem to work."""
    async with cloud() as here:
        url = await here.queue(VisibilityTimeout=30)
        await send(here, url, "a")
        [message] = await receive(here, url)
        receipt = {"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"]}
        await here.sqs.change_message_visibility(**receipt, VisibilityTimeout=100)
        here.clock.advance(99)

        assert [] == await receive(here, url)
        await here.sqs.change_message_visibility(**receipt, VisibilityTimeout=0)
        assert "AWS.SimpleQueueService.MessageNotInflight" == await refusal(
            here.sqs.change_message_visibility(**receipt, VisibilityTimeout=10)
        )
        assert ["a"] == bodies(await receive(here, url))
        assert "AWS.SimpleQueueService.MessageNotInflight" == await refusal(
            here.sqs.change_message_visibility(**receipt, VisibilityTimeout=10)
        )


async def test_a_message_cannot_be_held_for_more_than_twelve_hours():
    """Heartbeats or not. Otherwise a consumer that hangs would own its message for ever."""
    async with cloud() as here:
        url = await here.queue(VisibilityTimeout=30_000)
        await send(here, url, "a")
        [message] = await receive(here, url)
        here.clock.advance(20_000)
        held = here.sqs.change_message_visibility(
            QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=43_000
        )

        assert "InvalidParameterValue" == await refusal(held)


async def test_a_delayed_message_is_silent_until_its_time():
    """How the launcher waits for capacity. Otherwise it would try again at once, a thousand times."""
    async with cloud() as here:
        url = await here.queue()
        await send(here, url, "later", DelaySeconds=900)
        waiting = await counts(here, url)
        here.clock.advance(899)
        early = await receive(here, url)
        here.clock.advance(1)

        assert ((0, 0, 1), []) == (waiting, early)
        assert ["later"] == bodies(await receive(here, url))


async def test_a_long_poll_waits_and_wakes_for_a_new_message():
    """Without a turn of the clock. Otherwise every relaunch would cost half a poll."""
    async with cloud() as here:
        url = await here.queue()
        polling = asyncio.create_task(receive(here, url, WaitTimeSeconds=20))
        await eventually(1, lambda: here.plane.calls["ReceiveMessage"])
        await send(here, url, "a")

        assert ["a"] == bodies(await polling)


async def test_a_long_poll_wakes_for_a_message_that_becomes_visible():
    """A delay that ends ends the wait too. Otherwise a retry would come a poll too late."""
    async with cloud() as here:
        url = await here.queue()
        await send(here, url, "a", DelaySeconds=7)
        polling = asyncio.create_task(receive(here, url, WaitTimeSeconds=20))
        await eventually(1, lambda: here.plane.calls["ReceiveMessage"])
        here.clock.advance(7)

        assert ["a"] == bodies(await polling)


async def test_a_long_poll_ends_empty_at_its_time():
    """Otherwise an idle consumer would hang for ever."""
    async with cloud() as here:
        url = await here.queue(ReceiveMessageWaitTimeSeconds=20)
        polling = asyncio.create_task(receive(here, url))
        await eventually(1, lambda: here.plane.calls["ReceiveMessage"])
        await eventually(1, lambda: len(here.plane.sqs.queue("requests")._waiting))
        here.clock.advance(20)

        assert [] == await polling


async def test_each_message_goes_to_one_of_many_pollers():
    """Four wait, four messages come, nobody gets another's. Otherwise four launchers would serve one request."""
    async with cloud() as here:
        url = await here.queue()
        polls = [asyncio.create_task(receive(here, url, WaitTimeSeconds=20, MaxNumberOfMessages=1)) for _ in range(4)]
        await send(here, url, *"abcd")
        got = [body for poll in polls for body in bodies(await poll)]

        assert ["a", "b", "c", "d"] == sorted(got)


async def test_what_fails_too_often_becomes_a_dead_letter():
    """After three receives the fourth moves it, with a note of where it came from. Otherwise a poison message would
    circle until its retention ends."""
    async with cloud() as here:
        dead = await here.queue("dead")
        policy = {"deadLetterTargetArn": here.plane.sqs.queue("dead").arn, "maxReceiveCount": 3}
        url = await here.queue(RedrivePolicy=json.dumps(policy), VisibilityTimeout=0)
        await send(here, url, "poison")
        delivered = [bodies(await receive(here, url)) for _ in range(4)]
        [letter] = await receive(here, dead)

        assert [["poison"]] * 3 + [[]] == delivered
        assert here.plane.sqs.queue("requests").arn == letter["Attributes"]["DeadLetterQueueSourceArn"]


async def test_dead_letters_do_not_hold_up_the_good():
    """A receive that buries ten bad messages still brings the good one behind them."""
    async with cloud() as here:
        await here.queue("dead")
        policy = {"deadLetterTargetArn": here.plane.sqs.queue("dead").arn, "maxReceiveCount": 1}
        url = await here.queue(RedrivePolicy=json.dumps(policy), VisibilityTimeout=0)
        await send(here, url, *["bad"] * 10)
        await receive(here, url)
        await send(here, url, "good")

        assert ["good"] == bodies(await receive(here, url))


async def test_a_forgotten_message_is_gone():
    """After the retention period. Otherwise what waits for capacity too long would never be missed in a test."""
    async with cloud() as here:
        url = await here.queue(MessageRetentionPeriod=60)
        await send(here, url, "a")
        here.clock.advance(60)

        assert (0, 0, 0) == await counts(here, url)
        assert [] == await receive(here, url)


async def test_duplicates_are_injected_and_stand_for_themselves():
    """A copy has its original's id and outlives the original's deletion, once. Otherwise "at least once" would mean
    once in every test there is."""
    async with cloud(seed=7) as here:
        url = await here.queue()
        here.plane.sqs.queue("requests").duplicates = 1.0
        await send(here, url, "a")
        [original] = await receive(here, url, MaxNumberOfMessages=1)
        await here.sqs.delete_message(QueueUrl=url, ReceiptHandle=original["ReceiptHandle"])
        [copy] = await receive(here, url)
        await here.sqs.delete_message(QueueUrl=url, ReceiptHandle=copy["ReceiptHandle"])

        assert original["MessageId"] == copy["MessageId"]
        assert [] == await receive(here, url)


async def test_a_message_can_come_as_several_copies():
    """Up to as many as said, each to be deleted by itself. Otherwise "at least once" would mean twice at most."""
    async with cloud(seed=7) as here:
        url = await here.queue()
        queue = here.plane.sqs.queue("requests")
        queue.duplicates, queue.most_copies = 1.0, 4
        sent = [f"{number:02d}" for number in range(20)]
        await send(here, url, *sent)
        deliveries: Counter[str] = Counter()
        while received := await receive(here, url):
            deliveries.update(bodies(received))
            for message in received:
                await here.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

        assert set(sent) == set(deliveries)
        assert {2, 3, 4, 5} == set(deliveries.values())


async def test_disorder_is_injected_and_survives_a_change_of_mind():
    """An ordered queue gives first what an unordered one had begun to deal. Otherwise a storm that calms down would
    lose what was on the table."""
    async with cloud(seed=3) as here:
        url = await here.queue()
        queue = here.plane.sqs.queue("requests")
        queue.unordered = True
        sent = [f"{number:02d}" for number in range(25)]
        await send(here, url, *sent[:15])
        dealt = bodies(await receive(here, url))
        queue.unordered = False
        await send(here, url, *sent[15:])
        rest = bodies(await receive(here, url)) + bodies(await receive(here, url))

        assert sent == sorted(dealt + rest)
        assert set(sent[:15]) == set(dealt) | set(rest[:5])
        assert sent[15:] == rest[5:]


async def test_disorder_is_injected_and_loses_nothing():
    """The order is not that of sending, and every message comes once. Otherwise late requests would go untested."""
    async with cloud(seed=3) as here:
        url = await here.queue()
        here.plane.sqs.queue("requests").unordered = True
        sent = [f"{number:02d}" for number in range(20)]
        await send(here, url, *sent)
        got = bodies(await receive(here, url)) + bodies(await receive(here, url))

        assert sent == sorted(got)
        assert sent != got


async def test_the_same_seed_gives_the_same_faults():
    """Otherwise a failure could not be looked at twice."""

    async def story() -> Counter[str]:
        async with cloud(seed=11) as here:
            url = await here.queue()
            here.plane.sqs.queue("requests").duplicates = 0.5
            await send(here, url, *"abcdefgh")
            return Counter(bodies(await receive(here, url)) + bodies(await receive(here, url)))

    assert await story() == await story()


async def test_a_batch_fails_entry_by_entry():
    """What is good goes through beside what is bad. Otherwise one bad message would hold up nine runs."""
    async with cloud() as here:
        url = await here.queue()
        answer = await here.sqs.send_message_batch(
            QueueUrl=url,
            Entries=[{"Id": "good", "MessageBody": "a"}, {"Id": "late", "MessageBody": "b", "DelaySeconds": 901}],
        )
        [message] = await receive(here, url)
        deleted = await here.sqs.delete_message_batch(
            QueueUrl=url,
            Entries=[
                {"Id": "1", "ReceiptHandle": message["ReceiptHandle"]},
                {"Id": "2", "ReceiptHandle": "no such thing"},
            ],
        )

        assert ["good"] == [each["Id"] for each in answer["Successful"]]
        assert [("late", True, "InvalidParameterValue")] == [
            (each["Id"], each["SenderFault"], each["Code"]) for each in answer["Failed"]
        ]
        assert (["1"], ["ReceiptHandleIsInvalid"]) == (
            [each["Id"] for each in deleted["Successful"]],
            [each["Code"] for each in deleted["Failed"]],
        )


async def test_a_batch_changes_visibility_by_entry():
    """How the Lambda's poller gives several messages back at once."""
    async with cloud() as here:
        url = await here.queue()
        await send(here, url, "a", "b")
        messages = await receive(here, url)
        entries = [
            {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 0}
            for number, message in enumerate(messages)
        ]
        await here.sqs.change_message_visibility_batch(QueueUrl=url, Entries=entries)

        assert (2, 0, 0) == await counts(here, url)


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"MessageBody": "a", "DelaySeconds": 901}, "InvalidParameterValue"),
        ({"MessageBody": ""}, "MissingParameter"),
        ({"MessageBody": "\x00"}, "InvalidMessageContents"),
        ({"MessageBody": "a" * 1_048_577}, "InvalidParameterValue"),
        ({"MessageBody": "ä" * 524_289}, "InvalidParameterValue"),
    ],
)
async def test_what_sqs_does_not_take_is_refused(params: dict[str, Any], code: str):
    """With SQS's own code. Otherwise the first to find out would be a production queue."""
    async with cloud() as here:
        assert code == await refusal(here.sqs.send_message(QueueUrl=await here.queue(), **params))


async def test_the_largest_message_goes_through():
    """A mebibyte to the byte, whatever its escaping as JSON. Otherwise the limit would be somewhere else."""
    async with cloud() as here:
        url = await here.queue()
        await send(here, url, '"' * 1_048_576)

        assert [1_048_576] == [len(body) for body in bodies(await receive(here, url))]


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"DelaySeconds": "901"}, "InvalidAttributeValue"),
        ({"VisibilityTimeout": "43201"}, "InvalidAttributeValue"),
        ({"VisibilityTimeout": "-1"}, "InvalidAttributeValue"),
        ({"Colour": "red"}, "InvalidAttributeName"),
        ({"FifoQueue": "true"}, "AWS.SimpleQueueService.UnsupportedOperation"),
        ({"RedrivePolicy": "{}"}, "InvalidParameterValue"),
        (
            {"RedrivePolicy": '{"maxReceiveCount": 3, "deadLetterTargetArn": "arn:aws:sqs:us-east-1:1:none"}'},
            "InvalidParameterValue",
        ),
    ],
)
async def test_a_queue_that_cannot_be_is_refused(attributes: dict[str, str], code: str):
    """FIFO queues by name too: half a FIFO queue would prove what is not so."""
    async with cloud() as here:
        assert code == await refusal(here.sqs.create_queue(QueueName="q", Attributes=attributes))


async def test_a_purge_empties_the_queue_once_a_minute():
    """In flight and delayed messages too. Otherwise a test that cleans up would meet the last test's messages."""
    async with cloud() as here:
        url = await here.queue()
        await send(here, url, "a", "b")
        await receive(here, url, MaxNumberOfMessages=1)
        await here.sqs.purge_queue(QueueUrl=url)

        assert (0, 0, 0) == await counts(here, url)
        assert "AWS.SimpleQueueService.PurgeQueueInProgress" == await refusal(here.sqs.purge_queue(QueueUrl=url))


async def test_a_poller_that_hangs_up_takes_nothing():
    """Its message goes to the next one at once. Otherwise each launcher that is killed would hide a request for the
    length of the visibility timeout."""
    async with cloud() as here:
        url = await here.queue()
        queue = here.plane.sqs.queue("requests")
        _, port = here.plane.endpoint.rsplit(":", 1)
        _, writer = await asyncio.open_connection("127.0.0.1", int(port))
        body = json.dumps({"QueueUrl": url, "WaitTimeSeconds": 20}).encode()
        writer.write(
            b"POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: AmazonSQS.ReceiveMessage\r\n"
            b"Content-Type: application/x-amz-json-1.0\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        await eventually(1, lambda: len(queue._waiting))
        writer.close()
        await writer.wait_closed()
        await eventually(0, lambda: len(queue._waiting))
        await send(here, url, "a")

        assert ["a"] == bodies(await receive(here, url))
