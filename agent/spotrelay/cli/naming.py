"""Who asks, and for which runs, where several may be named."""

from __future__ import annotations

import getpass
import platform
from typing import Annotated

import typer

from spotrelay.cli.looking import RunName, completed

__all__ = ["RunName", "RunNames", "by"]

RunNames = Annotated[
    list[str], typer.Argument(metavar="RUN", help="Names, or beginnings of them.", autocompletion=completed)
]


def by() -> str:
    """The person, to others who look at the bucket: ada@laptop."""
    try:
        return f"{getpass.getuser()}@{platform.node() or 'somewhere'}"
    except (OSError, KeyError):  # a container's number without a name
        return f"somebody@{platform.node() or 'somewhere'}"
