"""Whom a signal is for: the program that does the work, and the shells that stand before it.

`sh -c "prepare; python train.py; after"` is what people write. Sent to the shell alone, SIGTERM kills the shell and
leaves the program running, with nobody to tell it; sent to the whole group, it kills a data loader's workers under the
main process that still needs them. So the signal looks for its way from the main process:

1. The main process is a program: it gets the signal, and it alone. What it started is its own to end.
2. It is a shell without a trap for the signal: seen through. The signal goes to what the shell is waiting for, which
   may be a shell again; and to the shell itself *before* that, so that it dies instead of going on with the script.
   The shell is stopped (SIGSTOP) while we look, or it could start its next command behind our back.
3. It is a shell with a trap: somebody has thought about it. The shell gets the signal, and it alone.
4. It waits for a pipeline, `python train.py | tee log`: filters that only pass on what they read end by themselves at
   the end of their input, and must live until then or the last lines are lost.
5. It has jobs in the background, `tensorboard & python train.py`: they may be needed until the program has saved, and
   are left for later. POSIX tells them apart: without job control an asynchronous list ignores SIGINT and SIGQUIT.
   When there are only such jobs (`a & b & wait`), they are the program.
6. A shell between two commands waits for nobody: the signal is its own.
7. A launcher that starts the program, waits for it and passes no signal on is no better than a shell
   (core/frameworks.py: `accelerate launch`); one that catches the signal passes it on, and gets it alone.

What we cannot see: whether a shell has a trap for SIGINT. dash and bash catch it themselves, for every script. So for
SIGINT the trap looked for, and the signal that the shell gets, is SIGTERM.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field

from spotrelay.command import processes
from spotrelay.core import frameworks

# By the binary's name. `time` is GNU's: it waits as a shell does and does not forward either. `timeout`, `nice`, `env`
# and `nohup` are not here: the first forwards, the others become the program.
WRAPPERS = frozenset({"sh", "dash", "bash", "ash", "busybox", "ksh", "ksh93", "mksh", "zsh", "time"})
# By the kernel's name of the process, since `ts` is a Perl script. What reads standard input and passes it on.
FILTERS = frozenset(
    {"awk", "cat", "cut", "gawk", "grep", "gzip", "head", "logger", "mawk", "pv", "rotatelogs", "sed", "sort", "tail"}
    | {"tee", "tr", "ts", "uniq", "zstd"}
)
# A stop takes effect when the process next leaves the kernel: microseconds, unless its core is busy.
STOP_S = 0.1


@dataclass(slots=True)
class Recipients:
    """Pids, each alive when looked at; `shells` outermost first, all of them stopped."""

    programs: list[int] = field(default_factory=list)
    shells: list[int] = field(default_factory=list)


def recipients(root: int, sig: int) -> Recipients:
    """Whom `sig` is for, if sent to `root`, a descendant of ours. Stops the shells on the way: `deliver` wakes them."""
    if not _stands_before(root) or processes.catches(root, _for_shell(sig)):
        return Recipients(programs=[root])
    _stop(root)
    found = Recipients(shells=[root])
    for child in _waited_for(root):
        below = recipients(child, sig)
        found.programs += below.programs
        found.shells += below.shells
    if not found.programs:
        found.programs.append(root)
    return found


def _stands_before(pid: int) -> bool:
    """It is a shell, or a launcher of which nothing is to be expected."""
    if processes.executable(pid) in WRAPPERS:
        return True
    framework = frameworks.recognise(processes.arguments(pid))
    return framework is not None and not framework.forwards


def deliver(to: Recipients, sig: int) -> Recipients:
    """Send, shells first. Returns those who got it."""
    got, below = Recipients(), os.getpid()
    for shell in to.shells:
        if processes.send(shell, sig if shell in to.programs else _for_shell(sig), below=below):
            got.shells.append(shell)
        # Awake again, a shell meets the pending signal before its next instruction.
        processes.send(shell, signal.SIGCONT, below=below)
    for program in to.programs:
        if program in got.shells or processes.send(program, sig, below=below):
            got.programs.append(program)
    got.shells = [shell for shell in got.shells if shell not in got.programs]
    return got


def _for_shell(sig: int) -> int:
    return signal.SIGTERM if sig == signal.SIGINT else sig


def _stop(shell: int) -> None:
    processes.send(shell, signal.SIGSTOP, below=os.getpid())
    deadline = time.monotonic() + STOP_S
    while processes.is_alive(shell) and processes.state(shell) not in processes.STOPPED:
        if time.monotonic() > deadline:
            return  # better a small race than no signal
        time.sleep(0.0005)


def _waited_for(shell: int) -> list[int]:
    alive = [child for child in processes.children(shell) if processes.is_alive(child)]
    foreground = [child for child in alive if not _in_background(child)] or alive
    return [child for child in foreground if processes.name(child) not in FILTERS] or foreground


def _in_background(pid: int) -> bool:
    return processes.ignores(pid, signal.SIGINT) and processes.ignores(pid, signal.SIGQUIT)
