"""A run, as a person names it: by its whole name or the beginning of one, and with the shell's help."""

from __future__ import annotations

import asyncio
import getpass
import os
import platform
from typing import Annotated

import typer

# A person has pressed Tab, and waits.
_COMPLETED_WITHIN_S = 3.0


def by() -> str:
    """The person, to others who look at the bucket: ada@laptop."""
    try:
        return f"{getpass.getuser()}@{platform.node() or 'somewhere'}"
    except (OSError, KeyError):  # a container's number without a name
        return f"somebody@{platform.node() or 'somewhere'}"


def _names(context: typer.Context, incomplete: str) -> list[str]:
    """Of runs that begin so. Nothing, rather than an error in the middle of a line, where they cannot be had: only a
    store that the line or the environment names is asked, since a stack takes a second to find."""
    url = context.params.get("store") or os.environ.get("SPOTRELAY_STORE")
    if not url:
        return []
    try:
        from spotrelay.aws.store import open_store  # noqa: PLC0415 - completion of options needs none of it
        from spotrelay.person import runs  # noqa: PLC0415

        async def ask() -> list[str]:
            async with asyncio.timeout(_COMPLETED_WITHIN_S):
                return await runs.names(open_store(url, patience=_COMPLETED_WITHIN_S))

        return [name for name in asyncio.run(ask()) if name.startswith(incomplete)]
    except Exception:  # whatever it was, the person learns it from the command
        return []


RunName = Annotated[str, typer.Argument(metavar="RUN", help="Its name, or the beginning of it.", autocompletion=_names)]
RunNames = Annotated[
    list[str], typer.Argument(metavar="RUN", help="Names, or beginnings of them.", autocompletion=_names)
]
