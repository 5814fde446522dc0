"""The agent that gives up in seconds, not minutes, where nobody says what it is for.

python -m support.impatient     on a machine of the local cloud, in place of spotrelay.daemon

Apart from support.hasty: where a story goes on, a busy computer may take longer than this to assign a run.
"""

from __future__ import annotations

from spotrelay import daemon


def main() -> None:
    daemon.ASSIGNED_WITHIN_S = daemon.BOOT_PATIENCE_S = 2.0
    daemon.main()


if __name__ == "__main__":
    main()
