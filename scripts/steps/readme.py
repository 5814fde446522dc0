"""The README's generated blocks: what stands between these two lines is the output of the command they name.

    <!-- begin: spotrelay rehearse --help -->
    <!-- end: spotrelay rehearse --help -->

The command stands in the README itself, so there is no second list to keep. A block that begins with a fence
(```console) keeps the fence around the new output; without one the output is Markdown of its own. Commands run in the
checkout without a shell, at a width of 100 and without colour, so that every machine writes the same.

    readme.py            write the blocks anew
    readme.py --check    exit 1 and name the stale ones
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
BLOCK = re.compile(r"(?ms)^<!-- begin: (?P<command>.+?) -->\n(?P<body>.*?)^<!-- end: (?P<end>.+?) -->$")
# TERMINAL_WIDTH is typer's own; COLUMNS is what rich and argparse read.
PLAIN = {"COLUMNS": "100", "TERMINAL_WIDTH": "100", "NO_COLOR": "1", "TERM": "dumb", "LC_ALL": "C.UTF-8"}
FORCES_COLOUR = ("FORCE_COLOR", "CLICOLOR_FORCE", "PY_COLORS")


class BlockBroken(Exception):
    """A block that cannot be generated; the text says which and why."""


def main() -> int:
    if not README.exists():
        return 0
    text = README.read_text()
    try:
        fresh, stale = generate(text)
    except BlockBroken as broken:
        print(f"README.md: {broken}")
        return 1
    if "--check" not in sys.argv[1:]:
        README.write_text(fresh)
        return 0
    for command in stale:
        print(f"README.md: the output of `{command}` has changed: run scripts/readme")
    return bool(stale)


def generate(text: str) -> tuple[str, list[str]]:
    """The text with every block anew, and the commands whose block was stale. Raises BlockBroken."""
    stale = []

    def renew(block: re.Match[str]) -> str:
        command = block["command"]
        if block["end"] != command:
            raise BlockBroken(f"`{command}` is not closed before `{block['end']}`")
        body = fenced(block["body"], output(command))
        if body != block["body"]:
            stale.append(command)
        return f"<!-- begin: {command} -->\n{body}<!-- end: {command} -->"

    fresh = BLOCK.sub(renew, text)
    if len(re.findall(r"(?m)^<!-- (?:begin|end): ", text)) != 2 * len(BLOCK.findall(text)):
        raise BlockBroken("a begin or an end stands alone")
    return fresh, stale


def fenced(old: str, new: str) -> str:
    fence = re.match(r"(`{3,})\S*\n", old)
    return f"{fence[0]}{new}{fence[1]}\n" if fence else new


def output(command: str) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in FORCES_COLOUR} | PLAIN
    try:
        done = subprocess.run(
            shlex.split(command), cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BlockBroken(f"`{command}` did not run: {error}") from error
    if done.returncode:
        raise BlockBroken(f"`{command}` ended {done.returncode}: {done.stderr.strip()}")
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.strip("\n").splitlines())


if __name__ == "__main__":
    sys.exit(main())
