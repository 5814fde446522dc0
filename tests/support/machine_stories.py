"""Short stories about machines, each told to its end; what it returns is what the test compares.

They are apart from the tests because each is told twice, here and by an ordinary user: as root that takes a process
that gave its rights up, and perhaps another interpreter (root's own may lie where nobody else may look). So, the
standard library only. As a program: `python -m support.machine_stories STORY FOLDER` prints the result as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from spotrelay.core.errors import SpotrelayError
from spotrelay.local import namespaces
from spotrelay.local.machine import Machine, isolation

PYTHON = [sys.executable, "-I", "-S", "-c"]
Story = Callable[[Path], Awaitable[Any]]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class Lab:
    """A person's computer in a folder: a project with a file of theirs, other files, a folder shared with machines."""

    def __init__(self, folder: Path, *, isolated: bool = True) -> None:
        self.folder, self.isolated, self.count = folder, isolated, 0
        self.project, self.shared, self.home = folder / "project", folder / "shared", folder / "home"
        for path in (self.project, self.shared, self.home):
            path.mkdir()
        (self.home / "notes").write_text("mine")
        if isolated:
            (self.project / "train.py").write_text("mine")

    async def boot(self, program: str, *, argv: list[str] | None = None) -> Machine:
        self.count += 1
        return await Machine.boot(
            self.folder / f"machine{self.count}",
            directory=self.project,
            argv=argv or [*PYTHON, "import fcntl, os, pathlib, signal, sys, time\n" + program],
            environment={"PROJECT": str(self.project), "SHARED": str(self.shared), "HOME": str(self.home)},
            visible=[self.shared],
            output=self.folder / "output",
            isolated=self.isolated,
        )

    async def run(self, program: str) -> Machine:
        machine = await self.boot(program)
        await machine.off()
        return machine

    @property
    def output(self) -> list[str]:
        return (self.folder / "output").read_text().splitlines()

    async def said(self, line: str) -> None:
        deadline = time.monotonic() + 60
        while line not in self.output:
            assert time.monotonic() < deadline, self.output
            await asyncio.sleep(0.005)

    def held(self) -> bool:
        """Whether a process of a machine lives on, one that ran `HOLD`."""
        import fcntl

        with (self.shared / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False


# A daemon as it is in the books: forked twice, a session of its own, deaf to what one can be deaf to. It holds a lock
# as long as it lives, which tells across process namespaces.
HOLD = """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        lock = open(os.environ["SHARED"] + "/lock", "w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        print("held", flush=True)
        time.sleep(1000)
    os._exit(0)
os.wait()
"""
WAIT = "\ntime.sleep(1000)\n"


async def fresh_directory(folder: Path) -> Any:
    lab = Lab(folder)
    look = """
project = pathlib.Path(os.environ["PROJECT"])
print(project, sorted(os.listdir(project)))
(project / "state").write_text("1")
print(project, sorted(os.listdir(project)))
"""
    for _ in range(2):
        await (await lab.run(look)).close()
    return [line.replace(str(lab.project), "PROJECT") for line in lab.output], names(lab.project)


async def own_disk(folder: Path) -> Any:
    lab = Lab(folder)
    write = """
home = pathlib.Path(os.environ["HOME"])
print(sorted(os.listdir(home)), (home / "notes").read_text())
(home / "notes").write_text("overwritten")
(home / "cache").mkdir()
(home / "cache" / "weights").write_bytes(b"12345")
(pathlib.Path(os.environ["SHARED"]) / "result").write_text("seen")
"""
    for _ in range(2):
        await (await lab.run(write)).close()
    return lab.output, (lab.home / "notes").read_text(), names(lab.home), names(lab.shared)


async def outside_writes(folder: Path) -> Any:
    lab = Lab(folder)
    for name in ("changed", "removed", "looked-at", "same-size"):
        (lab.home / name).write_text("old")
    for name in ("emptied", "dropped"):
        (lab.home / name).mkdir()
        (lab.home / name / "old").write_text("old")
    machine = await lab.run("""
import shutil
home = pathlib.Path(os.environ["HOME"])
(home / "changed").write_text("newer")
(home / "same-size").write_text("new")
(home / "removed").unlink()
open(home / "looked-at", "r+").close()
(home / "new").mkdir()
(home / "new" / "file").write_bytes(b"12345")
(home / "link").symlink_to("nowhere")
shutil.rmtree(home / "dropped")
shutil.rmtree(home / "emptied")
(home / "emptied").mkdir()
(home / "secret").mkdir()
(home / "secret" / "deep").write_text("x")
(home / "secret").chmod(0)
(pathlib.Path(os.environ["PROJECT"]) / "state").write_text("1")
(pathlib.Path(os.environ["SHARED"]) / "result").write_text("1")
""")
    found = machine.outside_writes()
    assert found is not None
    await machine.close()
    return [[str(write.path.relative_to(lab.home)), write.kind, write.size] for write in found], lab.output


async def system_places(folder: Path) -> Any:
    lab = Lab(folder)
    machine = await lab.run("""
for place in ("/", "/etc", "/usr"):
    try:
        pathlib.Path(place, "spotrelay-test").write_text("x")
        print(place)
    except PermissionError:
        pass
""")
    found = machine.outside_writes()
    assert found is not None
    await machine.close()
    return lab.output, [str(write.path) for write in found], any(write.path.exists() for write in found)


async def vanish(folder: Path) -> Any:
    return await _vanish(Lab(folder))


async def vanish_unisolated(folder: Path) -> Any:
    return await _vanish(Lab(folder, isolated=False))


async def _vanish(lab: Lab) -> Any:
    machine = await lab.boot(HOLD + "signal.signal(signal.SIGTERM, lambda *_: print('told', flush=True))" + WAIT)
    await lab.said("held")
    before = lab.held()
    machine.vanish()
    status = await machine.off()
    after = lab.held()
    await machine.close()
    return {"status": status, "held": [before, after], "output": lab.output}


async def end_of_the_agent(folder: Path) -> Any:
    return await _end_of_the_agent(Lab(folder))


async def end_of_the_agent_unisolated(folder: Path) -> Any:
    return await _end_of_the_agent(Lab(folder, isolated=False))


async def _end_of_the_agent(lab: Lab) -> Any:
    machine = await lab.boot(
        HOLD + "\nwhile not os.path.exists(os.environ['SHARED'] + '/go'): time.sleep(0.005)\nos._exit(7)"
    )
    await lab.said("held")
    (lab.shared / "go").touch()
    status = await machine.off()
    after = lab.held()
    await machine.close()
    return status, after


async def power_button(folder: Path) -> Any:
    lab = Lab(folder)
    machine = await lab.boot("""
worker = os.fork()
if worker == 0:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(9))
    print("worker", flush=True)
    time.sleep(1000)
def stop(*_):
    print("worker untouched" if os.waitpid(worker, os.WNOHANG) == (0, 0) else "worker gone", flush=True)
    os._exit(3)
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
time.sleep(1000)
""")
    await lab.said("ready")
    await lab.said("worker")
    machine.power_button()
    status = await machine.off()
    await machine.close()
    return status, sorted(lab.output)


async def killed_agent(folder: Path) -> Any:
    lab = Lab(folder)
    machine = await lab.run("os.kill(os.getpid(), signal.SIGSEGV)")
    await machine.close()
    return await machine.off()


async def zombies(folder: Path) -> Any:
    lab = Lab(folder)
    machine = await lab.run("""
for _ in range(20):
    if os.fork() == 0:
        os.fork()
        os._exit(0)
    os.wait()
def state(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0]
    except OSError:
        return "gone"
def dead():
    return [state(pid) for pid in os.listdir("/proc") if pid.isdigit()].count("Z")
deadline = time.monotonic() + 60
while dead() and time.monotonic() < deadline:
    time.sleep(0.005)
print("zombies", dead(), "me", os.getppid())
""")
    await machine.close()
    return lab.output


async def own_processes(folder: Path) -> Any:
    lab = Lab(folder)
    machine = await lab.run("""
pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
print(len(pids), os.getpid() in pids, os.getsid(0) == os.getpid(), os.getcwd())
""")
    await machine.close()
    return lab.output


async def missing_program(folder: Path) -> Any:
    lab = Lab(folder)
    try:
        await lab.boot("", argv=["/nowhere/agent"])
    except SpotrelayError as error:
        return error.what, names(folder)
    return None


async def killed_keeper(folder: Path) -> Any:
    lab = Lab(folder)
    machine = await lab.boot(HOLD + WAIT)
    await lab.said("held")
    os.kill(machine.pid, signal.SIGKILL)
    status = await machine.off()
    deadline = time.monotonic() + 60
    while lab.held() and time.monotonic() < deadline:
        await asyncio.sleep(0.005)
    held = lab.held()
    await machine.close()
    return status, held, machine.outside_writes()


async def refused(folder: Path) -> Any:
    """As a hardened kernel has it: a user namespace in which no other may be made, and no rights in it."""
    namespaces.own_user_namespace(0)
    Path("/proc/sys/user/max_user_namespaces").write_text("0")
    os.execv(sys.executable, [sys.executable, "-S", "-m", "support.machine_stories", "asked", str(folder)])


async def asked(folder: Path) -> Any:
    os.environ["TMPDIR"] = str(folder)
    found = await isolation()
    return found.full, found.reason, names(folder)


async def orphaned(folder: Path) -> Any:
    """The hypervisor's part: boots one that holds on, tells, and waits to be killed."""
    lab = Lab(folder)
    await lab.boot(HOLD + "signal.signal(signal.SIGTERM, signal.SIG_IGN)" + WAIT)
    await lab.said("held")
    sys.stdout.write("booted\n")
    sys.stdout.flush()
    await asyncio.sleep(1000)


async def within_a_machine(folder: Path) -> Any:
    lab = Lab(folder)
    inner = lab.shared / "inner.py"
    inner.write_text(f"""
import sys
sys.path[:0] = {sys.path!r}
import asyncio, json, pathlib
from support.machine_stories import own_disk
folder = pathlib.Path({str(lab.home)!r}) / "lab"
folder.mkdir()
print(json.dumps(asyncio.run(own_disk(folder))))
""")
    machine = await lab.boot("", argv=[*PYTHON, f"exec(open({str(inner)!r}).read())"])
    status = await machine.off()
    await machine.close()
    return status, json.loads(lab.output[-1])


async def one_after_the_other(folder: Path) -> Any:
    lab = Lab(folder, isolated=False)
    program = """
project = pathlib.Path(os.environ["PROJECT"])
print("booted", sorted(os.listdir(project)), flush=True)
(project / "sub").mkdir()
(project / "sub" / "state").write_text("1")
"""
    first = await lab.boot(program + WAIT)
    await lab.said("booted []")
    second = asyncio.ensure_future(lab.boot(program))
    await asyncio.wait({second}, timeout=0.1)
    early = second.done()
    first.vanish()
    await (await second).off()
    writes = (await second).outside_writes()
    for machine in (first, await second):
        await machine.close()
    return {"early": early, "output": lab.output, "left": names(lab.project), "writes": writes}


async def somebody_elses_directory(folder: Path) -> Any:
    lab = Lab(folder, isolated=False)
    (lab.project / "thesis").write_text("mine")
    try:
        await lab.boot("")
    except SpotrelayError as error:
        return str(error).replace(str(lab.project), "PROJECT"), (lab.project / "thesis").read_text()
    return None


def main() -> None:
    result = asyncio.run(globals()[sys.argv[1]](Path(sys.argv[2])))
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    main()
