"""The agent that waits seconds, not minutes, for the launcher's word; and as long as ever for all else.

python -m support.unassigned    on a machine of the local cloud, in place of spotrelay.daemon
"""

from __future__ import annotations

from spotrelay import daemon


def main() -> None:
    daemon.ASSIGNED_WITHIN_S = 2.0
    daemon.main()


if __name__ == "__main__":
    main()
