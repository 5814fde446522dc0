"""How runs and instances end. P5: whatever the reason, the instance is gone, and the bucket says why."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from spotrelay.core import keys, records
from spotrelay.core.messages import ResumeRequest
from spotrelay.local.instances import State
from spotrelay.person.resume import resume
from support.story import NOTICE_S, Stage, stage, until


async def test_run_that_a_person_stops_is_asked_to_save_and_kept(tmp_path: Path) -> None:
    """The command gets its signal, the directory is saved, nobody comes after. Otherwise to stop is to lose."""
    async with stage(tmp_path) as cloud:
        story = await cloud.begin("holds-always", save={"every_s": 0})
        await story.ready(1)
        await story.cancel()
        # A heartbeat looks for it; what happens to the attempt hastens the next one.
        cloud.rebalance(story.computers(1)[0].instance.id)
        outcome = await story.ends("stopped")
        await cloud.quiet()

        assert [(1, "start"), (1, "exit-0")] == [(attempt, what) for attempt, what, _ in story.journal()]
        assert (outcome.snapshot or "").startswith("1-")


async def test_run_that_a_person_stops_at_once_is_not_asked(tmp_path: Path) -> None:
    """The command hears no signal and dies; what lay on the disk is kept. Otherwise --now waits for what hangs."""
    async with stage(tmp_path) as cloud:
        story = await cloud.begin("stubborn", save={"every_s": 0})
        instance = await story.ready(1)
        await cloud.store.put(
            keys.cancel(story.run), records.encode(records.Cancel(message="stopped by ada", now=True))
        )
        cloud.rebalance(instance)
        outcome = await story.ends("stopped")
        await cloud.quiet()

        assert [(1, "start")] == [(attempt, what) for attempt, what, _ in story.journal()]
        assert outcome.message == "stopped by ada; the command ended with SIGKILL"
        assert (outcome.snapshot or "").startswith("1-")


async def test_run_that_a_person_stopped_goes_on_when_asked(tmp_path: Path) -> None:
    """As the same run, from its newest snapshot, and never beside the machine that ended it. Otherwise to stop is to
    begin anew."""
    async with stage(tmp_path) as cloud:
        story = await cloud.begin("holds", save={"every_s": 0}, limits={"attempts": 1})
        instance = await story.ready(1)
        await story.cancel()
        cloud.rebalance(instance)
        await story.outcome()
        resumed = await resume(cloud.store, Ringing(cloud), story.run, at=time.time())
        await story.ends("succeeded")
        await cloud.quiet()

        assert (2, "stopped") == (resumed.attempt, resumed.was and resumed.was.result)
        assert 2 == len(await story.claims())


class Ringing:
    """The cloud's own bell."""

    def __init__(self, cloud: Stage) -> None:
        self._cloud = cloud

    async def post(self, request: ResumeRequest) -> None:
        self._cloud.ring(request.run, request.attempt)


async def test_run_that_reaches_a_limit_is_asked_to_save_and_kept(tmp_path: Path) -> None:
    """As a person's stop, but the outcome names the limit. Otherwise what was paid for is lost with the last dollar."""
    async with stage(tmp_path) as cloud:
        story = await cloud.begin("holds-always", save={"every_s": 0})
        instance = await story.ready(1)
        cancel = records.Cancel("limit", "limits.dollars = 40 is reached: 41.20 spent", time.time())
        await cloud.store.put(keys.cancel(story.run), records.encode(cancel))
        cloud.rebalance(instance)
        outcome = await story.ends("limit")
        await cloud.quiet()

        assert [(1, "start"), (1, "exit-0")] == [(attempt, what) for attempt, what, _ in story.journal()]
        assert cancel.message == outcome.message
        assert (outcome.snapshot or "").startswith("1-")


async def test_run_that_is_stopped_before_it_began_never_begins(tmp_path: Path) -> None:
    """The launcher reads the cancel. Otherwise a person pays for a boot to be told that there is nothing to do."""
    async with stage(tmp_path) as cloud:
        story = cloud.plan()
        await story.cancel()
        await story.begin()
        await story.ends("stopped")

        assert [] == story.computers()


async def test_command_that_fails_ends_the_run_with_its_code(tmp_path: Path) -> None:
    """Exit 3 without a signal is an error, said as it is, and the directory is there to look at. Otherwise a broken
    program is relaunched for ever, or its traces are lost."""
    async with stage(tmp_path) as cloud:
        story = await cloud.begin("fails")
        outcome = await story.ends("failed", exit_code=3)

        assert 1 == len(await story.claims())
        assert outcome.message == "the command ended with exit code 3"
        assert (outcome.snapshot or "").startswith("1-")


async def test_command_that_fails_is_tried_again_as_often_as_the_spec_says(tmp_path: Path) -> None:
    """One retry turns one failure into a success. Otherwise a flaky download costs the run."""
    async with stage(tmp_path) as cloud:
        story = await cloud.begin("fails-once", limits={"error_retries": 1})
        await story.ends("succeeded")
        handover = await story.history.handover(1)

        assert 2 == len(await story.claims())
        assert handover is not None
        assert ("error", 3, 1) == (handover.reason, handover.exit_code, handover.errors)


async def test_command_that_goes_on_failing_ends_the_run_when_its_retries_are_spent(tmp_path: Path) -> None:
    """Two failures in a row are one more than allowed. Otherwise a retry is a loop that costs money."""
    async with stage(tmp_path) as cloud:
        story = await cloud.begin("fails", limits={"error_retries": 1})
        await story.ends("failed", exit_code=3)
        await cloud.quiet()

        assert 2 == len(story.computers())


@pytest.mark.parametrize(("program", "code"), [("no-such-program", 127), ("./counting_job.py", 126)])
async def test_program_that_cannot_start_ends_the_run_with_the_shell_s_code(
    program: str, code: int, tmp_path: Path
) -> None:
    """127 and 126, as everybody knows them. Otherwise a typo is an instance that waits for a command."""
    async with stage(tmp_path) as cloud:
        story = await cloud.begin(command=[program])
        outcome = await story.ends("failed", exit_code=code)

        assert program in outcome.message


async def test_run_ends_at_its_last_attempt(tmp_path: Path) -> None:
    """limits.attempts is the most there are. Otherwise a run that is interrupted at once each time never ends."""
    async with stage(tmp_path) as cloud:
        story = await cloud.begin("holds", limits={"attempts": 1})
        cloud.interrupt(await story.ready(1), in_s=NOTICE_S)
        outcome = await story.ends("limit")
        await cloud.quiet()

        assert "limits.attempts = 1 is reached" == outcome.message
        assert 1 == len(story.computers())


async def gone(cloud: Stage, instance: str) -> None:
    computer = cloud.computers[instance]
    await until(lambda: computer.instance.state is State.TERMINATED, what=f"{instance} is gone", within=60)


@pytest.mark.parametrize(
    ("user_data", "said"),
    [
        pytest.param("", "[relay] store is missing", id="none"),
        pytest.param("\x00\x1f gzip", "not TOML", id="not TOML"),
        pytest.param('[relay]\nstore = "ftp://x"\nqueue = "q"', "not a store's URL", id="a store of no kind"),
        pytest.param('[run]\nname = "A B"', "[run] command is missing", id="a bad spec"),
    ],
)
async def test_instance_with_bad_user_data_says_so_and_ends(user_data: str, said: str, tmp_path: Path) -> None:
    """The reason is in its journal, the instance is gone. Otherwise a typo costs the price of an instance until
    somebody looks."""
    async with stage(tmp_path) as cloud:
        instance = cloud.boot(user_data)
        await gone(cloud, instance)

        assert said in (cloud.computers[instance].state / "agent.log").read_text()


async def test_instance_that_nobody_assigns_a_run_ends(tmp_path: Path) -> None:
    """A launcher that died for good leaves it alone. Otherwise it waits, and costs, for ever."""
    async with stage(tmp_path, module="support.unassigned") as cloud:
        instance = cloud.boot(cloud.user_data())
        await gone(cloud, instance)

        assert "no run was assigned" in (cloud.computers[instance].state / "agent.log").read_text()


async def test_instance_whose_store_is_gone_ends(tmp_path: Path) -> None:
    """Without its bucket it can learn nothing. Otherwise a deleted bucket leaves instances burning."""
    (tmp_path / "not-a-folder").touch()
    async with stage(tmp_path, module="support.impatient") as cloud:
        instance = cloud.boot(cloud.user_data().replace(cloud.store_url, (tmp_path / "not-a-folder" / "x").as_uri()))
        await gone(cloud, instance)


async def test_command_that_leaves_processes_behind_is_over_when_they_are(tmp_path: Path) -> None:
    """What the command started belongs to it. Otherwise the outcome is written while a helper still writes results."""
    late = "import time, pathlib; time.sleep(0.5); pathlib.Path('late').write_text('here')"
    launch = f"import subprocess, sys; subprocess.Popen([sys.executable, '-I', '-S', '-c', {late!r}])"
    async with stage(tmp_path) as cloud:
        story = await cloud.begin(command=[sys.executable, "-I", "-S", "-c", launch])
        await story.outcome()
        await story.off()

        assert b"here" == await cloud.store.get(f"runs/{story.run}/artifacts/late")
