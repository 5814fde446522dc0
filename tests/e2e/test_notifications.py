"""A person hears of a run: from `spotrelay deploy --notify` to the message, on the stack that it makes.

The webhook is a server with a certificate of its own, which the function is told to believe; the topic is moto's.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from moto.sns.models import sns_backends

from spotrelay.core import keys, records
from spotrelay.launcher.telling import AGAIN_S
from support.deployed import ACCOUNT, IMAGE, REGION, STACK, TYPES, ZONES, Relay, account, running
from support.rehearsals import mentioning, spotrelay
from support.story import NOTICE_S, Story, until
from support.webhook import certificate, hook

SECRET = "T0P/s3cret"
LONG_AGO = AGAIN_S + 1


@pytest.mark.slow
async def test_a_webhook_hears_of_each_event(tmp_path: Path) -> None:
    """Interrupted, resumed, finished: each once and in its order, though every sweep runs twice at a time. The launcher
    that dies when it has told and not yet noted it tells that again, under the same id. Otherwise a person learns to
    look away, or is never called."""
    believed = certificate(tmp_path)
    with hook(secured=believed) as there:
        async with account(tmp_path) as relay:
            relay.function_environment["SSL_CERT_FILE"] = str(believed)
            await deploy(relay, f"{there.url}/{SECRET}", tmp_path)
            async with running(relay, tmp_path):
                story = await begun(relay)
                await waits(relay, story)
                await swept(relay)
                assert [("interrupted", 1)] == there.events, relay.cloud.launcher_log()
                for pool in relay.plane.ec2.weather.all_pools():
                    relay.plane.ec2.weather.open(pool)
                await story.ends("succeeded")

                there.took = lambda _: kill_launchers(tmp_path)
                await relay.cloud.sweep()
                there.took = lambda _: None
                await swept(relay)
                assert [("interrupted", 1), ("resumed", 2)] == there.events, relay.cloud.launcher_log()
                await passes(LONG_AGO, keys.told(story.run, 2, "resumed"), relay)
                await swept(relay)
                await swept(relay)

                ids = Counter(body["id"] for body in there.bodies)
                twice = {name: times for name, times in ids.items() if times > 1}
                assert [("interrupted", 1), ("resumed", 2), ("resumed", 2), ("finished", 2)] == there.events
                assert {keys.told(story.run, 2, "resumed"): 2} == twice
                assert {f"/{SECRET}"} == set(there.paths)
                assert f"spotrelay status {story.run} --stack-name {STACK}" == there.bodies[-1]["command"]
                assert SECRET not in relay.cloud.launcher_log()
                assert [] == [str(entry) for entry in relay.front.audit if not entry.verdict.allowed]


@pytest.mark.slow
async def test_an_address_hears_of_the_end(tmp_path: Path) -> None:
    """By the topic that the stack makes for it, and with the right that the launcher has on that alone. Once, though
    two sweeps are at it. Otherwise the policy is found wanting by the first night's run."""
    async with account(tmp_path) as relay:
        await deploy(relay, "me@example.com", tmp_path)
        async with running(relay, tmp_path):
            story = await begun(relay, "")
            await story.ends("succeeded")
            await swept(relay)
            await swept(relay)
            told = sns_backends[ACCOUNT][REGION]
            [topic] = [each for each in told.topics.values() if each.sent_notifications]
            [(_, message, subject, *_)] = topic.sent_notifications

            assert f"spotrelay: {story.run} finished" == subject
            assert f"What it made: spotrelay pull {story.run}" in message
            assert ["me@example.com"] == [
                each.endpoint for each in sns_backends[ACCOUNT][REGION].subscriptions.values()
            ]
            assert [] == [str(entry) for entry in relay.front.audit if not entry.verdict.allowed]


async def deploy(relay: Relay, notify: str, folder: Path) -> None:
    """As a person types it."""
    wanted = {"--image": IMAGE, "--types": ",".join(TYPES), "--zones": ",".join(ZONES), "--notify": notify}
    options = [word for option in wanted.items() for word in option]
    said = await spotrelay("deploy", "--stack-name", STACK, *options, cwd=folder)
    assert 0 == said.status, said.err
    assert SECRET not in said.out + said.err
    await relay.learn()


async def begun(relay: Relay, kind: str = "holds") -> Story:
    story = relay.cloud.plan(kind)
    await relay.cloud.store.create(keys.open_run(story.run), b"")
    await story.begin()
    return story


async def waits(relay: Relay, story: Story) -> None:
    """It is interrupted, and there is no other machine."""
    first = await story.ready(1)
    for pool in relay.plane.ec2.weather.all_pools():
        relay.plane.ec2.weather.close(pool)
    relay.cloud.interrupt(first, in_s=NOTICE_S)
    await until(lambda: stored(relay, keys.hunt(story.run)), what="the launcher hunts")


async def stored(relay: Relay, key: str) -> bool:
    return key in await relay.cloud.store.list(key)


async def swept(relay: Relay) -> None:
    """SQS delivers a sweep twice; and again, where it came to an environment that is dead."""

    async def done() -> bool:
        return (await relay.cloud.sweep()).ok

    await asyncio.gather(*(until(done, what="a sweep is done") for _ in range(2)))


def kill_launchers(folder: Path) -> None:
    """In the middle of whatever they do. They are known by the folder that they run in."""
    for pid in mentioning(str(folder / "lambda")):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


async def passes(seconds: float, key: str, relay: Relay) -> None:
    """For what the launcher wrote there, which goes by the time of day."""
    told = records.decode(records.Told, await relay.cloud.store.get(key), key=key)
    assert told.confirmed_at is None
    await relay.cloud.store.put(key, records.encode(replace(told, since=told.since - seconds, at=told.at - seconds)))
