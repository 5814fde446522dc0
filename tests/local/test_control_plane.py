"""The server: faults on request, throttling, and a start and an end that leave nothing behind."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request

import pytest
from botocore.exceptions import ConnectionClosedError

from spotrelay.local.server import ControlPlane
from support.cloud_plane import Client, cloud, eventually, refusal, status_of


async def test_a_fault_hits_as_often_as_asked_and_those_it_is_for():
    """Then all is well again; each call is counted, refused or not. Otherwise a test of retries would count on luck."""
    async with cloud() as here:
        here.plane.faults.refuse(
            "RunInstances",
            "InternalError",
            status=500,
            times=2,
            when=lambda params: params["InstanceType"] == "m5.large",
        )
        other = await here.run(InstanceType="c5.large")
        refused = [await status_of(here.run()) for _ in range(2)]
        launched = await here.run()

        assert (1, [("InternalError", 500)] * 2, 1) == (len(other), refused, len(launched))
        assert 4 == here.plane.calls["RunInstances"]
        assert 2 == len(await here.states())


async def test_a_refused_send_sends_nothing_and_a_lost_answer_does():
    """The two kinds of failure that look the same from outside. Otherwise "at least once" could not be tested."""
    async with cloud() as here:
        url = await here.queue()
        here.plane.faults.refuse("SendMessage", "ServiceUnavailable", status=503)
        refused = await status_of(here.sqs.send_message(QueueUrl=url, MessageBody="a"))
        nothing = len(here.plane.sqs.queue("requests").messages)
        here.plane.faults.lose_answer("SendMessage")
        with pytest.raises(ConnectionClosedError):
            await here.sqs.send_message(QueueUrl=url, MessageBody="b")

        assert (("ServiceUnavailable", 503), 0) == (refused, nothing)
        assert ["b"] == [message.body for message in here.plane.sqs.queue("requests").messages.values()]


async def test_a_late_answer_has_had_its_effect():
    """A client that gives up on it has a machine all the same. Otherwise a timeout would look harmless."""
    async with cloud() as here:
        here.plane.faults.delay_answer("RunInstances", 30)
        launching = asyncio.create_task(here.run())
        await eventually(1, lambda: len(here.plane.ec2.instances))
        early = launching.done()
        here.clock.advance(30)

        assert (False, 1) == (early, len(await launching))


async def test_single_launches_are_throttled_to_two_a_second():
    """Five at once, then two a second: RequestLimitExceeded, a 503. Otherwise a launcher of one call a request would
    look fast enough for a storm."""
    async with cloud(throttle=True) as here:
        for _ in range(5):
            await here.run()
        sixth = await status_of(here.run())
        here.clock.advance(1)
        after = [len(await here.run()), len(await here.run()), await refusal(here.run())]

        assert ("RequestLimitExceeded", 503) == sixth
        assert [1, 1, "RequestLimitExceeded"] == after


async def test_instances_are_throttled_beyond_a_thousand():
    """However few the calls. Otherwise a storm would be over in a moment, by batching alone."""
    async with cloud(throttle=True) as here:
        await here.run(MinCount=1000, MaxCount=1000)
        none_left = await refusal(here.run())
        here.clock.advance(2)

        assert "RequestLimitExceeded" == none_left
        assert 4 == len(await here.run(MinCount=4, MaxCount=4))


async def test_looking_at_everything_has_a_smaller_bucket():
    """Unfiltered, half as many calls as filtered. Otherwise nobody would learn to filter."""
    async with cloud(throttle=True) as here:
        filters = [{"Name": "instance-state-name", "Values": ["running"]}]
        for _ in range(50):
            await here.ec2.describe_instances()

        assert "RequestLimitExceeded" == await refusal(here.ec2.describe_instances())
        assert [] == (await here.ec2.describe_instances(Filters=filters))["Reservations"]


async def test_what_is_not_done_here_is_refused_by_name():
    """Otherwise a call that does nothing would pass for one that works."""
    async with cloud() as here:
        assert "UnsupportedOperation" == await refusal(here.ec2.stop_instances(InstanceIds=["i-0123456789abcdef0"]))
        url = await here.queue()
        assert "AWS.SimpleQueueService.UnsupportedOperation" == await refusal(here.sqs.list_queue_tags(QueueUrl=url))


async def test_another_service_is_told_that_it_is_not_here():
    """With AWS_ENDPOINT_URL every client of a process comes here. Otherwise it would be given an answer of SQS."""
    async with cloud() as here:

        def ask() -> tuple[int, str]:
            try:
                with urllib.request.urlopen(here.plane.endpoint + "/bucket/key") as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.read().decode()

        status, text = await asyncio.to_thread(ask)

        assert 501 == status
        assert "SQS" in text


async def test_closing_ends_long_polls_and_frees_the_port():
    """At once, with an empty answer. Otherwise each rehearsal would end with a wait, or leave a listener behind."""
    before = asyncio.all_tasks()
    plane = ControlPlane()
    await plane.start()
    sqs = await asyncio.to_thread(Client, "sqs", plane.endpoint)
    url = (await sqs.create_queue(QueueName="requests"))["QueueUrl"]
    polling = asyncio.create_task(sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20))
    await eventually(1, lambda: len(plane.sqs.queue("requests")._waiting))
    await plane.close()
    answer = await polling
    sqs.boto.close()
    port = int(plane.endpoint.rsplit(":", 1)[1])

    assert "Messages" not in answer
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    assert before == asyncio.all_tasks()


async def test_a_plane_closed_at_once_has_waited_for_its_models():
    """Also one that nobody asked anything. Otherwise a thread would load for a program that has ended."""
    plane = ControlPlane()
    await plane.start()
    await plane.close()
    never_started = ControlPlane()
    await never_started.close()

    assert "" == never_started.endpoint
