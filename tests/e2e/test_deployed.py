"""The whole relay on the stack that `spotrelay deploy` makes: its queue, bucket, launch template, rules, zip and roles.

The other stories run on a stack made by hand. Here nothing is: what the template forgets, a story does not get.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from spotrelay.core import keys
from spotrelay.core.errors import StackInUse
from spotrelay.stack.code import key_of, packed
from support.deployed import Relay, deployed
from support.story import NOTICE_S, STEPS, Story


@pytest.mark.slow
async def test_the_whole_relay_runs_on_the_deployed_stack(tmp_path: Path) -> None:
    """One notice, one sudden death, an update of the stack in between: the run ends right, and everything is gone but
    the data. Otherwise the parts work, and what is deployed does not."""
    async with deployed(tmp_path) as relay:
        story = await relay.cloud.begin("holds-twice")
        first = await story.ready(1)
        relay.cloud.interrupt(first, in_s=NOTICE_S)
        second = await story.ready(2)
        await relay.deploy(volume_gib=60)
        relay.cloud.vanish(second)
        await story.ends("succeeded")
        await relay.cloud.quiet()

        assert 3 == len(await story.claims())
        assert ["1", "1", "2"] == templates_of(story)
        assert (await story.result()).encode() == await relay.cloud.store.get(keys.artifact(story.run, "result"))
        assert [] == [str(entry) for entry in relay.front.audit if not entry.verdict.allowed]
        assert [] == relay.front.problems
        await goes(relay)


async def goes(relay: Relay) -> None:
    left = await relay.destroy()

    assert left is not None
    assert relay.outputs["BucketName"] == left.bucket
    assert left.objects > 0
    assert () == left.unfinished


def templates_of(story: Story) -> list[str]:
    """The version of the launch template that each instance came from."""
    return [computer.instance.tags["aws:ec2launchtemplate:version"] for computer in story.computers()]


@pytest.mark.slow
async def test_a_stack_with_a_machine_on_it_is_not_destroyed(tmp_path: Path) -> None:
    """Somebody's run is on it. Otherwise a slip of the hand costs a night's work."""
    async with deployed(tmp_path) as relay:
        story = await relay.cloud.begin("holds")
        instance = await story.ready(1)
        with pytest.raises(StackInUse, match=instance):
            await relay.destroy()
        relay.cloud.interrupt(instance, in_s=NOTICE_S)
        await story.ends("succeeded")

        assert STEPS == story.journal()[-1][2]


@pytest.mark.slow
async def test_the_code_that_runs_is_the_one_in_the_bucket(tmp_path: Path) -> None:
    """Named by its hash, and what the function is made of. Otherwise what is tested is not what is deployed."""
    async with deployed(tmp_path) as relay:
        place = relay.resolved("Launcher")["Code"]

        assert key_of(packed()) == place["S3Key"]
        assert packed() == await relay.cloud.store.get(place["S3Key"])
        assert {"spotrelay/launcher/handler.py"} <= {name for name, _ in relay.cloud.provision.files}
