"""The peers, each with the settings that make it fastest here."""

from __future__ import annotations

import os
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from .contenders import Command, Contender
from .sample import Role
from .site import BUCKET, Site


@dataclass
class Program:
    """`folder`: where it may keep what it needs between its commands. `wide`: so many small requests at once."""

    name: str
    program: Path | None
    folder: Path
    wide: int
    role: Role = Role.PEER
    faithful: bool = False
    layout: str = "objects"

    def missing(self, _: Site) -> str:
        return "" if self.program else f"{self.name} is not installed"

    def prepare(self, _: Site) -> list[Command]:
        return []

    def environment(self, site: Site) -> dict[str, str]:
        return site.environment


class S5cmd(Program):
    # Its own 50 MiB and five of each file at once: the same within the noise, and twice the memory.
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
        *("--s3-chunk-size", "16M", "--s3-upload-cutoff", "16M"),
        # Off is what it would ask or compute beyond the transfer: the bucket, a HEAD after each object, MD5.
        *("--s3-upload-concurrency", "8", "--s3-no-check-bucket", "--s3-no-head", "--s3-disable-checksum"),
    )
    DOWN = (
        *("--multi-thread-streams", "8", "--multi-thread-cutoff", "32M"),
        # The server's times: its own stand in a header of each object, and cost a HEAD to see.
        *("--multi-thread-chunk-size", "16M", "--fast-list", "--use-server-modtime", "--ignore-checksum"),
    )

    def environment(self, site: Site) -> dict[str, str]:
        remote = {"type": "s3", "provider": "Other", "endpoint": site.endpoint, "env_auth": "true"}
        settings = {f"RCLONE_CONFIG_BENCH_{name.upper()}": value for name, value in remote.items()}
        return site.environment | settings | {"RCLONE_CONFIG": os.devnull}

    def _copy(self, source: str | Path, target: str | Path, *words: str) -> Command:
        assert self.program is not None
        wide = ("--transfers", str(self.wide), "--checkers", str(self.wide))
        return [self.program, "copy", source, target, "--quiet", *wide, *words]

    def up(self, _: Site, tree: Path) -> Command:
        return self._copy(tree, f"bench:{BUCKET}/tree", *self.UP, "--no-check-dest")

    def again(self, _: Site, tree: Path) -> Command:
        words = ("--fast-list", "--update", "--use-server-modtime")
        return self._copy(tree, f"bench:{BUCKET}/tree", *self.UP, *words)

    def down(self, _: Site, tree: Path) -> Command:
        return self._copy(f"bench:{BUCKET}/tree", tree, *self.DOWN)


class Aws(Program):
    """Version 2: the first one has no CRT. Debian's takes `host:port` for a name to look up, so it needs port 80."""

    SETTINGS = """
[default]
region = us-east-1
s3 =
    addressing_style = path
    preferred_transfer_client = crt
    target_bandwidth = 40Gb/s
    multipart_chunksize = 16MB
"""

    def missing(self, site: Site) -> str:
        return super().missing(site) or ("" if site.at_80 else f"{self.name} needs port 80, which root may serve")

    def environment(self, site: Site) -> dict[str, str]:
        settings = self.folder / "aws-config"
        settings.write_text(self.SETTINGS)
        return site.environment | {"AWS_CONFIG_FILE": str(settings)}

    def s3(self, site: Site, *words: str | Path) -> list[str]:
        return [str(self.program), "--endpoint-url", site.at_80, "s3", *map(str, words)]

    def up(self, site: Site, tree: Path) -> Command:
        return self.s3(site, "sync", tree, f"s3://{BUCKET}/tree", "--only-show-errors")

    again = up

    def down(self, site: Site, tree: Path) -> Command:
        return self.s3(site, "sync", f"s3://{BUCKET}/tree", tree, "--only-show-errors")


class TarZstdAws(Aws):
    """One object: no second upload builds on it."""

    def up(self, site: Site, tree: Path) -> Command:
        send = self.s3(
            site, "cp", "-", f"s3://{BUCKET}/tree.tar.zst", "--only-show-errors", "--expected-size", "9000000000"
        )
        return _pipeline(["tar", "-C", str(tree), "-cf", "-", "."], ["zstd", "-q", "-1", "-T0"], send)

    again = up

    def down(self, site: Site, tree: Path) -> Command:
        receive = self.s3(site, "cp", f"s3://{BUCKET}/tree.tar.zst", "-", "--only-show-errors")
        return _pipeline(receive, ["zstd", "-q", "-d"], ["tar", "-C", str(tree), "-xf", "-"])


def _pipeline(*commands: list[str]) -> Command:
    return ["bash", "-o", "pipefail", "-c", " | ".join(shlex.join(command) for command in commands)]


class Restic(Program):
    def environment(self, site: Site) -> dict[str, str]:
        return site.environment | {
            "RESTIC_REPOSITORY": f"s3:{site.endpoint}/{BUCKET}/restic",
            "RESTIC_PASSWORD": "bench",
            "RESTIC_CACHE_DIR": str(self.folder / "restic-cache"),
        }

    def _command(self, *words: str | Path) -> Command:
        assert self.program is not None
        # Packs of 64 MiB and more connections: larger requests than its own 16 MiB, and more of them than five.
        return [self.program, "--quiet", "-o", f"s3.connections={self.wide}", *words]

    def prepare(self, _: Site) -> list[Command]:
        return [self._command("init")]

    def up(self, _: Site, tree: Path) -> Command:
        return self._command("backup", "--pack-size", "64", ".")

    again = up

    def down(self, _: Site, tree: Path) -> Command:
        return self._command("restore", "latest", "--target", tree)


def peers(environment: Path, folder: Path, *, wide: int) -> list[Contender]:
    """`environment`: what pip installed them into. Debian's come before what else may be called so (an older aws)."""
    places = [environment / "bin", "/usr/bin", *os.environ.get("PATH", "").split(os.pathsep)]

    def found(name: str) -> Path | None:
        at = shutil.which(name, path=os.pathsep.join(map(str, places)))
        return Path(at) if at else None

    zstd_and_aws = found("aws") if found("zstd") else None
    return [
        S5cmd("s5cmd", found("s5cmd"), folder, wide),
        Rclone("rclone", found("rclone"), folder, wide),
        Aws("aws s3 sync", found("aws"), folder, wide),
        Restic("restic", found("restic"), folder, wide, faithful=True, layout="restic"),
        TarZstdAws("tar zstd aws", zstd_and_aws, folder, wide, layout=""),
    ]
