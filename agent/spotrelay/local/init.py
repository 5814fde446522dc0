"""A machine from within: the processes between the hypervisor (`machine.py`) and the program that it boots.

    hypervisor ── keeper ── init (process 1 of the machine) ── the agent, and all that comes of it

- The **keeper** leaves the computer's namespaces, starts init, and waits for two things: init's end, and a word on its
  standard input ("T" power button, "K" power cut). That pipe is also the leash: when the hypervisor dies, however it
  dies, the pipe ends and so does the machine. (A parent-death signal would do less: it follows the *thread* that
  forked.) The keeper outlives every process of the machine, and reads off the disk what was written.
- **init** mounts the disk, starts the agent in a session of its own, reaps whoever dies, passes SIGTERM on to the agent
  as systemd does with KillMode=mixed, and ends when the agent ends. With it the kernel kills every process that is
  left, daemons too, and takes the mounts away: there is no cleanup that could be missed.

Without namespaces ("none") both adopt orphans instead, and the keeper kills what is left, generation by generation.
The standard library only, started with -I -S: half of a machine's boot is the start of this interpreter.

The keeper reads its order as one line of JSON, and answers with two: {"booted": true} or {"refused": "why"}, and
{"status": n, "writes": [[path, kind, size], …] or null}.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import sys
import traceback
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from spotrelay.local import disk, namespaces, outside

POWER_BUTTON, POWER_CUT = b"T", b"K"
KILLED = 128 + signal.SIGKILL
_WATCHED = {signal.SIGTERM, signal.SIGCHLD}


class Order(NamedTuple):
    """What `Machine.boot` asks for, as JSON carries it."""

    folder: str
    directory: str
    argv: list[str]
    environment: dict[str, str]
    visible: list[str]
    carried: dict[str, str]
    output: str
    isolated: bool


class Refused(Exception):
    """The machine cannot boot; the text says why."""


def main() -> int:
    order = Order(**json.loads(sys.stdin.buffer.readline()))
    keeper = _Keeper(order)
    try:
        keeper.boot()
    except (Refused, OSError) as error:
        _answer({"refused": str(error)})
        return 1
    _answer({"booted": True})
    leashed, status = keeper.wait()
    if leashed:
        _answer({"status": status, "writes": keeper.writes()})
    else:
        # Nobody is left who could: the hypervisor was killed.
        remove(Path(order.folder))
    return 0


def _answer(document: dict[str, Any]) -> None:
    line = json.dumps(document).encode() + b"\n"
    while line:
        line = line[os.write(1, line) :]


class _Keeper:
    def __init__(self, order: Order) -> None:
        self._order = order
        self._layers = Path(order.folder, "layers")
        self._as_user = False
        self._init = 0

    def boot(self) -> None:
        if self._order.isolated:
            self._leave()
            self._find_room()
        else:
            namespaces.adopt_orphans()
        reader, writer = os.pipe()
        self._init = os.fork()
        if self._init == 0:
            _run_init(self._order, self._layers, as_user=self._as_user, report=writer)
        os.close(writer)
        verdict = os.read(reader, 4096)
        os.close(reader)
        if verdict != b"booted":
            os.waitpid(self._init, 0)
            raise Refused(os.fsdecode(verdict) or "its first process died")

    def _leave(self) -> None:
        flags = namespaces.NEW_MOUNTS | namespaces.NEW_PIDS | namespaces.NEW_IPC
        try:
            namespaces.unshare(flags)
        except OSError:
            self._as_user = True
            namespaces.own_user_namespace(flags)
        # Otherwise our mounts would appear outside where / is shared, as systemd has it.
        namespaces.mount("none", Path("/"), flags=namespaces.RECURSIVE | namespaces.PRIVATE)

    def _find_room(self) -> None:
        """Layers lie in the machine's folder; in memory where its file system carries none (overlay in a container)."""
        if self._try_layers():
            return
        namespaces.mount("tmpfs", self._layers, "tmpfs")
        if not self._try_layers():
            raise Refused("the kernel refuses overlay file systems")

    def _try_layers(self) -> bool:
        folders = [self._layers / "trial" / name for name in ("lower", "upper", "work", "target")]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        try:
            disk.overlay(*folders, as_user=self._as_user)
        except OSError:
            return False
        namespaces.unmount(folders[-1])
        return True

    def wait(self) -> tuple[bool, int]:
        """Until the last process is gone: whether the hypervisor still lives, and the machine's exit status."""
        leashed = True
        end = os.pidfd_open(self._init)
        poll = select.poll()
        poll.register(end, select.POLLIN)
        poll.register(0, select.POLLIN)
        while end not in {handle for handle, _ in poll.poll()}:
            word = os.read(0, 1)
            os.kill(self._init, signal.SIGTERM if word == POWER_BUTTON else signal.SIGKILL)
            if not word:
                leashed = False
                poll.unregister(0)
        _, status = os.waitpid(self._init, 0)
        if not self._order.isolated:
            _kill_descendants()
            _empty(Path(self._order.directory))
        return leashed, os.WEXITSTATUS(status) if os.WIFEXITED(status) else KILLED

    def writes(self) -> list[tuple[str, str, int]] | None:
        if not self._order.isolated:
            return None
        try:
            return sorted((str(path), kind, size) for path, kind, size in self._read_writes())
        except OSError:
            # Better no list than a wrong one; the machine is gone either way.
            traceback.print_exc()
            return None

    def _read_writes(self) -> list[outside.Write]:
        lines = json.loads((self._layers / "places").read_text())
        places = [disk.Place(Path(path), Path(upper), overlay) for path, upper, overlay in lines]
        own = [self._order.directory, self._order.output, *self._order.visible, *self._order.carried.values()]
        return list(outside.writes(places, [Path(path) for path in own]))


def _run_init(order: Order, layers: Path, *, as_user: bool, report: int) -> NoReturn:
    """Never returns into the keeper's code, which a fork carries along."""
    status = 1
    try:
        output = os.open(order.output, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        namespaces.die_with_parent()
        if order.isolated:
            _mount_disk(order, layers, as_user=as_user)
        else:
            namespaces.adopt_orphans()
        # Before the agent can end: sigwait sees only what was blocked when it came.
        signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        agent = _spawn(order, output)
        # Also the proof that the keeper lives: had it died before we asked to die with it, this pipe would be broken.
        os.write(report, b"booted")
        os.close(report)
        status = _reap_until(agent)
    except OSError as error:
        os.write(report, os.fsencode(str(error)))
    finally:
        os._exit(status)


def _mount_disk(order: Order, layers: Path, *, as_user: bool) -> None:
    # The keeper goes on seeing the folders below the mounts: that is where it reads what was written.
    namespaces.unshare(namespaces.NEW_MOUNTS)
    root = Path(order.folder, "root")
    image = disk.Disk(root, layers, as_user=as_user)
    # The sources of `carried` first: they may lie below the execution directory, which is here as ever.
    folders = {Path(there): Path(here) for here, there in order.carried.items()}
    folders[Path(order.directory)] = Path(order.folder, "directory")
    image.build(folders | {Path(path): Path(path) for path in order.visible})
    places = [(str(place.path), str(place.upper), place.overlay) for place in image.places]
    (layers / "places").write_text(json.dumps(places))
    namespaces.change_root(root)


def _spawn(order: Order, output: int) -> int:
    os.chdir("/")
    os.umask(0o022)
    return os.posix_spawn(
        order.argv[0],
        order.argv,
        order.environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, output, 1),
            (os.POSIX_SPAWN_DUP2, output, 2),
        ],
        setsid=True,
        setsigmask=[],
        # Python ignores these two, and an ignored signal stays ignored in what it executes.
        setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
    )


def _reap_until(agent: int) -> int:
    """Wait on everybody who dies until it is the agent; its exit status as a shell would give it."""
    while True:
        if signal.sigwait(_WATCHED) == signal.SIGTERM:
            os.kill(agent, signal.SIGTERM)
            continue
        # One SIGCHLD can stand for many deaths.
        while (dead := os.waitpid(-1, os.WNOHANG))[0] != 0:
            if dead[0] == agent:
                code = os.waitstatus_to_exitcode(dead[1])
                return code if code >= 0 else 128 - code


def _kill_descendants() -> None:
    # Whatever the dead leave behind becomes our child, and the next round finds it.
    while children := [process for process in _processes() if _parent(process) == os.getpid()]:
        for process in children:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _parent(process: int) -> int:
    try:
        # The name before the parenthesis may hold spaces and parentheses itself.
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0  # gone meanwhile


def remove(folder: Path) -> None:
    """A machine's folder, with what the machine made unreadable for its own user. One that is not there is no error."""
    while folder.exists():
        # The kernel clears an overlay's own files away in the background, after the last process that saw it.
        with contextlib.suppress(FileNotFoundError):
            for path, names, _ in os.walk(folder):
                for name in names:
                    if not Path(path, name).is_symlink():
                        Path(path, name).chmod(0o700)
            shutil.rmtree(folder)


def _empty(directory: Path) -> None:
    for path in directory.iterdir():
        if path.is_dir() and not path.is_symlink():
            remove(path)
        else:
            path.unlink()
