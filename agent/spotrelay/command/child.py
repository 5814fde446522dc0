"""One command: from its start to the end of its last descendant.

1. It is started by a process of its own, the subreaper (`subreaper.py`), which collects every descendant however it
   tries to get away, and ends when there is none left. Here is the agent's side: it asks, and knows how things ended.
2. It writes to a file, never to a pipe: with a pipe, somebody must drain it for the command to go on, and its end is
   the end of the last grandchild that holds it, not of the command.
3. A signal finds its way to the program that does the work (`wrappers.py`). Sent once more after that program has
   ended, it goes to everything that is left: helpers in the background, workers whose parent forgot them.
4. There are three ends, in this order: of the main process (`main`), of the program (`program`: the same, unless the
   main process was a shell and the signal went through it), and of everything (`wait`). What is reported as the
   command's end is the program's: a shell that we ended dies of our own signal and says nothing.
5. Whatever happens to the caller, the command does not outlive the agent: the subreaper sees the socket close.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import spotrelay
from spotrelay.command import processes, refusals
from spotrelay.core.ends import End, Exited, Killed, end_of
from spotrelay.core.errors import CommandError

SUBREAPER = [sys.executable, "-S", "-P", "-B", "-m", "spotrelay.command.subreaper"]
# SIGKILL takes microseconds, except for a process in an uninterruptible wait (a dead NFS server, a GPU driver).
KILL_S = 10.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """Who got a signal: pid → the kernel's name of the process."""

    programs: dict[int, str]
    shells: dict[int, str]  # seen through
    leftovers: bool = False  # the program had ended before; `programs` are what it left behind


class Child:
    """A command that was started. Made by `spawn`."""

    def __init__(self, subreaper: subprocess.Popen[bytes], control: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self.pid = 0
        self._subreaper = subreaper
        self._control = control
        self._received = b""
        self._ends: dict[int, End] = {}
        self._recipients: list[int] = []
        self._answers: list[asyncio.Future[Delivery]] = []
        self._started: asyncio.Future[dict[str, Any]] = loop.create_future()
        self._main: asyncio.Future[End] = loop.create_future()
        self._program: asyncio.Future[End] = loop.create_future()
        self._gone: asyncio.Future[None] = loop.create_future()
        loop.add_reader(control, self._listen)

    async def main(self) -> End:
        """When the process that was started has ended; descendants may live on."""
        return await asyncio.shield(self._main)

    async def program(self) -> End:
        """When the program that does the work has ended: the main process, or who got the signal behind it."""
        return await asyncio.shield(self._program)

    async def wait(self) -> End:
        """When every process of the command is gone. How the *program* ended."""
        await asyncio.shield(self._gone)
        return self._program.result()

    async def signal(self, sig: int) -> Delivery:
        """Signal the program, or what is left behind when it has ended already (nobody, at last)."""
        try:
            self._control.send(_line({"signal": int(sig)}))
        except OSError:  # all gone, or being killed
            return Delivery({}, {}, leftovers=True)
        answer: asyncio.Future[Delivery] = asyncio.get_running_loop().create_future()
        self._answers.append(answer)
        return await answer

    async def kill(self, within: float = KILL_S) -> None:
        """SIGKILL to everything, again and again until nothing is left. Raises TimeoutError after `within` seconds."""
        with contextlib.suppress(OSError):  # all gone
            self._control.shutdown(socket.SHUT_WR)
        try:
            async with asyncio.timeout(within):
                await asyncio.shield(self._gone)
        except TimeoutError:
            raise TimeoutError(f"alive {within:g} s after SIGKILL: {self.processes()}") from None

    def processes(self) -> list[int]:
        """Pids of all that is alive, parents before children."""
        return [] if self._gone.done() else processes.descendants(self._subreaper.pid)

    async def _start(self, order: dict[str, Any]) -> dict[str, Any]:
        """Returns the subreaper's answer; whoever cancels this leaves no process behind."""
        try:
            await asyncio.get_running_loop().sock_sendall(self._control, _line({"start": order}))
            answer = await asyncio.shield(self._started)
            if "failed" in answer:
                await asyncio.shield(self._gone)
        except BaseException:
            await self.kill()
            raise
        return answer

    def _listen(self) -> None:
        received = b""
        with contextlib.suppress(ConnectionError):
            received = self._control.recv(1 << 16)
        *lines, self._received = (self._received + received).split(b"\n")
        for line in lines:
            self._on_message(json.loads(line))
        if not received:
            asyncio.get_running_loop().remove_reader(self._control)
            self._control.close()
            self._on_gone()

    def _on_message(self, message: dict[str, Any]) -> None:
        match message:
            case {"started": pid}:
                self.pid = pid
                self._recipients = [pid]
                self._started.set_result(message)
            case {"failed": _}:
                self._started.set_result(message)
            case {"ended": [pid, returncode]}:
                self._on_end(pid, end_of(returncode))
            case {"signalled": got}:
                self._on_delivery(got)

    def _on_end(self, pid: int, end: End) -> None:
        self._ends[pid] = end
        if pid == self.pid and not self._main.done():
            self._main.set_result(end)
        if self._main.done() and not self._program.done() and all(pid in self._ends for pid in self._recipients):
            self._program.set_result(self._verdict())

    def _on_delivery(self, got: dict[str, Any]) -> None:
        programs, shells = ({int(pid): name for pid, name in got[kind].items()} for kind in ("programs", "shells"))
        if programs and not got["leftovers"]:
            self._recipients = list(programs)
            for pid in programs:
                self._ends.pop(pid, None)  # of an earlier process with this pid
        answer = self._answers.pop(0)
        if not answer.done():  # a caller that was cancelled
            answer.set_result(Delivery(programs, shells, got["leftovers"]))

    def _verdict(self) -> End:
        """Of several programs (a pipeline, jobs side by side) the first that did not exit 0 speaks for all."""
        # Whoever has no end was collected by a parent of its own, a shell that outlived our signal: then that speaks.
        ends = [self._ends[pid] for pid in self._recipients if pid in self._ends] or [self._ends[self.pid]]
        return next((end for end in ends if end != Exited(0)), ends[0])

    def _on_gone(self) -> None:
        """The subreaper has nobody left. Or it was killed itself: then it has not told of the main process."""
        self._subreaper.wait()  # its socket was closed by its exit: no wait worth a thread
        if not self._started.done():
            self._started.set_result({"failed": "subreaper", "errno": 0, "text": "it ended before the command began"})
        elif self.pid and not self._main.done():
            with contextlib.suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)
            self._on_end(self.pid, Killed(signal.SIGKILL))
        if self.pid and not self._program.done():
            self._program.set_result(self._verdict())
        for answer in self._answers:
            if not answer.done():
                answer.set_result(Delivery({}, {}, leftovers=True))
        self._gone.set_result(None)


async def spawn(
    command: Sequence[str],
    *,
    directory: Path,
    output: Path,
    environment: Mapping[str, str],
    user: str | None = None,
    umask: int | None = None,
    cgroup: Path | None = None,
) -> Child:
    """Start `command` in `directory`, in a session of its own, with exactly this environment.

    A program without a slash is looked for in the environment's PATH; with one, it is relative to `directory`. Standard
    output and error are appended to the file `output`. `user`: run as that user, with the user's groups, and with HOME,
    USER, LOGNAME and SHELL of the user in place of those in `environment`; needs root, unless it is who we are.
    `cgroup`: where it begins, see `cgroup.prepare`.

    Raises CommandNotFound, CommandNotExecutable, or CommandError for anything else that keeps it from starting.
    """
    account = None if user is None else _account(user)
    order = {
        "command": list(command),
        "directory": str(directory),
        "output": str(output),
        "environment": {**environment, **(_login(account) if account else {})},
        "user": _identity(account) if account else None,
        "umask": umask,
        "cgroup": None if cgroup is None else str(cgroup),
    }
    child = _subreaper()
    answer = await child._start(order)
    if "failed" in answer:
        raise refusals.error(answer, command[0], directory=directory, output=output, user=user)
    return child


def _subreaper() -> Child:
    ours, theirs = socket.socketpair()
    package = Path(spotrelay.__file__).parents[1]
    with theirs:
        process: subprocess.Popen[bytes] = subprocess.Popen(
            SUBREAPER,
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C at a terminal is for the agent, which decides
            cwd="/",
            env={"PYTHONPATH": str(package), "PYTHONUTF8": "1"},
        )
    ours.setblocking(False)
    return Child(process, ours)


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def _account(user: str) -> pwd.struct_passwd:
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        raise CommandError(f"there is no user {user!r} here", next_step="create the user or name another") from None
    if account.pw_uid != os.geteuid() and os.geteuid() != 0:
        who = pwd.getpwuid(os.geteuid()).pw_name
        raise CommandError(f"{who} cannot run a command as {user}", next_step="run as root, or without a user")
    return account


def _login(account: pwd.struct_passwd) -> dict[str, str]:
    name = account.pw_name
    return {"HOME": account.pw_dir, "USER": name, "LOGNAME": name, "SHELL": account.pw_shell or "/bin/sh"}


def _identity(account: pwd.struct_passwd) -> dict[str, Any] | None:
    """None when it is ours already: only root may set groups, even to what they are."""
    if os.geteuid() != 0:
        return None
    groups = os.getgrouplist(account.pw_name, account.pw_gid)
    return {"uid": account.pw_uid, "gid": account.pw_gid, "groups": groups}
