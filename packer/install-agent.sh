#!/usr/bin/env bash
# The agent and its libraries in an environment of their own, /opt/spotrelay: exactly what requirements.lock names, as
# wheels whose hashes it holds, so that nothing is compiled and nothing else is installed. Where they come from is pip's
# own setting (PIP_INDEX_URL, PIP_CONFIG_FILE). Two installations from one bundle hold the same bytes:
#
# - pip itself goes when it has done its work. It is nothing that a running agent needs.
# - Bytecode is compiled for the whole at once, and is valid by the hash of its source, not by the time of day. Unchecked:
#   nobody edits an image's libraries, and a start that looks at no source is a quicker one.
set -euo pipefail

home=/opt/spotrelay
python=$(./find-python.sh)
wheel=(../spotrelay-*.whl)
umask 022

fingerprint() { { "$python" -VV && cat ../requirements.lock "${wheel[0]}"; } | sha256sum | cut -d' ' -f1; }

install() {
    rm -rf "$home"
    "$python" -m venv "$home"
    local pip=("$home/bin/python" -m pip --disable-pip-version-check --no-input --no-cache-dir -q install --no-compile)
    "${pip[@]}" --require-hashes --only-binary :all: --no-deps -r ../requirements.lock
    "${pip[@]}" --no-index --no-deps --find-links .. spotrelay
    "$home/bin/python" -m pip -q uninstall -y pip setuptools 2>/dev/null || "$home/bin/python" -m pip -q uninstall -y pip
    rm -f "$home"/bin/pip* "$home"/bin/Activate.ps1 "$home"/bin/activate*
    find "$home" -name __pycache__ -prune -exec rm -rf {} +
    PYTHONHASHSEED=0 "$home/bin/python" -m compileall -q --invalidation-mode unchecked-hash "$home/lib"
    # Written last: an installation that died half-way is not taken for whole.
    fingerprint >"$home/.complete"
}

if [[ $(cat "$home/.complete" 2>/dev/null) == "$(fingerprint)" ]]; then
    echo "already there"
else
    install
fi
# For people. The service names the whole path.
ln -sfn "$home/bin/spotrelay" /usr/local/bin/spotrelay
ln -sfn "$home/bin/spotrelay-agent" /usr/local/bin/spotrelay-agent
"$home/bin/python" --version
"$home/bin/spotrelay" --version
