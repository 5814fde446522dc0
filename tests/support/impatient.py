"""The agent that waits seconds, not minutes, for a metadata service or a store that does not answer.

python -m support.impatient     on a machine of the local cloud, in place of spotrelay.daemon
"""

from __future__ import annotations

from spotrelay import daemon


def main() -> None:
    daemon.BOOT_PATIENCE_S = 2.0
    daemon.main()


if __name__ == "__main__":
    main()
