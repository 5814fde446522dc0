"""What an exit code means, to a person: the number alone hides who decided it."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from spotrelay.core import frameworks
from spotrelay.core.ends import Exited, Killed

_TERM = "the signal itself ended it: it had no handler for it, or not yet"
_TOLD = {
    str(Exited(0)): "it was told, and ended",
    str(Killed(signal.SIGTERM)): _TERM,
    str(Exited(128 + signal.SIGTERM)): _TERM,  # what a shell says of a program that the signal ended
    str(Killed(signal.SIGKILL)): "it ran on until it had to be killed",
    str(Killed(signal.SIGINT)): "KeyboardInterrupt reached the top",
    str(Exited(1)): "an error, most often: what it did on the signal failed, or its workers died of it",
}
_BY_ITSELF = {
    str(Exited(0)): "it finished",
    str(Exited(1)): "an error; its last words are below",
    str(Exited(2)): "an error, most often a wrong argument",
    str(Exited(126)): "the program may not be executed, or is none",
    str(Exited(127)): "there is no such program",
    str(Exited(134)): "it aborted",
    str(Exited(137)): "something in it was killed, most often for want of memory",
    str(Exited(139)): "something in it crashed (segmentation fault)",
    str(Killed(signal.SIGKILL)): "it was killed, most often for want of memory",
    str(Killed(signal.SIGTERM)): "somebody else ended it: that signal was not ours",
    str(Killed(signal.SIGSEGV)): "it crashed (segmentation fault)",
    str(Killed(signal.SIGABRT)): "it aborted",
    str(Killed(signal.SIGBUS)): "it crashed, most often for want of shared memory or disk",
    str(Killed(signal.SIGINT)): "somebody pressed Ctrl-C in it, or it did so itself",
}


def meaning(end: str, *, told: bool, command: Sequence[str] = ()) -> str:
    """`end` as a hand-over has it ("exit code 3", "SIGKILL"). `told`: after our signal. Empty: nothing to add."""
    if told:
        framework = frameworks.recognise(command)
        if framework and end in [str(Exited(code)) for code in framework.clean_exit_codes if code]:
            return f"so ends {framework.name} after the signal, whatever its program did"
        return _TOLD.get(end, "it ended after the signal, with a code of its own")
    return _BY_ITSELF.get(end, "")
