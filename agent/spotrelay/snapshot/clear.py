"""Empty a directory in place (it may be a mount point itself), but for what is excluded and other mounts.

Names are listed first and removed in reverse, so that each directory is empty by its turn, unless it keeps something.
"""

from __future__ import annotations

import os
import stat

from spotrelay.snapshot.descent import Descent
from spotrelay.snapshot.exclude import EXCLUDED, MOUNT, Exclusions
from spotrelay.snapshot.scan import walk


def clear(root: int, exclude: Exclusions) -> frozenset[bytes]:
    """The directories that had to stay for what they hold. Raises OSError."""
    kept: set[bytes] = {b""}
    with Descent(root) as down:
        nodes = list(walk(down, exclude))
        for path in (node.path for node in nodes if node.barrier in (EXCLUDED, MOUNT)):
            kept.update(_ancestors(path))
        for path, status, barrier in nodes:
            # Who is not root cannot delete from a directory that a snapshot has made read-only for them.
            if not barrier and stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_IWUSR == 0:
                os.fchmod(down.directory(path), 0o700)
        for path, status, barrier in reversed(nodes):
            if path not in kept and barrier not in (EXCLUDED, MOUNT):
                name, parent = down.place(path)
                (os.rmdir if stat.S_ISDIR(status.st_mode) else os.unlink)(name, dir_fd=parent)
    return frozenset(kept)


def _ancestors(path: bytes) -> list[bytes]:
    parts = path.split(b"/")
    return [b"/".join(parts[:end]) for end in range(1, len(parts))]
