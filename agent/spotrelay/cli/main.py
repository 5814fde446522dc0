"""`spotrelay`: the person's commands. Each has a module of its own; here they share one way to end with an error."""

from __future__ import annotations

import io
import sys
import traceback
from typing import Annotated, NoReturn

import typer
from rich.console import Console

import spotrelay
from spotrelay.cli.deploy import deploy
from spotrelay.cli.destroy import destroy
from spotrelay.cli.doctor import doctor
from spotrelay.cli.init import init
from spotrelay.cli.interrupt import interrupt
from spotrelay.cli.logs import logs
from spotrelay.cli.ls import ls
from spotrelay.cli.pull import pull
from spotrelay.cli.receipt import receipt
from spotrelay.cli.rehearse import rehearse
from spotrelay.cli.resume import resume
from spotrelay.cli.rm import rm
from spotrelay.cli.run import run as run_command
from spotrelay.cli.snapshots import snapshots
from spotrelay.cli.status import status
from spotrelay.cli.stop import stop
from spotrelay.cli.top import top
from spotrelay.cli.ui import ui
from spotrelay.core.errors import SpotrelayError
from spotrelay.leave import leave

INTERRUPTED = 130  # a shell's number for Ctrl-C

app = typer.Typer(
    help="A run outlives the spot instance it runs on.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
BEGIN, WATCH, STEER, ACCOUNT = "Begin", "Watch", "Steer", "The account"
app.command(rich_help_panel=BEGIN)(rehearse)
app.command(rich_help_panel=BEGIN)(init)
app.command("run", rich_help_panel=BEGIN)(run_command)
for watching in (ls, status, logs, snapshots, pull, receipt, ui, top):
    app.command(rich_help_panel=WATCH)(watching)
for steering in (stop, resume, interrupt, rm):
    app.command(rich_help_panel=STEER)(steering)
for keeping in (deploy, destroy, doctor):
    app.command(rich_help_panel=ACCOUNT)(keeping)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"spotrelay {spotrelay.__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback with an error.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which.")] = False,
) -> None:
    """A run outlives the spot instance it runs on."""


def main() -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        # A file name may be any bytes, a terminal any encoding: neither is a reason not to say the rest.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    leave(run())


def run() -> int:
    """The command line's words; its exit code."""
    try:
        app()
    except SpotrelayError as error:
        if "--debug" in sys.argv:
            traceback.print_exc()
        else:
            _complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as end:  # typer's way to end, always with a number
        return end.code if isinstance(end.code, int) else 0
    except Exception as error:  # ours to mend: said in a line all the same, which a script and a person can read
        if "--debug" in sys.argv:
            traceback.print_exc()
        _complain(f"{type(error).__name__}: {error} — this is a fault of spotrelay: see it with spotrelay --debug")
        return SpotrelayError.exit_code
    return 0


def _complain(what: str) -> None:
    said = "".join(sign if sign.isprintable() or sign == "\n" else "\ufffd" for sign in f"spotrelay: {what}")
    Console(stderr=True).print(said, style="red", highlight=False, markup=False, soft_wrap=True)
