#!/usr/bin/env bash
# The time of day, from Amazon's own clock beside the hypervisor, and a boot that waits for it, ten seconds at most: a
# clock that is off by a quarter of an hour gets every request to S3 refused; one that is unreachable may still be right.
set -euo pipefail

# Debian's and Ubuntu's place, or else Amazon Linux's.
folder=/etc/chrony/sources.d
[[ -d $folder ]] || folder=/etc/chrony.d
mkdir -p "$folder" /etc/systemd/system/chrony-wait.service.d
echo "server 169.254.169.123 prefer iburst minpoll 4 maxpoll 4" >"$folder/spotrelay.sources"
cat >/etc/systemd/system/chrony-wait.service.d/spotrelay.conf <<'CONF'
[Unit]
# In a container the clock is the host's.
ConditionCapability=CAP_SYS_TIME

[Service]
# At most 20 looks, half a second apart, for an error below half a second.
ExecStart=
ExecStart=/usr/bin/chronyc -h 127.0.0.1,::1 waitsync 20 0.5 0.0 0.5
CONF
systemctl -q enable chrony-wait.service
chronyd --version
