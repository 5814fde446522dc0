"""`spotrelay init`: a first run.toml, which is never written over one that is there."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from spotrelay.cli.account import AsJson
from spotrelay.core.errors import UsageError


def init(as_json: AsJson = False) -> None:
    """Write a run.toml from what is found in this directory.

    All there is to say stands in it, with an example each; what was found
    is filled in. One that is there already is left alone.

    Example: spotrelay init && spotrelay run
    """
    from spotrelay.person.draft import draft  # noqa: PLC0415 - the snapshots' libraries are not for --help
    from spotrelay.person.wishes import FILE  # noqa: PLC0415

    try:
        made = draft(Path.cwd())
        with Path(FILE).open("x") as file:
            file.write(made.text)
    except FileExistsError:
        raise UsageError(f"there is a {FILE} already", next_step="edit it, or remove it") from None
    except OSError as error:
        raise UsageError(f"{FILE}: {error.strerror}", next_step="cd to the project") from error
    if as_json:
        document = {"file": FILE, "found": made.found, "command": made.command, "framework": made.framework}
        print(json.dumps(document, indent=2))
        return
    print(f"{FILE} is written{': ' if made.found else ''}{', '.join(made.found)}")
    print(f"  command     {' '.join(made.command)}{'  (a guess: nothing was found)' if made.guessed else ''}")
    print("  to see it   spotrelay run --print")
    print(f"  to try it   spotrelay rehearse -- {shlex.join(made.command)}")
    print("  to run it   spotrelay run")
