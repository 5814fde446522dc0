"""An instance that is told to go: what it had is what the next one begins with."""

from __future__ import annotations

from pathlib import Path

import pytest

from spotrelay.core import keys
from support.story import NOTICE_S, SHORT_NOTICE_S, STEPS, Story, stage


def counts(story: Story) -> list[int]:
    """Where each attempt began and ended, in order."""
    return [counter for _, _, counter in story.journal()]


async def test_checkpoint_written_at_sigterm_is_where_the_next_attempt_begins(tmp_path: Path) -> None:
    """What the command saves when it is told to is what its successor has. Otherwise each interruption costs work."""
    async with stage(tmp_path) as cloud:
        story = await cloud.begin("holds", save={"every_s": 0})
        cloud.interrupt(await story.ready(1), in_s=NOTICE_S)
        await story.ends("succeeded")
        handover = await story.history.handover(1)
        await cloud.quiet()

        assert handover is not None
        assert (True, "interrupted") == (handover.clean, handover.reason)
        assert (handover.snapshot or "").startswith("1-")
        assert [0, STEPS // 2, STEPS // 2, STEPS] == counts(story)


async def test_two_interruptions_in_a_row_lose_nothing(tmp_path: Path) -> None:
    """The third attempt goes on where the second was stopped. Otherwise a busy night at EC2 makes no progress."""
    async with stage(tmp_path) as cloud:
        story = await cloud.begin("holds-twice")
        for attempt in (1, 2):
            cloud.interrupt(await story.ready(attempt), in_s=NOTICE_S)
        await story.ends("succeeded")

        assert 3 == len(await story.claims())
        assert [0, STEPS // 2, STEPS // 2, STEPS // 2, STEPS // 2, STEPS] == counts(story)


async def test_successor_waits_for_a_long_last_save_and_does_not_end_it(tmp_path: Path) -> None:
    """An attempt that asked for its successor goes on saving after that one's claim. Otherwise the quicker EC2 finds a
    machine, the more work is lost."""
    async with stage(tmp_path, module="support.hasty") as cloud:
        story = await cloud.begin("slow-to-save", save={"every_s": 0})
        cloud.interrupt(await story.ready(1), in_s=60)
        await story.phase(2, "waiting")
        await story.phase(1, "draining")
        (story.shared / "may-save").touch()
        await story.phase(1, "staying")
        cloud.take(story.computers(1)[0].instance.id)
        await story.ends("succeeded")
        handover = await story.history.handover(1)

        assert handover is not None
        assert handover.clean
        assert [0, STEPS // 2, STEPS // 2, STEPS] == counts(story)


async def test_terminate_instances_is_a_notice_too(tmp_path: Path) -> None:
    """A person ends the instance, IMDS says nothing: the operating system's SIGTERM is enough to save, to hand over and
    to be succeeded. Otherwise whoever terminates an instance by hand loses what it did."""
    async with stage(tmp_path) as cloud:
        story = await cloud.begin("holds", save={"every_s": 0})
        cloud.plane.ec2.call("TerminateInstances", {"InstanceIds": [await story.ready(1)]})
        await story.ends("succeeded")
        handover = await story.history.handover(1)

        assert handover is not None
        assert "system terminate" == handover.notice
        assert [0, STEPS // 2, STEPS // 2, STEPS] == counts(story)


async def test_run_that_came_as_user_data_is_relayed_like_any_other(tmp_path: Path) -> None:
    """A person boots the image with a spec, without queue or launcher; from the first notice on the relay has it.
    Otherwise the simplest way to begin has no end."""
    async with stage(tmp_path) as cloud:
        story = cloud.plan("holds", job_outside=True)
        instance = cloud.boot(cloud.user_data(story.spec))
        assert instance == await story.ready(1)
        cloud.interrupt(instance, in_s=NOTICE_S)
        await story.ends("succeeded")

        assert 2 == len(await story.claims())
        assert [0, STEPS // 2, STEPS // 2, STEPS] == counts(story)


async def test_second_instance_with_the_same_user_data_goes_away(tmp_path: Path) -> None:
    """One run, one first attempt, however often its user data is booted. Otherwise `count = 2` is two owners."""
    async with stage(tmp_path) as cloud:
        story = cloud.plan("", job_outside=True)
        for _ in range(2):
            cloud.boot(cloud.user_data(story.spec))
        await story.ends("succeeded")

        assert 1 == len(await story.claims())
        assert 2 == len(story.computers())


async def test_exit_that_is_not_clean_is_an_error_where_the_spec_is_strict(tmp_path: Path) -> None:
    """With strict_exit a run whose command answers SIGTERM with another code fails, and says so; its directory is kept.
    Otherwise who wants the original contract cannot have it."""
    async with stage(tmp_path) as cloud:
        story = await cloud.begin("unclean", interrupt={"strict_exit": True})
        cloud.interrupt(await story.ready(1), in_s=NOTICE_S)
        outcome = await story.ends("failed", exit_code=4)

        assert outcome.snapshot is not None
        assert outcome.snapshot.startswith("1-")


async def test_exit_that_is_not_clean_is_an_interruption_otherwise(tmp_path: Path) -> None:
    """Frameworks end with anything after SIGTERM. Otherwise torchrun (1) and shells (143) could not be relayed."""
    async with stage(tmp_path) as cloud:
        story = await cloud.begin("unclean")
        cloud.interrupt(await story.ready(1), in_s=NOTICE_S)
        await story.ends("succeeded")
        handover = await story.history.handover(1)

        assert handover is not None
        assert (False, 4) == (handover.clean, handover.exit_code)


async def test_directory_is_kept_as_plain_objects_at_the_end(tmp_path: Path) -> None:
    """After success any S3 tool finds the files. Otherwise results can be had with spotrelay alone."""
    async with stage(tmp_path) as cloud:
        story = await cloud.begin()
        await story.ends("succeeded")
        found = await cloud.store.get(keys.artifact(story.run, "result"))

        assert (await story.result()).encode() == found


@pytest.mark.slow
async def test_command_deaf_to_sigterm_is_killed_in_time_for_its_save(tmp_path: Path) -> None:
    """The save has its share of the seconds, whatever the command does. Otherwise one deaf program loses everything."""
    async with stage(tmp_path) as cloud:
        story = await cloud.begin("stubborn")
        cloud.interrupt(await story.ready(1), in_s=SHORT_NOTICE_S)
        await story.ends("succeeded")
        handover = await story.history.handover(1)

        assert handover is not None
        assert ("SIGKILL", False) == (handover.ended, handover.clean)
        assert handover.snapshot is not None
