"""Machines that die without a word, and agents that do: EC2's own event brings the next one."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from spotrelay.command import processes
from support.processes import command_line
from support.story import STEPS, Stage, Story, stage
from support.tripwire import AFTER, BEFORE, Wire, sprung


async def test_machine_that_dies_between_saves_costs_the_work_since_the_last_one(tmp_path: Path) -> None:
    """The next attempt has what the newest background save has. Otherwise a sudden death costs the whole run."""
    async with stage(tmp_path) as cloud:
        story = await cloud.begin("holds")
        instance = await story.ready(1)
        await story.until(lambda: saved_the_middle(story), what="a save of the middle")
        cloud.vanish(instance)
        await story.ends("succeeded")

        assert [(1, "start", 0), (2, "start", STEPS // 2), (2, "exit-0", STEPS)] == story.journal()


async def test_machine_that_dies_before_its_first_save_costs_its_work_alone(tmp_path: Path) -> None:
    """Then the directory as the person gave it is the newest there is. Otherwise an early death ends the run."""
    async with stage(tmp_path) as cloud:
        story = await cloud.begin("holds", save={"every_s": 0})
        cloud.vanish(await story.ready(1))
        await story.ends("succeeded")

        assert [(1, "start", 0), (2, "start", 0), (2, "exit-0", STEPS)] == story.journal()


async def test_agent_that_is_killed_takes_its_machine_along(tmp_path: Path) -> None:
    """kill -9 of the agent alone ends command and instance, and the run goes on elsewhere. Otherwise the command runs
    on unwatched: nobody saves it, nobody ends the instance, and its successor is a second owner."""
    async with stage(tmp_path) as cloud:
        story = await cloud.begin("holds")
        await story.ready(1)
        machine = story.computers(1)[0].machine
        assert machine is not None
        agent = next(pid for pid in processes.descendants(machine.pid) if b"spotrelay.daemon" in command_line(pid))
        os.kill(agent, signal.SIGKILL)
        await story.ends("succeeded")

        assert 2 == len(await story.claims())


async def test_interruption_while_the_machine_boots_ends_it_and_another_comes(tmp_path: Path) -> None:
    """Taken before its agent is up. Otherwise the attempt waits for a machine that is gone."""
    async with stage(tmp_path) as cloud:
        story = cloud.plan()
        cloud.started = lambda computer: cloud.vanish(computer.instance.id) if len(cloud.computers) == 1 else None
        await story.begin()
        await story.ends("succeeded")

        assert 2 == len(story.computers(1))
        assert 1 == len(await story.claims())


@pytest.mark.parametrize(
    ("step", "moment"),
    [
        ("create attempts/#/claim.json", BEFORE),
        ("create attempts/#/claim.json", AFTER),
        ("create attempts/#/base.json", AFTER),
        ("create snapshots/#-#.json.zst", BEFORE),
        ("create outcome.json", BEFORE),
        ("create outcome.json", AFTER),
    ],
)
async def test_machine_that_dies_at_what_others_see_leaves_a_run_that_ends(
    step: str, moment: str, tmp_path: Path
) -> None:
    """A few of the steps of test_crash.py: the objects by which instances and launcher know of each other. Otherwise
    half of the news would be worse than none."""
    async with stage(tmp_path, module="support.tripwire") as cloud:
        story = await begin_with_wire(cloud, Wire(step, moment))
        await story.ends("succeeded")
        await cloud.quiet()

        assert sprung(story.computers(1)[0].state)


async def test_machine_that_dies_right_after_it_wrote_its_own_run_is_replaced(tmp_path: Path) -> None:
    """A run that came as user data belongs to the relay as soon as it is written. Otherwise it would wait for ever for
    the instance that it came with."""
    async with stage(tmp_path, module="support.tripwire") as cloud:
        story = cloud.plan(job_outside=True)
        cloud.told = lambda computer: {} if len(cloud.computers) > 1 else Wire("create run.json", AFTER).environment()
        cloud.boot(cloud.user_data(story.spec))
        await story.ends("succeeded")

        assert 2 == len(story.computers())


async def saved_the_middle(story: Story) -> bool:
    return await story.saved_state(1) == STEPS // 2


async def begin_with_wire(cloud: Stage, wire: Wire) -> Story:
    """Across the way of the run's first machine."""
    story = cloud.plan()
    cloud.told = lambda computer: {} if len(cloud.computers) > 1 else wire.environment()
    await story.begin()
    return story
