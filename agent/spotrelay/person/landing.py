"""Where what is pulled lands: a folder on a laptop, any Unix, in which a person may be at work.

1. Nothing is written outside of it (P7): every path is walked from the folder's descriptor, a name at a time, and no
   link is followed on the way (snapshot/descent.py). Links are made last.
2. A file is written beside its place and takes it when all of it is there and checked: whoever looks, or stops us,
   finds the old file or the new one. What was stopped leaves a part, which the next time goes on from.
3. The note NOTE in the folder says whose it is. A folder with other things in it is not ours to write into, unless
   that is said.
4. What is there with the size and time that the snapshot says is taken to be it, as rsync does; our own files get
   their time when they are whole. What the snapshot does not have stays.

Owners, set-id bits and extended attributes stay behind: on a laptop they mean other things, or nothing.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from pathlib import Path

from blake3 import blake3

from spotrelay.core.errors import UsageError
from spotrelay.core.manifest import Directory, File, Meta, Symlink
from spotrelay.snapshot import descent
from spotrelay.snapshot.descent import Descent

NOTE = ".spotrelay-pull"
_PART = b".spotrelay-part-"
# A few file systems count in seconds.
_SECOND_NS = 1_000_000_000
_CHUNK = 1 << 20


class Landing:
    """The folder `directory`, made if need be. Its methods block, and raise OSError; two threads may be at work on two
    files."""

    def __init__(self, directory: Path, owner: dict[str, str], *, force: bool = False) -> None:
        """`owner`: what the note has to say. Raises UsageError for a folder of somebody else's."""
        self._directory = directory
        _check(directory, owner, force=force)
        directory.mkdir(parents=True, exist_ok=True)
        note = directory / NOTE
        fresh = note.with_name(f"{NOTE}.new")
        fresh.write_text(json.dumps(owner))
        fresh.replace(note)
        self._root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self._root)

    def has(self, file: File) -> bool:
        """Whether it is there already."""
        status = self._status(file.path)
        if status is None or not stat.S_ISREG(status.st_mode) or status.st_size != file.size:
            return False
        said, mtime = status.st_mtime_ns, file.meta.mtime
        return said == mtime or (said % _SECOND_NS == 0 and said == mtime - mtime % _SECOND_NS)

    def make_directory(self, path: bytes) -> None:
        """And those above it. What is there and is no directory makes room."""
        with Descent(self._root) as down:
            done = b""
            for part in path.split(b"/") if path else ():
                parent, done = done, done + b"/" + part if done else part
                at = down.directory(parent)
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, dir_fd=at)
                if not stat.S_ISDIR(os.stat(part, dir_fd=at, follow_symlinks=False).st_mode):
                    os.unlink(part, dir_fd=at)
                    os.mkdir(part, dir_fd=at)

    # --- a file, in parts

    def begin(self, file: File) -> list[bool]:
        """Make its part, at full size. For each extent, whether it is there from an earlier time."""
        with Descent(self._root) as down:
            part = down.open(_part(file.path), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                whole = sum(extent.length for extent in file.extents) == file.size
                if os.fstat(part).st_size != file.size or not whole:  # new, or what is no hole may be where one must be
                    os.ftruncate(part, 0)
                    os.ftruncate(part, file.size)
                    return [False] * len(file.extents)
                return [_holds(part, extent.offset, extent.length, extent.pack) for extent in file.extents]
            finally:
                os.close(part)

    def write(self, path: bytes, offset: int, data: memoryview) -> None:
        with Descent(self._root) as down:
            part = down.open(_part(path), descent.WRITE)
            try:
                while data:
                    written = os.pwrite(part, data, offset)
                    data, offset = data[written:], offset + written
            finally:
                os.close(part)

    def finish(self, path: bytes, meta: Meta) -> None:
        """All of it is there."""
        with Descent(self._root) as down:
            part, at = down.place(_part(path))
            name = path.rpartition(b"/")[2]
            file = os.open(part, descent.WRITE, dir_fd=at)
            try:
                os.fchmod(file, meta.mode & 0o777)
                os.utime(file, ns=(meta.mtime, meta.mtime))
            finally:
                os.close(file)
            _make_room(name, at)
            os.replace(part, name, src_dir_fd=at, dst_dir_fd=at)

    # --- the rest, last

    def link(self, entry: Symlink) -> None:
        with Descent(self._root) as down:
            name, at = down.place(entry.path)
            _make_room(name, at)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=at)
            os.symlink(entry.target, name, dir_fd=at)

    def dress(self, directory: Directory) -> None:
        """One that a person can go on working in, whatever its mode was."""
        with Descent(self._root) as down:
            file = down.open(directory.path, descent.READ)
            try:
                os.fchmod(file, (directory.meta.mode & 0o777) | stat.S_IRWXU)
                os.utime(file, ns=(directory.meta.mtime, directory.meta.mtime))
            finally:
                os.close(file)

    def _status(self, path: bytes) -> os.stat_result | None:
        try:
            with Descent(self._root) as down:
                return down.stat(path)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return None
            raise


def _check(directory: Path, owner: dict[str, str], *, force: bool) -> None:
    """Raises UsageError."""
    if not directory.exists():
        return
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a folder", next_step="name another one: --to DIR")
    if force or not any(directory.iterdir()):
        return
    try:
        said = json.loads((directory / NOTE).read_bytes())
    except (OSError, ValueError, RecursionError):
        said = None
    if said != owner:
        whose = "holds something else" if not isinstance(said, dict) else f"was pulled from {said.get('run')!s:.60}"
        raise UsageError(
            f"{directory} {whose}: files in it could be overwritten",
            next_step="name another folder: --to DIR; or say that this one may be: --force",
        )


def _part(path: bytes) -> bytes:
    """Beside its place. By its hash, as a name with something more may be too long."""
    folder, slash, name = path.rpartition(b"/")
    return folder + slash + _PART + blake3(name).hexdigest(length=8).encode()


def _holds(file: int, offset: int, length: int, digest: str) -> bool:
    """Whether these bytes are the pack. An extent that is only some of its pack cannot be told, and is not it."""
    known = blake3()
    for at in range(offset, offset + length, _CHUNK):
        known.update(os.pread(file, min(_CHUNK, offset + length - at), at))
    return known.hexdigest() == digest


def _make_room(name: bytes, at: int) -> None:
    """An empty directory in the way goes; one that is not empty is somebody's."""
    try:
        status = os.stat(name, dir_fd=at, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(status.st_mode):
        os.rmdir(name, dir_fd=at)
