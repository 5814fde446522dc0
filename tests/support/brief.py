"""The agent where a notice leaves seconds instead of two minutes, so that a story about a save which does not fit into
them need not last as long as one.

python -m support.brief         on a machine of the local cloud, in place of spotrelay.daemon
"""

from __future__ import annotations

from spotrelay import daemon, heartbeat
from spotrelay.core import forecast

# Many times what a quick store needs for counting_job.WEIGHT on an idle computer: a busy one fits, too.
USABLE_S = 2.0


def main() -> None:
    heartbeat.BEAT_S = 0.2
    forecast.USABLE_S = USABLE_S
    daemon.main()


if __name__ == "__main__":
    main()
