"""Whose the directory on this disk is: written when it is restored, believed by an agent that was restarted.

An agent that dies is started again on the same machine, and there the directory is newer than any snapshot: restoring
one would throw work away. Yet it may only be taken as it is when nothing but the agent has ended since:

1. the same run, attempt and instance: anything else is another's directory;
2. the same boot: after a crash of the machine, files may be there whose last bytes are not;
3. the same directory, by device and inode: somebody may have put another one, or a mount, in its place.

In any doubt there is no marker, and the newest snapshot is restored as on a fresh machine.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Marker:
    """In the file `path`, for `directory` of (run, attempt) on `instance`."""

    def __init__(self, path: Path, directory: Path, *, run: str, attempt: int, instance: str) -> None:
        self._path, self._directory = path, directory
        self._owner: dict[str, str | int] = {"run": run, "attempt": attempt, "instance": instance}

    def set(self) -> None:
        """From here on, the directory is whole and the attempt's own. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        written = self._path.with_suffix(".new")
        # Whole or not there. No fsync: it is for this boot alone, and what the kernel took outlives the agent.
        written.write_text(json.dumps(self._said()))
        written.replace(self._path)

    def remove(self) -> None:
        """Before anything is done to the directory that could end half-way. Raises OSError."""
        self._path.unlink(missing_ok=True)

    def holds(self) -> bool:
        with contextlib.suppress(OSError, ValueError):
            return bool(json.loads(self._path.read_bytes()) == self._said())
        return False

    def _said(self) -> dict[str, str | int]:
        status = self._directory.stat()
        boot = BOOT_ID.read_text().strip()
        return {**self._owner, "boot": boot, "device": status.st_dev, "inode": status.st_ino}
