#!/usr/bin/env bash
# Prints the path of a Python that can carry the agent: 3.11 or newer, with venv. Exit code 1 where there is none.
set -euo pipefail

for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
    # Not what somebody put into /usr/local: the distribution keeps its own one patched.
    path=/usr/bin/$candidate
    if [[ -x $path ]] && "$path" -I -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        echo "$path"
        exit 0
    fi
done
echo "no Python of 3.11 or newer with venv" >&2
exit 1
