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
    try:
        account = pwd.getpwnam(user) if user is not None else None
    except KeyError:
        return  # nobody can start the command either, and is told there
    if account is not None and os.geteuid() == 0:
        os.chown(directory, account.pw_uid, account.pw_gid)


def give(directory: Path, user: str | None) -> None:
    """All of it to whom the run is run as. What a laptop saved has the laptop's owners, whose numbers are somebody
    else's here, or nobody's: the command could read its own directory, and write nothing. Blocking; needs root."""
    if os.geteuid() != 0:
        return
    try:
        account = pwd.getpwnam(user) if user is not None else pwd.getpwuid(0)
    except KeyError:
        return  # as above
    owner, refused = (account.pw_uid, account.pw_gid), 0
    for folder, directories, files, at in os.fwalk(directory, follow_symlinks=False):
        for name in (".", *directories, *files):
            try:
                status = os.stat(name, dir_fd=at, follow_symlinks=False)
                if (status.st_uid, status.st_gid) != owner:
                    os.chown(name, *owner, dir_fd=at, follow_symlinks=False)
            except OSError as error:
                refused += 1
                if refused == 1:
                    structlog.get_logger().error("owner.unchanged", path=f"{folder}/{name}", error=str(error))


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
