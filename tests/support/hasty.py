"""The agent with a short temper: what it waits for minutes elsewhere takes seconds here.

python -m support.hasty         on a machine of the local cloud, in place of spotrelay.daemon
"""

from __future__ import annotations

from spotrelay import daemon, heartbeat, predecessors, relay


def main() -> None:
    heartbeat.BEAT_S = 0.2
    predecessors.MARGIN_S = relay.LAST_POST_S = 1.0
    daemon.main()


if __name__ == "__main__":
    main()
