"""A cgroup for the command: what it uses is counted for it alone, and can be limited.

    spotrelay-agent.service     systemd's own, with Delegate=yes: what is below is ours
    ├── agent                   the agent and its subreaper
    └── command                 the command, from before its first instruction

A unit of its own would do the same, and would have to be asked of systemd, which starts no units any more while it
shuts down; and it would outlive an agent that dies, so that the next one finds a second owner at work. This way what
is left of a dead agent's command ends with its service. The agent has to move, too: a cgroup that gives controllers to
those below it may hold no process itself.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")


def own() -> Path:
    """This process's, where cgroups are of version 2. Raises OSError elsewhere."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, _, path = line.split(":", 2)
        if number == "0" and (found := MOUNT / path.lstrip("/")).is_dir():
            return found
    raise FileNotFoundError(f"no cgroup of version 2 below {MOUNT}")


def prepare(service: Path, limits: Mapping[str, str]) -> Path:
    """Leave `service` for its `agent`, and make its `command`. Raises OSError, also for a limit that cannot be had.

    `limits`: file of the cgroup → what is written into it: {"memory.max": "30G"}.
    """
    for name in ("agent", "command"):
        (service / name).mkdir(exist_ok=True)
    (service / "agent" / "cgroup.procs").write_text(str(os.getpid()))
    for controller in sorted({file.partition(".")[0] for file in limits}):
        (service / "cgroup.subtree_control").write_text(f"+{controller}")
    for file, limit in limits.items():
        (service / "command" / file).write_text(limit)
    return service / "command"
