"""Who is measured: us, the peers with the settings that make them fastest here, and the limit.

A contender is a name and a few command lines. What it needs beforehand (a repository, a configuration) is `prepare`,
which nobody measures. `faithful`: it brings modes and times back, so these are compared, too. `layout`: contenders
that leave the same objects behind for the same tree; None where a second upload cannot build on the first.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from .site import BUCKET, Site

Command = Sequence[str | Path]


class Contender(Protocol):
    name: str
    faithful: bool
    layout: str | None

    def missing(self) -> str:
        """What is not installed here, in words; empty where everything is."""

    def prepare(self, site: Site) -> list[Command]: ...

    def environment(self, site: Site) -> dict[str, str]: ...

    def up(self, site: Site, tree: Path) -> Command: ...

    def again(self, site: Site, tree: Path) -> Command:
        """Up, where an earlier state is there already."""

    def down(self, site: Site, tree: Path) -> Command: ...


@dataclass
class Ours:
    name: str = "spotrelay"
    faithful: bool = True
    layout: str | None = "spotrelay"

    def missing(self) -> str:
        return ""

    def prepare(self, site: Site) -> list[Command]:
        return []

    def environment(self, site: Site) -> dict[str, str]:
        return site.environment

    def up(self, site: Site, tree: Path) -> Command:
        return [sys.executable, "-m", f"{__package__}.ours", "save", f"s3://{BUCKET}/prefix", tree]

    again = up

    def down(self, site: Site, tree: Path) -> Command:
        return [sys.executable, "-m", f"{__package__}.ours", "restore", f"s3://{BUCKET}/prefix", tree]


@dataclass
class Leanest:
    name: str = "the limit"
    faithful: bool = False
    layout: str | None = None

    def missing(self) -> str:
        return ""

    def prepare(self, site: Site) -> list[Command]:
        return []

    def environment(self, site: Site) -> dict[str, str]:
        return site.environment

    def up(self, site: Site, tree: Path) -> Command:
        return [sys.executable, "-m", f"{__package__}.leanest", "up", str(site.port), BUCKET, tree]

    again = up

    def down(self, site: Site, tree: Path) -> Command:
        return [sys.executable, "-m", f"{__package__}.leanest", "down", str(site.port), BUCKET, tree]


@dataclass
class Program:
    """A peer: a program from a registry."""

    name: str
    program: Path | None
    faithful: bool = False
    layout: str | None = "objects"
    settings: dict[str, str] = field(default_factory=dict)

    def missing(self) -> str:
        return "" if self.program else f"{self.name} is not installed"

    def prepare(self, site: Site) -> list[Command]:
        return []

    def environment(self, site: Site) -> dict[str, str]:
        return site.environment | self.settings


class S5cmd(Program):
    # 16 MiB parts, eight at once of each file: a tenth faster here than its own 50 MiB and five.
    FILES = ("--concurrency", "8", "--part-size", "16")

    def _command(self, site: Site, *words: str) -> Command:
        assert self.program is not None
        return [self.program, "--endpoint-url", site.endpoint, "--log", "error", *words]

    def up(self, site: Site, tree: Path) -> Command:
        return self._command(site, "cp", *self.FILES, f"{tree}/", f"s3://{BUCKET}/tree/")

    def again(self, site: Site, tree: Path) -> Command:
        return self._command(site, "sync", *self.FILES, f"{tree}/", f"s3://{BUCKET}/tree/")

    def down(self, site: Site, tree: Path) -> Command:
        return self._command(site, "cp", *self.FILES, f"s3://{BUCKET}/tree/*", f"{tree}/")


class Rclone(Program):
    UP = (
        *("--transfers", "32", "--checkers", "32", "--s3-chunk-size", "16M", "--s3-upload-cutoff", "16M"),
        # What it would ask or compute beyond the transfer: the bucket, a HEAD after each object, MD5.
        *("--s3-upload-concurrency", "8", "--s3-no-check-bucket", "--s3-no-head", "--s3-disable-checksum"),
    )
    DOWN = (
        *("--transfers", "32", "--checkers", "32", "--multi-thread-streams", "8", "--multi-thread-cutoff", "32M"),
        *("--multi-thread-chunk-size", "16M", "--fast-list", "--use-server-modtime", "--ignore-checksum"),
    )

    def environment(self, site: Site) -> dict[str, str]:
        remote = {"type": "s3", "provider": "Other", "endpoint": site.endpoint, "env_auth": "true"}
        settings = {f"RCLONE_CONFIG_BENCH_{name.upper()}": value for name, value in remote.items()}
        return site.environment | settings | {"RCLONE_CONFIG": os.devnull}

    def _copy(self, source: str | Path, target: str | Path, *words: str) -> Command:
        assert self.program is not None
        return [self.program, "copy", source, target, "--quiet", *words]

    def up(self, site: Site, tree: Path) -> Command:
        return self._copy(tree, f"bench:{BUCKET}/tree", *self.UP, "--no-check-dest")

    def again(self, site: Site, tree: Path) -> Command:
        # By the server's time of each object: its own time is in a header, which takes a HEAD a file to see.
        words = ("--fast-list", "--update", "--use-server-modtime")
        return self._copy(tree, f"bench:{BUCKET}/tree", *self.UP, *words)

    def down(self, site: Site, tree: Path) -> Command:
        return self._copy(f"bench:{BUCKET}/tree", tree, *self.DOWN)


def contenders(peers: Path) -> list[Contender]:
    """`peers`: the environment that holds those that pip installs."""

    def found(name: str) -> Path | None:
        at = shutil.which(name, path=f"{peers / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}")
        return Path(at) if at else None

    return [
        Ours(),
        S5cmd("s5cmd", found("s5cmd")),
        Rclone("rclone", found("rclone")),
        Leanest(),
    ]
