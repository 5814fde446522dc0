"""What there is below a directory, a directory at a time, without the bytes of its files.

`walk` lists and looks: 2.4 s for a million entries for which `find -printf` takes 2.0 s. The directory may be in use.
What vanishes between the listing and the look was deleted, and is simply not there. Memory is one listing for each
open level.

Names are text with surrogateescape here, as the manifest spells them and os.scandir gives them.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from array import array
from collections.abc import Generator, Iterator
from operator import attrgetter
from typing import NamedTuple

from spotrelay.core.manifest import Meta
from spotrelay.snapshot import descent
from spotrelay.snapshot.descent import Descent
from spotrelay.snapshot.exclude import MOUNT, Exclusions
from spotrelay.snapshot.index import Stamp, stamps_of

# The file was there, and is not, or is something else: ENOENT, ELOOP and ENOTDIR from O_NOFOLLOW, ENXIO from a socket.
GONE = (FileNotFoundError, NotADirectoryError)
_POSITIVE = (1 << 63) - 1

Attributes = tuple[tuple[bytes, bytes], ...]

_name = attrgetter("name")
_stamp = attrgetter("st_size", "st_mtime_ns", "st_ctime_ns", "st_ino")


class Listing(NamedTuple):
    """A directory's entries but for excluded ones, siblings in the order of their bytes. `file`: a descriptor of it,
    good until the walk goes on. `began`: nanoseconds since 1970, before the first of them was looked at."""

    path: str
    file: int
    names: list[str]
    statuses: list[os.stat_result]
    directories: list[str]
    began: int


class Barrier(NamedTuple):
    """A directory that was listed by its parent and not entered: a mount, unreadable, or ("") gone."""

    path: str
    why: str


class Found(NamedTuple):
    """A regular file, not yet read."""

    path: bytes
    status: os.stat_result


def walk(root: int, exclude: Exclusions) -> Generator[Listing | Barrier, None, None]:
    """`root`: a descriptor of the directory, which comes first; each directory before what it holds. Raises OSError."""
    listing = listed(root, "", exclude)
    yield listing
    levels = [(listing, iter(listing.directories))]
    try:
        while levels:
            above, names = levels[-1]
            name = next(names, None)
            if name is None:
                levels.pop()
                if levels:
                    os.close(above.file)
                continue
            path = join(above.path, name)
            inside = _enter(above, name, path, exclude)
            if isinstance(inside, Listing):
                levels.append((inside, iter(inside.directories)))
            yield inside
    finally:
        for open_level, _ in levels[1:]:
            os.close(open_level.file)


def _enter(above: Listing, name: str, path: str, exclude: Exclusions) -> Listing | Barrier:
    if exclude.is_mount(os.fsencode(path)):
        return Barrier(path, MOUNT)
    if path.count("/") >= descent.DEEPEST:
        return Barrier(path, f"unreadable: more than {descent.DEEPEST} directories deep")
    try:
        file = os.open(name, descent.DIRECTORY, dir_fd=above.file)
    except PermissionError as error:
        return Barrier(path, f"unreadable: {error.strerror}")
    except OSError as error:
        if not gone(error):
            raise
        return Barrier(path, "")
    try:
        return listed(file, path, exclude)
    except BaseException:
        os.close(file)
        raise


def listed(file: int, path: str, exclude: Exclusions) -> Listing:
    began = time.time_ns()
    with os.scandir(file) as entries:
        found = sorted(entries, key=_name)
    if exclude.patterns:
        found = [e for e in found if not exclude.excluded(join(path, e.name), e.is_dir(follow_symlinks=False))]
    if not "".join([entry.name for entry in found]).isascii():
        found.sort(key=lambda entry: os.fsencode(entry.name))
    try:
        statuses = [entry.stat(follow_symlinks=False) for entry in found]
    except OSError:
        found, statuses = _still_there(found)
    directories = [entry.name for entry in found if entry.is_dir(follow_symlinks=False)]
    return Listing(path, file, [entry.name for entry in found], statuses, directories, began)


def _still_there(found: list[os.DirEntry[str]]) -> tuple[list[os.DirEntry[str]], list[os.stat_result]]:
    there, statuses = [], []
    for entry in found:
        try:
            statuses.append(entry.stat(follow_symlinks=False))
        except OSError as error:
            if not gone(error):
                raise
        else:
            there.append(entry)
    return there, statuses


def join(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


def gone(error: OSError) -> bool:
    return isinstance(error, GONE) or error.errno in (errno.ELOOP, errno.ENXIO, errno.ESTALE)


def stamp(status: os.stat_result) -> Stamp:
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino & _POSITIVE)


def stamps(statuses: list[os.stat_result]) -> array[int]:
    try:
        return stamps_of(map(_stamp, statuses))
    except OverflowError:  # an inode's number beyond 63 bits: some file systems have such
        return stamps_of(map(stamp, statuses))


def meta(status: os.stat_result, attributes: Attributes = ()) -> Meta:
    return Meta(stat.S_IMODE(status.st_mode), status.st_mtime_ns, status.st_uid, status.st_gid, attributes)


def xattrs(file: int) -> Attributes:
    """The user.* attributes. Others (security.*, system.*) belong to the machine and its policy, not to the run."""
    if not hasattr(os, "listxattr"):  # Python has them on Linux alone
        return ()
    try:
        names = os.listxattr(file)
        if not names:
            return ()
        return tuple((os.fsencode(n), os.getxattr(file, n)) for n in sorted(names) if n.startswith("user."))
    except OSError:  # the file system has none, or one vanished under our hands
        return ()


def files(root: int, exclude: Exclusions) -> Iterator[Found]:
    """The regular files that are not on a mount of their own, in path order within each directory."""
    for listing in walk(root, exclude):
        if isinstance(listing, Listing):
            for name, status in zip(listing.names, listing.statuses, strict=True):
                path = os.fsencode(join(listing.path, name))
                if stat.S_ISREG(status.st_mode) and not exclude.is_mount(path):
                    yield Found(path, status)


def look(down: Descent, path: bytes) -> Found | None:
    """The regular file at `path`, if there is one."""
    try:
        status = down.stat(path)
    except OSError as error:
        if not gone(error):
            raise
        return None
    return Found(path, status) if stat.S_ISREG(status.st_mode) else None
