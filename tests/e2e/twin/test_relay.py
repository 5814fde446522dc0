"""A run on real systemd: the image boots, its unit starts the agent, EC2 and people do what they do to instances."""

from __future__ import annotations

from spotrelay.core import keys
from support.story import SHORT_NOTICE_S, STEPS, Story
from support.twin.stage import TwinStage

# What a notice gives here: the last second belongs to a machine that shuts down, and two cores carry everything.
TOLD_S = 4 * SHORT_NOTICE_S


async def test_run_goes_through_two_notices_and_a_sudden_death(cloud: TwinStage) -> None:
    """Assigned by the launcher, on four machines; each goes on where the one before it was. Otherwise what works with
    namespaces on a laptop does not work as a service of an instance."""
    story = await cloud.begin("holds-thrice")
    cloud.interrupt(await story.ready(1), in_s=TOLD_S)
    second = await story.ready(2)
    await story.until(lambda: saved_by(story, 2), what="a save of attempt 2")
    cloud.vanish(second)
    cloud.interrupt(await story.ready(3), in_s=TOLD_S)
    await story.ends("succeeded")
    await cloud.quiet()

    assert 4 == len(await story.claims())
    assert [1, 2, 3, 4] == sorted({attempt for attempt, what, _ in story.journal() if what == "start"})


async def test_person_s_power_off_saves_and_hands_over(cloud: TwinStage) -> None:
    """TerminateInstances is no notice: systemd stops the agent, with the network still up, and the run goes on
    elsewhere. Otherwise a click in the console costs the work since the last save."""
    story = await cloud.begin("holds", save={"every_s": 0})
    instance = await story.ready(1)
    cloud.plane.ec2.instances.terminate(instance)
    await story.ends("succeeded")
    handover = await story.history.handover(1)

    assert handover is not None
    assert ("interrupted", "system terminate", True) == (handover.reason, handover.notice, handover.clean)
    assert [(1, "start", 0), (1, "exit-0", STEPS // 2), (2, "start", STEPS // 2)] == story.journal()[:3]


async def test_agent_that_is_killed_ten_times_goes_on_with_its_attempt(cloud: TwinStage) -> None:
    """systemd starts it again, and it takes up the directory on its disk: never an older one, never a second machine,
    never two at a time. Otherwise each crash of the agent costs a launch, and work."""
    story = await cloud.begin("restarted", save={"every_s": 0})
    instance = await story.ready(1)
    twin = await cloud.twin(instance)
    for kill in range(1, 11):
        await twin.run("systemctl", "kill", "--kill-who=main", "--signal=KILL", "spotrelay-agent.service")
        await story.until(lambda count=kill: starts(story) > count, what=f"the command again, after {kill} kills")
    (story.shared / "may-go-on").touch()
    await story.ends("succeeded", restarted=True)

    assert 1 == len(await story.claims())
    assert [0, *[STEPS // 2] * 10] == [counter for _, what, counter in story.journal() if what == "start"]
    assert 10 == cloud.console(instance).count("directory.taken_up")


def starts(story: Story) -> int:
    return sum(what == "start" for _, what, _ in story.journal())


async def saved_by(story: Story, attempt: int) -> bool:
    return bool(await story.stage.store.list(keys.snapshots(story.run, attempt)))
