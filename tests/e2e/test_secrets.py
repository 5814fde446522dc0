"""A run's secret, from `spotrelay run --secret` to its command, on the deployed stack: there, and nowhere else.

What is searched is all that there is: every object of the bucket, also as it was before it was packed; every file that
machines, launcher and person left; what instances were launched with; and the arguments of every process meanwhile.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import boto3
import pytest
import zstandard

from spotrelay.core import keys
from support.deployed import REGION, STACK, Relay, deployed
from support.rehearsals import spotrelay
from support.stores import everything
from support.story import NOTICE_S

NAME, HUSH = "/spotrelay/wandb", "hush-hush-" + "0123456789abcdef" * 2
PACKED = b"\x28\xb5\x2f\xfd"  # what a zstd frame begins with
# It knows the secret by its digest alone, and waits in its first attempt to be interrupted.
CHECK = """
digest=$(printf %s "$TOKEN" | sha256sum)
echo "$SPOTRELAY_ATTEMPT ${digest%% *}" >>result
cat result
test "$SPOTRELAY_ATTEMPT" != 1 && exit 0
trap 'exit 0' TERM
touch "$READY"
while :; do sleep 0.05; done
"""


@pytest.mark.slow
async def test_a_secret_reaches_its_command_and_nothing_else(tmp_path: Path) -> None:
    """P7, in the first attempt and in the one after an interruption. Who may read results may not read it; nor may who
    is logged in beside the run, or reads what we log."""
    (tmp_path / "check").mkdir()
    (tmp_path / "check" / "check.sh").write_text(CHECK)
    async with deployed(tmp_path) as relay, arguments() as seen:
        await asyncio.to_thread(put)
        story = relay.cloud.plan()  # for its name, and what there is to wait for
        options = ("--name", story.run, "--directory", str(relay.cloud.baked.directory), "--stack-name", STACK)
        env = ("--env", f"READY={story.shared}/ready-1", "--secret", f"TOKEN=ssm:{NAME}")
        said = await spotrelay("run", *options, *env, "--", "sh", "check.sh", cwd=tmp_path / "check")
        assert 0 == said.status, said.err
        relay.cloud.interrupt(await story.ready(1), in_s=NOTICE_S)
        outcome = await story.outcome()
        await story.off()
        await relay.cloud.sweep()

        digest = hashlib.sha256(HUSH.encode()).hexdigest()
        assert ("succeeded", 2) == (outcome.result, outcome.attempt), story.told()
        assert f"1 {digest}\n2 {digest}\n" == await story.result()
        assert [f"arn:aws:ssm:{REGION}:123456789012:parameter{NAME}"] * 2 == asked(relay)
        stored = await everything(relay.cloud.store)
        places = [*objects(stored), *files(tmp_path), *launches(relay), ("arguments", "\n".join(seen).encode())]
        assert [] == [place for place, data in places if HUSH.encode() in data]

        # What the search would find, as it finds the other words of the same run.
        assert keys.spec(story.run) in [place for place, data in places if NAME.encode() in data]
        assert any(place.endswith(", unpacked") for place, data in places if b"trap 'exit 0' TERM" in data)
        assert "agent.log" in {Path(place).name for place, data in places if story.run.encode() in data}
        assert any("check.sh" in line for line in seen)


def put() -> None:
    # A session of its own: boto3's default one keeps the keys of whichever test was first.
    client = boto3.Session(region_name=REGION).client("ssm")
    client.put_parameter(Name=NAME, Value=HUSH, Type="SecureString")
    client.close()


def asked(relay: Relay) -> list[str]:
    """The parameters that the instances' role was let read."""
    reads = [entry for entry in relay.front.audit if entry.need.action == "ssm:GetParameter"]
    assert {relay.agent} == {entry.who for entry in reads}
    return [entry.need.resource for entry in reads if entry.verdict.allowed]


@asynccontextmanager
async def arguments() -> AsyncIterator[set[str]]:
    """Command lines of all processes that there are meanwhile, as far as one sees who looks all the time."""
    seen = set[str]()

    async def look() -> None:
        while True:
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
                except OSError:
                    continue  # it has ended
            await asyncio.sleep(0.05)

    looking = asyncio.create_task(look())
    try:
        yield seen
    finally:
        looking.cancel()


def objects(stored: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
    for key, data in stored.items():
        yield key, data
        at = data.find(PACKED)
        while at >= 0:
            with suppress(zstandard.ZstdError):  # these four bytes may be something else's
                yield f"{key}, unpacked", zstandard.ZstdDecompressor().decompressobj().decompress(data[at:])
            at = data.find(PACKED, at + 1)


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and "lambda" not in path.relative_to(folder).parts[:1]:
            yield str(path), path.read_bytes()


def launches(relay: Relay) -> Iterator[tuple[str, bytes]]:
    for instance, computer in relay.cloud.computers.items():
        yield f"user data of {instance}", computer.instance.user_data
        yield f"tags of {instance}", repr(computer.instance.tags).encode()
