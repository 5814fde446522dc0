"""Empty a directory in place (it may be a mount point itself), but for what is excluded and other mounts.

Each directory is emptied before it is removed, unless it keeps something. Nothing is followed: each is opened by its
name in the one above, with O_NOFOLLOW.
"""

from __future__ import annotations

import os
import stat

from spotrelay.snapshot import descent
from spotrelay.snapshot.exclude import Exclusions


def clear(root: int, exclude: Exclusions) -> frozenset[bytes]:
    """The directories that had to stay for what they hold, the root among them. Raises OSError."""
    kept: set[bytes] = {b""}
    _empty(root, b"", exclude, kept)
    return frozenset(kept)


def _empty(directory: int, path: bytes, exclude: Exclusions, kept: set[bytes]) -> bool:
    """Whether it is empty now."""
    # Who is not root cannot delete from a directory that a snapshot has made read-only for them.
    if os.fstat(directory).st_mode & stat.S_IWUSR == 0:
        os.fchmod(directory, 0o700)
    if path.count(b"/") >= descent.DEEPEST:
        raise OSError(0, f"more than {descent.DEEPEST} directories deep")
    with os.scandir(directory) as entries:
        names = [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries]
    emptied = [_remove(directory, path, name, exclude, kept, is_directory=is_dir) for name, is_dir in names]
    return all(emptied)


def _remove(
    directory: int, path: bytes, name: bytes, exclude: Exclusions, kept: set[bytes], *, is_directory: bool
) -> bool:
    below = path + b"/" + name if path else name
    if exclude.why(below, is_directory):
        return False
    if not is_directory:
        os.unlink(name, dir_fd=directory)
        return True
    inside = os.open(name, descent.DIRECTORY, dir_fd=directory)
    try:
        empty = _empty(inside, below, exclude, kept)
    finally:
        os.close(inside)
    if empty:
        os.rmdir(name, dir_fd=directory)
    else:
        kept.add(below)
    return empty
