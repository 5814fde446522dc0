#!/usr/bin/env bash
# Nothing of the machine that built the image may be in it: no key, no identity, no history, no cache. For images alone.
set -euo pipefail

# Who logs in, and the machine's own keys: each instance makes its own.
find /root /home -path '*/.ssh/authorized_keys' -delete
rm -f /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub
# Empty, not absent: then the next boot is a first boot, and makes a new one.
: >/etc/machine-id
rm -f /var/lib/dbus/machine-id /var/lib/systemd/random-seed /var/lib/systemd/credential.secret
if command -v cloud-init >/dev/null; then
    cloud-init clean --logs --seed
fi
find /root /home \( -name '.*_history' -o -name .wget-hsts -o -name .lesshst \) -delete
rm -rf /root/.cache /home/*/.cache /var/cache/apt/*.bin /var/cache/apt/archives/*.deb /var/lib/apt/lists/* \
    /var/cache/dnf /var/lib/dhcp/* /var/lib/dhclient/* /tmp/* /var/tmp/*
journalctl -q --rotate --vacuum-time=1s 2>/dev/null || true
rm -rf /var/log/journal/*
find /var/log -type f \( -name '*.gz' -o -name '*.[0-9]' \) -delete
find /var/log -type f -exec truncate -s 0 {} +
sync
