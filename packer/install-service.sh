#!/usr/bin/env bash
# The agent as a service: units, settings of the journal and the console, folders. Enabled, not started: who makes an image does not want
# its agent to run, and scripts/bootstrap starts it.
set -euo pipefail

units=/etc/systemd/system
install -d -m 755 "$units/spotrelay-agent.service.d" "$units/serial-getty@.service.d" /etc/systemd/journald.conf.d \
    /etc/spotrelay
install -m 644 ../systemd/spotrelay-*.service ../systemd/spotrelay-*.timer "$units/"
install -m 644 ../systemd/spotrelay-agent.service.d/* "$units/spotrelay-agent.service.d/"
install -m 644 ../systemd/serial-getty@.service.d/spotrelay.conf "$units/serial-getty@.service.d/"
install -m 644 ../systemd/journald.conf.d/spotrelay.conf /etc/systemd/journald.conf.d/
install -d -m 755 /var/lib/spotrelay
install -m 644 ../COMMIT /etc/spotrelay/commit

# stderr must be empty: an unknown word in a unit is a warning, and the exit code 0.
problems=$(systemd-analyze verify --man=no "$units"/spotrelay-*.service "$units"/spotrelay-*.timer 2>&1 >/dev/null)
[[ -z $problems ]] || { echo "$problems" >&2; exit 1; }
systemctl -q enable spotrelay-agent.service spotrelay-dead-man.timer
systemctl --version | sed -n 1p
