"""The machine, made fit for a run: its user, its directory's place. For machines that are the agent's own.

Nothing here fails the run. What cannot be made is said; and where the run cannot do without it, the command that does
not start says so again, and its outcome with it.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

import structlog

from spotrelay import disks
from spotrelay.core.spec import Spec


def prepare(spec: Spec) -> None:
    """Blocking."""
    if spec.run.user is not None:
        _make_user(spec.run.user)
    _use_instance_store(Path(spec.run.directory))


def make_directory(directory: Path, user: str | None) -> None:
    """As it is where no snapshot says otherwise: there, and the user's own. Raises OSError."""
    if directory.is_dir():
        return
    directory.mkdir(parents=True)
    if (owner := owner_for(user)) is not None:
        os.chown(directory, *owner)


def owner_for(user: str | None) -> tuple[int, int] | None:
    """uid and gid of what is made for the run's user; None where it stays whose it is: nobody is named, we may not give
    anything away, or there is no such user. Then nobody can start the command either, and that is told there."""
    if user is None or os.geteuid() != 0:
        return None
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        return None
    return account.pw_uid, account.pw_gid


def _make_user(name: str) -> None:
    log = structlog.get_logger()
    try:
        pwd.getpwnam(name)
    except KeyError:
        try:
            # "--": a name may begin with a dash. Whether it is one at all is useradd's to say.
            making = ["useradd", "--create-home", "--shell", "/bin/bash", "--", name]
            subprocess.run(making, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            log.error("user.missing", user=name, error=_said(error))
        else:
            log.info("user.made", user=name)


def _use_instance_store(directory: Path) -> None:
    log = structlog.get_logger()
    try:
        occupied = directory.is_mount() or (directory.is_dir() and any(directory.iterdir()))
        commands = disks.plan(disks.found(), directory, occupied=occupied)
        if commands:
            directory.mkdir(parents=True, exist_ok=True)
        for command in commands:
            subprocess.run(command, check=True, capture_output=True, text=True)
            log.info("disk.prepared", command=command)
    except (OSError, subprocess.CalledProcessError) as error:
        log.error("disk.unused", error=_said(error), why="the directory stays on the root volume")


def _said(error: Exception) -> str:
    """The program's own words, where there are any."""
    return str(getattr(error, "stderr", None) or error).strip()
