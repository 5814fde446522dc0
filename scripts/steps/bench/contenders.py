"""Who is measured: us, the peers with the settings that make them fastest here, and the limit.

A contender is a name and a few command lines; peers' are in `peers`. What it needs beforehand (a repository) is
`prepare`, which nobody measures. `faithful`: it brings modes and times back, so these are compared, too. `layout`: who
leaves the same objects behind for the same tree; empty where a second upload cannot build on the first.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from .sample import Role
from .site import BUCKET, Site

Command = Sequence[str | Path]
STORE = f"s3://{BUCKET}/prefix"


def driver(action: str, tree: Path) -> Command:
    return [sys.executable, "-m", f"{__package__}.ours", action, STORE, tree]


class Contender(Protocol):
    name: str
    role: Role
    faithful: bool
    layout: str

    def missing(self, site: Site) -> str:
        """What it lacks here, in words; empty where everything is there."""

    def prepare(self, site: Site) -> list[Command]: ...

    def environment(self, site: Site) -> dict[str, str]: ...

    def up(self, site: Site, tree: Path) -> Command: ...

    def again(self, site: Site, tree: Path) -> Command:
        """Up, where an earlier state is there already."""

    def down(self, site: Site, tree: Path) -> Command: ...


class OurProcess:
    """One of this package's own programs."""

    def missing(self, _: Site) -> str:
        return ""

    def prepare(self, _: Site) -> list[Command]:
        return []

    def environment(self, site: Site) -> dict[str, str]:
        return site.environment


class Ours(OurProcess):
    name, role, faithful, layout = "spotrelay", Role.OURS, True, "spotrelay"

    def up(self, _: Site, tree: Path) -> Command:
        return driver("save", tree)

    again = up

    def down(self, _: Site, tree: Path) -> Command:
        return driver("restore", tree)


class Leanest(OurProcess):
    """`connections`: as many as the line needs."""

    name, role, faithful, layout = "the limit", Role.LIMIT, False, ""

    def __init__(self, connections: int) -> None:
        self._connections = connections

    def up(self, site: Site, tree: Path) -> Command:
        return self._command("up", site, tree)

    again = up

    def down(self, site: Site, tree: Path) -> Command:
        return self._command("down", site, tree)

    def wire(self, site: Site, size: int) -> Command:
        return self._command("wire", site, size)

    def _command(self, action: str, site: Site, what: object) -> Command:
        words = [action, str(site.port), BUCKET, str(self._connections), str(what)]
        return [sys.executable, "-m", f"{__package__}.leanest", *words]
