"""A disk for one machine: all of this computer to read, nothing of it to change.

The person's computer is the image from which machines boot. Every directory of it is the lower layer of an overlay
whose upper layer belongs to the machine: what the machine writes goes there, no other machine sees it, and afterwards
it can be read off (`outside.py`). There is no overlay for a whole tree of mounts, and an ordinary user may not lay one
over a directory with mounts below it (in a user namespace they are locked: what they hide must stay hidden). So, for
each place, from / on:

1. /proc is mounted new (the machine's processes have numbers of their own), /dev and /sys are taken as they are,
   /dev/shm is empty.
2. An overlay, and each mount below it is a place again. As root this is one overlay for / and a few more.
3. Where the kernel refuses and there are mounts below: a plain directory with the same entries, each a place again.
   Files in it are there read-only: rare, as such directories (/, /mnt, /run) are seldom a user's own.
4. Where it refuses otherwise (vfat, FUSE, no permission): bound as it is, read-only.

Then, over all this: the folders that the machine shares with this computer, and the empty execution directory.
Two costs are accepted. An ordinary user sees other people's files as nobody's (their numbers have no meaning in the
namespace); and a directory of the image cannot be renamed in one step (EXDEV, as between disks).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from spotrelay.local import namespaces

_ROOT = Path("/")
_AS_IT_IS = (Path("/dev"), Path("/sys"))
_PROCESSES, _SHARED_MEMORY = Path("/proc"), Path("/dev/shm")


class Place(NamedTuple):
    """A directory of the image, and the folder that receives what the machine writes in it."""

    path: Path
    upper: Path
    overlay: bool


class Disk:
    """`root`: where the machine's tree is built, an empty folder. `layers`: an empty folder for what it writes."""

    def __init__(self, root: Path, layers: Path, *, as_user: bool) -> None:
        self.places: list[Place] = []
        self._root, self._layers, self._as_user = root, layers, as_user
        self._mounts = mount_points()

    def build(self, folders: Mapping[Path, Path]) -> None:
        """Mount everything below `root`, then `folders` of this computer over it: there → here, in this order.

        Raises OSError when namespaces or overlays are refused.
        """
        namespaces.bind(self._root, self._root)
        self._provide(_ROOT)
        for target, source in folders.items():
            there = self._there(target)
            there.mkdir(parents=True, exist_ok=True)
            namespaces.bind(source, there)

    def _there(self, path: Path) -> Path:
        return self._root / path.relative_to(_ROOT)

    def _provide(self, path: Path) -> None:
        if path == _PROCESSES:
            flags = namespaces.NO_SUID | namespaces.NO_DEVICES | namespaces.NO_EXEC
            namespaces.mount("proc", self._there(path), "proc", flags)
        elif path in _AS_IT_IS:
            self._take_as_it_is(path)
        elif not path.is_dir() or not os.access(path, os.R_OK | os.X_OK):
            self._bind(path)
        else:
            self._provide_directory(path)

    def _provide_directory(self, path: Path) -> None:
        inner = nearest(self._mounts, path)
        if self._lay_over(path):
            for mount in inner:
                self._provide(mount)
        elif inner:
            self._rebuild(path)
        else:
            self._bind(path)

    def _take_as_it_is(self, path: Path) -> None:
        namespaces.bind(path, self._there(path), recursive=True)
        if path == _SHARED_MEMORY.parent and _SHARED_MEMORY.is_dir():
            namespaces.mount("tmpfs", self._there(_SHARED_MEMORY), "tmpfs", options="mode=1777")

    def _lay_over(self, path: Path) -> bool:
        layer = self._layers / str(len(self.places))
        upper, work = layer / "upper", layer / "work"
        for folder in (upper, work):
            folder.mkdir(parents=True, exist_ok=True)
        self._look_alike(path, upper)
        try:
            overlay(path, upper, work, self._there(path), as_user=self._as_user)
        except OSError:
            return False
        self.places.append(Place(path, upper, overlay=True))
        return True

    def _rebuild(self, path: Path) -> None:
        there = self._there(path)
        self.places.append(Place(path, there, overlay=False))
        for entry in path.iterdir():
            self._rebuild_entry(entry)
        self._look_alike(path, there)

    def _rebuild_entry(self, entry: Path) -> None:
        there = self._there(entry)
        if entry.is_symlink():
            there.symlink_to(entry.readlink())
            return
        # Mounts of others may refuse even to say what they are; then they are nothing to this user.
        if entry in self._mounts or entry.is_dir():
            there.mkdir(0o700)
        else:
            there.touch(0o600)
        self._provide(entry)

    def _bind(self, path: Path) -> None:
        """A place that cannot even be bound (another user's FUSE mount) is left out."""
        try:
            # Sockets and devices are written to in order to be read; a directory here is one that refused an overlay.
            read_only = path.is_file() or path.is_dir()
            namespaces.bind(path, self._there(path), recursive=True, read_only=read_only)
        except OSError:
            return

    def _look_alike(self, original: Path, copy: Path) -> None:
        """An overlay's top directory shows the owner and mode of its upper layer.

        An ordinary user owns that layer whatever the original; so the write bits go where the original lacks them for
        this user, or the machine could write where no machine of this user can.
        """
        known = original.stat()
        mode = stat.S_IMODE(known.st_mode)
        if not self._as_user:
            os.chown(copy, known.st_uid, known.st_gid)
        elif not os.access(original, os.W_OK):
            mode &= ~0o222
        copy.chmod(mode)


def overlay(lower: Path, upper: Path, work: Path, target: Path, *, as_user: bool) -> None:
    """Mount one. Raises OSError."""
    # Names by descriptor: ":" and "," in a path mean something else in mount options.
    handles = [os.open(path, os.O_PATH | os.O_CLOEXEC) for path in (lower, upper, work)]
    try:
        names = zip(("lowerdir", "upperdir", "workdir"), handles, strict=True)
        options = [f"{name}=/proc/self/fd/{handle}" for name, handle in names]
        # volatile: otherwise the end of a machine waits until the whole file system below is flushed.
        options += ["volatile", *(["userxattr"] if as_user else [])]
        namespaces.mount("overlay", target, "overlay", options=",".join(options))
    finally:
        for handle in handles:
            os.close(handle)


def mount_points() -> list[Path]:
    """Of this process, each once, parents before what is below them."""
    lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    return sorted({Path(unescape(line.split(b" ")[4])) for line in lines})


def unescape(field: bytes) -> str:
    r"""A path as mountinfo has it, where fields are separated by spaces and a space is \040."""
    first, *rest = field.split(b"\\")
    return os.fsdecode(first + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in rest))


def nearest(mounts: Sequence[Path], path: Path) -> list[Path]:
    """The mount points below `path` that have no other one between; `mounts` is sorted."""
    found: list[Path] = []
    for mount in mounts:
        if path in mount.parents and not (found and found[-1] in mount.parents):
            found.append(mount)
    return found
