"""Why a command did not start, told to a person: what, where, and what to do about it.

The subreaper names the step that failed and the kernel's errno. The kernel's text alone misleads: "No such file or
directory" is also what it says of a script that is there and whose interpreter is not.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

from spotrelay.core.errors import CommandError, CommandNotExecutable, CommandNotFound


def error(failure: dict[str, Any], program: str, *, directory: Path, output: Path, user: str | None) -> CommandError:
    """`failure`: the subreaper's answer, with `failed` (the step), `errno` and `text`."""
    step, number, text = failure["failed"], failure["errno"], failure["text"]
    if step == "command":
        return _unstartable(number, text, program, directory)
    if step == "directory":
        who = user or "the agent's user"
        remedy = f"let {who} enter it" if number == errno.EACCES else "create it, or correct [run] directory"
        return CommandError(f"directory {directory}: {text}", next_step=remedy)
    if step == "output":
        return CommandError(f"output {output}: {text}", next_step="let the agent write there")
    return CommandError(f"{program} did not start ({step}): {text}")


def _unstartable(number: int, text: str, program: str, directory: Path) -> CommandError:
    path = directory / program if "/" in program else None
    if number in (errno.ENOENT, errno.ENOTDIR):
        return _missing(program, path)
    if number == errno.EACCES:
        if path is not None and path.is_dir():
            return CommandNotExecutable(f"{program}: is a directory", next_step="name the program in it")
        return CommandNotExecutable(f"{program}: {text}", next_step=f"chmod +x {program}, or name its interpreter")
    if number == errno.ENOEXEC:
        # execvp and bash would each give it to a shell, and not to the same one: we do not guess.
        return CommandNotExecutable(
            f"{program}: neither a script with #! in its first line nor a program for this processor",
            next_step=f"add a first line (#!/bin/bash), or name its interpreter: bash {program}",
        )
    return CommandNotExecutable(f"{program}: {text}", next_step="correct [run] command")


def _missing(program: str, path: Path | None) -> CommandNotFound:
    if path is None:
        return CommandNotFound(f"{program}: in no folder of PATH", next_step="install it, or correct [run] command")
    if path.exists():
        return CommandNotFound(
            f"{program}: the interpreter that it asks for is not here",
            next_step="correct its first line (#!…), or install that interpreter",
        )
    return CommandNotFound(f"{program}: there is no {path}", next_step="correct [run] command")
