#!/usr/bin/env bash
# Makes a machine one that spotrelay can run on: an image that packer builds, or a stock one that has just booted.
# Root, in the unpacked bundle (scripts/bundle). Runs twice without harm. What it does, it does by one script a concern:
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

((EUID == 0)) || { echo "install.sh: needs root" >&2; exit 1; }
for concern in packages agent clock service; do
    echo "spotrelay: $concern"
    "./install-$concern.sh"
done
echo "spotrelay: installed, commit $(cat ../COMMIT)"
