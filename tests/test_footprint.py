"""The agent sits beside somebody's command for days. What it does not load, and that it gives back what it had."""

from __future__ import annotations

import subprocess
import sys
import textwrap


def printed(program: str) -> list[str]:
    """The words that a fresh interpreter prints."""
    command = [sys.executable, "-c", textwrap.dedent(program)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def test_an_agent_on_an_instance_loads_nothing_that_it_seldom_uses() -> None:
    """Neither to begin nor to make its adapters: botocore is 20 MiB, rich 4, typer and what is local a person's.
    Otherwise every command loses that memory, and every boot half a second."""
    loaded = printed(
        """
        import asyncio, os, sys, time
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            del os.environ[name]
        os.environ |= {"AWS_REGION": "eu-west-1", "AWS_CONFIG_FILE": "/dev/null"}
        os.environ |= {"AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}
        from spotrelay import daemon

        async def main():
            async with daemon.InstanceMetadata("http://127.0.0.1:9") as metadata:
                keys_of = daemon.of_instance(metadata, os.environ, wall=time.time)
                daemon.open_store("s3://bucket/prefix", credentials=keys_of)
                daemon.SqsQueue("https://sqs.eu-west-1.amazonaws.com/1/q", daemon.Caller("eu-west-1", keys_of))

        asyncio.run(main())
        print(*sorted({name.partition(".")[0] for name in sys.modules}))
        print(*(name for name in sys.modules if name.startswith("spotrelay.")))
        """
    )

    assert {"spotrelay", "obstore", "structlog"} <= set(loaded)
    assert set() == set(loaded) & {"boto3", "botocore", "urllib3", "rich", "pygments", "typer", "click", "numpy"}
    assert [] == [name for name in loaded if name.startswith(("spotrelay.cli", "spotrelay.local", "spotrelay.stack"))]


def test_rich_is_there_for_who_wants_it() -> None:
    """Kept from structlog, not from the command line. Otherwise importing the agent breaks `spotrelay` itself."""
    assert ["rich.console"] == printed(
        """
        from spotrelay import daemon
        import rich.console
        print(rich.console.__name__)
        """
    )


def test_what_a_save_has_let_go_of_is_given_back() -> None:
    """The allocator keeps 100 MB of small pieces below one that lives; the system has them back once nothing moves.
    Otherwise the largest save of a run stays in memory until its end."""
    before, after = map(
        int,
        printed(
            """
            import asyncio
            from spotrelay import footprint

            async def main():
                staying = asyncio.create_task(footprint.stay_small(every_s=0.05))
                await asyncio.sleep(0)
                pieces = [bytes(100_000) for _ in range(1000)]
                del pieces[:-1]
                before = footprint.resident()
                async with asyncio.timeout(60):
                    while footprint.resident() > before - 50_000_000:
                        await asyncio.sleep(0.02)
                print(before, footprint.resident())
                staying.cancel()

            asyncio.run(main())
            """
        ),
    )

    assert after < before - 50_000_000
