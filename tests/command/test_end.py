"""How a command ends, and when all of it has."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from spotrelay.command import processes
from spotrelay.core.ends import Exited, Killed
from support.processes import PYTHON, Start, eventually, gone, program, said


@pytest.mark.parametrize(
    ("script", "end", "status"),
    [
        ("exit 0", Exited(0), 0),
        ("exit 1", Exited(1), 1),
        ("exit 143", Exited(143), 143),
        ("kill -KILL $$", Killed(signal.SIGKILL), 137),
        ("kill -TERM $$", Killed(signal.SIGTERM), 143),
        ("exec >&- 2>&-; exit 4", Exited(4), 4),
    ],
)
async def test_tells_the_truth(start: Start, script: str, end: Exited | Killed, status: int) -> None:
    """`exit 143` and death by SIGTERM have one number in a shell and are told apart here."""
    child = await start("sh", "-c", script)

    assert end == await child.wait()
    assert status == end.status


async def test_every_process_ends_before_wait(start: Start, tmp_path: Path, output: Path) -> None:
    """A daemon that forked twice and made a session of its own is still the command's. Otherwise the directory is saved
    while somebody writes into it."""
    daemon = program(
        tmp_path,
        "daemon.py",
        """
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                on(signal.SIGTERM, lambda: os._exit(0))
                ready()
                forever()
        os._exit(3)
        """,
    )
    child = await start(*daemon.split())
    [pid] = await said(output, "ready")

    assert Exited(3) == await child.program()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(child.wait(), 0.05)
    assert [pid] == child.processes()
    await child.signal(signal.SIGTERM)
    assert Exited(3) == await child.wait()
    assert not processes.is_alive(pid)


async def test_zombies_are_collected(start: Start, tmp_path: Path, output: Path) -> None:
    """Orphans that end while the command goes on do not pile up. Otherwise a long run exhausts the pids."""
    littering = program(
        tmp_path,
        "litter.py",
        """
        for _ in range(20):
            if os.fork() == 0:
                if os.fork() == 0:
                    say("orphan", os.getpid())
                os._exit(0)
        while True:
            try:
                os.wait()
            except ChildProcessError:
                break
        ready()
        forever()
        """,
    )
    child = await start(*littering.split())
    await said(output, "ready")
    orphans = await said(output, "orphan", times=20)

    def collected() -> None:
        assert {"X"} == {processes.state(pid) for pid in orphans}

    await eventually(collected)
    assert [child.pid] == child.processes()


async def test_waiters_may_be_many_and_cancelled(start: Start) -> None:
    """A waiter that is cancelled takes the news from nobody else."""
    child = await start("sleep", "0.1")
    impatient = asyncio.ensure_future(child.wait())
    await asyncio.sleep(0)  # one turn of the loop, in which it begins to wait: no time has to pass
    impatient.cancel()

    assert [Exited(0), Exited(0)] == await asyncio.gather(child.main(), child.wait())


async def test_statuses_of_others_are_theirs(start: Start) -> None:
    """The agent's own subprocesses keep their statuses, whatever the command's orphans do."""
    child = await start("sh", "-c", "for i in 1 2 3 4 5 6 7 8; do (sleep 0.01 &); done; sleep 0.05")
    own = [await asyncio.create_subprocess_exec("sh", "-c", f"exit {code}") for code in range(8)]

    assert list(range(8)) == [await process.wait() for process in own]
    assert Exited(0) == await child.wait()


async def test_kill_outruns_forks(start: Start, tmp_path: Path, output: Path) -> None:
    """A family that forks as fast as it can is killed to the last. Otherwise it outlives the attempt."""
    forking = program(
        tmp_path,
        "forking.py",
        """
        # Runs away: each process forks the next one and ends. A few lines of them, one after the other.
        for _ in range(3):
            if os.fork() == 0:
                os.setsid()
                break
        else:
            ready()
            forever()
        while True:
            if os.fork():
                os._exit(0)
        """,
    )
    child = await start(*forking.split())
    await said(output, "ready")

    await child.kill()

    assert Killed(signal.SIGKILL) == await child.wait()
    assert child.processes() == []
    await gone(child.pid)


async def test_kill_after_the_end(start: Start) -> None:
    """To kill what has ended is no error."""
    child = await start("true")
    await child.wait()

    await child.kill()

    assert Exited(0) == await child.wait()


async def test_nothing_outlives_the_agent(tmp_path: Path) -> None:
    """An agent killed by SIGKILL takes its command along, daemons too. Otherwise the next agent starts a second one in
    the same directory."""
    output = tmp_path / "out"
    stays = "sh -c 'echo ready $$; exec sleep 99'"
    code = f"""
import asyncio
from pathlib import Path
from spotrelay.command.child import spawn

async def main():
    script = {f"{stays} & (setsid {stays} &) & echo ready $$; wait"!r}
    folder, environment = Path({str(tmp_path)!r}), {{"PATH": {os.environ["PATH"]!r}}}
    child = await spawn(["sh", "-c", script], directory=folder, output=folder / "out", environment=environment)
    await child.wait()

asyncio.run(main())
"""
    package = Path(processes.__file__).parents[1]
    agent = await asyncio.create_subprocess_exec(*PYTHON[:1], "-c", code, env={"PYTHONPATH": str(package)})
    try:
        pids = await said(output, "ready", times=3)
        assert all(map(processes.is_alive, pids))
    finally:
        agent.kill()
        await agent.wait()

    await gone(*pids)


async def test_subreaper_that_dies_takes_the_command_along(start: Start, tmp_path: Path, output: Path) -> None:
    """Should the subreaper itself be killed, its command is dead and said to be: nobody waits for ever."""
    forever = program(tmp_path, "forever.py", "os.fork(); ready(); forever()")
    child = await start(*forever.split())
    pids = await said(output, "ready", times=2)

    os.kill(child._subreaper.pid, signal.SIGKILL)

    assert Killed(signal.SIGKILL) == await child.wait()
    await gone(*pids)


async def test_cancelled_start_leaves_nothing(start: Start, output: Path) -> None:
    """A start that is cancelled half-way has started nothing that stays."""
    for pause in (0, 0.01, 0.02, 0.03):  # the moment is what is tested: each is at another step of the start
        starting = asyncio.ensure_future(start("sh", "-c", "echo ready $$; exec sleep 99"))
        await asyncio.sleep(pause)
        starting.cancel()
        try:
            await (await starting).kill()  # a computer that stood still had it started by then
        except asyncio.CancelledError:
            continue
    pids = await said(output, "ready", times=0)
    await gone(*pids)
