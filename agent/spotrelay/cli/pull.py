"""`spotrelay pull RUN`: its files, onto this computer."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spotrelay.cli import told
from spotrelay.cli.groups import grouped
from spotrelay.cli.looking import AsJson, ask, note
from spotrelay.cli.naming import RunName
from spotrelay.cli.place import Bucket
from spotrelay.core.errors import NotFound, UsageError
from spotrelay.core.keys import SnapshotId

if TYPE_CHECKING:
    from spotrelay.cli.place import Where
    from spotrelay.person.pull import Pulled

# What is done sooner needs no bar.
PATIENCE_S = 1.0


@grouped
def pull(
    run: RunName,
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PATH]...", help="Files, directories, or patterns in quotes. Default: everything."),
    ] = None,
    at: Annotated[
        str | None, typer.Option(help="A snapshot, as `spotrelay snapshots` names it. Default: the newest that counts.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="The folder. Default: one named as the run.", show_default=False)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Also into a folder that holds something else.")] = False,
    as_json: AsJson = False,
    *,
    place: Bucket,
) -> None:
    """Get RUN's files, or PATHs of them, from its newest snapshot or any other.

    Only what is missing comes over the line, and every byte is checked. What
    was stopped goes on where it was. Nothing is deleted, and what is there
    of the same name is replaced by what the snapshot has.

    Example: spotrelay pull resnet-7 checkpoints 'logs/*.csv' --to results
    """
    wish = Wish(run, tuple(paths or ()), _snapshot(at), to, force)
    name, done, folder = ask(place, lambda where: _pull(where, wish))
    if as_json:
        print(json.dumps(document(name, done, folder), indent=2))
    else:
        _tell(done, folder)


@dataclass(frozen=True, slots=True)
class Wish:
    run: str
    paths: Sequence[str]
    at: SnapshotId | None
    to: Path | None
    force: bool


async def _pull(where: Where, wish: Wish) -> tuple[str, Pulled, Path]:
    from spotrelay.person import pull as pulling  # noqa: PLC0415
    from spotrelay.person import runs  # noqa: PLC0415
    from spotrelay.person.snapshots import newest  # noqa: PLC0415

    store = where.open_store()
    name = await runs.find(store, wish.run)
    snapshot = wish.at or await newest(store, name)
    if snapshot is None:
        raise NotFound(f"the run {name} has no snapshot yet", next_step=f"see how it stands: spotrelay status {name}")
    what = await pulling.wanted(store, name, snapshot, wish.paths)
    folder = wish.to or Path(name)
    with _bar() as tell:
        done = await pulling.pull(store, name, snapshot, what, folder, place=where.store, force=wish.force, tell=tell)
    return name, done, folder


def _snapshot(text: str | None) -> SnapshotId | None:
    try:
        return None if text is None else SnapshotId.parse(text)
    except ValueError as error:
        raise UsageError(str(error), next_step="they are named 3-7: see spotrelay snapshots RUN") from error


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """On standard error, and only where somebody would wait for it."""
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        Progress,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task, began, started = bar.add_task(""), time.monotonic(), False

    def tell(done: int, total: int) -> None:
        nonlocal started
        if not started and time.monotonic() - began > PATIENCE_S and bar.console.is_terminal:
            started = True
            bar.start()
        bar.update(task, completed=done, total=total)

    try:
        yield tell
    finally:
        if started:
            bar.stop()


def _tell(done: Pulled, folder: Path) -> None:
    came = f"{done.fetched} of them new, {told.size(done.received)} received" if done.fetched else "all of it was there"
    note(f"snapshot {done.snapshot}: {done.files} files, {told.size(done.bytes)} in {folder} ({came})")
    for path, why in done.skipped:
        note(f"not here: {path} ({why})")


def document(name: str, done: Pulled, folder: Path) -> dict[str, Any]:
    """Behind `--json`. `version` grows when a field changes its meaning; fields may be added."""
    return {
        "version": 1,
        "run": name,
        "snapshot": str(done.snapshot),
        "folder": str(folder),
        "files": done.files,
        "bytes": done.bytes,
        "fetched": done.fetched,
        "received_bytes": done.received,
        "seconds": round(done.seconds, 3),
        "skipped": [{"path": path, "why": why} for path, why in done.skipped],
    }
