"""Whom a signal reaches, and what is then said of the end."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from spotrelay.command import processes, wrappers
from spotrelay.core.ends import Exited, Killed
from support.processes import Start, eventually, gone, program, said, trainer

SHELLS = ["dash", "bash"]


async def test_main_process_alone(start: Start, tmp_path: Path, output: Path) -> None:
    """Workers get no signal before the main process does, and then from it. Otherwise a data loader dies under a
    training loop that is about to save."""
    main = program(
        tmp_path,
        "main.py",
        """
        def worker():
            def stop():
                say("worker-signalled", os.getpid())
                os._exit(0)
            on(signal.SIGTERM, stop)
            ready()
            forever()
        workers = []
        for _ in range(3):
            pid = os.fork()
            if pid == 0:
                worker()
            workers.append(pid)
        def stop():
            say("main-signalled", os.getpid())
            for pid in workers:
                assert os.waitpid(pid, os.WNOHANG) == (0, 0)
            say("workers-alive", len(workers))
            for pid in workers:
                os.kill(pid, signal.SIGTERM)
                os.waitpid(pid, 0)
            os._exit(0)
        on(signal.SIGTERM, stop)
        ready()
        forever()
        """,
    )
    child = await start(*main.split())
    await said(output, "ready", times=4)

    delivery = await child.signal(signal.SIGTERM)

    assert [child.pid] == list(delivery.programs)
    assert Exited(0) == await child.wait()
    order = [line.split()[0] for line in output.read_text().splitlines() if not line.startswith("ready")]
    assert ["main-signalled", "workers-alive", *["worker-signalled"] * 3] == order


@pytest.mark.parametrize("shell", SHELLS)
async def test_shell_is_seen_through(start: Start, tmp_path: Path, output: Path, shell: str) -> None:
    """The program behind `sh -c "prepare; python t.py; after"` gets the signal, `after` does not run, and the end that
    counts is the program's. Otherwise the program is killed unsaved, or the script goes on as if it were finished."""
    train = trainer(tmp_path, code=3)
    child = await start(shell, "-c", f"echo prepare; {train}; echo after")
    [pid] = await said(output, "ready")

    delivery = await child.signal(signal.SIGTERM)

    assert ([pid], [child.pid]) == (list(delivery.programs), list(delivery.shells))
    assert Exited(3) == await child.wait()
    assert Killed(signal.SIGTERM) == await child.main()
    assert ["prepare", f"ready {pid}", f"saved {pid}"] == output.read_text().splitlines()


async def test_nested_scripts(start: Start, tmp_path: Path, output: Path) -> None:
    """Shells in shells are seen through to the innermost program, and none of them goes on."""
    train = trainer(tmp_path)
    (tmp_path / "run.sh").write_text(f"( {train}; echo after1 )\necho after2\n")
    child = await start("sh", "-c", "bash run.sh; echo after3")
    [pid] = await said(output, "ready")

    delivery = await child.signal(signal.SIGTERM)

    assert ([pid], 3) == (list(delivery.programs), len(delivery.shells))
    assert Exited(0) == await child.wait()
    assert [f"ready {pid}", f"saved {pid}"] == output.read_text().splitlines()


@pytest.mark.parametrize("shell", SHELLS)
async def test_shell_with_trap_decides(start: Start, tmp_path: Path, output: Path, shell: str) -> None:
    """A shell that traps the signal gets it alone. Otherwise the program hears it twice, or too early."""
    train = trainer(tmp_path)
    trap = f"trap 'echo trapped; kill $job; wait $job; exit 7' TERM; {train} & job=$!; wait"
    child = await start(shell, "-c", trap)
    [pid] = await said(output, "ready")

    delivery = await child.signal(signal.SIGTERM)

    assert ([child.pid], []) == (list(delivery.programs), list(delivery.shells))
    assert Exited(7) == await child.wait()
    assert [f"ready {pid}", "trapped", f"saved {pid}"] == output.read_text().splitlines()


async def test_filter_of_a_pipeline_ends_by_itself(start: Start, tmp_path: Path, output: Path) -> None:
    """`| tee log` gets no signal. Otherwise the last lines of a training are lost, those about saving."""
    train = trainer(tmp_path)
    child = await start("bash", "-c", f"{train} | tee log; echo after")
    [pid] = await said(output, "ready")

    delivery = await child.signal(signal.SIGTERM)

    assert [pid] == list(delivery.programs)
    assert Exited(0) == await child.wait()
    assert f"ready {pid}\nsaved {pid}\n" == (tmp_path / "log").read_text()
    assert f"ready {pid}\nsaved {pid}\n" == output.read_text()


@pytest.mark.parametrize("shell", SHELLS)
async def test_background_helper_outlives_the_program(start: Start, tmp_path: Path, output: Path, shell: str) -> None:
    """A helper in the background is left alone until the program has ended; the next signal is for what is left.
    Otherwise the server that a training logs to dies before its last save."""
    helper = program(tmp_path, "helper.py", "ready(); forever()")
    train = trainer(tmp_path)
    child = await start(shell, "-c", f"{helper} & {train}; echo after")
    await said(output, "ready", times=2)

    first = await child.signal(signal.SIGTERM)
    end = await child.program()
    left = child.processes()
    second = await child.signal(signal.SIGTERM)

    assert Exited(0) == end
    assert [name[:6] for name in first.programs.values()] == ["python"]
    assert left == list(second.programs)
    assert second.leftovers
    assert Exited(0) == await child.wait()


async def test_jobs_side_by_side(start: Start, tmp_path: Path, output: Path) -> None:
    """`a & b & wait`: all of them are the program. Otherwise one of two seeds is saved and the other lost."""
    train = trainer(tmp_path)
    child = await start("sh", "-c", f"{train} & {train} & wait; echo after")
    pids = await said(output, "ready", times=2)

    delivery = await child.signal(signal.SIGTERM)

    assert set(pids) == set(delivery.programs)
    assert Exited(0) == await child.wait()
    assert set(pids) == set(await said(output, "saved", times=2))


async def test_worst_of_several_programs_speaks(start: Start, tmp_path: Path, output: Path) -> None:
    """Where two programs run side by side, one that fails to save is what is reported."""
    good, bad = (
        trainer(tmp_path),
        program(tmp_path, "bad.py", "on(signal.SIGTERM, lambda: os._exit(5)); ready(); forever()"),
    )
    child = await start("sh", "-c", f"{good} & {bad} & wait")
    await said(output, "ready", times=2)

    await child.signal(signal.SIGTERM)

    assert Exited(5) == await child.wait()


async def test_sigint_reaches_the_program_too(start: Start, tmp_path: Path, output: Path) -> None:
    """Shells catch SIGINT for themselves: that is no trap. Otherwise Ctrl-C's signal never arrives behind a shell."""
    train = program(tmp_path, "t.py", "on(signal.SIGINT, lambda: os._exit(4)); ready(); forever()")
    child = await start("bash", "-c", f"{train}; echo after")
    await said(output, "ready")

    await child.signal(signal.SIGINT)

    assert Exited(4) == await child.wait()
    assert "after" not in output.read_text()


async def test_shell_between_commands(start: Start, output: Path) -> None:
    """A shell that waits for nobody gets the signal itself."""
    child = await start("dash", "-c", "echo ready $$; while :; do :; done; echo after")
    await said(output, "ready")

    delivery = await child.signal(signal.SIGTERM)

    assert ([child.pid], []) == (list(delivery.programs), list(delivery.shells))
    assert Killed(signal.SIGTERM) == await child.wait()


async def test_busy_script_never_goes_on(start: Start, output: Path) -> None:
    """A script that starts one short command after the other dies at any moment the signal comes, and `after` never
    runs. Otherwise a signal between two commands is lost, and with it the time to save."""
    for _ in range(10):
        child = await start("dash", "-c", "echo ready $$; while :; do true | true; (true); done; echo after")
        await said(output, "ready")
        await child.signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            await child.main()
        output.unlink()
        await child.kill()


async def test_ignored_signal(start: Start, tmp_path: Path, output: Path) -> None:
    """A command that ignores SIGTERM runs on until it is killed, and is reported as killed."""
    deaf = program(tmp_path, "deaf.py", "signal.signal(signal.SIGTERM, signal.SIG_IGN); ready(); forever()")
    child = await start(*deaf.split())
    [pid] = await said(output, "ready")

    await child.signal(signal.SIGTERM)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(child.wait(), 0.05)
    await child.kill()

    assert Killed(signal.SIGKILL) == await child.wait()
    await gone(pid)


async def test_shell_that_ignores_speaks_for_its_program(start: Start, tmp_path: Path, output: Path) -> None:
    """A shell told to ignore the signal collects its program itself; then the shell's end is all there is to know."""
    train = trainer(tmp_path, code=6)
    child = await start("sh", "-c", f"trap '' TERM; {train}; exit 9")
    await said(output, "ready")

    await child.signal(signal.SIGTERM)

    assert Exited(9) == await child.wait()


async def test_ended_before_the_signal(start: Start) -> None:
    """A command that ends between notice and signal is no error, and nobody else's process gets the signal."""
    child = await start("true")
    await child.wait()

    delivery = await child.signal(signal.SIGTERM)

    assert delivery.programs == {}
    assert Exited(0) == await child.wait()


async def test_signal_races_with_the_end(start: Start) -> None:
    """At whatever moment of its ending the signal comes, every question about the command is answered."""
    for pause in (0, 0.001, 0.002, 0.004, 0.008):
        child = await start("sh", "-c", "(sleep 0.005); exit 5")
        await asyncio.sleep(pause)
        await child.signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await child.wait() in (Exited(5), Exited(0), Killed(signal.SIGTERM))


async def test_second_signal_goes_the_same_way(start: Start, tmp_path: Path, output: Path) -> None:
    """Behind shells that are gone, the program still is the one that a second signal is for."""
    twice = program(
        tmp_path,
        "twice.py",
        """
        heard = []
        def hear():
            heard.append(1)
            say("heard", len(heard))
            if len(heard) == 2:
                os._exit(0)
        on(signal.SIGTERM, hear)
        ready()
        forever()
        """,
    )
    child = await start("sh", "-c", f"{twice}; echo after")
    [pid] = await said(output, "ready")

    await child.signal(signal.SIGTERM)
    await said(output, "heard")
    second = await child.signal(signal.SIGTERM)

    assert ([pid], False) == (list(second.programs), second.leftovers)
    assert Exited(0) == await child.wait()


async def test_shell_is_stopped_while_we_look(tmp_path: Path) -> None:
    """Between our look at a shell's children and our signal it starts no other command. Otherwise that one never hears
    that it must save."""
    shell = await asyncio.create_subprocess_exec("dash", "-c", "sleep 99; sleep 99")

    def waits() -> None:
        assert [] != processes.children(shell.pid)

    await eventually(waits)
    found = wrappers.recipients(shell.pid, signal.SIGTERM)
    stopped = processes.state(shell.pid)
    for pid in (*found.shells, *found.programs):
        os.kill(pid, signal.SIGKILL)
    await shell.wait()

    assert stopped == "T"
    assert [shell.pid] == found.shells


async def test_processes_lists_what_is_alive(start: Start, tmp_path: Path, output: Path) -> None:
    """All descendants are seen, however deep, and none that is dead: what is shown to a person must be so."""
    train = trainer(tmp_path)
    child = await start("sh", "-c", f"(exit 0) & (((({train}); :); :); :)")
    [pid] = await said(output, "ready")

    def five() -> None:
        alive = child.processes()
        assert (5, child.pid, pid) == (len(alive), alive[0], alive[-1])

    await eventually(five)
