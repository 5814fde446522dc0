"""Messages lost, doubled and late, launchers that die, pools that are empty: there is one next attempt."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from spotrelay.command import processes
from spotrelay.core import keys
from spotrelay.local.cloud import QUEUE
from support.processes import command_line
from support.story import NOTICE_S, Stage, Story, stage


async def launches(story: Story) -> int:
    """Machines started for the second attempt."""
    return len(story.computers(2))


async def test_resume_request_that_is_lost_is_made_up_for_by_the_state_change_event(tmp_path: Path) -> None:
    """SQS refuses every request of the agent, and EC2's warning is lost; its word of the end finds the run. Otherwise a
    queue that is away for two minutes ends the run in silence."""
    async with stage(tmp_path, module="support.hasty") as cloud:
        story = await cloud.begin("holds")
        instance = await story.ready(1)
        cloud.plane.faults.refuse("SendMessage", "ServiceUnavailable", status=503, times=10_000)
        cloud.plane.events.loss = 1.0
        cloud.interrupt(instance, in_s=60)
        await story.phase(1, "staying")
        cloud.plane.events.loss = 0.0
        assert 0 == await launches(story)
        cloud.take(instance)
        await story.until(lambda: story.computers(2), what="a successor")
        cloud.plane.faults.clear()
        await story.ends("succeeded")
        await cloud.quiet()

        assert 1 == await launches(story)


async def test_notice_that_the_instance_never_saw_comes_by_way_of_the_launcher(tmp_path: Path) -> None:
    """The metadata service says nothing; EC2's event brings the successor, and the successor the notice. Otherwise what
    the command did since its last save is lost, with two minutes in which it could have been saved."""
    async with stage(tmp_path, module="support.hasty") as cloud:
        story = await cloud.begin("holds", save={"every_s": 0})
        instance = await story.ready(1)
        cloud.plane.ec2.interrupt_warning(instance, "terminate", time.time() + 60)
        await story.phase(1, "staying")
        cloud.take(instance)
        await story.ends("succeeded")
        handover = await story.history.handover(1)

        assert handover is not None
        assert handover.clean
        assert "successor" in (handover.notice or "")


async def test_state_change_event_that_is_lost_is_not_missed_where_there_was_a_notice(tmp_path: Path) -> None:
    """EventBridge promises nothing; the agent's request is enough. Otherwise one lost event ends the run."""
    async with stage(tmp_path) as cloud:
        cloud.plane.events.loss = 1.0
        story = await cloud.begin("holds")
        cloud.interrupt(await story.ready(1), in_s=NOTICE_S)
        await story.ends("succeeded")

        assert 1 == await launches(story)


async def test_messages_delivered_twice_and_out_of_order_launch_one_successor(tmp_path: Path) -> None:
    """Every message twice, every event twice, in any order. Otherwise two machines are paid and one run has two
    owners."""
    async with stage(tmp_path) as cloud:
        queue = cloud.plane.sqs.queue(QUEUE)
        queue.duplicates, queue.unordered, cloud.plane.events.doubling = 1.0, True, 1.0
        story = await cloud.begin("holds")
        cloud.interrupt(await story.ready(1), in_s=NOTICE_S)
        await story.ends("succeeded")
        await cloud.quiet()

        assert (1, 1) == (len(story.computers(1)), await launches(story))


async def test_launcher_whose_answer_from_ec2_is_lost_launches_nobody_twice(tmp_path: Path) -> None:
    """The instance runs, the connection is reset before the launcher learns of it, retries included. The same intent
    with the same token finds the same instance. Otherwise a reset costs an instance that nobody knows of."""
    async with stage(tmp_path) as cloud:
        cloud.plane.faults.lose_answer("CreateFleet", times=6)
        story = await cloud.begin()
        await story.ends("succeeded")
        await cloud.quiet()

        assert 1 == len(story.computers())
        assert cloud.plane.calls["CreateFleet"] > 6


async def test_launcher_that_is_killed_at_work_is_called_again(tmp_path: Path) -> None:
    """The execution environment dies while EC2 is asked; SQS delivers again. Otherwise the run has no next attempt, or
    two."""
    async with stage(tmp_path) as cloud:
        shorten_visibility(cloud)
        cloud.plane.faults.delay_answer("CreateFleet", 30)
        story = await cloud.begin()
        await story.until(story.computers, what="the launch")
        for pid in processes.descendants(os.getpid()):
            if b"awslambdaric" in command_line(pid):
                os.kill(pid, signal.SIGKILL)
        await story.ends("succeeded")
        await cloud.quiet()

        assert 1 == len(story.computers())


async def test_no_capacity_is_waited_for(tmp_path: Path) -> None:
    """Empty pools are no failure: the bell rings again until there is one. Otherwise the run ends in the hour when
    everybody wants GPUs."""
    async with stage(tmp_path) as cloud:
        cloud.plane.ec2.pools.drain()
        story = await cloud.begin()
        await story.until(lambda: cloud.plane.calls["CreateFleet"] >= 2, what="a second try")
        assert [] == story.computers()
        cloud.plane.ec2.pools.set_capacity("m5.large", "us-east-1b", 5)
        await story.ends("succeeded")
        await cloud.quiet()

        assert {"us-east-1b"} == {claim.zone for claim in await story.claims()}


async def test_request_for_a_successor_that_nobody_needs_changes_nothing(tmp_path: Path) -> None:
    """Forged, stale, or for a run that nobody knows. Otherwise whoever can write to the queue can fence a healthy
    attempt."""
    async with stage(tmp_path) as cloud:
        story = await cloud.begin("holds")
        instance = await story.ready(1)
        cloud.ring(story.run, 2)
        cloud.ring(story.run, 7)
        cloud.ring("nobodys-run", 1)
        await story.until(lambda: cloud.plane.sqs.queue(QUEUE).counts()[2] == 2, what="both are looked at")
        cloud.interrupt(instance, in_s=NOTICE_S)
        await story.ends("succeeded")

        assert 2 == len(story.computers())
        assert [] == await cloud.store.list(keys.run("nobodys-run"))


def shorten_visibility(cloud: Stage) -> None:
    cloud.plane.sqs.set_queue_attributes({"QueueUrl": cloud.queue_url, "Attributes": {"VisibilityTimeout": "1"}})
