"""What the agent is told by its environment: by the unit file in the image, by the local cloud in a rehearsal.

All of it is optional:

    SPOTRELAY_IMDS        the metadata service (http://169.254.169.254)
    SPOTRELAY_ENDPOINT    every AWS service, instead of the region's own (the local cloud)
    SPOTRELAY_ENDPOINT_S3 S3 alone, instead of that
    SPOTRELAY_STATE       folder for the command's output file (/var/lib/spotrelay)
    SPOTRELAY_POWEROFF    the command that ends the instance (POWEROFF)
    SPOTRELAY_USER_DATA   a file that is read in place of the instance's user data, if it is there
                          (/etc/spotrelay/run.toml: user data of a stock image is the script that installs us)
    SPOTRELAY_MACHINE     "own": the machine is the agent's, which may make users and file systems, and gives the
                          command a cgroup of its own below the service's
    SPOTRELAY_LIMITS      what is written into that: memory.max=30G pids.max=4096
    NOTIFY_SOCKET, WATCHDOG_USEC, RUNTIME_DIRECTORY come from systemd
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# What `systemctl poweroff` comes to, without asking logind first: where the machine is being shut down already, that is
# gone, and the question hangs for half a minute.
POWEROFF = "systemctl start poweroff.target --job-mode=replace-irreversibly --no-block"
STATE = "/var/lib/spotrelay"
# What systemd tells its service, and nobody else.
SYSTEMD = {
    *("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "INVOCATION_ID", "JOURNAL_STREAM", "SYSTEMD_EXEC_PID"),
    *("RUNTIME_DIRECTORY", "STATE_DIRECTORY", "MEMORY_PRESSURE_WATCH", "MEMORY_PRESSURE_WRITE"),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """`board`: the folder in which the agent says what it does (board.py). `command_environment` is what the command
    sees of ours: everything but what is meant for the agent."""

    imds: str | None
    endpoint: str | None
    endpoint_s3: str | None
    state: Path
    poweroff: tuple[str, ...]
    user_data: Path
    owns_machine: bool
    limits: Mapping[str, str]
    kept: Path | None
    announced: Path | None
    board: Path
    command_environment: Mapping[str, str]

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Settings:
        return cls(
            imds=environment.get("SPOTRELAY_IMDS"),
            endpoint=environment.get("SPOTRELAY_ENDPOINT"),
            endpoint_s3=environment.get("SPOTRELAY_ENDPOINT_S3"),
            state=Path(environment.get("SPOTRELAY_STATE", STATE)),
            poweroff=tuple(shlex.split(environment.get("SPOTRELAY_POWEROFF", POWEROFF))),
            user_data=Path(environment.get("SPOTRELAY_USER_DATA", "/etc/spotrelay/run.toml")),
            owns_machine=environment.get("SPOTRELAY_MACHINE") == "own",
            limits=dict(pair.split("=", 1) for pair in environment.get("SPOTRELAY_LIMITS", "").split() if "=" in pair),
            kept=Path(environment["RUNTIME_DIRECTORY"], "kept") if "RUNTIME_DIRECTORY" in environment else None,
            # The state is nobody's but ours (UMask=0077); this folder the command may enter.
            announced=Path(environment["RUNTIME_DIRECTORY"]) if "RUNTIME_DIRECTORY" in environment else None,
            board=Path(environment.get("RUNTIME_DIRECTORY", "") or environment.get("SPOTRELAY_STATE", STATE)),
            command_environment={k: v for k, v in environment.items() if not _is_ours(k)},
        )


def _is_ours(name: str) -> bool:
    """Meant for the agent. A command that spoke to the socket would speak for the service."""
    return name.startswith("SPOTRELAY_") or name in SYSTEMD
