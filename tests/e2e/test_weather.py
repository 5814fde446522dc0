"""Surroundings that fail for a while (P6): the command is not hurt, and what comes after is as it should be."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from spotrelay.aws.store import open_store
from spotrelay.core import keys
from spotrelay.local.imds_faults import HANG, Fault, status
from support.story import NOTICE_S, Story, stage


@pytest.mark.parametrize("fault", [status(500), HANG], ids=["500", "hanging"])
async def test_metadata_service_that_fails_hurts_nobody_and_hides_no_later_notice(fault: Fault, tmp_path: Path) -> None:
    """The command runs on, and the first answer after it is heard. Otherwise a service that is ill for a minute ends
    the run, or makes it deaf."""
    async with stage(tmp_path) as cloud:
        story = await cloud.begin("holds")
        instance = await story.ready(1)
        cloud.imds.misbehave(instance, lambda _: fault)
        before = len(cloud.imds.requests(instance))
        await story.until(lambda: len(cloud.imds.requests(instance)) > before + 2, what="looks that fail")
        cloud.imds.misbehave(instance, None)
        cloud.interrupt(instance, in_s=NOTICE_S)
        await story.ends("succeeded")

        assert [(1, "start"), (1, "exit-0"), (2, "start"), (2, "exit-0")] == [line[:2] for line in story.journal()]


async def test_metadata_service_that_is_ill_at_boot_is_waited_for(tmp_path: Path) -> None:
    """The first minute of an instance is when it is slow. Otherwise some boots end for nothing."""
    async with stage(tmp_path) as cloud:
        story = cloud.plan()
        cloud.started = lambda computer: cloud.imds.inject(computer.instance.id, *[status(503)] * 5)
        await story.begin()
        await story.ends("succeeded")

        assert 1 == len(story.computers())


async def test_store_that_fails_while_the_command_runs_hurts_nobody(tmp_path: Path) -> None:
    """Saves and heartbeats fail for a while; the command does not hear of it, and the next save has it all. Otherwise
    an hour of S3's trouble is an hour of everybody's."""
    async with stage(tmp_path) as cloud:
        story = await cloud.begin("holds")
        instance = await story.ready(1)
        run = tmp_path / "store" / keys.run(story.run).rstrip("/")
        shutil.move(run, tmp_path / "away")
        run.touch()  # a file where the folder was: whatever is asked of the store, it fails
        await story.until(lambda: "snapshot.failed" in story.told(), what="a save that fails")
        run.unlink()
        shutil.move(tmp_path / "away", run)
        cloud.interrupt(instance, in_s=NOTICE_S)
        await story.ends("succeeded")

        assert [(1, "start"), (1, "exit-0"), (2, "start"), (2, "exit-0")] == [line[:2] for line in story.journal()]


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """moto's endpoint, with a bucket in it."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_S3": endpoint,
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket="relay")
    client.close()
    yield endpoint
    server.stop()


async def test_run_is_relayed_with_its_store_in_s3(s3: str, tmp_path: Path) -> None:
    """Agent and launcher over S3's protocol, with the instance's own credentials. Otherwise what folders forgive shows
    in the cloud first."""
    async with stage(tmp_path, store_url="s3://relay/some/prefix", store_endpoint=s3) as cloud:
        story = await cloud.begin("holds")
        cloud.interrupt(await story.ready(1), in_s=NOTICE_S)
        await story.ends("succeeded")
        await cloud.quiet()

        assert await below(story) == await story_keys(story)


async def story_keys(story: Story) -> list[str]:
    return await story.stage.store.list(keys.run(story.run))


async def below(story: Story) -> list[str]:
    """The same objects, found from the bucket's top: nothing was written beside the prefix."""
    names = await open_store("s3://relay").list("some/prefix/" + keys.run(story.run))
    return [name.removeprefix("some/prefix/") for name in names]
