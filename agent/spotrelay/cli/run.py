"""`spotrelay run`: flags and run.toml, the way to a run that is begun, and the way back when it is interrupted."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spotrelay.cli.account import AsJson
from spotrelay.cli.flags import Follow, Job, Machines, Settings, Until
from spotrelay.cli.groups import grouped
from spotrelay.cli.leaving import said_when_left
from spotrelay.cli.naming import by
from spotrelay.cli.place import Place
from spotrelay.core import run_toml, spec
from spotrelay.core.errors import CommandNotFound, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from spotrelay.core import records
    from spotrelay.person.begin import Begun
    from spotrelay.person.ignore import Stays
    from spotrelay.person.wishes import Wish

# Names of what stays that fit into a line.
_NAMED = 8


@grouped
def run(
    command: Annotated[
        list[str] | None, typer.Argument(help="The command, after --.", metavar="COMMAND", show_default=False)
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="Default: run.toml, if there is one.", show_default=False),
    ] = None,
    source: Annotated[
        Path | None, typer.Option(help="What is saved and run. Default: here.", show_default=False)
    ] = None,
    settings: Settings = None,
    follow: Follow = False,
    show: Annotated[bool, typer.Option("--print", help="Print the run.toml that comes of it; begin nothing.")] = False,
    as_json: AsJson = False,
    *,
    job: Job,
    machines: Machines,
    until: Until,
    place: Place,
) -> None:
    """Run COMMAND in a copy of this directory, on machines that may be taken.

    The directory is saved, a machine is asked for, and the command goes on
    from machine to machine until it ends. What stays here (.git, .venv,
    caches; or what .spotrelayignore names) is said.

    Example: spotrelay run --instance-type g5.xlarge -- python train.py
    """
    from spotrelay.person import ignore, wishes  # noqa: PLC0415 - the snapshots' libraries are not for --help

    here = _source(source)
    document, origin = _document(file, here)
    given = {"run.command": command or None, **job.given(), **machines.given(), **until.given()}
    wish = wishes.wish(document, given, settings or [], directory=here, source=origin)
    if show:
        print(run_toml.write(wish.spec), end="")
        return
    _check(wish.spec, here)
    _begin(place, wish, here, ignore.patterns(here), follow=follow, as_json=as_json)


def _source(given: Path | None) -> Path:
    """Raises UsageError for what is no project: everything in it would be sent."""
    try:
        here = (given or Path.cwd()).resolve()
    except OSError as error:
        raise UsageError(f"this directory is not there: {error}", next_step="cd to the project") from error
    if not here.is_dir():
        raise UsageError(f"--source {given}: not a directory", next_step="name the project's")
    if here in (Path("/"), Path.home().resolve()):
        raise UsageError(f"{here} is no project: all of it would be saved", next_step="cd to the project, or --source")
    return here


def _document(file: Path | None, here: Path) -> tuple[dict[str, Any] | None, str]:
    """A spec file's, and the name for its problems."""
    from spotrelay.person.wishes import FILE  # noqa: PLC0415 - as above

    path = file or here / FILE
    try:
        text = path.read_bytes()
    except OSError as error:
        if file is None and isinstance(error, FileNotFoundError):
            return None, "spotrelay run"
        raise UsageError(f"{path}: {error.strerror}", next_step="name a file like run.toml: -f") from error
    return spec.toml_document(text, source=str(file or FILE)), str(file or FILE)


def _check(wanted: spec.Spec, here: Path) -> None:
    """What would fail on the machine, an hour's wait later. Raises CommandNotFound."""
    program = wanted.run.command[0]
    if "/" in program and not program.startswith("/") and not (here / program).exists():
        raise CommandNotFound(f"there is no {program} in {here}", next_step="check COMMAND, and cd to the project")


def _begin(place: Place, wish: Wish, here: Path, stays: Stays, *, follow: bool, as_json: bool) -> None:
    """Standard output gets the run's name, its log, or the document: what a script wants."""
    from rich.console import Console  # noqa: PLC0415 - half a second of imports, which are not for --help

    from spotrelay.cli.following import judge, until_over  # noqa: PLC0415

    console = Console(stderr=True, highlight=False)
    _tell_of(here, [*wish.spec.run.exclude, *stays.patterns], stays, console)
    where = place.find()
    opened = where.open_store()

    async def work() -> tuple[Begun, records.Outcome | None]:
        begun = await _saved(opened, where.open_queue(), wish, here, stays, console, place.options)
        _say(begun, console, place.options)
        outcome = None
        if follow:
            outcome = await until_over(opened, begun.name, console, options=place.options)
        return begun, outcome

    begun, outcome = asyncio.run(work())
    if as_json:
        print(json.dumps(_told(begun, where.store, outcome), indent=2))
    elif not follow:
        print(begun.name)
    if outcome is not None:
        judge(begun.name, outcome, place.options)


async def _saved(store: Any, queue: Any, wish: Wish, here: Path, stays: Stays, console: Console, options: str) -> Begun:
    from spotrelay.cli.sending import Sending  # noqa: PLC0415 - as above
    from spotrelay.person.begin import Beginning, Origin  # noqa: PLC0415

    def told(name: str, again: bool) -> None:
        words = f"going on with {name}, which was begun before" if again else f"{name}: saving {here}"
        console.print(words, markup=False, soft_wrap=True)

    with Sending(console) as sending:
        beginning = Beginning(
            store,
            queue,
            wish,
            Origin(here, by()),
            stays=stays.patterns,
            told=told,
            progress=sending.show,
        )
        with said_when_left(console, lambda: _left(beginning.begun, options)):
            return await beginning.run()


def _left(begun: str, options: str) -> str:
    if not begun:
        return "Left: nothing runs. The same command again goes on from here."
    return f"Left: {begun} may be begun already, and go on by itself. To end it: spotrelay stop {begun}{options}"


def _tell_of(here: Path, excluded: list[str], stays: Stays, console: Console) -> None:
    from spotrelay.person.ignore import FILE, staying  # noqa: PLC0415 - as above

    names = list(itertools.islice(staying(here, excluded), _NAMED + 1))
    if names:
        shown = " ".join(names[:_NAMED]) + (" …" if len(names) > _NAMED else "")
        why = f"as {stays.source} says" if stays.source else f"a {FILE} would say otherwise"
        console.print(f"stays here: {shown}  ({why})", markup=False, soft_wrap=True)


def _say(begun: Begun, console: Console, options: str) -> None:
    from rich.filesize import decimal  # noqa: PLC0415 - as above

    saved = begun.saved
    if saved is not None:
        files = f"{saved.files:,} file{'s' * (saved.files != 1)}"
        sent = f"saved {files}, {decimal(saved.bytes)} ({decimal(saved.new_bytes)} sent) in {saved.seconds:.1f} s"
        console.print(sent, soft_wrap=True)
        for path in (*saved.torn, *saved.kept):
            console.print(f"it changed while it was read: {path}", markup=False, soft_wrap=True)
        for skipped in saved.skipped:
            console.print(f"not saved: {os.fsdecode(skipped.path)}: {skipped.reason}", markup=False, soft_wrap=True)
    console.print(f"{begun.name} is on its way to its first machine.", markup=False, soft_wrap=True)
    console.print(f"  to watch it   spotrelay logs -f {begun.name}{options}", markup=False, soft_wrap=True)
    console.print(f"  to end it     spotrelay stop {begun.name}{options}", markup=False, soft_wrap=True)


def _told(begun: Begun, store: str, outcome: records.Outcome | None) -> dict[str, Any]:
    saved = begun.saved
    document: dict[str, Any] = {"run": begun.name, "store": store, "again": begun.again, "spec": begun.spec.document()}
    if saved is not None:
        document["saved"] = {
            "snapshot": str(saved.snapshot),
            "files": saved.files,
            "bytes": saved.bytes,
            "sent_bytes": saved.new_bytes,
            "seconds": round(saved.seconds, 3),
        }
    if outcome is not None:
        document["outcome"] = {"result": outcome.result, "exit_code": outcome.exit_code, "message": outcome.message}
    return document
