"""A machine: one process tree with a disk of its own, which dies whole and leaves nothing.

What a fresh EC2 instance is to an agent, this is on one computer: the same absolute path for the execution directory
with nothing in it, every other place writable and lost with the machine, no process that outlives it. `init.py` is the
machine from within and says by which means; `disk.py` is its disk. From here it is a folder and one child process, the
keeper:

1. `Machine.boot` starts the keeper and returns once the program runs.
2. `power_button` asks (SIGTERM to the program), `vanish` does not (SIGKILL to everything at once).
3. `off` returns when the last process is gone; then `outside_writes` says what was written where it is lost.
4. `close` removes the folder, whatever came before.

Where namespaces are refused (containers, hardened kernels) a machine is a process tree only: `isolation()` says so
beforehand, the execution directory is then a folder that the caller gives, empty at boot and emptied at the end, and
two machines on one directory boot one after the other.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spotrelay.core.errors import SpotrelayError
from spotrelay.local import init

# Half a second is much on a busy computer; a file system that hangs at mounting is what this is for.
_BOOT_LIMIT_S = 30
_SOURCE = Path(__file__).parents[2]
# -I -S: nobody's site-packages, no PYTHONPATH, and half the time.
_KEEPER = f"import sys; sys.path.append({str(_SOURCE)!r}); from spotrelay.local import init; sys.exit(init.main())"


@dataclass(frozen=True, slots=True)
class Isolation:
    """`full`: machines have disks of their own. Otherwise `reason` says what was refused."""

    full: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class OutsideWrite:
    """A path outside of the execution directory that the machine `created`, `modified` or `deleted`; size in bytes."""

    path: Path
    kind: str
    size: int


class Machine:
    """One that booted. Not to be made but by `boot`."""

    def __init__(self, folder: Path, keeper: asyncio.subprocess.Process, release: Callable[[], None]) -> None:
        self._folder = folder
        self._keeper = keeper
        self._release = release
        self._end = asyncio.ensure_future(self._wait())

    @classmethod
    async def boot(
        cls,
        folder: Path,
        *,
        directory: Path,
        argv: Sequence[str],
        environment: Mapping[str, str],
        output: Path,
        visible: Sequence[Path] = (),
        carried: Mapping[Path, Path] | None = None,
        isolated: bool = True,
    ) -> Machine:
        """Start `argv` (its first word a path) on a fresh machine; its output is appended to `output`.

        `folder` is made, and belongs to the machine. `directory` is where the machine finds an empty folder of its own.
        `visible` folders are shared, read and write; `carried` maps folders of this computer to where the machine has
        them as well (see `image.program`). Without isolation `directory` must be empty, and stays so afterwards.
        Raises SpotrelayError with what was refused.
        """
        release = await _occupy(directory, isolated)
        order = init.Order(
            folder=str(folder.resolve()),
            directory=str(directory),
            argv=list(argv),
            environment=dict(environment),
            visible=[str(path) for path in visible],
            carried={str(here): str(there) for here, there in (carried or {}).items()},
            output=str(output),
            isolated=isolated,
        )
        try:
            keeper = await _start_keeper(folder, order)
        except BaseException:
            release()
            init.remove(folder)
            raise
        return cls(folder, keeper, release)

    @property
    def pid(self) -> int:
        """Of the keeper: alive as long as anything of the machine is."""
        return self._keeper.pid

    def power_button(self) -> None:
        """Ask: SIGTERM to the program, whose end is the machine's. Nothing once it is off."""
        self._say(init.POWER_BUTTON)

    def vanish(self) -> None:
        """The hardware fails: everything is killed at once, nobody is told."""
        self._say(init.POWER_CUT)

    def _say(self, word: bytes) -> None:
        if self._keeper.stdin is not None and self._keeper.returncode is None:
            self._keeper.stdin.write(word)

    async def off(self) -> int:
        """Wait until everything is gone; the program's exit status as a shell gives it (137 after `vanish`)."""
        end = await asyncio.shield(self._end)
        return int(end["status"])

    def outside_writes(self) -> list[OutsideWrite] | None:
        """After `off`: sorted by path; None where a machine has no disk of its own, and nobody can know."""
        found = self._end.result()["writes"]
        return None if found is None else [OutsideWrite(Path(path), kind, size) for path, kind, size in found]

    async def close(self) -> None:
        """Off, at once if need be, and gone with its folder."""
        self.vanish()
        await asyncio.shield(self._end)
        await asyncio.to_thread(init.remove, self._folder)

    async def _wait(self) -> dict[str, Any]:
        assert self._keeper.stdout is not None
        try:
            answer = await self._keeper.stdout.read()
            await self._keeper.wait()
        finally:
            self._release()
        # No answer: the keeper itself was killed, and took the machine along.
        return json.loads(answer) if answer else {"status": init.KILLED, "writes": None}


async def isolation() -> Isolation:
    """Whether machines can have disks of their own here: by trying, as no setting tells for sure."""
    with tempfile.TemporaryDirectory(prefix="spotrelay-") as name:
        folder = Path(name).resolve()
        try:
            machine = await Machine.boot(
                folder / "machine",
                directory=folder / "directory",
                argv=[sys.executable, "-I", "-S", "-c", ""],
                environment={},
                output=folder / "output",
            )
        except SpotrelayError as refused:
            return Isolation(False, refused.what)
        await machine.close()
    return Isolation(True)


_occupied: dict[Path, asyncio.Event] = {}


async def _occupy(directory: Path, isolated: bool) -> Callable[[], None]:
    """Without isolation: wait for the directory, and have it alone until the returned function is called."""
    if isolated:
        return lambda: None
    while (other := _occupied.get(directory)) is not None:
        await other.wait()
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise SpotrelayError(
            f"{directory} is not empty", next_step="a machine without a disk of its own needs a folder"
        )
    free = _occupied[directory] = asyncio.Event()

    def release() -> None:
        if _occupied.pop(directory, None) is free:
            free.set()

    return release


async def _start_keeper(folder: Path, order: init.Order) -> asyncio.subprocess.Process:
    for name in ("layers", "root", "directory"):
        (folder / name).mkdir(parents=True)
    console = folder / "console"
    with console.open("wb") as errors:
        keeper = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", "-c", _KEEPER),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            # Ctrl-C at the terminal is for the rehearsal; an instance in the cloud would not hear it.
            start_new_session=True,
        )
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    keeper.stdin.write(json.dumps(order._asdict()).encode() + b"\n")
    try:
        async with asyncio.timeout(_BOOT_LIMIT_S):
            line = await keeper.stdout.readline()
    except BaseException:
        keeper.kill()
        await keeper.wait()
        raise
    answer = json.loads(line) if line else {"refused": console.read_text(errors="replace").strip()[-2000:]}
    if "refused" in answer:
        await keeper.wait()
        raise SpotrelayError(f"a local machine does not boot: {answer['refused']}")
    return keeper
