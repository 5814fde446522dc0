"""What is to be rehearsed, and what cannot be: checked before anything is begun."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spotrelay.cli import network
from spotrelay.cli.moments import Moment
from spotrelay.core.errors import CommandNotExecutable, CommandNotFound, UsageError


@dataclass(frozen=True, slots=True)
class Plan:
    """`progress`: the counter in the command's output. `output`: where its directory goes. `kept`: where all goes."""

    command: Sequence[str]
    directory: Path
    moments: Sequence[Moment]
    notice_s: float = 120.0
    save_every_s: float = 5.0
    progress: re.Pattern[str] | None = None
    instance_type: str = network.DEFAULT
    exclude: Sequence[str] = ()
    strict_exit: bool = False
    limit_s: float = 3600.0
    output: Path | None = None
    kept: Path | None = None


def check(plan: Plan) -> None:
    """Raises UsageError for what cannot be rehearsed, and CommandError for a command that could not start."""
    if sys.platform != "linux":
        raise UsageError("a rehearsal needs Linux", next_step="run it in a container or on a Linux machine")
    if not plan.directory.is_dir():
        raise UsageError(f"no such directory: {plan.directory}", next_step="give one with --directory")
    if plan.directory == Path(plan.directory.anchor):
        raise UsageError("the root of the file system cannot be the execution directory", next_step="cd to the project")
    if not os.access(plan.directory, os.R_OK | os.X_OK):
        raise UsageError(f"{plan.directory} may not be read", next_step="give another --directory, or the right to it")
    for option, folder in (("--output", plan.output), ("--keep", plan.kept)):
        _check_free(option, folder)
    _check_command(plan.command[0], plan.directory)


def _check_free(option: str, folder: Path | None) -> None:
    """An existing folder may be given if it is empty. Said now, not after an hour's rehearsal."""
    if folder is None or not (folder.exists() or folder.is_symlink()):
        return
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder", next_step=f"give {option} a new folder")
    if any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty", next_step=f"give {option} a new folder")


def _check_command(program: str, directory: Path) -> None:
    """As `exec` will look for it, so that a slip of the pen costs no machine."""
    places = [directory / program] if "/" in program else [Path(folder, program) for folder in os.get_exec_path()]
    found = [path for path in places if program and os.access(path, os.F_OK)]
    if not found:
        where = f"there is no {places[0]}" if "/" in program else "in no folder of PATH"
        raise CommandNotFound(f"{program or 'an empty command'}: {where}", next_step="correct COMMAND, after --")
    if not any(path.is_file() and os.access(path, os.X_OK) for path in found):
        why = "may not be executed" if found[0].is_file() else "is a directory"
        remedy = f"chmod +x {found[0]}, or name its interpreter" if found[0].is_file() else "name the program in it"
        raise CommandNotExecutable(f"{program}: {why}", next_step=remedy)
