#!/usr/bin/env bash
# What the agent needs of the distribution: a Python of 3.11 or newer with venv, and what makes a file system on
# instance store. Only what is missing is installed, so that a base that has it all needs no archive.
set -euo pipefail

# name of the program → its package, for apt and for dnf
wanted=(
    "mdadm mdadm mdadm"
    "mkfs.ext4 e2fsprogs e2fsprogs"
    "chronyd chrony chrony"
    "curl curl curl-minimal"
)

has() { PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null; }

apt=() dnf=()
for line in "${wanted[@]}"; do
    read -r program for_apt for_dnf <<<"$line"
    has "$program" || { apt+=("$for_apt") dnf+=("$for_dnf"); }
done
if ! ./find-python.sh >/dev/null 2>&1; then
    # Debian 12 and later, Ubuntu 24.04 and later call it python3; Amazon Linux 2023 keeps 3.9 under that name.
    apt+=(python3 python3-venv) dnf+=(python3.12)
fi

if ((${#apt[@]} == 0)); then
    echo "nothing is missing"
elif has apt-get; then
    export DEBIAN_FRONTEND=noninteractive
    # An image that has just booted updates itself, and holds the lock meanwhile.
    apt-get -q -o DPkg::Lock::Timeout=300 update
    apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "${apt[@]}"
elif has dnf; then
    dnf -q -y install "${dnf[@]}"
else
    echo "neither apt-get nor dnf here, and these are missing: ${apt[*]}" >&2
    exit 1
fi
"$(./find-python.sh)" --version
mdadm --version 2>&1 | sed -n 1p
mkfs.ext4 -V 2>&1 | sed -n 1p
