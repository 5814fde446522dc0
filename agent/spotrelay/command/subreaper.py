"""A small process between the agent and the command: it starts the command and outlives everything the command starts.

    agent ──socket── subreaper ── main process ── …
                         └─────── whatever lost its parent

1. An orphan, however often it forked and called setsid(), becomes a child of its nearest ancestor that asked for it
   (PR_SET_CHILD_SUBREAPER). With that ancestor a process of its own, "all that the command left" is exactly "all below
   it", and it may wait for any child. In the agent itself one could neither tell an orphan of the command from a
   process of our own, nor call waitpid(-1) without stealing what asyncio or `subprocess` wait for.
2. It has one thread, so Python may run between fork() and exec(): that sets what `subprocess` leaves out (dispositions
   that the agent ignores, its signal mask, PDEATHSIG, which is tied to the forking *thread*), and says which step
   failed. The agent has threads of boto3 and obstore; a `preexec_fn` there can meet a lock that nobody ever releases.
3. End of file on the socket means: kill everything below. So it comes to pass as well when the agent dies, by whatever.
   systemd would do that too where there is systemd; a rehearsal on a laptop has none. Should the subreaper die, the
   main process goes with it (PDEATHSIG) and the agent kills its group.
4. It ends when its last child has. So end of file is, for the agent, the news that every process is gone.

Its price is 14 MB resident (7 MB of its own) and 40 ms at the start: Python without `site`, with ctypes for prctl.
It imports the standard library only, whatever the agent imports; `child.SUBREAPER` is how it is started.

The socket (its standard input) carries JSON lines. To it: `{"start": {…}}` first, then `{"signal": n}` any time. From
it: `{"started": pid}` or `{"failed": step, "errno": n, "text": …}`; `{"ended": [pid, returncode]}` for each child;
`{"signalled": {…}}` for each signal. So what is secret in an environment is on no command line.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
from collections.abc import Callable
from typing import Any, NoReturn

from spotrelay.command import processes, wrappers

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
# While killing, we look again with every child that ends and at least this often: what was forked between our look and
# our kill() sends no SIGCHLD to us as long as it lives.
SWEEP_S = 0.05


def main() -> None:
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(ignored, signal.SIG_IGN)  # whoever means the command tells the agent
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    Subreaper(socket.socket(fileno=0)).run()


class Subreaper:
    def __init__(self, agent: socket.socket) -> None:
        os.set_inheritable(agent.fileno(), False)
        self._agent = agent
        self._received = b""
        self._killing = False
        self._roots: list[int] = []  # who stands for the command: first the main process, then who got a signal
        self._wake, waker = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(waker, False)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def run(self) -> None:
        """Until the last child is gone."""
        while not self._roots and not self._killing:
            self._listen()
        while self._reap():
            if self._killing:
                self._sweep()
            watched: list[Any] = [self._wake] if self._killing else [self._wake, self._agent]
            readable, _, _ = select.select(watched, [], [], SWEEP_S if self._killing else None)
            if self._wake in readable:
                os.read(self._wake, 4096)
            if self._agent in readable:
                self._listen()

    def _listen(self) -> None:
        received = self._agent.recv(1 << 16)
        self._killing = not received
        *lines, self._received = (self._received + received).split(b"\n")
        for line in lines:
            self._obey(json.loads(line))

    def _obey(self, message: dict[str, Any]) -> None:
        if "start" in message:
            self._start(message["start"])
        else:
            self._signal(message["signal"])

    def _start(self, order: dict[str, Any]) -> None:
        reader, writer = os.pipe()
        order["parent"] = os.getpid()
        pid = os.fork()
        if pid == 0:
            _become(order, writer)
        os.close(writer)
        with open(reader, "rb") as report:  # noqa: PTH123 — a descriptor, not a path
            failure = report.read()  # ends with exec(), which closes the other end
        self._roots = [pid]
        self._tell(json.loads(failure) if failure else {"started": pid})

    def _signal(self, sig: int) -> None:
        self._reap()
        left = processes.descendants(os.getpid())
        roots = [root for root in self._roots if root in left]
        if not roots:
            got = wrappers.deliver(wrappers.Recipients(programs=left), sig)
        else:
            got = wrappers.Recipients()
            for root in roots:
                reached = wrappers.deliver(wrappers.recipients(root, sig), sig)
                got.programs += reached.programs
                got.shells += reached.shells
            self._roots = got.programs or roots
        named = {kind: {pid: processes.name(pid) for pid in getattr(got, kind)} for kind in ("programs", "shells")}
        self._tell({"signalled": {**named, "leftovers": not roots}})

    def _sweep(self) -> None:
        for pid in processes.descendants(os.getpid()):
            processes.send(pid, signal.SIGKILL, below=os.getpid())

    def _reap(self) -> bool:
        """Collect who has ended. False when there is no child any more."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            self._tell({"ended": [pid, os.waitstatus_to_exitcode(status)]})

    def _tell(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # the agent is gone: _listen notices
            self._agent.sendall(json.dumps(message).encode() + b"\n")


def _become(order: dict[str, Any], report: int) -> NoReturn:
    """Turn this fork into the command, or say through `report` why not."""
    steps: dict[str, Callable[[dict[str, Any]], None]] = {
        "output": _redirect,
        "cgroup": _move,
        "user": _switch_user,
        "directory": _enter,
        "command": _execute,
    }
    for step, do in steps.items():
        try:
            do(order)
        except (OSError, ValueError) as error:  # ValueError: a null byte in an argument
            number = error.errno if isinstance(error, OSError) else None
            failure = {"failed": step, "errno": number or 0, "text": getattr(error, "strerror", None) or str(error)}
            os.write(report, json.dumps(failure).encode())
            break
    os._exit(127)


def _redirect(order: dict[str, Any]) -> None:
    """A session of its own, /dev/null to read, the output file to write."""
    os.setsid()
    output = os.open(order["output"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    if order["user"] is not None:
        # `echo … > /dev/stderr` in a script opens the file anew, as that user.
        os.fchown(output, order["user"]["uid"], order["user"]["gid"])
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (output, 1), (output, 2)):
        os.dup2(source, target)


def _move(order: dict[str, Any]) -> None:
    """Into a cgroup of its own; and when memory runs out, the command is the one to go, not the agent beside it."""
    if order["cgroup"] is not None:
        _write(order["cgroup"] + "/cgroup.procs", b"0")
    with open("/proc/self/oom_score_adj", "rb") as file:  # noqa: PTH123 - pathlib costs milliseconds here
        spared = int(file.read()) < 0
    if spared:
        _write("/proc/self/oom_score_adj", b"0")


def _write(path: str, data: bytes) -> None:
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(data)


def _switch_user(order: dict[str, Any]) -> None:
    if (user := order["user"]) is not None:
        os.setgroups(user["groups"])
        os.setgid(user["gid"])
        os.setuid(user["uid"])
    if order["umask"] is not None:
        os.umask(order["umask"])


def _enter(order: dict[str, Any]) -> None:
    os.chdir(order["directory"])  # as the user, who may not be allowed to


def _execute(order: dict[str, Any]) -> None:
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # only now: a change of user clears it
    if os.getppid() != order["parent"]:
        os.kill(os.getpid(), signal.SIGKILL)  # it died before we asked
    for sig in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(sig, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    command, environment = order["command"], order["environment"]
    os.execvpe(command[0], command, environment)  # noqa: S606


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    main()
