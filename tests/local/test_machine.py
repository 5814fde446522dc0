"""A local machine is to a program what a fresh EC2 instance is, and to the person's computer nothing at all."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from spotrelay.local.disk import nearest, unescape
from spotrelay.local.image import program
from support.machine_stories import Lab, names
from support.machines import needs_isolation, ordinary, play, playing
from support.processes import eventually


@pytest.fixture(params=["self", "ordinary"])
async def ordinary_user(request: pytest.FixtureRequest) -> bool:
    """Each promise holds for who runs the test, and from root for a user without any rights too."""
    await needs_isolation()
    if request.param == "ordinary" and os.geteuid() != 0:
        pytest.skip("this user is ordinary already")
    return bool(request.param == "ordinary")


async def test_same_path_and_nothing_in_it(ordinary_user: bool) -> None:
    """Each machine finds the execution directory at the same absolute path, empty, and the person's is not touched.
    Otherwise a rehearsal proves a restore that never had to happen."""
    lines, project = await play("fresh_directory", ordinary_user=ordinary_user)

    assert ["PROJECT []", "PROJECT ['state']"] * 2 == lines
    assert ["train.py"] == project


async def test_other_places_are_lost(ordinary_user: bool) -> None:
    """What a program writes elsewhere is there for it, gone with the machine, and never on the person's disk; only a
    shared folder keeps it. Otherwise a program that keeps its state in ~/.cache passes here and starts over on EC2."""
    output, notes, home, shared = await play("own_disk", ordinary_user=ordinary_user)

    assert ["['notes'] mine"] * 2 == output
    assert ("mine", ["notes"], ["result"]) == (notes, home, shared)


async def test_outside_writes_are_listed(ordinary_user: bool) -> None:
    """Every path that was made, changed or deleted outside is named, and nothing else: not the execution directory, not
    what was only opened. Otherwise the verdict misses the state that gets lost, or drowns it."""
    writes, output = await play("outside_writes", ordinary_user=ordinary_user)

    assert [] == output
    assert [
        ["changed", "modified", 5],
        ["dropped", "deleted", 0],
        ["emptied/old", "deleted", 0],
        ["link", "created", 0],
        ["new", "created", 0],
        ["new/file", "created", 5],
        ["removed", "deleted", 0],
        ["same-size", "modified", 3],
        ["secret", "created", 0],
        ["secret/deep", "created", 1],
    ] == writes


async def test_no_more_rights_than_its_user(ordinary_user: bool) -> None:
    """A machine can write in the system's folders when its user can, and then it is listed and never real. Otherwise a
    program that writes where it may not passes here and fails on EC2, or a rehearsal as root leaves traces in /etc."""
    written, listed, real = await play("system_places", ordinary_user=ordinary_user)

    expected = [] if ordinary_user or os.geteuid() != 0 else ["/", "/etc", "/usr"]
    assert expected == written
    assert sorted(str(Path(place, "spotrelay-test")) for place in expected) == listed
    assert not real


async def test_vanish_takes_daemons_along(ordinary_user: bool) -> None:
    """A machine that vanishes tells nobody, and the last process is gone when `off` returns. Otherwise a daemon of the
    first instance writes on while the second runs: two owners of one run."""
    end = await play("vanish", ordinary_user=ordinary_user)

    assert {"status": 137, "held": [True, False], "output": ["held"]} == end


async def test_end_of_the_agent_is_the_end(ordinary_user: bool) -> None:
    """The machine is off when the agent ends, with its exit status, whatever still runs. Otherwise an instance that
    terminated itself burns on."""
    assert [7, False] == await play("end_of_the_agent", ordinary_user=ordinary_user)


async def test_power_button_asks_the_agent_alone(ordinary_user: bool) -> None:
    """SIGTERM reaches the agent and no other process, as with systemd's KillMode=mixed. Otherwise the command dies
    before the agent can tell it to save."""
    status, output = await play("power_button", ordinary_user=ordinary_user)

    assert (3, ["ready", "worker", "worker untouched"]) == (status, output)


async def test_signalled_agent(ordinary_user: bool) -> None:
    """An agent that crashes is told by 128 + signal. Otherwise a crash looks like an exit of its own."""
    assert 128 + 11 == await play("killed_agent", ordinary_user=ordinary_user)


async def test_init_reaps_orphans(ordinary_user: bool) -> None:
    """Orphans that die are waited for, by process 1. Otherwise a training job that forks for days fills the table."""
    assert ["zombies 0 me 1"] == await play("zombies", ordinary_user=ordinary_user)


async def test_process_numbers_are_its_own(ordinary_user: bool) -> None:
    """/proc shows the machine's processes under the numbers that they know: init and the agent, which leads a session
    and works in /. Otherwise an agent that looks for the command's descendants finds somebody else's."""
    assert ["2 True True /"] == await play("own_processes", ordinary_user=ordinary_user)


async def test_program_that_is_not_there(ordinary_user: bool) -> None:
    """A machine that cannot start its program says so at boot, and leaves no folder. Otherwise a rehearsal waits for an
    agent for ever."""
    what = await play("missing_program", ordinary_user=ordinary_user)

    reason = "a local machine does not boot: [Errno 2] No such file or directory: '/nowhere/agent'"
    assert [reason, ["home", "output", "project", "shared"]] == what


async def test_machine_within_a_machine(ordinary_user: bool) -> None:
    """Where layers cannot lie on the disk (it is an overlay itself, as in a container), they lie in memory, and all
    holds as before. Otherwise there are no rehearsals in privileged containers, where CI often runs."""
    status, inner = await play("within_a_machine", ordinary_user=ordinary_user)

    assert (0, [["['notes'] mine"] * 2, "mine", ["notes"], ["result"]]) == (status, inner)


async def test_keeper_is_killed(ordinary_user: bool) -> None:
    """A keeper that is shot takes its machine along. Otherwise the one process that could end it is the one missing."""
    assert [137, False, None] == await play("killed_keeper", ordinary_user=ordinary_user)


async def test_hypervisor_is_killed() -> None:
    """Who boots machines may die by SIGKILL: no process of theirs is left, and no folder. Otherwise each rehearsal that
    is shot leaves an agent behind that saves, and a disk full of layers."""
    await needs_isolation()
    folder = Path(tempfile.mkdtemp(prefix="spotrelay-test-")).resolve()
    if user := ordinary():
        os.chown(folder, user["user"], user["group"])
    try:
        async with asyncio.timeout(60), playing("orphaned", folder) as hypervisor:
            assert hypervisor.stdout is not None
            assert b"booted\n" == await hypervisor.stdout.readline()
            hypervisor.kill()

        def nothing_left() -> None:
            assert not (folder / "machine1").exists()

        await eventually(nothing_left)
        lab = Lab.__new__(Lab)
        lab.shared = folder / "shared"
        assert not lab.held()
    finally:
        shutil.rmtree(folder)


async def test_no_mount_is_left(tmp_path: Path) -> None:
    """A machine's mounts are seen by nobody else, while it runs and after. Otherwise they pile up on the computer."""
    await needs_isolation()

    def mounts() -> list[str]:
        """Of this test: others mount at the same time."""
        return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(tmp_path) in line]

    lab = Lab(tmp_path)
    machine = await lab.boot("print('up', flush=True)\ntime.sleep(1000)")
    await lab.said("up")
    during = mounts()
    await machine.close()

    assert [] == during == mounts()
    assert not (tmp_path / "machine1").exists()


async def test_environment_in_the_project(tmp_path: Path) -> None:
    """An interpreter and a package that lie in the execution directory are hidden there and start all the same, the
    directory is empty. Otherwise nobody with a ./.venv can rehearse, which is most."""
    await needs_isolation()
    project = tmp_path / "project"
    create = await asyncio.create_subprocess_exec(sys.executable, "-m", "venv", "--without-pip", str(project / ".venv"))
    assert 0 == await create.wait()
    shutil.copytree(Path(program.__code__.co_filename).parents[1], project / "src" / "spotrelay")
    (project / "src" / "probe.py").write_text(
        f"import os, sys, spotrelay\nprint(sys.prefix, spotrelay.__file__, sys.argv[1:], os.listdir({str(project)!r}))"
    )
    boot = f"""
import asyncio, pathlib, sys
sys.path.insert(0, {str(project / "src")!r})
from spotrelay.local.image import program
from spotrelay.local.machine import Machine
async def main():
    folder = pathlib.Path({str(tmp_path)!r})
    it = program("probe", "--flag", directory=folder / "project")
    machine = await Machine.boot(folder / "machine", directory=folder / "project", argv=it.argv, carried=it.carried,
                                 environment={{}}, output=folder / "output")
    assert await machine.off() == 0, (folder / "output").read_text()
    assert machine.outside_writes() == [], machine.outside_writes()
    await machine.close()
asyncio.run(main())
"""
    hypervisor = await asyncio.create_subprocess_exec(str(project / ".venv/bin/python"), "-B", "-c", boot)
    assert 0 == await hypervisor.wait()

    place = "/.spotrelay"
    expected = f"{place}/python {place}/path/0/spotrelay/__init__.py ['--flag'] []"
    assert [expected] == (tmp_path / "output").read_text().splitlines()


async def test_environment_elsewhere(tmp_path: Path) -> None:
    """An interpreter that nothing hides is run where it is, and nothing is carried."""
    it = program("spotrelay.daemon", directory=tmp_path)

    assert ([sys.executable, "-P", "-B", "-m", "spotrelay.daemon"], {}) == (list(it.argv), it.carried)


async def test_close_ends_what_runs(tmp_path: Path) -> None:
    """`close` is enough, at any time and more than once. Otherwise every error path needs a ladder of calls."""
    await needs_isolation()
    lab = Lab(tmp_path)
    machine = await lab.boot("time.sleep(1000)")
    await machine.close()
    await machine.close()

    assert 137 == await machine.off()
    assert ["home", "output", "project", "shared"] == names(tmp_path)


async def test_unisolated_vanish() -> None:
    """Without namespaces daemons die with the machine too: both processes of ours adopt orphans, and kill them."""
    end = await play("vanish_unisolated", ordinary_user=False)

    assert {"status": 137, "held": [True, False], "output": ["held"]} == end


async def test_unisolated_end_of_the_agent() -> None:
    """Without namespaces the agent's end is the machine's end as well."""
    assert [7, False] == await play("end_of_the_agent_unisolated", ordinary_user=False)


async def test_unisolated_machines_take_turns() -> None:
    """Without namespaces two machines on one directory boot one after the other, and each finds it empty. Otherwise a
    successor restores into the directory in which its predecessor still saves."""
    end = await play("one_after_the_other", ordinary_user=False)

    assert {"early": False, "output": ["booted []"] * 2, "left": [], "writes": None} == end


async def test_unisolated_machine_empties_nothing_of_others() -> None:
    """Without namespaces a directory that is not empty is refused, and stays. Otherwise somebody's thesis is gone."""
    message, thesis = await play("somebody_elses_directory", ordinary_user=False)

    assert "PROJECT is not empty — a machine without a disk of its own needs a folder" == message
    assert "mine" == thesis


async def test_isolation_is_tried_not_guessed() -> None:
    """What the kernel refuses is known before the first boot, with the reason, and the trial leaves nothing behind."""
    await needs_isolation()
    full, reason, left = await play("refused", ordinary_user=True)

    assert (False, []) == (full, left)
    assert "No space left on device: 'unshare'" in reason


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/", ["/a", "/a b", "/c/d"]), ("/a", ["/a/x"]), ("/c", ["/c/d"]), ("/a/x", ["/a/x/y"]), ("/nowhere", [])],
)
def test_nearest_mounts(path: str, expected: list[str]) -> None:
    """The mounts below a place, without those below others of them: each is provided once, parents first."""
    mounts = sorted(map(Path, ["/", "/a", "/a b", "/a/x", "/a/x/y", "/c/d", "/c/d/e"]))

    assert expected == [str(mount) for mount in nearest(mounts, Path(path))]


def test_names_of_mounts() -> None:
    """A mount point with blanks and bytes that are no text is found under its true name."""
    assert "/a b\\c\udcff" == unescape(b"/a\\040b\\134c\xff")
